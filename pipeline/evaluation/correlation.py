"""Pearson's and Spearman's correlation of predicted with measured usage, where some measurements are missing.

In: two float64 arrays [sites, tissues] of usage in [0, 1]: the prediction, complete, and the measurement, NaN where
unknown. Only pairs with a measured value count.

Out: a `Correlation` for each tissue and one for all tissues pooled. Spearman's correlation is Pearson's correlation
of ranks, tied values sharing their mean rank. A correlation that is not defined (fewer than two pairs, or one side
constant) is None, never NaN.

The tissue-specific part of a value is what remains after the site's mean over its measured tissues is subtracted; the
prediction's mean is taken over the same tissues. Sites measured in fewer than two tissues have no such part and are
left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_DECIMALS = 9  # of a tissue-specific part: values that differ by the rounding of the mean alone must stay ties


class Correlation(NamedTuple):
    """Correlations of one tissue, or of all; the field names are keys of `evaluation.json`.

    Attributes
    ----------
    tissue : str
        Name of the tissue; "all" for the pairs of all tissues pooled.
    pairs : int
        Number of (site, tissue) pairs with a measured value.
    spearman, pearson : float or None
        Correlations of the values as they are.
    specific_pairs : int
        Number of pairs that have a tissue-specific part.
    specific_spearman, specific_pearson : float or None
        Correlations of the tissue-specific parts.

    """

    tissue: str
    pairs: int
    spearman: float | None
    pearson: float | None
    specific_pairs: int
    specific_spearman: float | None
    specific_pearson: float | None


def correlate(tissues: Sequence[str], predicted: Floats, measured: Floats) -> tuple[Correlation, ...]:
    """Correlate prediction and measurement by tissue, and over all tissues.

    Parameters
    ----------
    tissues : sequence of str
        Names of the columns.
    predicted : float64 [sites, tissues]
        Predicted usage, without NaN.
    measured : float64 [sites, tissues]
        Measured usage, NaN where unknown.

    Returns
    -------
    tuple of Correlation
        One for each tissue in order, then "all".

    """
    specific = specific_part(predicted, measured)
    groups = [(name, [column]) for column, name in enumerate(tissues)]
    groups.append(("all", list(range(len(tissues)))))
    return tuple(
        _correlation(name, predicted[:, columns], measured[:, columns], *(part[:, columns] for part in specific))
        for name, columns in groups
    )


def specific_part(predicted: Floats, measured: Floats) -> tuple[Floats, Floats]:
    """Subtract from both sides each site's mean over its measured tissues.

    Parameters
    ----------
    predicted, measured : float64 [sites, tissues]
        As in `correlate`.

    Returns
    -------
    predicted_part, measured_part : float64 [sites, tissues]
        NaN where the measurement is unknown or the site's only one.

    """
    known = ~np.isnan(measured)
    tissues = known.sum(axis=1, keepdims=True)
    known &= tissues > 1

    def less_mean(values: Floats) -> Floats:
        mean = np.where(known, values, 0).sum(axis=1, keepdims=True) / np.maximum(tissues, 1)
        return np.where(known, np.round(values - mean, _DECIMALS), np.nan)

    return less_mean(predicted), less_mean(measured)


def pearson(first: Floats, second: Floats) -> float | None:
    """Pearson's correlation of two arrays [n] without NaN; None if it is not defined."""
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    first, second = first - first.mean(), second - second.mean()
    # Each is divided by its own norm first, because products of tiny values would underflow.
    return float(np.clip((first / np.linalg.norm(first)) @ (second / np.linalg.norm(second)), -1, 1))


def spearman(first: Floats, second: Floats) -> float | None:
    """Spearman's correlation of two arrays [n] without NaN; None if it is not defined."""
    return pearson(_ranks(first), _ranks(second))


def _ranks(values: Floats) -> Floats:
    """Ranks from 1; tied values get the mean of their ranks."""
    _, groups, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean_ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[groups]
    return mean_ranks


def _correlation(
    tissue: str, predicted: Floats, measured: Floats, predicted_part: Floats, measured_part: Floats
) -> Correlation:
    pairs = _known_pairs(predicted, measured)
    parts = _known_pairs(predicted_part, measured_part)
    whole = len(pairs[0]), spearman(*pairs), pearson(*pairs)
    return Correlation(tissue, *whole, len(parts[0]), spearman(*parts), pearson(*parts))


def _known_pairs(predicted: Floats, measured: Floats) -> tuple[Floats, Floats]:
    known = ~np.isnan(measured)
    return predicted[known], measured[known]
