from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from material.operands import DTYPES, assert_close, random, values

pytest.importorskip("triton", reason="Triton is not installed")

from sptx_core.engine.triton.row_norm import NormWeights, normalise_rows


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("rows", [16, 80, 208])
def test_the_norm_of_rows_and_its_means(dtype: torch.dtype, tolerance: float, rows: int) -> None:
    x, scale, shift = random(rows, 64, seed=1) * 3 + 1, random(64), random(64, seed=2)
    found = normalise_rows(x, NormWeights(scale, shift, 1e-5), 16, dtype)
    expected = F.layer_norm(x.double(), (64,), scale.double(), shift.double(), 1e-5)
    assert_close(values(found.normed, 64), expected, tolerance)
    assert_close(found.means, expected.view(-1, 16, 64).mean(1), 2e-6)
