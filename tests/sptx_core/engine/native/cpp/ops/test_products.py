"""Products with several panels, in each mode."""

import pytest
import torch

from sptx_core.engine.native.library import Mode
from sptx_core.engine.native.weights import panels


@pytest.mark.parametrize("rows", [1, 31, 32, 75])
@pytest.mark.parametrize("columns", [32, 96])
@pytest.mark.parametrize("inputs", [32, 160])
def test_rows_times_panels(pieces, mode: Mode, rows: int, columns: int, inputs: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    a = torch.randint(-9, 10, (rows, inputs), generator=generator).float()
    weight = torch.randint(-9, 10, (columns, inputs), generator=generator).float()
    words = mode.words(inputs)
    operands = torch.full((-(-rows // 32) * 32, words), -1, dtype=torch.int32)  # up to a whole number of blocks: NaN
    pieces.operands(mode, a, a.numel(), operands)
    y, order = torch.empty(rows, columns), torch.empty(columns // 32, rows, dtype=torch.int32)
    pieces.product(mode, operands, words, rows, panels(weight, mode), words * 32, words, columns // 32, y, order)
    assert torch.equal(y, a @ weight.T)
    assert order.flatten().tolist() == list(range(order.numel()))  # each row once, in order, panel by panel
