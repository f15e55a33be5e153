"""Metrics from histograms against scikit-learn's on the scores themselves, and against top-k by its definition."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, precision_recall_curve

from pipeline.evaluation.ranking import Ranking, ScoreBins
from pipeline.tracks.schema import SPLICE_STEPS, UNROUNDED, round_to_steps

ROUNDED, EXACT = ScoreBins(SPLICE_STEPS), ScoreBins(UNROUNDED)
STEPS = st.integers(0, SPLICE_STEPS) | st.sampled_from([0, 1, 9_999, 10_000])
LABELLED_STEPS = st.lists(st.tuples(STEPS, st.booleans()), min_size=1, max_size=60)
FLOATS = st.floats(0, 1, width=32)


def ranking(bins: ScoreBins, scores: np.ndarray, true: np.ndarray, *, pieces: int = 1) -> Ranking:
    """A ranking filled in pieces, as from the parts of a table."""
    whole = Ranking.empty(bins)
    for some, labels in zip(np.array_split(scores, pieces), np.array_split(true, pieces), strict=True):
        part, indices = Ranking.empty(bins), bins.indices(some)
        part.count(indices[labels], np.bincount(indices[~labels], minlength=bins.count))
        whole.add(part)
    return whole


def arrays(labelled: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    steps, true = map(np.array, zip(*labelled, strict=True))
    return round_to_steps((steps / SPLICE_STEPS).astype(np.float32), SPLICE_STEPS), true


def assert_as_sklearn(found: Ranking, scores: np.ndarray, true: np.ndarray) -> None:
    assert found.average_precision() == pytest.approx(average_precision_score(true, scores), abs=1e-12)
    precision, recall, thresholds = precision_recall_curve(true, scores)
    curve = found.curve()
    np.testing.assert_allclose(curve.precision, precision[-2::-1], atol=1e-12)
    np.testing.assert_allclose(curve.recall, recall[-2::-1], atol=1e-12)
    np.testing.assert_allclose(curve.scores, thresholds[::-1], rtol=1e-7)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(LABELLED_STEPS, st.integers(1, 4))
def test_rounded_scores_give_what_scikit_learn_gives(labelled: list[tuple[int, bool]], pieces: int) -> None:
    scores, true = arrays(labelled)
    found = ranking(ROUNDED, scores, true, pieces=pieces)
    assert (found.n_sites, found.n_positions) == (true.sum(), len(true))
    if true.any():
        assert_as_sklearn(found, scores, true)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(FLOATS, st.booleans()), min_size=1, max_size=60))
def test_unrounded_scores_give_what_scikit_learn_gives_on_their_bins(labelled: list[tuple[float, bool]]) -> None:
    scores, true = np.array([score for score, _ in labelled], np.float32), np.array([label for _, label in labelled])
    cut = EXACT.edges()[EXACT.indices(scores)]
    if true.any():
        assert_as_sklearn(ranking(EXACT, scores, true), cut, true)


def test_many_unrounded_scores_lose_nothing_that_is_printed() -> None:
    dice = np.random.default_rng(0)
    true = dice.random(200_000) < 0.002
    scores = np.where(true, dice.beta(3, 1, len(true)), dice.beta(0.05, 5, len(true))).astype(np.float32)
    expected = average_precision_score(true, scores)
    assert 0.1 < expected < 0.95
    assert ranking(EXACT, scores, true).average_precision() == pytest.approx(expected, abs=1e-4)


@settings(max_examples=50, deadline=None)
@given(FLOATS, FLOATS)
def test_bins_of_unrounded_scores_keep_the_order(first: float, second: float) -> None:
    low, high = sorted([first, second])
    bins = EXACT.indices(np.array([low, high, 0, -0.0, 1], np.float32))
    assert 0 == bins[2] == bins[3] <= bins[0] <= bins[1] <= bins[4] == EXACT.count - 1
    edge = EXACT.edges()[bins[1]]
    assert edge <= high <= edge + max(edge * 2**-13, 2**-24)


@pytest.mark.parametrize("bins", [ROUNDED, EXACT])
def test_an_edge_lies_in_its_own_bin(bins: ScoreBins) -> None:
    np.testing.assert_array_equal(bins.indices(bins.edges().astype(np.float32)), np.arange(bins.count))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, SPLICE_STEPS), st.booleans()), min_size=1, unique_by=lambda pair: pair[0]))
def test_top_k_by_its_definition_where_no_scores_tie(labelled: list[tuple[int, bool]]) -> None:
    scores, true = arrays(labelled)
    found = ranking(ROUNDED, scores, true)
    for factor in (0.5, 1, 2, 4):
        called = np.argsort(-scores)[: int(factor * true.sum())]
        expected = true[called].sum() / min(len(called), true.sum()) if len(called) else None
        assert found.top_k(factor) == pytest.approx(expected)
    if true.any():
        assert found.threshold() == pytest.approx(float(np.sort(scores)[-true.sum()]))


def test_ties_at_the_end_of_the_list_count_as_in_the_mean_over_their_orders() -> None:
    scores, true = np.array([0.9, 0.5, 0.5, 0.5, 0.5, 0.1]), np.array([True, True, False, True, False, True])
    shares = [true[[0, *order][:4]].mean() for order in permutations(range(1, 5))]
    found = ranking(ROUNDED, scores.astype(np.float32), true)
    assert found.top_k() == pytest.approx(np.mean(shares)) == 0.625
    assert found.threshold() == 0.5


def test_a_ranking_without_sites_has_no_metrics() -> None:
    found = ranking(ROUNDED, np.array([0.5, 0.2], np.float32), np.array([False, False]))
    assert (found.average_precision(), found.top_k(), found.threshold()) == (None, None, None)
    assert len(found.curve().scores) == 0
    assert Ranking.empty(ROUNDED).reliability() == ()


def test_one_site_has_no_half() -> None:
    found = ranking(ROUNDED, np.array([0.5, 0.2], np.float32), np.array([True, False]))
    assert [found.top_k(factor) for factor in (0.5, 1, 4)] == [None, 1.0, 1.0]


@pytest.mark.parametrize("bins", [ROUNDED, EXACT])
def test_reliability_is_scikit_learns_calibration_curve(bins: ScoreBins) -> None:
    dice = np.random.default_rng(1)
    scores = round_to_steps((dice.integers(0, 1000, 5_000) / 1000 + 0.0004).astype(np.float32), SPLICE_STEPS)
    true = dice.random(5_000) < scores**2
    shares, means = calibration_curve(true, scores, n_bins=20)
    lines = ranking(bins, scores, true).reliability(20)
    np.testing.assert_allclose([line.true_share for line in lines], shares)
    np.testing.assert_allclose([line.mean_score for line in lines], means, atol=1e-4)
    assert sum(line.positions for line in lines) == 5_000


def test_ranges_of_reliability_hold_their_lower_end() -> None:
    scores = np.array([0.0, 0.05, 0.15, 0.3, 0.95, 1.0], np.float32)
    lines = ranking(ROUNDED, scores, np.zeros(6, bool)).reliability(20)
    assert [(line.low, line.positions) for line in lines] == [(0.0, 1), (0.05, 1), (0.15, 1), (0.3, 1), (0.95, 2)]
    in_float64 = ranking(ROUNDED, np.array([0.29, 0.57], np.float32), np.zeros(2, bool)).reliability(100)
    assert [line.low for line in in_float64] == [0.29, 0.57]  # where 0.29 * 100 is 28.999
