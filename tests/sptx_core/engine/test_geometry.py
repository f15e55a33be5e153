from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sptx_core.config import SpTransformerConfig
from sptx_core.engine.geometry import AttendedSpan, CoreBuckets, kept_margins, reach_of
from sptx_core.windows import WindowSpec

PUBLISHED = SpTransformerConfig()


def test_the_published_network_attends_the_middle_of_a_window() -> None:
    span = AttendedSpan.of(PUBLISHED, WindowSpec())
    assert (span.first, span.low, span.high, span.margin, span.is_padded) == (404, 404, 8596, 404, False)


def test_attended_positions_may_lie_outside_the_window() -> None:
    span = AttendedSpan.of(dataclasses.replace(PUBLISHED, context=100), WindowSpec(1000, 100))
    assert (span.first, span.low, span.high, span.margin, span.is_padded) == (-3496, 0, 1200, 0, True)


def test_the_published_core_lies_in_17_buckets() -> None:
    core = CoreBuckets.of(PUBLISHED, WindowSpec())
    assert (core.first, core.begin, core.end, core.low, core.high, core.buckets) == (3596, 56, 72, 55, 73, 128)
    assert core.core_rows(core.low) == slice(3596 - 55 * 64, 3596 - 55 * 64 + 1000)


@given(size=st.integers(1, 9), buckets=st.integers(1, 9), data=st.data())
def test_core_buckets_are_those_that_hold_the_core_and_their_neighbours(
    size: int, buckets: int, data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, size * buckets - 1))
    length = data.draw(st.integers(1, size * buckets - first))
    core = CoreBuckets(first, length, size, buckets)
    holding = {position // size for position in range(first, first + length)}
    assert set(range(core.begin, core.end)) == holding
    near = {bucket + step for bucket in holding for step in (-1, 0, 1)} & set(range(buckets))
    assert set(range(core.low, core.high)) == near
    positions = list(range(size * buckets))
    for bucket in (core.low, core.begin):
        assert positions[bucket * size :][core.core_rows(bucket)] == positions[first : first + length]


def test_the_published_encoders_reach_2600_bases() -> None:
    assert [reach_of(encoder) for encoder in PUBLISHED.encoders] == [2600, 2600]


@pytest.mark.parametrize(
    ("margin", "expected"),
    [
        (0, [0, 0, 0]),
        (2, [0, 0, 2]),
        (6, [1, 3, 6]),  # what the last convolution reads begins 3 before, and so on
        (100, [1, 3, 6]),  # the reach after each convolution
    ],
)
def test_margins_shrink_by_what_later_convolutions_read(margin: int, expected: list[int]) -> None:
    assert kept_margins([1, 2, 3], margin) == expected
