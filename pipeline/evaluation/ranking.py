"""Histograms of the scores of true sites and of other positions -> top-k accuracy, precision and recall, calibration.

In: scores in [0, 1] (float32) and which of the positions are true sites. A `Ranking` counts both classes by bin of
score, so its size depends on the number of bins and never on the genome; rankings of parts add up to the ranking of
the whole.

Bins (`ScoreBins`). Scores that are rounded to steps have one bin a step, and every metric is exact. Unrounded float32
scores are binned by their bit pattern without its lowest 10 bits: a bin is 2**-13 of its score wide (at most 6.1e-5,
less than a step of rounded tables), and all scores below 2**-24 share a bin. Their metrics are exact for scores cut to
the lower edge of their bin.

Metrics; each is None where there is no true site:

  top-k       true sites among the `int(f * k)` highest scores, divided by the largest number possible:
              hits / min(int(f * k), k) with k true sites. At f = 1 precision equals recall. (Jaganathan et al. 2019,
              Cell 176:535, "top-k accuracy"; also You et al. 2024, Nat Commun 15:9129.) Where positions tie at the end
              of the list, the mean over all orders of the tied positions is taken.
  AUPRC       average precision, the sum of (R_n - R_{n-1}) * P_n over descending scores, all positions of one score
              entering together, as scikit-learn's `average_precision_score` does. Nothing is interpolated.
  threshold   the score of the k-th highest position.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

TOP_FACTORS = (0.5, 1.0, 2.0, 4.0)  # multiples of k, as SpliceAI reports them
_DROPPED_BITS = 10
_MIN_EXPONENT = -24
_FLOAT32_MANTISSA, _FLOAT32_BIAS = 23, 127
_FIRST_PATTERN = ((_MIN_EXPONENT + _FLOAT32_BIAS) << (_FLOAT32_MANTISSA - _DROPPED_BITS)) - 1


@dataclass(frozen=True)
class ScoreBins:
    """Ascending bins of scores in [0, 1].

    Attributes
    ----------
    steps : int
        Scores are rounded to multiples of 1 / steps and have steps + 1 bins; 0 for unrounded float32 scores.

    """

    steps: int

    @property
    def count(self) -> int:
        """Number of bins; the last one holds the score 1."""
        if self.steps:
            return self.steps + 1
        return (_FLOAT32_BIAS << (_FLOAT32_MANTISSA - _DROPPED_BITS)) - _FIRST_PATTERN + 1

    def indices(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """Index of the bin of each score [n]; a higher score never has a lower index."""
        if self.steps:
            return np.rint(np.multiply(scores, self.steps, dtype=np.float64)).astype(np.int64)
        # The bit patterns of floats without a sign are in the order of the floats.
        bits = np.abs(scores.astype(np.float32, copy=False)).view(np.uint32)
        return np.maximum((bits >> np.uint32(_DROPPED_BITS)).astype(np.int64) - _FIRST_PATTERN, 0)

    def edges(self) -> Floats:
        """Lower edge of each bin, float64 [count]; of rounded scores the score itself."""
        if self.steps:
            return np.arange(self.count) / self.steps
        bits = (np.arange(self.count, dtype=np.uint32) + np.uint32(_FIRST_PATTERN)) << np.uint32(_DROPPED_BITS)
        edges = bits.view(np.float32).astype(np.float64)
        edges[0] = 0.0
        return edges


class Curve(NamedTuple):
    """Precision-recall curve: float64 [n] each, for every score that occurs, descending.

    A point counts all positions at or above its score as called.
    """

    scores: Floats
    precision: Floats
    recall: Floats


class Reliability(NamedTuple):
    """Calibration of the positions with a score in [`low`, `high`); the field names are keys of `evaluation.json`.

    Attributes
    ----------
    low, high : float
        Range of scores; the last range includes 1.
    positions : int
        Number of positions with such a score.
    mean_score : float
        Their mean score.
    true_share : float
        Share of them that are true sites.

    """

    low: float
    high: float
    positions: int
    mean_score: float
    true_share: float


@dataclass(frozen=True, eq=False)
class Ranking:
    """Numbers of true sites and of other positions by bin of score.

    Attributes
    ----------
    bins : ScoreBins
        The bins.
    sites, others : int64 [bins.count]
        Numbers of true sites and of other positions; the methods `count` and `add` change them in place.

    """

    bins: ScoreBins
    sites: Counts
    others: Counts

    @classmethod
    def empty(cls, bins: ScoreBins) -> Self:
        """Make a ranking of no positions."""
        return cls(bins, np.zeros(bins.count, np.int64), np.zeros(bins.count, np.int64))

    def count(self, sites: npt.NDArray[np.int64], others: Counts) -> None:
        """Count positions.

        Parameters
        ----------
        sites : int64 [n]
            Index of the bin of each true site.
        others : int64 [bins.count]
            Numbers of other positions by bin.

        """
        self.sites[:] += np.bincount(sites, minlength=self.bins.count)
        self.others[:] += others

    def add(self, ranking: Ranking) -> None:
        """Add all positions of another ranking with the same bins."""
        self.sites[:] += ranking.sites
        self.others[:] += ranking.others

    @property
    def n_sites(self) -> int:
        """Number of true sites."""
        return int(self.sites.sum())

    @property
    def n_positions(self) -> int:
        """Number of all positions, true sites included."""
        return self.n_sites + int(self.others.sum())

    def curve(self) -> Curve:
        """Compute the precision-recall curve; it is empty without a true site."""
        called = (self.sites + self.others)[::-1]
        occurs = np.flatnonzero(called) if self.n_sites else np.empty(0, np.intp)
        hits = np.cumsum(self.sites[::-1])[occurs]
        return Curve(self.bins.edges()[::-1][occurs], hits / np.cumsum(called)[occurs], hits / max(self.n_sites, 1))

    def average_precision(self) -> float | None:
        """Compute the area under the precision-recall curve; None without a true site."""
        if not self.n_sites:
            return None
        curve = self.curve()
        return float(np.sum(np.diff(curve.recall, prepend=0.0) * curve.precision))

    def top_k(self, factor: float = 1.0) -> float | None:
        """Compute top-k accuracy.

        Parameters
        ----------
        factor : float
            Positions called for each true site, rounded down in total.

        Returns
        -------
        float or None
            None where no position is called.

        """
        n_sites, n_called = self.n_sites, min(int(factor * self.n_sites), self.n_positions)
        if not n_called:
            return None
        last, above = self._last_called(n_called)
        tied = int(self.sites[last] + self.others[last])
        hits = int(self.sites[last + 1 :].sum()) + int(self.sites[last]) * (n_called - above) / tied
        return hits / min(n_called, n_sites)

    def threshold(self) -> float | None:
        """Score of the k-th highest position with k true sites; None without a true site."""
        return float(self.bins.edges()[self._last_called(self.n_sites)[0]]) if self.n_sites else None

    def reliability(self, groups: int = 20) -> tuple[Reliability, ...]:
        """Compute calibration in ranges of score.

        Parameters
        ----------
        groups : int
            Number of equally wide ranges that [0, 1] is divided into.

        Returns
        -------
        tuple of Reliability
            One for each range that has a position, ascending. A position counts with the lower edge of its bin, which
            in a rounded table is its score.

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

    def _last_called(self, n_called: int) -> tuple[int, int]:
        """Bin of the last of the `n_called` highest positions, and how many positions lie in higher bins."""
        called = (self.sites + self.others)[::-1]
        reached = np.cumsum(called)
        at = int(np.searchsorted(reached, n_called))
        return len(called) - 1 - at, int(reached[at] - called[at])
