"""Rows as arrays and stretches of bases: joined, cut, looked up; each held against plain sets."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.browsing.arrays import ScoredRows, joined, merged

STRETCH = st.tuples(st.integers(0, 60), st.integers(1, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))


def rows(pos: list[int]) -> ScoredRows:
    score = (np.array(pos, np.float32) * 7) % 5 / 10
    return ScoredRows(np.array(pos, np.int32), score, score / 2, np.tile(score, (2, 1)).T)


@given(st.lists(STRETCH), st.integers(0, 5))
def test_merged_stretches_cover_the_same_bases_and_short_gaps(some: list[tuple[int, int]], gap: int) -> None:
    starts, ends = merged(np.array([a for a, _ in some]), np.array([b for _, b in some]), gap)
    held = {base for a, b in some for base in range(a, b)}
    found = {base for a, b in zip(starts, ends, strict=True) for base in range(a, b)}
    assert held <= found
    assert all(ends[:-1] < starts[1:])
    assert all(starts[1:] - ends[:-1] >= gap)
    if gap <= 1:
        assert found == held
    for base in found - held:  # in a gap that is shorter than `gap`
        left, right = max(b for b in held if b < base), min(b for b in held if b > base)
        assert right - left - 1 < gap


@given(st.lists(st.integers(1, 40)).map(sorted), st.lists(st.integers(0, 45)), st.integers(0, 40), st.integers(0, 20))
def test_rows_are_cut_and_looked_up(pos: list[int], asked: list[int], start: int, length: int) -> None:
    held = rows(pos)
    assert held.within(start, start + length).pos.tolist() == [p for p in pos if start < p <= start + length]
    found = held.greatest_at("acceptor", np.array(asked, np.int32))
    expected = [
        max((s for p, s in zip(pos, held.acceptor.tolist(), strict=True) if p == at), default=0) for at in asked
    ]
    assert found.tolist() == expected


def test_rows_of_parts_are_joined_in_order() -> None:
    both = joined([rows([3, 9]), rows([4, 12])], 2)
    assert both.pos.tolist() == [3, 4, 9, 12]
    assert both.usage[:, 1].tolist() == rows([3, 4, 9, 12]).acceptor.tolist()
    assert joined([], 15).usage.shape == (0, 15)
    assert both.nbytes == 4 * 4 * 5
