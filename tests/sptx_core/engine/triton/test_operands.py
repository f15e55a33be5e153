from __future__ import annotations

import pytest
import torch
from material.operands import DEVICE, random, to_operands, values

pytest.importorskip("triton", reason="Triton is not installed")

from sptx_core.engine.features import SharedFeatures
from sptx_core.engine.triton.activation import activate_features
from sptx_core.engine.triton.convolution import PreparedConvolution, multiply_rows
from sptx_core.engine.triton.operands import new_operands


@pytest.mark.parametrize(
    ("dtype", "shape", "stored"),
    [(torch.float32, (3, 4, 32), torch.float16), (torch.bfloat16, (3, 4, 16), torch.bfloat16)],
)
def test_operands_of_float32_are_pairs_of_float16(
    dtype: torch.dtype, shape: tuple[int, ...], stored: torch.dtype
) -> None:
    found = new_operands([3, 4], 16, dtype, torch.device(DEVICE))
    assert (found.shape, found.dtype) == (shape, stored)


@pytest.mark.parametrize("size", [1e-4, 1.0, 1e3])
def test_pairs_hold_what_float32_does(size: float) -> None:
    x = random(256, 64) * size
    one, zero = torch.ones(64, device=DEVICE), torch.zeros(64, device=DEVICE)
    found = activate_features(SharedFeatures.begin(x, 1, 256, 0), one, zero, torch.float32).inner
    assert found.dtype == torch.float16
    assert found.shape == (256, 128)
    expected = x.double().relu()
    assert ((values(found, 64) - expected).abs() <= expected * 2.0**-22 + 2.0**-28).all()
    torch.testing.assert_close(found, to_operands(x.relu(), torch.float32))


@pytest.mark.parametrize("scale", [1e-20, 1.0, 3.0, 1e6])
def test_products_of_pairs_have_the_error_of_float32(scale: float) -> None:
    x, weight, out = random(96, 256), random(32, 256, seed=1) * scale, torch.empty(96, 32, device=DEVICE)
    linear = PreparedConvolution.of(weight[..., None], None, torch.float32)
    multiply_rows(to_operands(x, torch.float32), linear, out)
    expected = x.double() @ weight.double().T
    error, usual = ((y - expected).norm() / expected.norm() for y in (out.double(), x @ weight.T))
    assert error < (1.5 * usual if DEVICE == "cpu" else 1e-5)  # tensor cores cut sums off where they should round
