"""Views of a table against Polars on its raw rows: bins near and far, stretches with rows, bases, scores."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from material import browsed, tables
from material.genomes import Transcript

from pipeline.browsing.cache import ByteCache
from pipeline.browsing.grid import Grid, grid_of
from pipeline.browsing.view import BLOCK_BASES, NEAR_BASES, TableView
from pipeline.tracks.reader import Tracks, open_tracks
from sptx_core.errors import InputError

EDGES = st.sampled_from([0, 1_000, 1_850, 3_000, 261_500, BLOCK_BASES, 700_500, 899_500])


@pytest.fixture(scope="module")
def view(tracks: Tracks) -> TableView:
    return TableView(tracks, ByteCache(1 << 24))


@pytest.fixture(scope="module")
def raw(tracks: Tracks) -> dict[str, pl.DataFrame]:
    """All rows of both tables."""
    return {"tracks": tracks.scan().collect(), "sites": tracks.sites().collect()}


def binned(rows: pl.DataFrame, strand: str, grid: Grid) -> list[tuple[Any, ...]]:
    """The greatest scores of each bin, by Polars."""
    base = pl.col("pos") - 1
    inside = rows.filter((pl.col("strand") == strand) & (base >= grid.start) & (base < grid.end))
    bins = inside.group_by(((base - grid.start) // grid.size).alias("bin")).agg(pl.col("acceptor", "donor").max())
    return bins.filter((pl.col("acceptor") > 0) | (pl.col("donor") > 0)).sort("bin").rows()


@given(EDGES, st.integers(-300, 300), st.integers(1, 5_000), st.integers(1, 1_500), st.sampled_from("+-"))
@settings(max_examples=60)
def test_near_bins_are_the_maxima_of_the_tracks(
    view: TableView, raw: dict[str, pl.DataFrame], at: int, shift: int, length: int, bins: int, strand: str
) -> None:
    start = max(at + shift, 0)
    grid = grid_of(start, start + length, bins)
    source, *found = view.scores(browsed.CHROM, strand, grid)
    assert source == "tracks"
    assert list(zip(*(column.tolist() for column in found), strict=True)) == binned(raw["tracks"], strand, grid)


@pytest.mark.parametrize("strand", ["+", "-"])
def test_far_bins_are_the_maxima_of_the_sites(view: TableView, raw: dict[str, pl.DataFrame], strand: str) -> None:
    grid = grid_of(0, NEAR_BASES + 1, 500)
    source, *found = view.scores(browsed.CHROM, strand, grid)
    assert source == "sites"
    assert list(zip(*(column.tolist() for column in found), strict=True)) == binned(raw["sites"], strand, grid)
    assert view.scores(browsed.CHROM, strand, grid_of(0, NEAR_BASES, 1_000))[0] == "tracks"


@given(st.integers(0, 2_000), st.integers(-700, 700), st.integers(1, 200))
@settings(max_examples=30)
def test_panning_keeps_the_bins_that_both_views_hold(view: TableView, start: int, shift: int, bins: int) -> None:
    shown = []
    for first in (start + 1_000, start + 1_000 + shift):
        grid = grid_of(first, first + 1_500, bins)
        _, at, acceptor, donor = view.scores(browsed.CHROM, "+", grid)
        edges = (at * grid.size + grid.start).tolist()
        shown.append((grid, dict(zip(edges, zip(acceptor.tolist(), donor.tolist(), strict=True), strict=True))))
    (one, before), (two, after) = shown
    assert one.size == two.size
    both = range(max(one.start, two.start), min(one.end, two.end))
    assert {at: pair for at, pair in before.items() if at in both} == {
        at: pair for at, pair in after.items() if at in both
    }


def test_stretches_with_rows_are_exact(view: TableView, raw: dict[str, pl.DataFrame]) -> None:
    plus = raw["tracks"].filter(pl.col("strand") == "+")["pos"].to_numpy() - 1
    found = view.computed(browsed.CHROM, "+", 0, browsed.LENGTH)
    assert [base for start, end in found for base in range(start, end)] == plus.tolist()
    assert found == [(1_000, 4_500), (260_999, 263_500), (700_000, 701_000)]  # two parts of one locus are one
    assert view.computed(browsed.CHROM, "+", 4_400, 261_000) == [(4_400, 4_500), (260_999, 261_000)]
    assert view.computed(browsed.CHROM, "+", 4_500, 260_999) == []
    assert view.computed(browsed.CHROM, "+", 0, browsed.LENGTH, gap=300_000)[0] == (1_000, 263_500)
    assert view.computed("none", "+", 0, 10) == []
    asked = np.array([1_000, 1_001, 4_500, 4_501, 701_000, 701_001, 10**6])
    assert view.is_computed(browsed.CHROM, "+", asked).tolist() == [False, True, True, False, True, False, False]


@given(EDGES, st.integers(-300, 300), st.integers(1, 4_000))
@settings(max_examples=30)
def test_the_sequence_is_that_of_the_rows(
    view: TableView, raw: dict[str, pl.DataFrame], at: int, shift: int, length: int
) -> None:
    start = max(at + shift, 0)
    bases = dict.fromkeys(range(start, start + length), "-")
    inside = raw["tracks"].filter(pl.col("pos").is_between(start + 1, start + length))
    for strand in "-+":  # the two strands of this table do not agree; plus comes first
        bases |= {pos - 1: ref for pos, ref in inside.filter(pl.col("strand") == strand).select("pos", "ref").rows()}
    assert view.sequence(browsed.CHROM, start, start + length) == "".join(bases.values())


def test_scores_at_positions_are_those_of_either_table(view: TableView, raw: dict[str, pl.DataFrame]) -> None:
    asked = np.array([2_901, 500, 1_200, 1_801, 262_200, 262_201, 800_000, 700_101], np.int32)
    for table, read in (("tracks", view.tracks_at), ("sites", view.sites_at)):
        rows = raw[table].filter(pl.col("strand") == "+")
        held = {pos: pair for pos, *pair in rows.select("pos", "acceptor", "donor").rows()}
        acceptor, donor = (read(browsed.CHROM, "+", asked, kind) for kind in ("acceptor", "donor"))
        assert list(zip(acceptor.tolist(), donor.tolist(), strict=True)) == [
            tuple(held.get(pos, (0, 0))) for pos in asked.tolist()
        ]


@pytest.mark.slow
def test_sites_of_many_parts_are_read_at_once_and_are_the_same(tmp_path: Path) -> None:
    some = [tables.Part("chr1", "+", range(at, at + 10), {at + 3: 0.5}) for at in range(1, 401, 10)]
    some[3] = some[3]._replace(acceptor={31: 0.5, 34: 0.5, 40: 0.5})
    held = TableView(tables.write(tmp_path / "t", some), ByteCache(1 << 20))
    assert [held.sites("chr1", "+", at - 1, at).pos.tolist() for at in (30, 31, 40, 41)] == [[], [31], [40], []]
    few = held.sites("chr1", "+", 95, 125)
    assert few.pos.tolist() == [104, 114, 124]
    assert len(held.sites("chr1", "+", 0, 1_000).pos) == 42
    assert held.sites("chr1", "+", 95, 125).pos.tolist() == few.pos.tolist()
    assert held.sites("chr1", "-", 0, 1_000).usage.shape == (0, 15)


def test_rows_by_transcript_show_the_greatest_score(tmp_path: Path) -> None:
    ids = ["A"] * 6 + ["B"] * 6
    pos = [*range(11, 17), *range(14, 20)]
    part = tables.Part("chr1", "+", pos, transcripts=ids, acceptor={15: 0.4})
    rows = part.rows()
    rows.scores[7, 1] = 0.9  # of transcript B at 15
    own = [Transcript(name, "chr1", "+", [(first, first + 5)]) for name, first in (("A", 11), ("B", 14))]
    tracks = tables.write(tmp_path / "t", [part], own)
    for table in ("sites", "tracks"):
        tracks.store.delete(tracks.parts[0].key.part_name(table, tracks.fingerprint))
    tables.commit_rows(tracks.store, tracks.parts[0].key, rows, flanks="transcript")
    view = TableView(open_tracks(tmp_path / "t"), ByteCache(1 << 20))
    _, at, acceptor, _ = view.scores("chr1", "+", Grid(1, 0, 32))
    assert at.tolist() == [14]
    assert acceptor.tolist() == [np.float32(0.9)]
    assert view.computed("chr1", "+", 0, 100) == [(10, 19)]


@pytest.mark.slow
def test_an_unfinished_table_shows_new_parts_after_a_refresh(tmp_path: Path) -> None:
    whole = browsed.write(tmp_path / "t")
    view = TableView(browsed.open_done(whole, 2), ByteCache(1 << 24))
    assert view.unfinished == "2 of 6 shards"
    assert view.computed(browsed.CHROM, "+", 0, browsed.LENGTH) == [(1_000, 4_500)]
    grid = Grid(1024, 261_120, 263_168)
    assert not len(view.scores(browsed.CHROM, "+", grid)[1])
    browsed.commit_rest(whole)
    view.refresh()
    assert view.unfinished is None
    assert view.computed(browsed.CHROM, "+", 200_000, 300_000) == [(260_999, 263_500)]
    assert len(view.scores(browsed.CHROM, "+", grid)[1]) == 2


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    tracks = browsed.write(tmp_path / "t")
    Path(tracks.store.path(tracks.parts[0].name)).write_bytes(b"PAR1 nothing")
    with pytest.raises(InputError, match="cannot be read"):
        TableView(open_tracks(tmp_path / "t"), ByteCache(1 << 20)).scores(browsed.CHROM, "+", Grid(1, 1_000, 1_100))


def test_what_is_read_again_is_taken_from_the_cache(tracks: Tracks) -> None:
    cache = ByteCache(1 << 24)
    view = TableView(tracks, cache)
    grids = [Grid(1, at, at + 50) for at in (1_000, 1_500)]
    for before, after in pairwise([(view.scores(browsed.CHROM, "+", grid), cache.bytes) for grid in grids]):
        assert before[1] == after[1]
