"""Where a change is looked at: the windows that are predicted, and which of their bases stand for which.

Axis. Everything here lies on the axis `t` of a strand, which ascends 5' to 3': on the plus strand t is the 0-based
position g, on the minus strand t = -1 - g. So both strands are treated alike: the mirror image of a genome gives the
mirror image of all that is computed here.

A change stands in its 5'-most placement. Its span is all bases that one placement or another replaces. The reference
is predicted over the span and `distance` bases on either side. Windows lie on a grid of step `core`: either on the
tracks' own, where cores start at multiples of the core, or laid about the span's 5' middle base, as few windows as hold
these bases. So a single base is the centre of its one window.

Alternative sequences are longer or shorter than the reference, windows are not. So an alternative is predicted twice,
on the same windows: anchored left, where its bases 5' of the change have the coordinates of the reference's, and
anchored right, where those 3' of it have. Bases 5' of the span and those of the change itself are read from the first,
all others from the second. Where the length does not change, both are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.coordinates import Strand
from pipeline.variants.alignment import aligned
from pipeline.variants.alleles import Allele, reverse_complemented
from sptx_core.alphabet import Codes, encode
from sptx_core.errors import InputError

Ints = NDArray[np.int64]

NOWHERE = np.iinfo(np.int64).min
"""Coordinate of a base that one of the two sequences lacks."""

Reference = Callable[[int, int], Codes]
"""Codes of the reference on [first, end) of the axis, uint8, 5' to 3'; N beyond the contig's ends."""


def to_axis(start: int, end: int, strand: str) -> tuple[int, int]:
    """Interval on the axis of a strand of the genomic interval [start, end); and back, for it is its own inverse."""
    return (-end, -start) if strand == Strand.MINUS else (start, end)


@dataclass(frozen=True)
class Change:
    """An allele as a strand transcribes it, in its 5'-most placement; `start` lies on the axis."""

    start: int
    ref: str
    alt: str
    shift: int

    @classmethod
    def of(cls, allele: Allele, strand: str) -> Change:
        """The change on the given strand."""
        if strand != Strand.MINUS:
            return cls(allele.start, allele.ref, allele.alt, allele.shift)
        start, ref, alt = allele.moved()
        first, _ = to_axis(start, start + len(ref), strand)
        return cls(first, reverse_complemented(ref), reverse_complemented(alt), allele.shift)

    @property
    def span(self) -> tuple[int, int]:
        """All bases [first, end) that one placement or another replaces."""
        return self.start, self.start + len(self.ref) + self.shift

    @property
    def centre(self) -> int:
        """The span's 5' middle base; of an insertion that may stand in one place only, the base 5' of it."""
        first, end = self.span
        return first + (end - first - 1) // 2

    @property
    def growth(self) -> int:
        """By how many bases the alternative is longer."""
        return len(self.alt) - len(self.ref)


class Frame(IntEnum):
    """Whose coordinates a window has."""

    REFERENCE = 0
    LEFT = 1
    RIGHT = 2


class Window(NamedTuple):
    """A window: whose coordinates, and the first base of its core in them."""

    frame: Frame
    first: int


class Readings(NamedTuple):
    """The bases that a change is judged by, 5' to 3'; arrays of one length.

    Parameters
    ----------
    position
        Of a base of the reference its coordinate; of an inserted one that of the reference's base 5' of it.
    inserted
        Of an inserted base its offset in the alternative's bases from 1, else 0.
    reference
        Coordinate in the reference's windows, or NOWHERE.
    alternative
        Coordinate in the alternative's windows, or NOWHERE.
    right
        Whether that is one of the right-anchored windows.
    distance
        Bases between a base and the span, 0 within it.

    """

    position: Ints
    inserted: Ints
    reference: Ints
    alternative: Ints
    right: NDArray[np.bool_]
    distance: Ints


