"""Operands of the Triton kernels, and comparisons with float64; without a GPU the kernels run in Triton's interpreter.

The interpreter has no bfloat16: float16, which is cut into the same tiles, stands for it.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = [  # precision of products, and the tolerance that it needs
    pytest.param(torch.float32, 1e-6 if DEVICE == "cpu" else 4e-6, id="float32"),
    pytest.param(torch.float16, 2e-3, id="float16"),
    *([pytest.param(torch.bfloat16, 2e-2, id="bfloat16")] if DEVICE == "cuda" else []),
]


def random(*shape: int, seed: int = 0) -> Tensor:
    """Normal random numbers on the device."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def assert_close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Within a tolerance that is relative to the largest value expected."""
    assert found.shape == expected.shape
    if found.numel():
        assert (found.double() - expected).abs().max() <= tolerance * max(1.0, float(expected.abs().max()))


def to_operands(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Operands of products in `dtype`: of float32, pairs of float16."""
    if dtype != torch.float32:
        return x.to(dtype)
    high = (x * 8).half()
    return torch.cat((high, (x * 8 - high).half()), -1)


def values(operands: Tensor, channels: int) -> Tensor:
    """What operands stand for, in float64."""
    found = operands.double()
    return found if operands.shape[-1] == channels else (found[..., :channels] + found[..., channels:]) / 8
