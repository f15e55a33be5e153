"""A stretch of reference and small changes of it: what `Predictor.stream_families` takes, and how it is computed.

A `Family` names windows of `width` = core + 2 * context positions anywhere in a stretch, as they are (references) or
with some bases replaced (alternatives). Codes are uint8 (A C G T N = 0..4), 5' to 3'. `plan_family` finds the different
windows among them, each of which is computed once, and cuts them into runs that are encoded together.

Intervals are half-open. Offsets count from the first base of the stretch, positions of a window from its first base.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sptx_core.alphabet import Codes

Rows = npt.NDArray[np.int64]


class Alternative(NamedTuple):
    """A window with some of its bases replaced."""

    offset: int
    """Where the window begins in the stretch."""
    start: int
    """The first position of the window that is replaced."""
    bases: Codes
    """uint8, what stands at positions [start, start + len(bases))."""


@dataclass(frozen=True, eq=False)
class Family:
    """A stretch of reference, the windows of it that are wanted, and changes of such windows."""

    codes: Codes
    """uint8, 5' to 3'."""
    references: Sequence[int] = ()
    """Offsets of windows that are wanted as they are."""
    alternatives: Sequence[Alternative] = ()
    """Changed windows that are wanted. An insertion or deletion replaces everything to the end of the window."""


class Change(NamedTuple):
    """Replaced bases of a window, of which the first and the last differ from the reference."""

    start: int
    bases: Codes

    @property
    def end(self) -> int:
        """End of the replaced positions of the window, exclusive."""
        return self.start + len(self.bases)


class FamilyWindow(NamedTuple):
    """A window to be computed."""

    window: int
    """Number of the window in its run."""
    change: Change | None
    """None: as it is."""


@dataclass(frozen=True, eq=False)
class FamilyRun:
    """Windows that are encoded together."""

    codes: Codes
    """uint8, from the first base of the first window to the last base of the last one."""
    starts: tuple[int, ...]
    """Where each window begins in `codes`, ascending, the first at 0."""
    windows: tuple[FamilyWindow, ...]
    """What is computed, in the order of its results."""
    width: int
    """Positions of a window."""

    def changed_codes(self) -> Iterator[Codes]:
        """Codes [width] of each window to be computed."""
        for window, change in self.windows:
            codes = self.codes[self.starts[window] : self.starts[window] + self.width].copy()
            if change is not None:
                codes[change.start : change.end] = change.bases
            yield codes


@dataclass(frozen=True, eq=False)
class PlannedFamily:
    """The different windows of a family in runs, and which of them each wanted window is."""

    runs: tuple[FamilyRun, ...]
    references: Rows
    """For each reference its row among the windows of all runs in order."""
    alternatives: Rows
    """The same for each alternative."""

    def __len__(self) -> int:
        """Number of windows to be computed."""
        return sum(len(run.windows) for run in self.runs)


def plan_family(family: Family, width: int, largest: int, *, evenly: bool = False) -> PlannedFamily:
    """Find what has to be computed.

    Parameters
    ----------
    family : Family
        What is wanted.
    width : int
        Positions of a window.
    largest : int
        Windows that may be computed in a run.
    evenly : bool
        Whether the windows of a run must be equally far apart.

    Raises
    ------
    ValueError
        A window does not lie within the stretch, or replaced bases not within their window.
    """
    wanted: list[tuple[int, Change | None]] = [(offset, None) for offset in family.references]
    wanted += [(offset, Change(start, bases)) for offset, start, bases in family.alternatives]
    found: dict[bytes, tuple[int, Change | None]] = {}
    keys = []
    for offset, change in wanted:
        if not 0 <= offset <= len(family.codes) - width:
            raise ValueError(f"a window of {width} bases at {offset} is not within a stretch of {len(family.codes)}")
        reference = family.codes[offset : offset + width]
        codes = reference if change is None else _changed(reference, change)
        keys.append(codes.tobytes())
        if keys[-1] not in found:
            found[keys[-1]] = offset, _trimmed(reference, codes)
    order = sorted(found, key=lambda key: found[key][0])
    rows = {key: row for row, key in enumerate(order)}
    numbers = np.array([rows[key] for key in keys], dtype=np.int64)
    runs = tuple(_runs(family.codes, [found[key] for key in order], width, largest, evenly))
    return PlannedFamily(runs, numbers[: len(family.references)], numbers[len(family.references) :])


def _changed(reference: Codes, change: Change) -> Codes:
    if not 0 <= change.start <= change.end <= len(reference):
        raise ValueError(f"positions {change.start} to {change.end} are not within a window of {len(reference)} bases")
    codes = reference.copy()
    codes[change.start : change.end] = change.bases
    return codes


def _trimmed(reference: Codes, codes: Codes) -> Change | None:
    """The shortest replacement that makes `codes` of the reference; None where they are equal."""
    differing = np.flatnonzero(reference != codes)
    if not len(differing):
        return None
    first, end = int(differing[0]), int(differing[-1]) + 1
    return Change(first, codes[first:end])


def _runs(
    codes: Codes, found: list[tuple[int, Change | None]], width: int, largest: int, evenly: bool
) -> Iterator[FamilyRun]:
    """Cut windows, sorted by their offsets, into runs of up to `largest` that lie near one another."""
    some: list[tuple[int, Change | None]] = []
    offsets: list[int] = []
    for offset, change in found:
        if offsets and (len(some) == largest or not _belongs(offset, offsets, width, evenly)):
            yield _run(codes, some, offsets, width)
            some, offsets = [], []
        some.append((offset, change))
        if offset not in offsets[-1:]:
            offsets.append(offset)
    if some:
        yield _run(codes, some, offsets, width)


def _belongs(offset: int, offsets: list[int], width: int, evenly: bool) -> bool:
    """Whether a window is near enough to those at `offsets` to be encoded with them."""
    step = offset - offsets[-1]
    even = len(offsets) == 1 or step in (0, offsets[1] - offsets[0])
    return step <= width // 2 and (even or not evenly)


def _run(codes: Codes, some: list[tuple[int, Change | None]], offsets: list[int], width: int) -> FamilyRun:
    first, number = offsets[0], {offset: i for i, offset in enumerate(offsets)}
    return FamilyRun(
        codes[first : offsets[-1] + width],
        tuple(offset - first for offset in offsets),
        tuple(FamilyWindow(number[offset], change) for offset, change in some),
        width,
    )
