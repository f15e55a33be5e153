"""Which rows an export takes: genes, regions, both kinds of tables, and each base once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from material import tables

from pipeline.exporting.rows import Choice, covered, merged, rows_of
from pipeline.tracks.reader import Tracks, open_tracks
from sptx_core.errors import InputError

CHR9, HLA = ("chr9", "+"), ("HLA-A*01:01", "+")
COLUMNS = ["acceptor", "donor", "brain"]


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> Tracks:
    root = tmp_path_factory.mktemp("genomic") / "table"
    tables.write_example(root)
    return open_tracks(root)


@pytest.fixture(scope="module")
def by_transcript(tmp_path_factory: pytest.TempPathFactory) -> Tracks:
    """Two transcripts that share bases 150 to 200, in one part and in another one."""
    parts = [
        tables.Part(
            "chr1",
            "+",
            [*range(101, 201), *range(150, 251)],
            donor={150: 0.5, 240: 0.25},
            transcripts=["T1"] * 100 + ["T2"] * 101,
        ),
        tables.Part("chr1", "+", range(190, 211), acceptor={200: 0.75}, transcripts=["T3"] * 21),
    ]
    return tables.write(tmp_path_factory.mktemp("transcript") / "table", parts)


def all_rows(tracks: Tracks, choice: Choice, place: tuple[str, str], *, sites: bool = False) -> pl.DataFrame:
    return pl.concat(rows_of(tracks, choice, place, COLUMNS, sites=sites))


def test_all_rows_come_in_order_part_by_part(tracks: Tracks) -> None:
    frames = list(rows_of(tracks, Choice(), CHR9, COLUMNS))
    assert [len(frame) for frame in frames] == [300, 400]
    assert pl.concat(frames).equals(tracks.region("chr9", strand="+", columns=COLUMNS).select("pos", *COLUMNS))
    assert list(rows_of(tracks, Choice(), ("chr9", "?"), COLUMNS)) == []


def test_sites_have_the_values_that_the_tracks_have(tracks: Tracks) -> None:
    sites = all_rows(tracks, Choice(), CHR9, sites=True)
    stored = tracks.region("chr9", strand="+", columns=COLUMNS, sites=True).select("pos", *COLUMNS)
    assert sites["pos"].equals(stored["pos"])
    assert not sites.equals(stored)  # which are not rounded
    assert sites.equals(all_rows(tracks, Choice(), CHR9).filter(pl.col("pos").is_in(sites["pos"].implode())))


def test_sites_of_an_exact_table_stay_exact(tmp_path: Path) -> None:
    tables.write_example(tmp_path / "table", exact=True)
    tracks = open_tracks(tmp_path / "table")
    stored = tracks.region("chr9", strand="+", columns=COLUMNS, sites=True).select("pos", *COLUMNS)
    assert all_rows(tracks, Choice(), CHR9, sites=True).equals(stored)


def test_of_transcripts_the_greatest_value_counts(by_transcript: Tracks) -> None:
    frames = list(rows_of(by_transcript, Choice(), ("chr1", "+"), COLUMNS))
    rows = pl.concat(frames)
    assert rows["pos"].to_list() == list(range(101, 251))
    scores = {pos: (acceptor, donor) for pos, acceptor, donor, _ in rows.iter_rows() if acceptor or donor}
    assert scores == {150: (0, 0.5), 200: (0.75, 0), 240: (0, 0.25)}
    assert covered(by_transcript, Choice(), ("chr1", "+")) == [(101, 250)]


@pytest.mark.parametrize(
    ("genes", "regions", "spans"),
    [
        (["GENE1"], [], {CHR9: [(101, 300), (500, 700)], HLA: [(11, 60)]}),
        (["ENSG0004", "ENST0003.1"], [], {("chr9", "-"): [(401, 650)], CHR9: [(901, 1000)]}),
        ([], ["9:120-130", "chr9:131-140"], {CHR9: [(120, 140)], ("chr9", "-"): [(120, 140)]}),
        ([], ["HLA-A*01:01"], {HLA: [(1, 100)], ("HLA-A*01:01", "-"): [(1, 100)]}),
    ],
)
def test_genes_and_regions_choose(tracks: Tracks, genes: list[str], regions: list[str], spans: object) -> None:
    assert Choice.of(tracks, genes, regions).spans == spans


def test_chosen_rows_alone_are_read(tracks: Tracks) -> None:
    choice = Choice.of(tracks, regions=["chr9:390-410", "chr9:690-1,200"])
    rows = all_rows(tracks, choice, CHR9)
    assert rows["pos"].to_list() == [*range(390, 411), *range(690, 701), *range(901, 1001)]
    assert covered(tracks, choice, CHR9) == [(390, 410), (690, 700), (901, 1000)]
    assert covered(tracks, choice, HLA) == []
    assert list(rows_of(tracks, choice, HLA, COLUMNS)) == []


@pytest.mark.parametrize(
    ("genes", "regions", "told"),
    [
        (["GENE1"], ["chr9"], "exclude each other"),
        (["GENE2"], [], "the nearest is GENE"),
        (["chr9:1-10"], [], "is a contig or region of .*; give it as --regions"),
        ([], ["GENE1"], "is a gene or transcript of .*; give --genes"),
        ([], ["chr8:1-10"], "has no contig chr8"),
    ],
)
def test_what_the_table_lacks_is_refused(tracks: Tracks, genes: list[str], regions: list[str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        Choice.of(tracks, genes, regions)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9))))
def test_merged_stretches_hold_the_same_bases_and_lie_apart(given_stretches: list[tuple[int, int]]) -> None:
    stretches = [(first, first + more) for first, more in given_stretches]
    joined = merged(stretches)
    bases = {at for first, last in stretches for at in range(first, last + 1)}
    assert [at for first, last in joined for at in range(first, last + 1)] == sorted(bases)
    gaps = np.array([first for first, _ in joined[1:]]) - np.array([last for _, last in joined[:-1]])
    assert (gaps > 1).all()


def test_a_single_base_at_either_end_of_a_stretch_is_within_it() -> None:
    place = ("chr1", "+")
    for base, held in ((9, []), (10, [(10, 10)]), (20, [(20, 20)]), (21, [])):
        assert Choice({place: [(base, base)]}).within(place, (10, 20)) == held
    assert Choice({place: [(1, 10), (12, 14), (20, 30)]}).within(place, (10, 20)) == [(10, 10), (12, 14), (20, 20)]
    assert Choice({place: [(1, 30)]}).within(("chr1", "-"), (10, 20)) == []
