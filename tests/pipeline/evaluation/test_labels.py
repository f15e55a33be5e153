"""Which rows of a part count in which group, against the slowest reading of the contract: a row at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.labels import ALL, Group, make_labels
from pipeline.evaluation.truth import Truth
from pipeline.inputs.splice_sites import KINDS

Transcripts = list["Transcript"]
BIOTYPES = ("coding", "noncoding")


class Transcript(NamedTuple):
    """A transcript of chr1, plus strand: biotype, span (1-based inclusive), and sites as (kind, position)."""

    biotype: str
    first: int
    last: int
    sites: frozenset[tuple[str, int]]


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    first = draw(st.integers(1, 40))
    last = draw(st.integers(first, 50))
    sites = draw(st.sets(st.tuples(st.sampled_from(KINDS), st.integers(first, last)), max_size=6))
    return Transcript(draw(st.sampled_from(BIOTYPES)), first, last, frozenset(sites))


def truth_of(annotated: Transcripts) -> Truth:
    """Transcripts named 0, 1, ...; a transcript and a site on another strand and contig must change nothing."""
    place = {"chrom": "chr1", "strand": "+"}
    spans = [
        {"transcript_id": str(at), "biotype": one.biotype, **place, "first": one.first, "last": one.last}
        for at, one in enumerate(annotated)
    ]
    sites = [
        {"transcript_id": str(at), "biotype": one.biotype, **place, "pos": pos, "kind": kind}
        for at, one in enumerate(annotated)
        for kind, pos in sorted(one.sites)
    ]
    for elsewhere in ({"strand": "-"}, {"chrom": "chr2"}):
        other = {"transcript_id": "other", "biotype": "elsewhere", **place, **elsewhere}
        spans.append({**other, "first": 1, "last": 50})
        sites.extend({**other, "pos": pos, "kind": kind} for kind in KINDS for pos in range(1, 51))
    types = dict.fromkeys(("first", "last", "pos"), pl.Int32)
    frames = [
        pl.DataFrame(rows, schema_overrides={n: t for n, t in types.items() if n in rows[0]}) for rows in (sites, spans)
    ]
    return Truth(frames[0], frames[1], {"chr1": "chr1"})


def groups_of(annotated: Transcripts, flanks: str, rows: pl.DataFrame) -> dict[str | None, Group]:
    groups = list(make_labels(truth_of(annotated), flanks, "chr1", "+").groups(rows))
    names = [group.biotype for group in groups]
    assert len(set(names)) == len(names)
    assert names[1:] == sorted(name for name in names[1:] if name is not None)
    return {group.biotype: group for group in groups}


def members(group: Group) -> list[int]:
    """Rows of a group, in the order of its slices."""
    return [row for start, end in group.slices for row in range(start, end)]


def assert_labelled(
    group: Group, rows: list[int], is_site: Callable[[int, str], bool], is_left_out: Callable[[int, str], bool]
) -> None:
    assert sorted(members(group)) == rows
    for kind in KINDS:
        assert sorted(group.sites[kind].tolist()) == [row for row in rows if is_site(row, kind)]
        assert sorted(group.left_out[kind].tolist()) == [row for row in rows if is_left_out(row, kind)]


def test_the_base_that_two_transcripts_share_counts_once() -> None:
    """The last one of the one is the first one of the other."""
    annotated = [Transcript("coding", first, last, frozenset()) for first, last in ((3, 5), (5, 8), (9, 9), (11, 12))]
    rows = pl.DataFrame({"pos": np.arange(1, 14, dtype=np.int32)})
    assert members(groups_of(annotated, "genomic", rows)["coding"]) == [2, 3, 4, 5, 6, 7, 8, 10, 11]


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(st.lists(transcripts(), min_size=1, max_size=5), st.sets(st.integers(1, 55), min_size=1))
def test_each_base_counts_once_where_rows_are_genomic(annotated: Transcripts, positions: set[int]) -> None:
    pos = sorted(positions)
    groups = groups_of(annotated, "genomic", pl.DataFrame({"pos": np.array(pos, np.int32)}))

    def has(row: int, kind: str, biotype: str | None) -> bool:
        return any((kind, pos[row]) in one.sites for one in annotated if biotype in (ALL, one.biotype))

    assert_labelled(groups[ALL], list(range(len(pos))), lambda row, kind: has(row, kind, ALL), lambda *_: False)
    for biotype in BIOTYPES:
        spans = [range(one.first, one.last + 1) for one in annotated if one.biotype == biotype]
        rows = [row for row, at in enumerate(pos) if any(at in span for span in spans)]
        if not rows:
            assert biotype not in groups
            continue
        assert_labelled(
            groups[biotype],
            rows,
            lambda row, kind, biotype=biotype: has(row, kind, biotype),
            lambda row, kind, biotype=biotype: has(row, kind, ALL) and not has(row, kind, biotype),
        )
    assert set(groups) <= {ALL, *BIOTYPES}


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(st.lists(transcripts(), min_size=1, max_size=5), st.data())
def test_each_row_is_held_against_its_own_transcript(annotated: Transcripts, data: st.DataObject) -> None:
    names = [*map(str, range(len(annotated))), "unknown"]
    runs = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=6, unique=True))
    table = [
        (name, pos)
        for name in runs
        for pos in sorted(data.draw(st.sets(st.integers(1, 55), min_size=1, max_size=8), label=name))
    ]
    frame = pl.DataFrame(table, schema={"transcript_id": pl.String, "pos": pl.Int32}, orient="row")
    groups = groups_of(annotated, "transcript", frame)

    def is_site(row: int, kind: str) -> bool:
        name, pos = table[row]
        return (kind, pos) in annotated[int(name)].sites

    def is_left_out(row: int, kind: str) -> bool:
        return not is_site(row, kind) and any((kind, table[row][1]) in one.sites for one in annotated)

    judged = [row for row, (name, _) in enumerate(table) if name != "unknown"]
    by_biotype = {
        biotype: [row for row in judged if annotated[int(table[row][0])].biotype == biotype] for biotype in BIOTYPES
    }
    expected = {ALL: judged, **by_biotype}
    assert set(groups) == {name for name, rows in expected.items() if rows}
    for name, group in groups.items():
        assert_labelled(group, expected[name], is_site, is_left_out)


def test_a_group_is_ranges_of_rows() -> None:
    annotated = [Transcript("coding", first, first + 4, frozenset()) for first in (3, 8, 20, 40)]
    rows = pl.DataFrame({"pos": np.arange(1, 31, dtype=np.int32)})
    assert groups_of(annotated, "genomic", rows)["coding"].slices == ((2, 7), (7, 12), (19, 24))


@pytest.mark.parametrize("flanks", ["genomic", "transcript"])
def test_a_strand_without_a_transcript_has_no_site(flanks: str) -> None:
    truth = truth_of([])
    rows = pl.DataFrame({"transcript_id": ["0", "0"], "pos": np.array([5, 6], np.int32)})
    groups = list(make_labels(truth, flanks, "chr1", "+").groups(rows))
    assert [group.biotype for group in groups] == ([ALL] if flanks == "genomic" else [])
    for group in groups:
        assert all(len(group.sites[kind]) == 0 for kind in KINDS)
