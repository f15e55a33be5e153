"""Tau against its definition and its ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tracks.specificity import tau


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ([0.7, 0.7, 0.7], 0.0),  # in all alike
        ([0.0, 0.4, 0.0, 0.0], 1.0),  # in one alone
        ([0.0, 8.0, 0.0, 0.0, 0.0, 2.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0], 0.9545454),  # 10.5 of 11
        ([0.5, 0.25], 0.5),
        ([0.0, 0.0], np.nan),  # of nothing
        ([0.3], np.nan),
        ([], np.nan),
    ],
)
def test_tau(usage: list[float], expected: float) -> None:
    found = tau(np.array([usage], np.float32).reshape(1, len(usage)))
    assert found.dtype == np.float32
    assert found == pytest.approx(expected, abs=1e-6, nan_ok=True)


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=6))
def test_tau_lies_between_0_and_1_and_knows_no_order(usage: list[float]) -> None:
    (one, other) = tau(np.array([usage, usage[::-1]], np.float32))
    assert np.isnan(one) if not max(usage) else 0 <= one <= 1
    assert one == pytest.approx(other, abs=1e-6, nan_ok=True)
