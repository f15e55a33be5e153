"""Zoom levels against sums over single bases."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.exporting.zoom import FACTOR, FIRST_BASES, MAX_LEVELS, SUMMARY, coarsen, level_bases, summarise

LENGTH = 400


@st.composite
def runs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs of a contig of LENGTH bases, apart from each other."""
    edges = sorted(draw(st.sets(st.integers(0, LENGTH), max_size=20)))
    places = [(start, end) for start, end in pairwise(edges) if draw(st.booleans())]
    steps = draw(st.lists(st.integers(0, 10_000), min_size=len(places), max_size=len(places)))
    starts, ends = np.array(places, np.int64).reshape(-1, 2).T
    return starts, ends, (np.array(steps) / 10_000).astype(np.float32)


def per_base(starts: np.ndarray, ends: np.ndarray, values: np.ndarray) -> np.ndarray:
    found = np.full(LENGTH, np.nan, np.float32)
    for start, end, value in zip(starts, ends, values, strict=True):
        found[start:end] = value
    return found


def expected(bases: np.ndarray, width: int) -> list[tuple[float, ...]]:
    rows = []
    for begin in range(0, LENGTH, width):
        held = np.flatnonzero(~np.isnan(bases[begin : begin + width])) + begin
        if len(held):
            value = bases[held].astype(np.float64)
            rows.append((held[0], held[-1] + 1, len(held), value.min(), value.max(), value.sum(), (value**2).sum()))
    return rows


def rows_of(found: np.ndarray) -> list[tuple[float, ...]]:
    names = ("start", "end", "valid", "least", "greatest", "sum", "squares")
    return [tuple(float(row[name]) for name in names) for row in found]


@given(runs(), st.integers(1, 60), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_bins_hold_what_their_bases_hold(held: tuple[np.ndarray, ...], width: int, factor: int) -> None:
    fine = summarise(3, *held, width)
    bases = per_base(*held)
    for found, bin_width in ((fine, width), (coarsen(fine, width * factor), width * factor)):
        assert (found["contig"] == 3).all()
        wanted = expected(bases, bin_width)
        assert [row[:5] for row in rows_of(found)] == [tuple(map(float, row[:5])) for row in wanted]
        assert np.allclose([row[5:] for row in rows_of(found)], [row[5:] for row in wanted], rtol=1e-6)


def test_runs_that_come_in_pieces_give_the_same_levels() -> None:
    starts = np.arange(0, 300, 3)
    ends, values = starts + 2, (starts / 300).astype(np.float32)
    whole = summarise(0, starts, ends, values, 64)
    pieces = np.concatenate([summarise(0, starts[at], ends[at], values[at], 64) for at in (slice(50), slice(50, 100))])
    joined = coarsen(pieces, 64)
    assert len(pieces) == len(whole) + 1
    for name in ("start", "end", "valid", "least", "greatest"):
        assert (joined[name] == whole[name]).all()
    assert np.allclose(joined["sum"], whole["sum"], rtol=1e-6)


def test_bins_of_two_contigs_stay_apart() -> None:
    one = (np.array([0]), np.array([5]), np.array([0.5], np.float32))
    both = np.concatenate([summarise(number, *one, 4) for number in (0, 1)])
    assert coarsen(both, 4096)["contig"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("longest", "levels"), [(1, 1), (FIRST_BASES + 1, 1), (FIRST_BASES * FACTOR + 1, 2), (248_956_422, 9)]
)
def test_levels_end_where_a_bin_would_hold_a_contig(longest: int, levels: int) -> None:
    found = level_bases(longest)
    assert found == [FIRST_BASES * FACTOR**depth for depth in range(levels)]
    assert len(level_bases(2**32 - 1)) == MAX_LEVELS


def test_nothing_has_no_bins() -> None:
    nothing = np.zeros(0, np.int64)
    assert len(coarsen(summarise(0, nothing, nothing, np.zeros(0, np.float32), 4), 16)) == 0
    assert SUMMARY.itemsize == 32  # as the format has it
