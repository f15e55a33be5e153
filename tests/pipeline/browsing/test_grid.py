"""Bins of a fixed grid: their widths, their edges, and that a maximum is never lost."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.browsing.grid import Grid, grid_of, maxima

STARTS, LENGTHS, BINS = st.integers(0, 10**6), st.integers(1, 10**6), st.integers(1, 3_000)


@given(STARTS, LENGTHS, BINS)
def test_a_grid_is_the_finest_that_is_wide_enough(start: int, length: int, bins: int) -> None:
    grid = grid_of(start, start + length, bins)
    assert grid.size & (grid.size - 1) == 0
    assert grid.size * bins >= length
    assert grid.size == 1 or grid.size // 2 * bins < length
    assert grid.start % grid.size == grid.end % grid.size == 0
    assert grid.start <= start < start + length <= grid.end
    assert grid.end - grid.start < length + 2 * grid.size


@given(st.dictionaries(st.integers(0, 5_000), st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32))), STARTS)
def test_maxima_are_those_of_each_bin(scores: dict[int, tuple[float, float]], seed: int) -> None:
    size = 1 << seed % 10
    grid = Grid(size, 0, -(-5_001 // size) * size)
    pos = np.array(sorted(scores), np.int64)
    both = np.array([scores[at] for at in pos.tolist()], np.float32).reshape(-1, 2)
    bins, acceptor, donor = maxima(grid, pos, both[:, 0], both[:, 1])
    expected: dict[int, tuple[float, float]] = {}
    for at, (one, two) in scores.items():
        held = expected.get(at // size, (0.0, 0.0))
        expected[at // size] = max(held[0], one), max(held[1], two)
    shown = {at: pair for at, pair in sorted(expected.items()) if max(pair) > 0}
    assert dict(zip(bins.tolist(), zip(acceptor.tolist(), donor.tolist(), strict=True), strict=True)) == shown


def test_rows_of_one_position_share_a_bin() -> None:
    pos, high, low = np.array([4, 4, 5]), np.array([0.2, 0.9, 0], np.float32), np.array([0, 0, 0.5], np.float32)
    bins, acceptor, donor = maxima(Grid(1, 4, 8), pos, high, low)
    assert bins.tolist() == [0, 1]
    assert acceptor.tolist() == [np.float32(0.9), 0]
    assert donor.tolist() == [0, 0.5]


def test_no_rows_are_no_bins() -> None:
    none = np.zeros(0, np.float32)
    assert [len(column) for column in maxima(Grid(4, 0, 8), np.zeros(0, np.int32), none, none)] == [0, 0, 0]
