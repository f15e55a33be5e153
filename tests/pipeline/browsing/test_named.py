"""Named sites of a view: the rows that the table gives itself, in any view, and only counted where it is wide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from material import tables

from pipeline.browsing.cache import ByteCache
from pipeline.browsing.models import Models
from pipeline.browsing.named import MAX_BASES, TILE_BASES, NamedSites
from pipeline.browsing.view import TableView
from pipeline.tracks.named_sites import transcripts_of
from pipeline.tracks.reader import Tracks


def named_of(tracks: Tracks, cache: ByteCache | None = None) -> NamedSites:
    cache = cache or ByteCache(1 << 24)
    return NamedSites(TableView(tracks, cache), Models(transcripts_of(tracks, None)), cache)


@pytest.fixture(scope="module")
def named(tracks: Tracks) -> NamedSites:
    return named_of(tracks)


@pytest.fixture(scope="module")
def all_of_them(tracks: Tracks) -> pl.DataFrame:
    """The named sites as the table gives them, in the order of the page."""
    return tracks.sites(named=True).collect().sort("pos", "strand", "kind")


def plainly(rows: pl.DataFrame, columns: list[str]) -> list[list[object]]:
    """Rows as JSON has them: scores with 4 digits, usage and tau with 3."""

    def shown(name: str, value: object) -> object:
        coarse = name in columns[columns.index("no_splice") + 1 :]
        return round(value, 3 if coarse else 4) if isinstance(value, float) else value

    return [[shown(name, value) for name, value in row.items()] for row in rows.select(columns).iter_rows(named=True)]


@pytest.mark.slow
@given(st.sampled_from([900, 1_700, 2_900, 261_000, 700_000, 899_000]), st.integers(1, 3_000), st.floats(0.1, 0.9))
@settings(max_examples=15)
def test_rows_are_those_of_the_table(
    named: NamedSites, all_of_them: pl.DataFrame, start: int, length: int, least: float
) -> None:
    found = named.within("chr1", start, start + length, least, 10_000)
    inside = pl.col("pos").is_between(start + 1, start + length) & (pl.col("score") >= least)
    assert found["more"] == 0
    assert found["rows"] == plainly(all_of_them.filter(inside), found["columns"])


def test_every_annotated_site_is_there_with_the_least_score_of_0(named: NamedSites, all_of_them: pl.DataFrame) -> None:
    found = named.within("chr1", 0, MAX_BASES - 1, 0, 10_000)
    assert len(found["rows"]) == all_of_them.height
    below = all_of_them.filter(~pl.col("called"))
    assert below.height
    assert "chrom" not in found["columns"]


def test_of_too_many_the_strongest_are_kept_in_order(named: NamedSites, all_of_them: pl.DataFrame) -> None:
    found = named.within("chr1", 1_000, 4_500, 0.1, 7)
    inside = all_of_them.filter(pl.col("pos").is_between(1_001, 4_500) & (pl.col("score") >= 0.1))
    assert found["more"] == inside.height - 7
    kept = inside.sort("score", descending=True, maintain_order=True).head(7).sort("pos", "strand", "kind")
    assert [row[1] for row in found["rows"]] == kept["pos"].to_list()


def test_sites_of_a_wide_view_are_only_counted(named: NamedSites, all_of_them: pl.DataFrame) -> None:
    found = named.within("chr1", 0, MAX_BASES + 1, 0.3, 10_000)
    assert found["rows"] == []
    assert found["more"] == all_of_them.filter(pl.col("score") >= 0.3).height


class Forgetful(ByteCache):
    """Drops what it has said to hold before it is asked for."""

    def __contains__(self, key: Any) -> bool:
        return "named" in key and 1 in key

    def get(self, key: Any, read: Any) -> Any:
        return read()


def test_a_tile_that_is_dropped_while_others_are_read_is_read_again(named: NamedSites, tracks: Tracks) -> None:
    view = ("chr1", 261_000, TILE_BASES + 1_000, 0.1, 10_000)
    assert {row[1] > TILE_BASES for row in named.within(*view)["rows"]} == {False, True}
    assert named_of(tracks, Forgetful(1)).within(*view) == named.within(*view)


def test_rows_by_transcript_are_named_too(tmp_path: Path) -> None:
    tables.write_example(tmp_path / "t", flanks="transcript")
    tracks = tables.open_tracks(tmp_path / "t")
    found = named_of(tracks).within("chr9", 0, 2_000, 0.1, 10_000)
    expected = tracks.sites(named=True, chrom="chr9").collect().filter(pl.col("score") >= 0.1)
    assert len(found["rows"]) == expected.height
    assert "transcript_id" in found["columns"]
