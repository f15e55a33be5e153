"""2^x and GELU are as exact as the header says."""

import math
from collections.abc import Callable

import pytest
import torch

from sptx_core.engine.native.library import Mode

FLOAT32, BFLOAT16 = Mode.FLOAT32, Mode.BFLOAT16


def applied(function: Callable[..., int], mode: Mode, x: torch.Tensor) -> torch.Tensor:
    """The values of a function of 32 values at a time."""
    y = x.clone().reshape(-1, 32)
    for row in y:
        function(mode, row)
    return y.flatten()


@pytest.mark.parametrize(("mode", "error"), [(FLOAT32, 8e-8 + 2**-24), (BFLOAT16, 3e-6)])
def test_powers_of_2(pieces, mode: Mode, error: float) -> None:
    x = torch.cat((torch.linspace(-1, 0, 4096), torch.linspace(-126, 0, 4096)))
    expected = torch.exp2(x.double())
    assert ((applied(pieces.power_of_2, mode, x) - expected) / expected).abs().max() < 1.5 * error


@pytest.mark.parametrize("mode", [FLOAT32, BFLOAT16])
def test_powers_of_2_at_the_ends(pieces, mode: Mode) -> None:
    x = torch.tensor([0.0, -1e4, -math.inf, math.nan]).repeat(8)
    found = applied(pieces.power_of_2, mode, x)[:4]
    assert abs(found[0] - 1) < 3e-6
    assert found[1:3].tolist() == [0, 0]
    assert found[3].isnan()


@pytest.mark.parametrize(("mode", "error"), [(FLOAT32, 1e-6), (BFLOAT16, 2e-4)])
def test_gelu(pieces, mode: Mode, error: float) -> None:
    x = torch.linspace(-8, 8, 32 * 1024)
    expected = torch.nn.functional.gelu(x.double())
    assert (applied(pieces.gelu_of, mode, x) - expected).abs().max() < error


@pytest.mark.parametrize(("mode", "rest"), [(FLOAT32, 2e-8), (BFLOAT16, 3e-5)])
def test_gelu_far_from_zero(pieces, mode: Mode, rest: float) -> None:
    x = torch.tensor([1e4, -1e4, math.nan, 0.0]).repeat(8)
    found = applied(pieces.gelu_of, mode, x)[:4]
    assert abs(found[0] / 1e4 - 1) < max(rest, 2**-23)
    assert abs(found[1]) <= 1e4 * max(rest, 2**-23)
    assert found[2].isnan()
    assert found[3] == 0
