"""From changes to families of windows, and from the scores of these to what each change does.

A `Family` is what the engine takes: a stretch of reference, windows of it, and alternatives of such windows. Changes
whose windows lie close together on one strand, before one reference, share a stretch, so that what reference and
alternatives have in common is computed once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.variants.geometry import Change, Frame, Geometry, Readings, Reference, Window
from sptx_core.alphabet import Codes
from sptx_core.engine import Alternative, Family

Scores = NDArray[np.float32]

MAX_STRETCH = 32_768
"""Bases of a family's stretch beyond which no further change joins it."""


@dataclass(frozen=True)
class Look:
    """A change, the bases that it is judged by, and the windows that hold them."""

    change: Change
    readings: Readings
    windows: list[Window]

    @classmethod
    def at(cls, change: Change, geometry: Geometry) -> Look:
        """Look at a change."""
        readings = geometry.readings(change)
        return cls(change, readings, geometry.windows(change, readings))

    def gather(self, scores: Mapping[Window, Scores], known: Scores | None = None) -> tuple[Scores, Scores]:
        """Scores of reference and alternative at each reading.

        Parameters
        ----------
        scores
            [core, channels] of each window that was predicted.
        known
            [n, channels], the reference's scores at each reading where they are known.

        Returns
        -------
        tuple of ndarray
            float32 [n, channels] each. Bases that a sequence lacks have 0. Where nothing changes both are the same:
            what is known, else [n, 0].

        """
        readings = self.readings
        n = len(readings.position)
        if not self.windows:
            same = np.zeros((n, 0), dtype=np.float32) if known is None else known
            return same, same
        channels = next((found.shape[-1] for found in (*scores.values(), known) if found is not None), 0)
        reference, alternative = np.zeros((2, n, channels), dtype=np.float32)
        for window in self.windows:
            if window.frame is Frame.REFERENCE:
                if known is not None:
                    continue
                target, coordinates, own = reference, readings.reference, np.ones(n, dtype=bool)
            else:
                target, coordinates = alternative, readings.alternative
                own = readings.right == (window.frame is Frame.RIGHT)
            held = own & (coordinates >= window.first) & (coordinates < window.first + len(scores[window]))
            target[held] = scores[window][coordinates[held] - window.first]
        return (reference if known is None else known), alternative


class Place(NamedTuple):
    """Where a family's score belongs.

    `look` is an index among the changes, `at` one among the family's references or alternatives.
    """

    look: int
    window: Window
    is_alternative: bool
    at: int


def families(
    looks: Sequence[Look], geometry: Geometry, reference: Reference, known: Collection[int] = ()
) -> Iterator[tuple[Family, list[Place]]]:
    """Cut the windows of changes of one strand, before one reference, into families.

    Parameters
    ----------
    looks
        The changes, in any order.
    geometry, reference
        How windows lie, and what reads the reference.
    known
        Changes, by their index, of which the reference's scores are known, so that only alternatives are wanted.

    Yields
    ------
    tuple
        The family, and where each of its scores belongs.

    """
    extents = []
    for i, look in enumerate(looks):
        wanted = [window.first for window in look.windows if not (i in known and window.frame is Frame.REFERENCE)]
        if wanted:
            extents.append((min(wanted) - geometry.context, max(wanted) + geometry.core + geometry.context, i))
    group: list[tuple[int, Look]] = []
    low = high = 0
    for first, end, i in sorted(extents):
        if group and (first > high or max(high, end) - low > MAX_STRETCH):
            yield _family(group, geometry, reference, low, high, known)
            group = []
        low, high = (low, max(high, end)) if group else (first, end)
        group.append((i, looks[i]))
    if group:
        yield _family(group, geometry, reference, low, high, known)


def _family(
    looks: list[tuple[int, Look]], geometry: Geometry, reference: Reference, low: int, high: int, known: Collection[int]
) -> tuple[Family, list[Place]]:
    stretch = reference(low, high)

    def read(first: int, end: int) -> Codes:
        return stretch[first - low : end - low] if low <= first and end <= high else reference(first, end)

    width = geometry.core + 2 * geometry.context
    references: dict[int, int] = {}
    seen: dict[tuple[int, int, bytes], int] = {}
    alternatives: list[Alternative] = []
    places = []
    for i, look in looks:
        for window in look.windows:
            offset = window.first - geometry.context - low
            if window.frame is Frame.REFERENCE:
                if i not in known:
                    places.append(Place(i, window, False, references.setdefault(offset, len(references))))
                continue
            codes = geometry.codes(look.change, window, read)
            differ = np.flatnonzero(codes != stretch[offset : offset + width])
            first, end = (int(differ[0]), int(differ[-1]) + 1) if len(differ) else (0, 0)
            bases = codes[first:end]
            key = (offset, first, bases.tobytes())
            if key not in seen:
                seen[key] = len(alternatives)
                alternatives.append(Alternative(offset, first, bases))
            places.append(Place(i, window, True, seen[key]))
    return Family(stretch, list(references), alternatives), places
