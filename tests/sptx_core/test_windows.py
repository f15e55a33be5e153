"""Every position has one owner, the nearest centre; cutting and stitching give back what went in."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sptx_core.errors import InputError
from sptx_core.windows import WindowSpec, cut, stitch


@st.composite
def specs(draw: st.DrawFn) -> WindowSpec:
    core = draw(st.integers(1, 24))
    return WindowSpec(core=core, context=draw(st.integers(0, 9)), overlap=draw(st.integers(0, core - 1)))


def nearest_centre(spec: WindowSpec, x: int, five_prime_low: bool) -> int:
    """Search of all windows whose core holds x; twice the centre keeps the arithmetic whole."""
    holds = [k for k in range(x + 1) if k * spec.stride <= x < k * spec.stride + spec.core]
    towards_five_prime = 1 if five_prime_low else -1
    return min(holds, key=lambda k: (abs(2 * x - (2 * k * spec.stride + spec.core - 1)), towards_five_prime * k))


@given(specs(), st.integers(0, 120), st.booleans())
def test_owner_is_the_nearest_centre_and_ties_go_to_the_five_prime_window(
    spec: WindowSpec, x: int, five_prime_low: bool
) -> None:
    assert spec.owner(x, five_prime_low=five_prime_low) == nearest_centre(spec, x, five_prime_low)


@given(specs(), st.integers(1, 30), st.booleans())
def test_owned_intervals_tile_the_axis_inside_their_cores(spec: WindowSpec, n: int, five_prime_low: bool) -> None:
    owned = [spec.owned(k, five_prime_low=five_prime_low) for k in range(n)]
    assert owned[0][0] == 0
    assert all(end == following for (_, end), (following, _) in itertools.pairwise(owned))
    for k, (first, end) in enumerate(owned):
        assert k * spec.stride <= first < end <= k * spec.stride + spec.core
        x = np.arange(first, end)
        assert (spec.owner(x, five_prime_low=five_prime_low) == k).all()


@given(specs(), st.integers(0, 9), st.integers(1, 12))
def test_cut_gives_each_window_its_core_and_flanks_without_a_copy(spec: WindowSpec, k_first: int, n: int) -> None:
    first, end = spec.input_span(k_first, k_first + n - 1)
    stretch = np.random.default_rng(n).integers(0, 5, end - first, dtype=np.uint8)
    windows = cut(stretch, spec)
    assert windows.shape == (n, spec.width)
    assert spec.count(len(stretch)) == n
    assert np.shares_memory(windows, stretch)
    for i, window in enumerate(windows):
        assert (window == stretch[i * spec.stride : i * spec.stride + spec.width]).all()


@given(specs(), st.integers(0, 80), st.integers(0, 80), st.booleans(), st.booleans(), st.integers(0, 2))
def test_stitching_a_network_that_returns_its_coordinates_is_the_identity(
    spec: WindowSpec, first: int, length: int, reverse: bool, five_prime_low: bool, spare: int
) -> None:
    end = first + length
    last = max(end - 1, first)
    k_first = max(spec.owner(first, five_prime_low=five_prime_low) - spare, 0)
    k_last = spec.owner(last, five_prime_low=five_prime_low) + spare
    start, stop = spec.input_span(k_first, k_last)
    stretch = np.arange(start, stop)
    if reverse:
        stretch = stretch[::-1].copy()
    inner = slice(spec.context, spec.context + spec.core)
    values = cut(stretch, spec)[:, inner, None]
    stitched = stitch(values, spec, k_first, first, end, reverse=reverse, five_prime_low=five_prime_low)
    assert stitched.shape == (length, 1)
    assert (stitched[:, 0] == np.arange(first, end)).all()


@given(specs(), st.integers(0, 60), st.integers(1, 60), st.booleans())
def test_stitched_rows_come_from_their_owner(spec: WindowSpec, first: int, length: int, reverse: bool) -> None:
    five_prime_low = not reverse
    x = np.arange(first, first + length)
    owners = spec.owner(x, five_prime_low=five_prime_low)
    order = np.arange(owners[0], owners[-1] + 1)
    values = np.repeat((order[::-1] if reverse else order)[:, None], spec.core, axis=1)
    stitched = stitch(
        values, spec, int(owners[0]), first, first + length, reverse=reverse, five_prime_low=five_prime_low
    )
    assert (stitched == owners).all()


def test_trained_windows_split_an_odd_overlap_by_strand() -> None:
    spec = WindowSpec(overlap=101)
    assert (spec.stride, spec.width) == (899, 9000)
    assert spec.owned(1) == (899 + 51, 2 * 899 + 51)
    assert spec.owned(1, five_prime_low=False) == (899 + 50, 2 * 899 + 50)


def test_stitch_refuses_positions_of_windows_that_are_missing() -> None:
    spec = WindowSpec(core=10, context=2)
    with pytest.raises(ValueError, match="not owned by windows 3 to 4"):
        stitch(np.zeros((2, 10)), spec, 3, 29, 40, reverse=False, five_prime_low=True)
    with pytest.raises(ValueError, match="not owned"):
        stitch(np.zeros((2, 10)), spec, 3, 40, 51, reverse=False, five_prime_low=True)


@pytest.mark.parametrize("length", [0, 13, 15, 23])
def test_cut_refuses_a_stretch_that_is_no_whole_number_of_windows(length: int) -> None:
    with pytest.raises(ValueError, match="no whole number of windows"):
        cut(np.zeros(length, np.uint8), WindowSpec(core=10, context=2))


@pytest.mark.parametrize(
    ("core", "context", "overlap", "message"),
    [(0, 4, 0, "core is 0"), (10, -1, 0, "context is -1"), (10, 4, 10, "0 to 9"), (10, 4, -1, "overlap is -1")],
)
def test_sizes_out_of_range_are_refused(core: int, context: int, overlap: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        WindowSpec(core=core, context=context, overlap=overlap)
