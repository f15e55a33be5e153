"""The quick convolution is the plain one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from sptx_core.engine import kernels
from sptx_core.engine.kernels import Convolution, ToomCook, convolution


@settings(max_examples=60, deadline=None)
@given(
    kernel=st.integers(0, 11).map(lambda half: 2 * half + 1),
    dilation=st.integers(1, 7),
    length=st.integers(1, 90),
    batch=st.integers(1, 3),
    relu=st.booleans(),
    piece=st.sampled_from([1, 1000, 10**6]),
    kind=st.sampled_from([Convolution, ToomCook]),
)
def test_convolutions_equal_pytorchs_in_float64(
    kernel: int, dilation: int, length: int, batch: int, relu: bool, piece: int, kind: type[Convolution | ToomCook]
) -> None:
    generator = torch.Generator().manual_seed(kernel + 100 * dilation)
    weight, bias = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((5, 3, kernel), (5,)))
    x = torch.randn(batch, 3, length + (kernel - 1) * dilation, generator=generator, dtype=torch.float64)
    expected = F.conv1d(x, weight, bias, dilation=dilation)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kernels, "PIECE", piece)
        found = kind(weight, bias, dilation, torch.float64, relu=relu)(x.transpose(1, 2).contiguous())
    torch.testing.assert_close(found, (expected.relu() if relu else expected).transpose(1, 2), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("channels", "kernel", "dtype", "kind"),
    [
        (64, 11, torch.float32, ToomCook),
        (64, 9, torch.float32, Convolution),
        (128, 11, torch.bfloat16, ToomCook),
        (64, 21, torch.bfloat16, ToomCook),
        (64, 11, torch.bfloat16, Convolution),
    ],
)
def test_toom_cook_is_for_large_kernels(channels: int, kernel: int, dtype: torch.dtype, kind: type) -> None:
    weight, bias = torch.zeros(channels, channels, kernel), torch.zeros(channels)
    assert type(convolution(weight, bias, 1, dtype, relu=False)) is kind
