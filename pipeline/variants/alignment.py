"""Which base of an alternative stands for which base of the reference.

The alignment of the two sequences of a change is global, with unit cost of a mismatch and affine cost of a gap (Gotoh
1982, J Mol Biol 162:705); of alignments that cost the same, gaps lie as far 5' as they can. It depends on nothing but
the two sequences in transcription order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MISMATCH, GAP_OPEN, GAP_EXTEND = 1, 4, 1  # a gap of n bases costs GAP_OPEN + n * GAP_EXTEND
_NEVER = 1 << 28

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
    best, deleted, inserted = _costs(ref, alt)
    return _traced(ref, alt, best, deleted, inserted)


def _costs(ref: str, alt: str) -> tuple[Ints, Ints, Ints]:
    """Least costs of aligning the first i bases of `ref` with the first j of `alt`: in all, and by the last step."""
    top, side = np.frombuffer(alt.encode(), np.uint8), np.frombuffer(ref.encode(), np.uint8)
    rows, columns = len(side) + 1, len(top) + 1
    best = np.full((rows, columns), _NEVER, dtype=np.int64)
    deleted, inserted = best.copy(), best.copy()
    steps = GAP_EXTEND * np.arange(columns)
    best[0] = inserted[0] = np.where(steps > 0, GAP_OPEN + steps, 0)
    inserted[0, 0] = _NEVER
    for i in range(1, rows):
        deleted[i] = np.minimum(deleted[i - 1], best[i - 1] + GAP_OPEN) + GAP_EXTEND
        entered = deleted[i].copy()
        entered[1:] = np.minimum(entered[1:], best[i - 1, :-1] + MISMATCH * (top != side[i - 1]))
        # An insertion that ends at j began at some k < j: the least of entered[k] - k, found for all j at once.
        begun = np.minimum.accumulate(entered - steps)
        inserted[i, 1:] = begun[:-1] + GAP_OPEN + steps[1:]
        best[i] = np.minimum(entered, inserted[i])
    return best, deleted, inserted


def _traced(ref: str, alt: str, best: Ints, deleted: Ints, inserted: Ints) -> tuple[Ints, Ints]:
    """The pairs of the cheapest alignment, followed from the 3' end: a pair before a gap, so that gaps lie 5'."""
    i, j, pairs, state = len(ref), len(alt), [], "any"
    while i or j:
        if state == "any":
            paired = best[i - 1, j - 1] + MISMATCH * (ref[i - 1] != alt[j - 1]) if i and j else _NEVER
            if paired == best[i, j]:
                i, j = i - 1, j - 1
                pairs.append((i, j))
                continue
            state = "deleted" if deleted[i, j] == best[i, j] else "inserted"
        if state == "deleted":
            state = "deleted" if i > 1 and deleted[i - 1, j] + GAP_EXTEND == deleted[i, j] else "any"
            i -= 1
        else:
            longer = j > 1 and inserted[i, j - 1] + GAP_EXTEND == inserted[i, j]
            state = "inserted" if longer else "any"
            j -= 1
    pairs.reverse()
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]
