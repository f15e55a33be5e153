"""In which tissues a change matters more than in others: the authors' z scores and calls.

z of a tissue = ((delta - mean of the 15 deltas) - mu) / sigma; the tissue is called where z > q95. mu, sigma and q95
are the constants of the authors' script (ShenLab-Genomics/SpliceTransformer) for the published network. They hold for
single-base changes, windows of 201 bases that are centred on them, genomic flanks and float32; elsewhere z is not
calibrated.

Two of the authors' statements are heeded that their script does not heed: tissues of a change below a `splice` delta of
0.27 mean nothing, and a tissue whose own delta is 0 is not called.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MIN_SPLICE = 0.27

# Tissue -> mu, sigma, q95.
BACKGROUND = {
    "adipose_tissue": (0.016170, 0.015315, 1.80503),
    "blood": (-0.146649, 0.077654, 1.29763),
    "blood_vessel": (-0.004814, 0.021804, 1.73016),
    "brain": (0.017831, 0.032805, 1.57117),
    "colon": (0.032974, 0.018427, 1.65298),
    "heart": (-0.023856, 0.023410, 1.55794),
    "kidney": (0.037630, 0.022809, 1.91477),
    "liver": (-0.057356, 0.037399, 1.48249),
    "lung": (0.047776, 0.024576, 1.72128),
    "muscle": (-0.049013, 0.035122, 1.44692),
    "nerve": (0.038654, 0.025046, 1.58990),
    "small_intestine": (0.058556, 0.031874, 1.84599),
    "skin": (0.008106, 0.015884, 1.83892),
    "spleen": (0.001180, 0.022924, 1.70981),
    "stomach": (0.022813, 0.016085, 1.81896),
}


def has_background(tissues: Sequence[str]) -> bool:
    """Whether z can be given: the network has just these tissues, in whatever order."""
    return len(tissues) == len(BACKGROUND) and set(tissues) == BACKGROUND.keys()


def z_scores(usage: NDArray[np.floating], tissues: Sequence[str]) -> NDArray[np.float64]:
    """Scores z of each tissue.

    Parameters
    ----------
    usage
        Deltas [15] or [n, 15], in the order of `tissues`.
    tissues
        Names; `has_background` holds.

    """
    mu, sigma, _ = np.array([BACKGROUND[name] for name in tissues]).T
    deltas = np.asarray(usage, dtype=np.float64)
    scores: NDArray[np.float64] = (deltas - deltas.mean(axis=-1, keepdims=True) - mu) / sigma
    return scores


def called(splice: float, usage: NDArray[np.floating], z: NDArray[np.floating], tissues: Sequence[str]) -> list[str]:
    """The tissues that are called, in the order of `tissues`."""
    if splice < MIN_SPLICE:
        return []
    return [
        name
        for name, delta, score in zip(tissues, usage.tolist(), z.tolist(), strict=True)
        if delta > 0 and score > BACKGROUND[name][2]
    ]
