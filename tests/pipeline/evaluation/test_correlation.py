"""Correlations against SciPy's on the known pairs, and the tissue-specific part by hand."""

from __future__ import annotations

import hypothesis
import numpy as np
import pytest
import scipy  # whose parts load when they are used
from hypothesis import strategies as st

from pipeline.evaluation.correlation import correlate, pearson, spearman, specific_part

TISSUES = ("brain", "heart", "liver")
VALUES = st.sampled_from([step / 20 for step in range(21)])


def matrices(sites: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and given usage with ties, a third of it unknown."""
    dice = np.random.default_rng(2)
    given = np.round(dice.random((sites, 3)), 1)
    predicted = np.round(0.5 * given + 0.5 * dice.random((sites, 3)), 2)
    return predicted, np.where(dice.random((sites, 3)) < 0.3, np.nan, given)


def test_by_tissue_as_scipy_on_the_known_pairs() -> None:
    predicted, given = matrices()
    lines = correlate(TISSUES, predicted, given)
    assert [line.tissue for line in lines] == [*TISSUES, "all"]
    for at, line in enumerate(lines):
        columns = slice(at, at + 1) if at < 3 else slice(None)
        known = ~np.isnan(given[:, columns])
        pair = predicted[:, columns][known], given[:, columns][known]
        assert line.pairs == known.sum()
        assert line.spearman == pytest.approx(scipy.stats.spearmanr(*pair).statistic, abs=1e-12)
        assert line.pearson == pytest.approx(scipy.stats.pearsonr(*pair).statistic, abs=1e-12)


def test_the_specific_part_as_scipy_on_what_is_left_of_each_site() -> None:
    predicted, given = matrices()
    sides: list[list[list[float]]] = [[[], [], []], [[], [], []]]
    for of_prediction, of_truth in zip(predicted, given, strict=True):
        known = [at for at in range(3) if not np.isnan(of_truth[at])]
        if len(known) > 1:
            for side, values in zip(sides, (of_prediction, of_truth), strict=True):
                for at in known:
                    side[at].append(round(values[at] - np.mean(values[known]), 9))
    for at, line in enumerate(correlate(TISSUES, predicted, given)[:3]):
        assert line.specific_pairs == len(sides[0][at])
        assert line.specific_spearman == pytest.approx(scipy.stats.spearmanr(sides[0][at], sides[1][at]).statistic)
        assert line.specific_pearson == pytest.approx(scipy.stats.pearsonr(sides[0][at], sides[1][at]).statistic)
    pooled = correlate(TISSUES, predicted, given)[3]
    assert pooled.specific_pearson == pytest.approx(
        scipy.stats.pearsonr(*(np.concatenate(side) for side in sides)).statistic
    )


def test_both_sides_lose_the_mean_over_the_same_tissues() -> None:
    given = np.array([[0.2, np.nan, 0.6], [np.nan, 0.5, np.nan]])
    predicted = np.array([[0.1, 1.0, 0.5], [0.3, 0.3, 0.3]])
    of_prediction, of_truth = specific_part(predicted, given)
    np.testing.assert_allclose(of_prediction, [[-0.2, np.nan, 0.2], [np.nan] * 3])
    np.testing.assert_allclose(of_truth, [[-0.2, np.nan, 0.2], [np.nan] * 3])


def test_usage_that_is_the_same_in_all_tissues_has_no_specific_correlation() -> None:
    given = np.random.default_rng(3).random((50, 1)).repeat(3, axis=1)  # its means are off by a rounding
    predicted = np.random.default_rng(4).random((50, 3))
    for line in correlate(TISSUES, predicted, given):
        assert line.spearman is not None
        assert line.specific_pairs == line.pairs
        assert (line.specific_spearman, line.specific_pearson) == (None, None)


@pytest.mark.slow
@hypothesis.given(st.lists(st.tuples(VALUES, VALUES), max_size=30))
def test_a_correlation_is_scipys_or_none(pairs: list[tuple[float, float]]) -> None:
    first, second = np.array(pairs).reshape(-1, 2).T
    if len(pairs) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        assert pearson(first, second) is None
        assert spearman(first, second) is None
    else:
        assert pearson(first, second) == pytest.approx(scipy.stats.pearsonr(first, second).statistic, abs=1e-9)
        assert spearman(first, second) == pytest.approx(scipy.stats.spearmanr(first, second).statistic, abs=1e-9)


def test_no_sites_and_nothing_known() -> None:
    for given in (np.empty((0, 3)), np.full((4, 3), np.nan)):
        for line in correlate(TISSUES, np.zeros_like(given), given):
            assert line[1:] == (0, None, None, 0, None, None)
