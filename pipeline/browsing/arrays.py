"""Rows of a table as arrays: those with scores, stretches of bases, and how they are joined, cut and looked up.

`pos` is 1-based and ascending; with flanks: transcript a position may be there several times. Stretches are 0-based and
half-open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Stretches = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Starts and ends, disjoint and ascending."""


class ScoredRows(NamedTuple):
    """Rows with their scores.

    Attributes
    ----------
    pos : int32 [n]
    acceptor, donor : float32 [n]
    usage : float32 [n, tissues]
        With no tissues where usage was not read.
    """

    pos: Ints
    acceptor: Floats
    donor: Floats
    usage: Floats

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.pos.nbytes + self.acceptor.nbytes + self.donor.nbytes + self.usage.nbytes

    def take(self, some: slice | npt.NDArray[np.intp]) -> ScoredRows:
        """Some of the rows."""
        return ScoredRows(self.pos[some], self.acceptor[some], self.donor[some], self.usage[some])

    def within(self, start: int, end: int) -> ScoredRows:
        """Those of a stretch."""
        first, last = np.searchsorted(self.pos, [start + 1, end + 1])
        return self.take(slice(int(first), int(last)))

    def greatest_at(self, kind: str, pos: npt.NDArray[np.integer]) -> Floats:
        """The greatest score of a kind at each of some positions, 0 where there is no row."""
        found = np.zeros(len(pos), np.float32)
        if len(self.pos):
            values: Floats = getattr(self, kind)
            begins = np.flatnonzero(np.diff(self.pos, prepend=self.pos[0] - 1))
            once, most = self.pos[begins], np.maximum.reduceat(values, begins)
            at = np.minimum(np.searchsorted(once, pos), len(once) - 1)
            same = once[at] == pos
            found[same] = most[at[same]]
        return found


def joined(some: Sequence[ScoredRows], tissues: int) -> ScoredRows:
    """The rows of consecutive parts as one; their spans overlap only with flanks: transcript."""
    if len(some) == 1:
        return some[0]
    if not some:
        none = np.zeros(0, np.float32)
        return ScoredRows(np.zeros(0, np.int32), none, none, np.zeros((0, tissues), np.float32))
    columns: list[Any] = [np.concatenate(column) for column in zip(*some, strict=True)]
    rows = ScoredRows(*columns)
    is_sorted = bool((np.diff(rows.pos) >= 0).all())
    return rows if is_sorted else rows.take(np.argsort(rows.pos, kind="stable"))


def merged(starts: npt.NDArray[np.integer], ends: npt.NDArray[np.integer], gap: int = 0) -> Stretches:
    """Any stretches as disjoint ones; those with fewer than `gap` bases between them, or none, become one."""
    if not len(starts):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    order = np.argsort(starts, kind="stable")
    first = starts[order].astype(np.int64)
    last = np.maximum.accumulate(ends[order].astype(np.int64))
    begins = np.flatnonzero(np.append(True, first[1:] - last[:-1] >= max(gap, 1)))
    return first[begins], last[np.append(begins[1:], len(first)) - 1]
