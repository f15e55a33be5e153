"""Windows of two tables: each shared row lies in one, memory is bounded, and most parts are read once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from material import two_tables
from material.two_tables import FIRST, SECOND, Cuts

from pipeline.tracks.comparison import Comparison, rows_within
from pipeline.tracks.reader import Tracks

READ = Tracks.rows_where


def windows_of(tables: Sequence[Tracks], window: int, monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[int, int]]]:
    """Shards and rows of each reading of the tracks of either table, on the plus strand of chr1."""
    read: list[list[tuple[int, int]]] = [[], []]

    def rows_where(
        self: Tracks, keys: Sequence, holds: pl.Expr, *, columns: Sequence[str], sites: bool
    ) -> pl.DataFrame:
        rows = READ(self, keys, holds, columns=columns, sites=sites)
        if not sites:
            read[[*tables].index(self)].append((len(keys), rows.height))
        return rows

    with monkeypatch.context() as patch:
        patch.setattr(Tracks, "rows_where", rows_where)
        patch.setattr("pipeline.tracks.comparison.WINDOW", window)
        work = Comparison((tables[0], tables[1]), None, 0.01, 0.1, lambda _: None)
        work.add(("chr1", "+"))
    assert work.shared == sum(rows for _, rows in read[0]) == sum(rows for _, rows in read[1])
    return read


@pytest.mark.slow
def test_windows_hold_at_most_so_many_positions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cuts: Cuts = [("chr1", "+", 1, 700)]
    one, other = windows_of(two_tables.write(tmp_path, cuts=(cuts, cuts)), 64, monkeypatch)
    assert {rows for _, rows in one} == {64, 700 % 64}
    assert one == other


@pytest.mark.slow
def test_of_one_plan_each_part_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cuts: Cuts = [("chr1", "+", first, first + 99) for first in range(1, 700, 100)]
    tables = two_tables.write(tmp_path, cuts=(cuts, cuts))
    assert windows_of(tables, 250, monkeypatch) == [[(2, 200), (2, 200), (2, 200), (1, 100)]] * 2
    assert windows_of(tables, 99, monkeypatch)[0][:2] == [(1, 99), (1, 1)]


def test_rows_are_counted_by_the_plan(tmp_path: Path) -> None:
    first, _ = two_tables.write(tmp_path, cuts=(FIRST, SECOND))
    keys = [part.key for part in first.parts]
    assert rows_within(first, keys, None) == 200 + 320 + 150 + 90
    spans = {("chr1", "+"): [(1, 150), (290, 310)], ("chr1", "-"): [(260, 900)], ("chr9", "+"): [(1, 10**6)]}
    assert rows_within(first, keys, spans) == 50 + 21
    assert rows_within(first, [], None) == 0
