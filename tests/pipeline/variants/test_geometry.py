"""Readings and windows, compared base by base with the alternative sequence itself, on both strands."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from material.changes import Raw, changes, opposite
from material.stub_scorer import fetch_of, reference_of

from pipeline.variants.alleles import Allele, normalise
from pipeline.variants.geometry import NOWHERE, Change, Frame, Geometry, Readings, Window, to_axis
from sptx_core.alphabet import decode
from sptx_core.errors import InputError

DISTANCES = st.sampled_from([0, 1, 2, 7, 100])
GEOMETRIES = st.one_of(
    st.builds(Geometry.of, DISTANCES, st.sampled_from([0, 1, 5]), st.sampled_from([1, 2, 4, 9, 50, 4000])),
    st.builds(Geometry.of, DISTANCES, st.just(3), st.just(9), grid_core=st.sampled_from([1, 2, 8, 51])),
)
STRANDS = st.sampled_from("+-")


def change_of(raw: Raw, strand: str) -> Change:
    allele = normalise(raw.start, raw.ref, raw.alt, fetch_of(raw.text), len(raw.text))
    assert allele is not None
    return Change.of(allele, strand)


class Axis:
    """Reference and alternative as one strand has them, by coordinates of each frame."""

    def __init__(self, raw: Raw, strand: str, change: Change) -> None:
        self.first = -len(raw.text) if strand == "-" else 0
        self.growth = change.growth
        self.reference = opposite(raw.text) if strand == "-" else raw.text
        self.alternative = opposite(raw.changed) if strand == "-" else raw.changed

    def index(self, frame: Frame, t: int) -> int:
        """Of a coordinate, the index in the sequence."""
        return t - self.first + (self.growth if frame is Frame.RIGHT else 0)

    def base(self, frame: Frame, t: int) -> str:
        """The base at a coordinate; N beyond the ends."""
        sequence, at = self.reference if frame is Frame.REFERENCE else self.alternative, self.index(frame, t)
        return sequence[at] if 0 <= at < len(sequence) else "N"


def frames(readings: Readings) -> list[Frame]:
    return [Frame.RIGHT if right else Frame.LEFT for right in readings.right.tolist()]


@settings(max_examples=100)
@given(changes(), STRANDS, GEOMETRIES)
def test_every_base_of_both_sequences_is_read_once(raw: Raw, strand: str, geometry: Geometry) -> None:
    change = change_of(raw, strand)
    axis, readings = Axis(raw, strand, change), geometry.readings(change)
    low, high = change.span[0] - geometry.distance, change.span[1] + geometry.distance
    reference = readings.reference[readings.reference != NOWHERE]
    assert reference.tolist() == list(range(low, high))
    read = zip(frames(readings), readings.alternative.tolist(), strict=True)
    indices = [axis.index(frame, t) for frame, t in read if t != NOWHERE]
    assert indices == list(range(low - axis.first, high - axis.first + change.growth))
    assert not ((readings.reference == NOWHERE) & (readings.alternative == NOWHERE)).any()
    assert change.growth or not readings.right.any()


@settings(max_examples=100)
@given(changes(), STRANDS, st.sampled_from([0, 1, 7]))
def test_readings_name_the_right_bases(raw: Raw, strand: str, distance: int) -> None:
    change = change_of(raw, strand)
    axis, readings = Axis(raw, strand, change), Geometry.of(distance, 3, 50).readings(change)
    start, replaced = change.start, change.start + len(change.ref)
    first, end = change.span
    latest = first - distance - 1
    for frame, position, inserted, reference, alternative, away in zip(
        frames(readings), *(column.tolist() for column in (*readings[:4], readings.distance)), strict=True
    ):
        if reference == NOWHERE:
            assert position == latest
            assert change.alt[inserted - 1] == axis.base(frame, alternative)
            assert alternative == start + inserted - 1
            assert away == 0
            continue
        latest = reference
        assert (position, inserted) == (reference, 0)
        assert away == (first - position if position < first else position - end + 1 if position >= end else 0)
        if alternative == NOWHERE:
            assert start <= position < replaced
        elif not start <= position < replaced:
            assert axis.base(frame, alternative) == axis.base(Frame.REFERENCE, reference)


@pytest.mark.slow
@settings(max_examples=100)
@given(changes(), STRANDS, GEOMETRIES)
def test_each_reading_lies_in_one_window_and_no_window_is_idle(raw: Raw, strand: str, geometry: Geometry) -> None:
    change = change_of(raw, strand)
    readings = geometry.readings(change)
    windows = geometry.windows(change, readings)
    if change.ref == change.alt:
        assert windows == []
        return
    read = [(Frame.REFERENCE, t) for t in readings.reference.tolist()]
    read += zip(frames(readings), readings.alternative.tolist(), strict=True)
    held = [
        [w for w in windows if w.frame is frame and w.first <= t < w.first + geometry.core]
        for frame, t in read
        if t != NOWHERE
    ]
    assert all(len(found) == 1 for found in held)
    assert {found[0] for found in held} == set(windows)
    assert len(set(windows)) == len(windows)
    assert {(window.first - geometry.origin(change)) % geometry.core for window in windows} == {0}


@settings(max_examples=100)
@given(changes(), STRANDS, GEOMETRIES)
def test_windows_hold_the_sequence_of_their_frame(raw: Raw, strand: str, geometry: Geometry) -> None:
    change = change_of(raw, strand)
    axis, reference = Axis(raw, strand, change), reference_of(raw.text, strand)
    for window in geometry.windows(change, geometry.readings(change))[::3]:
        codes = geometry.codes(change, window, reference)
        low, high = window.first - geometry.context, window.first + geometry.core + geometry.context
        assert codes.dtype == np.uint8
        assert decode(codes) == "".join(axis.base(window.frame, t) for t in range(low, high))


@pytest.mark.slow
@settings(max_examples=100)
@given(changes(least=48, most=48), st.sampled_from([Geometry.of(7, 3, 9), Geometry.of(100, 3, 50)]), st.booleans())
def test_the_mirror_image_has_mirrored_readings_and_windows(raw: Raw, geometry: Geometry, grid: bool) -> None:
    if grid:
        geometry = Geometry.of(geometry.distance, 3, 9, grid_core=16)
    for strand, other in ("+-", "-+"):
        here, there = change_of(raw, strand), change_of(raw.mirrored(), other)
        if here.ref == here.alt:
            return
        moved = len(raw.text) if strand == "+" else -len(raw.text)
        assert (there.start + moved, *vars(there).values()) == (here.start, there.start, here.ref, here.alt, here.shift)
        of_here, of_there = geometry.readings(here), geometry.readings(there)
        for name in ("position", "reference", "alternative"):
            column = getattr(of_there, name)
            np.testing.assert_array_equal(np.where(column == NOWHERE, NOWHERE, column + moved), getattr(of_here, name))
        for name in ("inserted", "right", "distance"):
            np.testing.assert_array_equal(getattr(of_there, name), getattr(of_here, name))
        assert geometry.windows(here, of_here) == [
            Window(window.frame, window.first + moved) for window in geometry.windows(there, of_there)
        ]


@pytest.mark.parametrize("strand", "+-")
def test_a_substitution_is_the_centre_of_its_windows(strand: str) -> None:
    change = Change.of(Allele(5000, "A", "C"), strand)
    geometry = Geometry.of(100, 4000, 4000)
    assert (geometry.core, geometry.centred) == (201, True)
    readings = geometry.readings(change)
    first = (5000 if strand == "+" else -5001) - 100
    assert geometry.windows(change, readings) == [Window(Frame.REFERENCE, first), Window(Frame.LEFT, first)]
    np.testing.assert_array_equal(readings.reference, np.arange(first, first + 201))
    np.testing.assert_array_equal(readings.alternative, readings.reference)
    np.testing.assert_array_equal(readings.distance, np.abs(np.arange(-100, 101)))


@pytest.mark.parametrize(
    ("change", "reference", "left", "right"),
    [
        (Change(50, "AC", "", 0), [30, 51], [30], [51]),  # 22 bases: two windows, which meet 3' of the centre
        (Change(50, "", "AC", 0), [39], [39], [39]),  # the base 5' of it
        (Change(50, "", "A" * 40, 0), [39], [39, 60, 81], [39]),  # all inserted bases are read
        (Change(50, "A", "", 22), [30, 51, 72], [30], [51, 72]),
        (Change(50, "A" * 43, "", 0), [40, 61, 82], [40], [82]),
    ],
)
def test_tiles_of_changes(change: Change, reference: list[int], left: list[int], right: list[int]) -> None:
    geometry = Geometry.of(10, 5, 4000)
    found = geometry.windows(change, geometry.readings(change))
    by_frame = [[window.first for window in found if window.frame is frame] for frame in Frame]
    assert by_frame == [reference, left, right]


@pytest.mark.parametrize(
    ("distance", "largest", "core", "firsts"),
    [
        (0, 4000, 1, [50]),
        (1, 4000, 3, [49]),
        (100, 201, 201, [-50]),
        (100, 200, 199, [-148, 51]),  # an even number of windows meets 3' of the centre
        (100, 100, 99, [-98, 1, 100]),
        (3, 1, 1, [47, 48, 49, 50, 51, 52, 53]),
    ],
)
def test_a_distance_beyond_the_largest_core_is_tiled(distance: int, largest: int, core: int, firsts: list[int]) -> None:
    geometry = Geometry.of(distance, 5, largest)
    change = Change(50, "A", "C", 0)
    windows = geometry.windows(change, geometry.readings(change))
    assert geometry.core == core
    assert [window.first for window in windows if window.frame is Frame.REFERENCE] == firsts
    assert [window.first for window in windows if window.frame is Frame.LEFT] == firsts


def test_windows_on_the_grid_are_those_of_the_tracks_on_both_strands() -> None:
    geometry = Geometry.of(100, 4000, 4000, grid_core=1000)
    for start, genomic in ((1500, [1000]), (1950, [1000, 2000]), (2000, [1000, 2000])):
        for strand in "+-":
            change = Change.of(Allele(start, "A", "C"), strand)
            windows = geometry.windows(change, geometry.readings(change))
            assert sorted(to_axis(w.first, w.first + 1000, strand) for w in windows) == sorted(
                [(first, first + 1000) for first in genomic] * 2
            )


def test_with_distance_zero_a_deletion_has_the_reference_alone() -> None:
    geometry, change = Geometry.of(0, 5, 4000), Change(50, "AC", "", 0)
    readings = geometry.readings(change)
    assert readings.position.tolist() == [50, 51]
    assert [window.frame for window in geometry.windows(change, readings)] == [Frame.REFERENCE, Frame.REFERENCE]
    readings = geometry.readings(Change(50, "", "AC", 0))
    assert readings.position.tolist() == [49, 49]
    assert readings.inserted.tolist() == [1, 2]


def test_deleted_and_inserted_bases_of_one_change() -> None:
    # AAAA|CG|TTTT > AAAA|GTACC|TTTT: the cheapest alignment has one gap, as far 5' as it can be.
    readings = Geometry.of(1, 5, 4000).readings(Change(4, "CG", "GTACC", 0))
    assert readings.reference.tolist() == [3, NOWHERE, NOWHERE, NOWHERE, 4, 5, 6]
    assert readings.alternative.tolist() == [3, 4, 5, 6, 7, 8, 6]
    assert readings.position.tolist() == [3, 3, 3, 3, 4, 5, 6]
    assert readings.inserted.tolist() == [0, 1, 2, 3, 0, 0, 0]
    assert readings.right.tolist() == [False] * 6 + [True]


def test_a_negative_distance_is_refused() -> None:
    with pytest.raises(InputError, match="distance is -1: choose 0 or more bases"):
        Geometry.of(-1, 5, 4000)


def test_intervals_go_to_the_axis_and_back() -> None:
    assert to_axis(3, 7, "+") == (3, 7)
    assert to_axis(3, 7, "-") == (-7, -3)
    assert to_axis(*to_axis(3, 7, "-"), "-") == (3, 7)


def test_a_long_change_in_a_long_repeat_costs_no_more_than_its_span() -> None:
    change = Change(1000, "ACGT" * 250, "", 99_000)
    geometry = Geometry.of(100, 4000, 4000)
    readings = geometry.readings(change)
    assert len(readings.position) == 100_200
    windows = geometry.windows(change, readings)
    assert [sum(window.frame is frame for window in windows) for frame in Frame] == [499, 1, 494]
