"""Products by the matrix units, emulated."""

import pytest
import torch

from sptx_core.engine.native.library import Mode
from sptx_core.engine.native.weights import panels

MODES = [Mode.MATRIX_FLOAT32, Mode.MATRIX_BFLOAT16]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("from_zero", [True, False])
def test_a_block_times_a_panel_is_added_to_the_sums(pieces, mode: Mode, from_zero: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.randint(-9, 10, (32, 96), generator=generator).float()
    weight = torch.randint(-9, 10, (32, 64), generator=generator).float()
    operands = torch.zeros(32, mode.words(96), dtype=torch.int32)
    pieces.operands(mode, a, a.numel(), operands)
    before = torch.randint(-9, 10, (32, 32), generator=generator).float()
    sums = before.clone()
    times = pieces.by_tiles(mode, operands, mode.words(96), panels(weight, mode), mode.words(64), from_zero, sums)
    assert torch.equal(sums, a[:, :64] @ weight.T + (0 if from_zero else before))
    assert times == 64 // 32 * (6 if mode == Mode.MATRIX_FLOAT32 else 1)


def test_in_float32_products_have_24_bits(pieces) -> None:
    mode = Mode.MATRIX_FLOAT32
    generator = torch.Generator().manual_seed(1)
    a, weight = torch.randn(32, 64, generator=generator), torch.randn(32, 64, generator=generator)
    operands, sums = torch.zeros(32, mode.words(64), dtype=torch.int32), torch.empty(32, 32)
    pieces.operands(mode, a, a.numel(), operands)
    pieces.by_tiles(mode, operands, mode.words(64), panels(weight, mode), mode.words(64), True, sums)
    error = (sums - a.double() @ weight.double().T).square().mean() / 64
    assert error.sqrt() < 1.5e-7  # 1e-6 without any one product of parts


@pytest.mark.parametrize("mode", MODES)
def test_tile_registers_are_given_back(pieces, mode: Mode) -> None:
    words = torch.zeros(32, mode.words(32), dtype=torch.int32)
    pieces.by_tiles(mode, words, mode.words(32), words, mode.words(32), True, torch.empty(32, 32))
    assert not pieces.registers_are_in_use()
