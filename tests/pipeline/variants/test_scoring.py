"""Families hold each window's very bases, and scores come back to the bases that they are of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from material.changes import Raw, changes
from material.stub_scorer import CHANNELS, blended, fetch_of, judge, reference_of

from pipeline.variants.alleles import Allele, normalise
from pipeline.variants.geometry import NOWHERE, Change, Frame, Geometry, Window
from pipeline.variants.scoring import MAX_STRETCH, Look, Place, families
from sptx_core.alphabet import Codes
from sptx_core.engine import Family

GEOMETRIES = st.sampled_from(
    [
        Geometry.of(0, 2, 50),
        Geometry.of(3, 2, 50),
        Geometry.of(3, 4, 4),
        Geometry.of(100, 5, 99),
        Geometry.of(3, 4, 4, grid_core=8),
    ]
)


@st.composite
def many(draw: st.DrawFn) -> tuple[str, list[Raw]]:
    """A contig and several changes of it."""
    text = draw(changes(least=20)).text
    found = []
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(text)))
        found.append(Raw(text, start, text[start : start + draw(st.integers(0, 6))], draw(st.text("ACGT", max_size=6))))
    return text, found


def looks_at(text: str, raws: list[Raw], strand: str, geometry: Geometry) -> list[Look]:
    alleles = [normalise(raw.start, raw.ref, raw.alt, fetch_of(text), len(text)) for raw in raws]
    return [Look.at(Change.of(allele, strand), geometry) for allele in alleles if allele is not None]


def window_of(family: Family, place: Place, geometry: Geometry) -> Codes:
    """What is predicted at a place."""
    width = geometry.core + 2 * geometry.context
    if not place.is_alternative:
        offset = family.references[place.at]
        assert 0 <= offset <= len(family.codes) - width
        return family.codes[offset : offset + width]
    offset, start, bases = family.alternatives[place.at]
    assert 0 <= offset <= len(family.codes) - width
    assert 0 <= start <= start + len(bases) <= width
    window = family.codes[offset : offset + width].copy()
    window[start : start + len(bases)] = bases
    return window


@pytest.mark.slow
@settings(max_examples=70)
@given(many(), st.sampled_from("+-"), GEOMETRIES, st.sets(st.integers(0, 4)))
def test_families_hold_every_window_as_it_is(
    given_changes: tuple[str, list[Raw]], strand: str, geometry: Geometry, known: set[int]
) -> None:
    text, raws = given_changes
    reference = reference_of(text, strand)
    looks = looks_at(text, raws, strand, geometry)
    known = {n for n in known if n < len(looks)}
    placed = []
    for family, places in families(looks, geometry, reference, known):
        assert family.codes.dtype == np.uint8
        assert {place.at for place in places if place.is_alternative} == set(range(len(family.alternatives)))
        assert {place.at for place in places if not place.is_alternative} == set(range(len(family.references)))
        assert len(set(family.references)) == len(family.references)
        assert places
        for place in places:
            assert place.is_alternative == (place.window.frame is not Frame.REFERENCE)
            expected = geometry.codes(looks[place.look].change, place.window, reference)
            np.testing.assert_array_equal(window_of(family, place, geometry), expected)
            placed.append((place.look, place.window))
    wanted = [
        (i, window)
        for i, look in enumerate(looks)
        for window in look.windows
        if not (i in known and window.frame is Frame.REFERENCE)
    ]
    assert sorted(placed) == sorted(wanted)


SMALL = Geometry.of(2, 3, 50)


def snvs(starts: list[int], alt: str = "C", geometry: Geometry = SMALL) -> list[Look]:
    return [Look.at(Change.of(Allele(start, "A", alt), "+"), geometry) for start in starts]


def all_a(first: int, end: int) -> Codes:
    return np.zeros(end - first, dtype=np.uint8)


def test_changes_at_one_position_share_the_reference_and_equal_changes_their_window() -> None:
    looks = snvs([50]) + snvs([50], "G") + snvs([50])
    [(family, places)] = families(looks, SMALL, all_a)
    assert family.references == [0]
    assert [(offset, start, bases.tolist()) for offset, start, bases in family.alternatives] == [
        (0, 5, [1]),
        (0, 5, [2]),
    ]
    assert [(place.look, place.is_alternative, place.at) for place in places] == [
        (0, False, 0),
        (0, True, 0),
        (1, False, 0),
        (1, True, 1),
        (2, False, 0),
        (2, True, 0),
    ]


def test_windows_that_overlap_share_a_stretch_and_others_do_not() -> None:
    read = []

    def reference(first: int, end: int) -> Codes:
        read.append((first, end))
        return all_a(first, end)

    found = list(families(snvs([80, 50, 55, 60]), SMALL, reference))
    assert read == [(45, 66), (75, 86)]  # each stretch is read once
    assert [sorted({place.look for place in places}) for _, places in found] == [[1, 2, 3], [0]]
    assert [family.references for family, _ in found] == [[0, 5, 10], [0]]


def test_a_stretch_does_not_grow_without_end() -> None:
    geometry = Geometry.of(2, 500, 50)
    looks = snvs(list(range(0, 3 * MAX_STRETCH, 500)), geometry=geometry)
    found = list(families(looks, geometry, all_a))
    assert len(found) > 2
    assert all(MAX_STRETCH - 500 < len(family.codes) <= MAX_STRETCH for family, _ in found[:-1])
    assert sum(len(places) for _, places in found) == 2 * len(looks)


def test_a_change_whose_windows_lie_far_apart_is_one_family_beyond_the_limit_too() -> None:
    geometry = Geometry.of(100, 3, 4000)
    looks = [Look.at(Change(20, "A", "", 2 * MAX_STRETCH), geometry), *snvs([10, 2 * MAX_STRETCH + 10], "C", geometry)]
    found = list(families(looks, geometry, all_a))
    assert [len({place.look for place in places}) for _, places in found] == [1, 1, 1]


def test_nothing_is_computed_where_nothing_changes() -> None:
    same = Look.at(Change(50, "", "", 0), SMALL)
    assert list(families([same], SMALL, all_a)) == []
    reference, alternative = same.gather({})
    assert reference.shape == alternative.shape == (4, 0)
    held = np.random.default_rng(1).random((4, CHANNELS)).astype(np.float32)
    for found in same.gather({}, held):
        np.testing.assert_array_equal(found, held)


def test_what_is_known_makes_no_family() -> None:
    geometry = Geometry.of(0, 3, 50)
    deletion = Look.at(Change(50, "AC", "", 0), geometry)  # has no base of the alternative to be read
    assert list(families([deletion], geometry, all_a, {0})) == []
    held = np.ones((2, CHANNELS), dtype=np.float32)
    reference, alternative = deletion.gather({}, held)
    np.testing.assert_array_equal(reference, held)
    assert alternative.shape == held.shape
    assert not alternative.any()
    assert len(list(families([deletion], geometry, all_a))) == 1


@settings(max_examples=60)
@given(changes(), st.sampled_from("+-"), GEOMETRIES)
def test_scores_come_back_to_their_bases(raw: Raw, strand: str, geometry: Geometry) -> None:
    [look] = looks_at(raw.text, [raw], strand, geometry)
    if not look.windows:
        return
    scores = {}
    for n, window in enumerate(look.windows):  # each score says its window and its coordinate
        coordinates = np.arange(window.first, window.first + geometry.core)
        scores[window] = np.stack([np.full(geometry.core, n), coordinates], axis=1).astype(np.float32)
    reference, alternative = look.gather(scores)
    assert reference.dtype == alternative.dtype == np.float32
    readings = look.readings
    for at, right in enumerate(readings.right.tolist()):
        own = Frame.RIGHT if right else Frame.LEFT
        for found, t, frame in (
            (reference[at], int(readings.reference[at]), Frame.REFERENCE),
            (alternative[at], int(readings.alternative[at]), own),
        ):
            if t == NOWHERE:
                assert found.tolist() == [0, 0]
            else:
                assert look.windows[int(found[0])].frame is frame
                assert found[1] == t


def test_a_window_without_scores_is_no_zero() -> None:
    [look] = snvs([50])
    with pytest.raises(KeyError):
        look.gather({Window(Frame.REFERENCE, 48): np.zeros((5, CHANNELS), dtype=np.float32)})
    with pytest.raises(KeyError):
        look.gather({})


@pytest.mark.slow
@settings(max_examples=60)
@given(changes(least=48, most=48), st.sampled_from([Geometry.of(7, 4, 99), Geometry.of(12, 4, 9, grid_core=16)]))
def test_the_mirror_image_of_a_change_does_the_same(raw: Raw, geometry: Geometry) -> None:
    here = judge(*raw, "+", geometry=geometry, scorer=blended)
    there = judge(*raw.mirrored(), "-", geometry=geometry, scorer=blended)
    if here.look.change.ref == here.look.change.alt:
        return
    assert here.deltas.splice == there.deltas.splice
    assert here.deltas.events == there.deltas.events
    np.testing.assert_array_equal(here.deltas.usage, there.deltas.usage)
    np.testing.assert_array_equal(here.deltas.signed, there.deltas.signed)


@settings(max_examples=60)
@given(changes(), st.integers(1, 6), st.integers(1, 6), st.sampled_from("+-"))
def test_however_a_change_is_written_it_does_the_same(raw: Raw, before: int, after: int, strand: str) -> None:
    geometry = Geometry.of(7, 4, 9)
    written = judge(*raw, strand, geometry=geometry, scorer=blended)
    if written.look.change.ref == written.look.change.alt:
        return
    padded = judge(*raw.padded(before, after), strand, geometry=geometry, scorer=blended)
    assert padded.allele == written.allele
    assert padded.deltas.events == written.deltas.events
    np.testing.assert_array_equal(padded.deltas.usage, written.deltas.usage)


@settings(max_examples=40)
@given(changes(), st.sampled_from("+-"), GEOMETRIES)
def test_known_scores_of_the_reference_are_as_good_as_computed_ones(raw: Raw, strand: str, geometry: Geometry) -> None:
    [look] = looks_at(raw.text, [raw], strand, geometry)
    reference = reference_of(raw.text, strand)
    scores = {w: blended(geometry.codes(look.change, w, reference), geometry.context) for w in look.windows}
    computed = look.gather(scores)
    alternatives = {w: found for w, found in scores.items() if w.frame is not Frame.REFERENCE}
    for found, expected in zip(look.gather(alternatives, computed[0]), computed, strict=True):
        np.testing.assert_array_equal(found, expected)
