"""Pearson's and Spearman's correlation of predicted with given usage, where not everything is given.

In: two arrays [sites, tissues], predicted (whole) and given (NaN where unknown). Only pairs with a given value count.
Spearman is Pearson's correlation of ranks, ties with their mean rank. Out: None, never NaN, where a correlation has no
value: under two pairs, or one side constant.

The tissue-specific part of a value is what is left of it after the site's mean over its known tissues is removed, the
prediction's mean over the same tissues. Sites with fewer than two known tissues have none and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_DECIMALS = 9  # of a part: values equal but for the rounding of the mean are ties


class Correlation(NamedTuple):
    """Correlations over `pairs` values, as they are and of their tissue-specific parts (`specific_pairs` values)."""

    tissue: str
    pairs: int
    spearman: float | None
    pearson: float | None
    specific_pairs: int
    specific_spearman: float | None
    specific_pearson: float | None


def correlate(tissues: Sequence[str], predicted: Floats, given: Floats) -> tuple[Correlation, ...]:
    """A line for each tissue, then "all", the pairs of all tissues pooled."""
    specific = specific_part(predicted, given)
    return tuple(
        _line(name, predicted[:, columns], given[:, columns], *(part[:, columns] for part in specific))
        for name, columns in [*((name, [at]) for at, name in enumerate(tissues)), ("all", list(range(len(tissues))))]
    )


def specific_part(predicted: Floats, given: Floats) -> tuple[Floats, Floats]:
    """Both less their site's mean over the tissues known there; NaN where unknown or the only one."""
    known = ~np.isnan(given)
    tissues = known.sum(axis=1, keepdims=True)
    known &= tissues > 1

    def less_mean(values: Floats) -> Floats:
        mean = np.where(known, values, 0).sum(axis=1, keepdims=True) / np.maximum(tissues, 1)
        return np.where(known, np.round(values - mean, _DECIMALS), np.nan)

    return less_mean(predicted), less_mean(given)


def pearson(first: Floats, second: Floats) -> float | None:
    """Pearson's correlation of two arrays [n] without NaN."""
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    first, second = first - first.mean(), second - second.mean()
    # Each is divided by its own length first: products of tiny values would vanish.
    return float(np.clip((first / np.linalg.norm(first)) @ (second / np.linalg.norm(second)), -1, 1))


def spearman(first: Floats, second: Floats) -> float | None:
    """Spearman's correlation of two arrays [n] without NaN."""
    return pearson(_ranks(first), _ranks(second))


def _ranks(values: Floats) -> Floats:
    """Ranks from 1, ties with the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean_ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return mean_ranks


def _line(tissue: str, predicted: Floats, given: Floats, predicted_part: Floats, given_part: Floats) -> Correlation:
    pairs = _known(predicted, given)
    parts = _known(predicted_part, given_part)
    whole = len(pairs[0]), spearman(*pairs), pearson(*pairs)
    return Correlation(tissue, *whole, len(parts[0]), spearman(*parts), pearson(*parts))


def _known(predicted: Floats, given: Floats) -> tuple[Floats, Floats]:
    known = ~np.isnan(given)
    return predicted[known], given[known]
