"""Which base of an alternative stands for which base of the reference.

The alignment of the two sequences of a change is global, with unit cost of a mismatch and affine cost of a gap (Gotoh
1982, J Mol Biol 162:705). Of alignments that cost the same it is one in which no gap can be moved 5' at the same cost.
It depends on nothing but the two sequences in transcription order. Time and memory are proportional to the product of
their lengths; a cell takes a byte.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MISMATCH, GAP_OPEN, GAP_EXTEND = 1, 4, 1  # a gap of n bases costs GAP_OPEN + n * GAP_EXTEND
_NEVER = 1 << 28
_PAIR, _DELETION, _LONGER_DELETION, _LONGER_INSERTION = 1, 2, 4, 8

Ints = NDArray[np.int64]


def aligned(ref: str, alt: str) -> tuple[Ints, Ints]:
    """Pairs of bases that stand for each other.

    Parameters
    ----------
    ref, alt
        Both sequences, 5' to 3'.

    Returns
    -------
    tuple of ndarray
        Offsets in `ref` and in `alt`, int64, ascending. A base of `ref` that is not named is deleted, one of `alt`
        inserted.

    """
    if len(ref) == len(alt) == 1 or not ref or not alt:
        most = np.arange(min(len(ref), len(alt)), dtype=np.int64)
        return most, most
    return _traced(_steps(ref, alt))


def _steps(ref: str, alt: str) -> NDArray[np.uint8]:
    """By which last steps the first i bases of `ref` and the first j of `alt` are aligned at the least cost: flags."""
    top, side = np.frombuffer(alt.encode(), np.uint8), np.frombuffer(ref.encode(), np.uint8)
    extensions = GAP_EXTEND * np.arange(len(top) + 1)
    best = np.where(extensions > 0, GAP_OPEN + extensions, 0)
    deleted, paired, inserted = (np.full(len(best), _NEVER, dtype=np.int64) for _ in range(3))
    steps = np.full((len(side) + 1, len(best)), _LONGER_INSERTION, dtype=np.uint8)
    for i, base in enumerate(side, start=1):
        longer = deleted <= best + GAP_OPEN
        deleted = np.minimum(deleted, best + GAP_OPEN) + GAP_EXTEND
        paired[1:] = best[:-1] + MISMATCH * (top != base)
        entered = np.minimum(deleted, paired)
        # An insertion that ends at j began at some k < j: the least of entered[k] - k, found for all j at once.
        begun = np.minimum.accumulate(entered - extensions)
        inserted[1:] = begun[:-1] + GAP_OPEN + extensions[1:]
        best = np.minimum(entered, inserted)
        steps[i] = _PAIR * (paired == best) + _DELETION * (deleted == best) + _LONGER_DELETION * longer
        steps[i, 1:] += (_LONGER_INSERTION * (inserted[:-1] + GAP_EXTEND == inserted[1:])).astype(np.uint8)
    return steps


def _traced(steps: NDArray[np.uint8]) -> tuple[Ints, Ints]:
    """The pairs of a cheapest alignment, followed from the 3' end: a pair before a gap, so that gaps lie 5'."""
    i, j = (length - 1 for length in steps.shape)
    pairs, gap = [], 0
    while i or j:
        here = int(steps[i, j])
        if not gap and here & _PAIR:
            i, j = i - 1, j - 1
            pairs.append((i, j))
            continue
        gap = gap or (_LONGER_DELETION if here & _DELETION else _LONGER_INSERTION)
        i, j = (i - 1, j) if gap == _LONGER_DELETION else (i, j - 1)
        gap &= here
    found = np.array(pairs[::-1], dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]
