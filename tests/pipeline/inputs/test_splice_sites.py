"""Splice sites against the definition, read one base at a time on both strands."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inputs.splice_sites import introns, splice_sites

Exons = list[tuple[int, int]]
COLUMNS = {
    **dict.fromkeys(("transcript_id", "biotype", "chrom", "strand"), pl.String),
    **dict.fromkeys(("exon_starts", "exon_ends"), pl.List(pl.Int64)),
}


def frame(*transcripts: tuple[str, Exons]) -> pl.DataFrame:
    """Transcripts T0, T1, ... from strand and exons (0-based half-open)."""
    rows = [
        (f"T{at}", f"biotype {at}", "chr1", strand, [start for start, _ in exons], [end for _, end in exons])
        for at, (strand, exons) in enumerate(transcripts)
    ]
    return pl.DataFrame(rows, COLUMNS, orient="row")


def by_definition(strand: str, exons: Exons) -> set[tuple[int, str]]:
    """(1-based position, kind): exon bases beside a base of the transcript that is in no exon."""
    inside = {base for start, end in exons for base in range(start, end)}
    introns = set(range(min(inside), max(inside))) - inside
    step = 1 if strand == "+" else -1
    donors = {(base + 1, "donor") for base in inside if base + step in introns}
    return donors | {(base + 1, "acceptor") for base in inside if base - step in introns}


@pytest.mark.parametrize(
    ("strand", "expected"),
    [
        ("+", [("T0", 20, "donor"), ("T0", 31, "acceptor"), ("T0", 40, "donor"), ("T0", 61, "acceptor")]),
        ("-", [("T0", 20, "acceptor"), ("T0", 31, "donor"), ("T0", 40, "acceptor"), ("T0", 61, "donor")]),
    ],
)
def test_both_strands(strand: str, expected: list[tuple[str, int, str]]) -> None:
    sites = splice_sites(frame((strand, [(10, 20), (30, 40), (60, 70)])))
    assert sites.sort("pos").select("transcript_id", "pos", "kind").rows() == expected
    assert sites.schema == {**dict(list(COLUMNS.items())[:4]), "pos": pl.Int32, "kind": pl.String}


@pytest.mark.slow
@given(
    st.sampled_from("+-"),
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 25)), min_size=1, max_size=6).map(
        lambda spans: sorted((start, start + length) for start, length in spans)
    ),
)
def test_exons_that_touch_overlap_or_lie_in_each_other(strand: str, exons: Exons) -> None:
    sites = splice_sites(frame((strand, exons)))
    found = sites.select("pos", "kind").rows()
    assert len(found) == len(set(found))
    assert set(found) == by_definition(strand, exons)


def test_every_transcript_has_its_own_rows() -> None:
    exons = [(10, 20), (30, 40)]
    sites = splice_sites(frame(("+", exons), ("-", exons), ("+", [(0, 50)]), ("+", exons)))
    assert sites.group_by("transcript_id", "biotype").len().sort("transcript_id").rows() == [
        ("T0", "biotype 0", 2),
        ("T1", "biotype 1", 2),
        ("T3", "biotype 3", 2),
    ]


def test_no_intron_no_sites() -> None:
    assert splice_sites(frame(("+", [(0, 50)]))).is_empty()
    assert splice_sites(frame(("+", []))).is_empty()


@pytest.mark.parametrize(
    ("strand", "expected"),
    [("+", [(21, 30, 1, 2), (46, 60, 3, 4), (71, 80, 5, 6)]), ("-", [(21, 30, 6, 5), (46, 60, 4, 3), (71, 80, 2, 1)])],
)
def test_introns_have_the_numbers_of_the_exons_beside_them(strand: str, expected: list[tuple[int, ...]]) -> None:
    exons = [(10, 20), (30, 40), (40, 45), (60, 68), (62, 70), (80, 90)]  # two touch, two overlap
    found = introns(frame((strand, exons), ("+", [(1, 2)])))
    assert found.select("first", "last", "left_exon", "right_exon").rows() == expected
    assert found["transcript_id"].unique().to_list() == ["T0"]
    assert set(found.columns).isdisjoint({"exon_starts", "exon_ends"})


def test_an_exon_within_another_is_not_beside_the_next_intron() -> None:
    found = introns(frame(("+", [(10, 40), (15, 20), (50, 60)])))
    assert found.select("first", "last", "left_exon", "right_exon").rows() == [(41, 50, 1, 3)]
