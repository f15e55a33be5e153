"""Scores at positions -> the greatest of each bin of a fixed grid.

The width of a bin is a power of two and bins begin at its multiples. So panning moves no bin, and a wider bin is the
union of two narrower ones: the maximum is the same whatever was asked for. A mean would erase peaks.

Positions are 0-based here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float32]


class Grid(NamedTuple):
    """Bins of `size` bases that cover a view.

    Attributes
    ----------
    size : int
        Bases of a bin, a power of two.
    start, end : int
        First and last edge, multiples of `size`, 0-based half-open.
    """

    size: int
    start: int
    end: int


def grid_of(start: int, end: int, bins: int) -> Grid:
    """Lay the finest grid that needs no more than `bins` bins for a view's bases, and one more for its edges.

    Parameters
    ----------
    start, end : int
        The view, 0-based half-open, with at least one base.
    bins : int
        How many bins can be shown.

    Returns
    -------
    Grid
        Its bins hold the whole view; the first and last may reach beyond it.
    """
    needed = -(-(end - start) // bins)
    size = 1 << (needed - 1).bit_length()
    return Grid(size, start // size * size, -(-end // size) * size)


def maxima(grid: Grid, positions: Positions, acceptor: Floats, donor: Floats) -> tuple[Positions, Floats, Floats]:
    """Take the greatest scores of each bin.

    Parameters
    ----------
    grid : Grid
        The bins.
    positions : int [n]
        0-based, ascending, within the grid; a position may be there several times.
    acceptor, donor : float32 [n]
        Scores.

    Returns
    -------
    tuple
        bin (int64 [m]), acceptor and donor (float32 [m]) of the bins with a score above 0, in order.
    """
    if not len(positions):
        return positions.astype(np.int64), acceptor, donor
    bins = (positions.astype(np.int64) - grid.start) // grid.size
    begins = np.flatnonzero(np.diff(bins, prepend=-1))
    most = [np.maximum.reduceat(values, begins) for values in (acceptor, donor)]
    shown = (most[0] > 0) | (most[1] > 0)
    return bins[begins][shown], most[0][shown], most[1][shown]
