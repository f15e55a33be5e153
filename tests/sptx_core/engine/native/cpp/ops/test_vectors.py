"""Operands and transposes, bit by bit."""

import pytest
import torch

from sptx_core.engine.native.library import Mode


def operands(pieces, mode: Mode, x: torch.Tensor) -> torch.Tensor:
    """Words of operands [n]."""
    words = torch.zeros(mode.words(len(x)), dtype=torch.int32)
    pieces.operands(mode, x, len(x), words)
    return words


@pytest.fixture
def x() -> torch.Tensor:
    """Values of very different sizes."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(128, generator=generator) * 10 ** torch.randint(-8, 9, (128,), generator=generator).float()


def test_operands_in_float32_are_the_values(pieces, x: torch.Tensor) -> None:
    assert torch.equal(operands(pieces, Mode.FLOAT32, x).view(torch.float32), x)


@pytest.mark.parametrize("mode", [Mode.BFLOAT16, Mode.MATRIX_BFLOAT16])
def test_operands_in_bfloat16_are_rounded_to_nearest_even(pieces, x: torch.Tensor, mode: Mode) -> None:
    x[:3] = torch.tensor([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20])  # two ties, one just above a tie
    assert torch.equal(operands(pieces, mode, x).view(torch.bfloat16), x.bfloat16())


def test_a_float32_is_exactly_the_sum_of_its_three_parts(pieces, x: torch.Tensor) -> None:
    parts = operands(pieces, Mode.MATRIX_FLOAT32, x).view(torch.bfloat16).reshape(-1, 3, 32)  # [steps, parts, values]
    assert torch.equal(parts.double().sum(1).flatten(), x.double())
    high = parts[:, 0].flatten()
    assert torch.equal(high, x.bfloat16())
    assert torch.equal(parts[:, 1].flatten(), (x - high.float()).bfloat16())


@pytest.mark.parametrize(("pitch", "to_pitch"), [(16, 16), (48, 64)])
def test_transpose(pieces, pitch: int, to_pitch: int) -> None:
    words = torch.arange(16 * pitch, dtype=torch.int32).reshape(16, pitch)
    found = torch.full((16, to_pitch), -1, dtype=torch.int32)
    pieces.transpose(words, pitch, found, to_pitch)
    assert torch.equal(found[:, :16], words[:, :16].T)
    assert (found[:, 16:] == -1).all()
