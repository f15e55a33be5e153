from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from material.operands import DTYPES, assert_close, random, to_operands, values

pytest.importorskip("triton", reason="Triton is not installed")

from sptx_core.engine.triton.feed_forward import FeedForward
from sptx_core.engine.triton.row_norm import NormWeights


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("rows", [16, 64, 144])
@pytest.mark.parametrize("last", [False, True])
def test_what_follows_attention(dtype: torch.dtype, tolerance: float, rows: int, last: bool) -> None:
    x, attended = random(rows, 64), to_operands(random(rows, 64, seed=1), dtype)
    output, expand, contract = (
        ((random(n, k, seed=n) / k**0.5).to(dtype), random(n, seed=k)) for n, k in ((64, 64), (128, 64), (64, 128))
    )
    scale, shift = random(64, seed=5), random(64, seed=6)
    y = x.double() + F.linear(values(attended, 64), output[0].double(), output[1].double())
    z = F.layer_norm(y, (64,), scale.double(), shift.double(), 1e-5)
    z = F.gelu(F.linear(z, expand[0].double(), expand[1].double()))
    expected = y + F.linear(z, contract[0].double(), contract[1].double())
    following = None if last else NormWeights(shift, scale, 1e-3)
    feed_forward = FeedForward(output, NormWeights(scale, shift, 1e-5), expand, contract, dtype)
    normed, means = feed_forward(x, attended, following, 16)
    assert_close(x, expected, tolerance)
    if not last:
        expected = F.layer_norm(expected, (64,), shift.double(), scale.double(), 1e-3)
        assert_close(values(normed, 64), expected, tolerance)
        assert_close(means, expected.view(-1, 16, 64).mean(1), tolerance)
