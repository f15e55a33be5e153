"""Linear maps of positions against PyTorch's in float64."""

import numpy as np
import pytest
import torch

from sptx_core.engine.native import library
from sptx_core.engine.native.library import ADDED, ADDED_POSITIONS, COLUMNS, GIVEN, LENGTH, POSITIONS, RESULT, Mode
from sptx_core.engine.native.weights import ConvolutionArguments


@pytest.mark.parametrize("length", [1, 63, 64, 130])
def test_linear_maps_of_positions_equal_pytorchs(mode: Mode, dtype: torch.dtype, length: int) -> None:
    generator = torch.Generator().manual_seed(length)
    weight, x = torch.randn(64, 32, generator=generator), torch.randn(length, 32, generator=generator)
    more, result = torch.randn(length, 64, generator=generator), torch.full((length + 1, 64), torch.nan)
    row = np.zeros((1, COLUMNS), dtype=np.int64)
    row[0, [GIVEN, POSITIONS]] = x.data_ptr(), length
    row[0, [ADDED, ADDED_POSITIONS]] = more.data_ptr(), length
    row[0, [RESULT, LENGTH]] = result.data_ptr(), length
    library.convolve(mode, [ConvolutionArguments.of_positions(weight, mode)], [row], 1)
    expected = more + x.to(dtype).double() @ weight.to(dtype).double().T
    torch.testing.assert_close(result[:length].double(), expected, rtol=0, atol=2e-5)
    assert result[length].isnan().all()
