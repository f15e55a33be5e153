"""The authors' z scores, worked out by hand, and what is called of them."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.variants.calls import BACKGROUND, MIN_SPLICE, called, has_background, z_scores

TISSUES = list(BACKGROUND)


def usage(default: float, **others: float) -> np.ndarray:
    """Deltas of all tissues."""
    return np.array([others.get(name, default) for name in TISSUES], dtype=np.float32)


def calls(splice: float, deltas: np.ndarray) -> dict[str, float]:
    """Called tissue -> z to three digits."""
    z = z_scores(deltas, TISSUES)
    return {name: round(float(z[TISSUES.index(name)]), 3) for name in called(splice, deltas, z, TISSUES)}


def test_one_tissue_is_called_and_one_whose_delta_is_zero_is_not() -> None:
    deltas = usage(0, brain=0.5)
    assert calls(0.5, deltas) == {"brain": 13.682}
    z = dict(zip(TISSUES, z_scores(deltas, TISSUES), strict=True))
    assert round(z["blood"], 3) == 1.459  # beyond its q95: the authors' script calls it
    assert z["blood"] > BACKGROUND["blood"][2]


def test_a_tissue_that_changes_more_and_one_whose_background_is_low_are_called() -> None:
    assert calls(0.5, usage(0.4, blood=0.3, liver=0.35, brain=0.5)) == {"brain": 2.606, "muscle": 1.49}


def test_nothing_is_called_where_nothing_changes() -> None:
    z = z_scores(usage(0), TISSUES)
    beyond = [name for name, score in zip(TISSUES, z, strict=True) if score > BACKGROUND[name][2]]
    assert beyond == ["blood", "liver"]  # which the authors' script calls
    assert calls(0.0, usage(0)) == {}
    assert calls(1.0, usage(0)) == {}


@pytest.mark.parametrize(("splice", "expected"), [(0.2699, []), (MIN_SPLICE, ["brain"]), (0.28, ["brain"])])
def test_nothing_is_called_below_the_least_splice_delta(splice: float, expected: list[str]) -> None:
    assert list(calls(splice, usage(0, brain=0.5))) == expected
    assert list(calls(float(np.float32(splice)), usage(0, brain=0.5))) == expected


def test_z_must_be_beyond_the_threshold() -> None:
    z = np.array([BACKGROUND[name][2] for name in TISSUES])
    assert called(1.0, usage(0.5), z, TISSUES) == []
    assert called(1.0, usage(0.5), np.nextafter(z, 9), TISSUES) == TISSUES


def test_z_of_many_changes_and_of_one_agree_in_whatever_order_tissues_are() -> None:
    deltas = np.random.default_rng(3).random((4, 15)).astype(np.float32)
    z = z_scores(deltas, TISSUES)
    assert z.dtype == np.float64
    for row, of_row in zip(deltas, z, strict=True):
        np.testing.assert_array_equal(z_scores(row, TISSUES), of_row)
        np.testing.assert_allclose(z_scores(row[::-1], TISSUES[::-1])[::-1], of_row, rtol=1e-12)
        backwards = called(1.0, row[::-1], of_row[::-1], TISSUES[::-1])
        assert backwards == called(1.0, row, of_row, TISSUES)[::-1]


def test_z_by_the_formula() -> None:
    deltas = np.random.default_rng(4).random(15)
    mean = sum(deltas) / 15
    for name, delta, score in zip(TISSUES, deltas, z_scores(deltas, TISSUES), strict=True):
        mu, sigma, _ = BACKGROUND[name]
        assert score == pytest.approx(((delta - mean) - mu) / sigma)


def test_z_is_offered_for_the_published_tissues_alone() -> None:
    assert has_background(TISSUES)
    assert has_background(TISSUES[::-1])
    assert not has_background(TISSUES[:-1])
    assert not has_background([*TISSUES, "testis"])
    assert not has_background([*TISSUES[:-1], "testis"])
    assert not has_background([*TISSUES[:-1], TISSUES[0]])
    assert not has_background([])