@dataclass(frozen=True)
class Geometry:
    """How far one looks, and how windows lie.

    Parameters
    ----------
    distance
        Bases that are looked at on either side of a change's span.
    core, context
        Predicted bases of a window, and flanking bases on each side of them.
    centred
        Whether windows are centred on the change; else they are the tracks' own.

    """

    distance: int
    core: int
    context: int
    centred: bool

    @classmethod
    def of(cls, distance: int, context: int, largest_core: int, *, grid_core: int | None = None) -> Geometry:
        """Windows centred on changes, of as many bases as are looked at, or on the grid of tracks with `grid_core`."""
        if distance < 0:
            raise InputError(f"distance is {distance}: choose 0 or more bases")
        if grid_core is not None:
            return cls(distance, grid_core, context, centred=False)
        odd = largest_core - (largest_core + 1) % 2  # so that a centre has as many bases on either side
        return cls(distance, min(2 * distance + 1, odd), context, centred=True)

    def readings(self, change: Change) -> Readings:
        """The bases that the change is judged by."""
        first, end = change.span
        low, high, start = first - self.distance, end + self.distance, change.start
        before, after = np.arange(low, start), np.arange(start + len(change.ref), high)
        of_ref, of_alt = aligned(change.ref, change.alt)
        within = _merged(len(change.ref), len(change.alt), of_ref, of_alt)
        has_ref, has_alt = within[:, 0] >= 0, within[:, 1] >= 0
        reference = np.concatenate([before, np.where(has_ref, start + within[:, 0], NOWHERE), after])
        alternative = np.concatenate([before, np.where(has_alt, start + within[:, 1], NOWHERE), after])
        right = np.zeros(len(reference), dtype=bool)
        if change.growth:
            right[len(reference) - len(after) :] = True
        inserted = np.zeros(len(reference), dtype=np.int64)
        is_inserted = reference == NOWHERE
        inserted[is_inserted] = alternative[is_inserted] - start + 1
        # Positions ascend, so an inserted base takes the largest that stands before it.
        position = np.maximum.accumulate(np.where(is_inserted, low - 1, reference))
        distance = np.maximum(0, np.maximum(first - position, position - (end - 1)))
        distance[is_inserted] = 0
        return Readings(position, inserted, reference, alternative, right, distance)

    def origin(self, change: Change) -> int:
        """First base of the core of one of the change's windows; the others lie at multiples of `core` from it.

        Of an odd number of windows the middle one is centred; an even number meets 3' of the centre.
        """
        if not self.centred:
            return 0
        first, end = change.span
        count = max(1, -(-(end - first + 2 * self.distance) // self.core))
        return change.centre - self.core // 2 if count % 2 else change.centre + 1

    def windows(self, change: Change, readings: Readings) -> list[Window]:
        """The windows that hold the readings, without repetition; empty where nothing changes."""
        if change.ref == change.alt:
            return []
        origin, found = self.origin(change), []
        for frame, coordinates in (
            (Frame.REFERENCE, readings.reference),
            (Frame.LEFT, readings.alternative[~readings.right]),
            (Frame.RIGHT, readings.alternative[readings.right]),
        ):
            held = coordinates[coordinates != NOWHERE]
            found += [Window(frame, origin + int(k) * self.core) for k in np.unique((held - origin) // self.core)]
        return found

    def codes(self, change: Change, window: Window, reference: Reference) -> Codes:
        """What the network reads of a window: uint8 [context + core + context], 5' to 3'."""
        low, high = window.first - self.context, window.first + self.core + self.context
        if window.frame is Frame.REFERENCE:
            return reference(low, high)
        # Of the alternative in the window's coordinates: its bases, and how far the reference's are moved on each side.
        right = window.frame is Frame.RIGHT
        start = change.start - change.growth if right else change.start
        end = start + len(change.alt)
        moved_before, moved_after = (-change.growth, 0) if right else (0, change.growth)
        pieces = []
        if low < start:
            pieces.append(reference(low - moved_before, min(start, high) - moved_before))
        if low < end and high > start:
            pieces.append(encode(change.alt)[max(low - start, 0) : high - start])
        if high > end:
            pieces.append(reference(max(low, end) - moved_after, high - moved_after))
        return np.concatenate(pieces)


def _merged(ref: int, alt: int, of_ref: Ints, of_alt: Ints) -> Ints:
    """Columns of an alignment, 5' to 3': [n, 2] offsets in the two sequences, -1 where one has no base.

    Between two pairs, deleted bases come before inserted ones.
    """
    rows, i, j = [], 0, 0
    for pair_ref, pair_alt in zip([*of_ref.tolist(), ref], [*of_alt.tolist(), alt], strict=True):
        rows += [(n, -1) for n in range(i, pair_ref)] + [(-1, n) for n in range(j, pair_alt)]
        if pair_ref < ref:
            rows.append((pair_ref, pair_alt))
        i, j = pair_ref + 1, pair_alt + 1
    return np.array(rows, dtype=np.int64).reshape(-1, 2)
