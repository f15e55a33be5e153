"""Products by vectors, exact for whole numbers."""

import pytest
import torch

from sptx_core.engine.native.library import Mode
from sptx_core.engine.native.weights import panels


@pytest.mark.parametrize("mode", [Mode.FLOAT32, Mode.BFLOAT16])
@pytest.mark.parametrize("rows", [1, 7, 8, 21])
@pytest.mark.parametrize("pitch", [64, 96])
def test_rows_times_a_panel(pieces, mode: Mode, rows: int, pitch: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    a = torch.randint(-9, 10, (rows, pitch), generator=generator).float()
    weight = torch.randint(-9, 10, (32, 64), generator=generator).float()
    operands = torch.zeros(rows, mode.words(pitch), dtype=torch.int32)
    pieces.operands(mode, a, a.numel(), operands)
    y = torch.full((rows + 1, 32), torch.nan)
    pieces.by_vectors(mode, operands, mode.words(pitch), rows, panels(weight, mode), mode.words(64), y)
    assert torch.equal(y[:rows], a[:, :64] @ weight.T)
    assert y[rows].isnan().all()
