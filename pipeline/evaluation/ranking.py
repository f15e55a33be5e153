"""Scores of sites and of other positions, counted by score -> top-k accuracy, precision and recall, calibration.

A `Ranking` holds two histograms, of the positions that are true sites and of all others, so it grows with the number
of bins and never with the genome, and rankings of parts add up to the ranking of the whole.

Bins (`ScoreBins`). Scores rounded to steps have one bin a step: every figure is exact. Unrounded float32 scores are
binned by their bits without the lowest 10, in which bins are 2**-13 of their score wide (at most 6.1e-5, below the
step of rounded tables); all below 2**-24 are one bin. Their figures are exact for scores cut to their bin's lower edge.

Figures, None where there is no true site:

  top-k       the share of true sites among the `int(f * k)` highest scores, of the most that could be:
              hits / min(int(f * k), k) with k true sites. At f = 1 precision equals recall. (Jaganathan et al. 2019,
              Cell 176:535, "top-k accuracy"; so in You et al. 2024, Nat Commun 15:9129.) Positions with the score at
              which the list ends are taken in equal parts: the mean over all orders of the ties.
  AUPRC       average precision, the sum of (R_n - R_{n-1}) * P_n over descending scores, all positions of one score
              entering together: scikit-learn's `average_precision_score`. Nothing is interpolated.
  threshold   the score of the k-th highest position.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

TOP_FACTORS = (0.5, 1.0, 2.0, 4.0)  # of k, as SpliceAI reports them
_DROPPED_BITS = 10
_LEAST_EXPONENT = -24
_FLOAT32_MANTISSA, _FLOAT32_BIAS = 23, 127
_BASE = ((_LEAST_EXPONENT + _FLOAT32_BIAS) << (_FLOAT32_MANTISSA - _DROPPED_BITS)) - 1


@dataclass(frozen=True)
class ScoreBins:
    """Bins of scores in [0, 1], ascending: one for each of `steps` + 1 rounded values, or of float32 when 0."""

    steps: int

    @property
    def count(self) -> int:
        """How many bins there are; the last holds the score 1."""
        return self.steps + 1 if self.steps else (_FLOAT32_BIAS << (_FLOAT32_MANTISSA - _DROPPED_BITS)) - _BASE + 1

    def keys(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """The bin of each score; a higher score is never in a lower bin."""
        if self.steps:
            return np.rint(np.multiply(scores, self.steps, dtype=np.float64)).astype(np.int64)
        bits = np.abs(scores.astype(np.float32, copy=False)).view(np.uint32)  # orders floats that have no sign
        return np.maximum((bits >> np.uint32(_DROPPED_BITS)).astype(np.int64) - _BASE, 0)

    def edges(self) -> Floats:
        """The score of each step, or the least of each bin."""
        if self.steps:
            return np.arange(self.count) / self.steps
        bits = (np.arange(self.count, dtype=np.uint32) + np.uint32(_BASE)) << np.uint32(_DROPPED_BITS)
        edges = bits.view(np.float32).astype(np.float64)
        edges[0] = 0.0
        return edges


class Curve(NamedTuple):
    """Precision and recall when every position at or above each score that occurs is called; scores descend."""

    scores: Floats
    precision: Floats
    recall: Floats


class Reliability(NamedTuple):
    """Positions whose score lies in [`low`, `high`): their mean score, and the share that are true sites."""

    low: float
    high: float
    positions: int
    mean_score: float
    true_share: float


@dataclass(frozen=True, eq=False)
class Ranking:
    """Positions by bin of score: true `sites` and `others`, int64 [bins]; `count` adds to them in place."""

    bins: ScoreBins
    sites: Counts
    others: Counts

    @classmethod
    def empty(cls, bins: ScoreBins) -> Self:
        """A ranking of no positions."""
        return cls(bins, np.zeros(bins.count, np.int64), np.zeros(bins.count, np.int64))

    def count(self, sites: npt.NDArray[np.int64], others: Counts) -> None:
        """Add the true sites with these keys [n], and `others`, already counted by bin."""
        self.sites[:] += np.bincount(sites, minlength=self.bins.count)
        self.others[:] += others

    def add(self, ranking: Ranking) -> None:
        """Add all positions of another ranking."""
        self.sites[:] += ranking.sites
        self.others[:] += ranking.others

    @property
    def true(self) -> int:
        """How many positions are true sites."""
        return int(self.sites.sum())

    @property
    def positions(self) -> int:
        """How many positions there are."""
        return self.true + int(self.others.sum())

    def curve(self) -> Curve:
        """The precision-recall curve; empty without a true site."""
        called = (self.sites + self.others)[::-1]
        occurs = np.flatnonzero(called) if self.true else np.empty(0, np.intp)
        hits = np.cumsum(self.sites[::-1])[occurs]
        return Curve(self.bins.edges()[::-1][occurs], hits / np.cumsum(called)[occurs], hits / max(self.true, 1))

    def average_precision(self) -> float | None:
        """Area under the precision-recall curve."""
        if not self.true:
            return None
        curve = self.curve()
        return float(np.sum(np.diff(curve.recall, prepend=0.0) * curve.precision))

    def top_k(self, factor: float = 1.0) -> float | None:
        """Top-k accuracy with `factor` times as many calls as true sites."""
        true, calls = self.true, min(int(factor * self.true), self.positions)
        if not calls:
            return None
        at, above = self._ends(calls)
        tied = int(self.sites[at] + self.others[at])
        hits = int(self.sites[at + 1 :].sum()) + int(self.sites[at]) * (calls - above) / tied
        return hits / min(calls, true)

    def threshold(self) -> float | None:
        """The score of the k-th highest position, k the number of true sites."""
        return float(self.bins.edges()[self._ends(self.true)[0]]) if self.true else None

    def reliability(self, groups: int = 20) -> tuple[Reliability, ...]:
        """Calibration in `groups` equally wide ranges of score; the last holds 1, those without positions are left out.

        A position counts with the score of its step (or its bin's lower edge).
        """
        edges, called = self.bins.edges(), self.sites + self.others
        group = np.minimum((edges * groups + 1e-9).astype(np.int64), groups - 1)  # 0.3 * 20 must be 6, not 5.999
        positions, sites, scores = (
            np.bincount(group, weights=weights, minlength=groups) for weights in (called, self.sites, called * edges)
        )
        return tuple(
            Reliability(
                at / groups,
                (at + 1) / groups,
                int(positions[at]),
                scores[at] / positions[at],
                sites[at] / positions[at],
            )
            for at in map(int, np.flatnonzero(positions))
        )

    def _ends(self, calls: int) -> tuple[int, int]:
        """The bin in which the list of the `calls` highest ends, and how many positions lie above it."""
        called = (self.sites + self.others)[::-1]
        reached = np.cumsum(called)
        at = int(np.searchsorted(reached, calls))
        return len(called) - 1 - at, int(reached[at] - called[at])
