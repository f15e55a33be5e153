"""Every kind of convolution, linear map and attention is PyTorch's plain one."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from sptx_core.engine.torch.operators import (
    DilatedConvolution,
    GridConvolution,
    Projection,
    ToomCookConvolution,
    can_pack,
    fastest_convolution,
    softmax_attention,
)

KINDS = {
    "dilated": DilatedConvolution,
    "grid": GridConvolution,
    **{
        f"Toom-Cook, pieces of {size} bytes": partial(ToomCookConvolution, max_piece_bytes=size)
        for size in (1, 1000, 10**6)
    },
}


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    kernel=st.integers(0, 11).map(lambda half: 2 * half + 1),
    dilation=st.integers(1, 7),
    length=st.integers(1, 90),
    batch=st.integers(1, 3),
    relu=st.booleans(),
    kind=st.sampled_from(list(KINDS)),
)
def test_convolutions_equal_pytorchs_in_float64(
    kernel: int, dilation: int, length: int, batch: int, relu: bool, kind: str
) -> None:
    generator = torch.Generator().manual_seed(kernel + 100 * dilation)
    weight, bias = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((5, 3, kernel), (5,)))
    x = torch.randn(batch, 3, length + (kernel - 1) * dilation, generator=generator, dtype=torch.float64)
    expected = F.conv1d(x, weight, bias, dilation=dilation)
    convolution = KINDS[kind](weight, bias, dilation, torch.float64, relu=relu)
    assert convolution.radius == kernel // 2 * dilation
    found = convolution(x.transpose(1, 2).contiguous())
    torch.testing.assert_close(found, (expected.relu() if relu else expected).transpose(1, 2), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("channels", "kernel", "dtype", "kind"),
    [
        (64, 11, torch.float32, ToomCookConvolution),
        (64, 9, torch.float32, DilatedConvolution),
        (128, 11, torch.bfloat16, ToomCookConvolution),
        (64, 21, torch.bfloat16, ToomCookConvolution),
        (64, 11, torch.bfloat16, DilatedConvolution),
    ],
)
def test_toom_cook_is_for_large_kernels_on_a_cpu(channels: int, kernel: int, dtype: torch.dtype, kind: type) -> None:
    weight, bias = torch.zeros(channels, channels, kernel), torch.zeros(channels)
    assert type(fastest_convolution(weight, bias, 1, dtype, relu=False)) is kind
    assert type(fastest_convolution(weight.to("meta"), bias.to("meta"), 1, dtype, relu=False)) is GridConvolution


@pytest.mark.parametrize("packed", [None, False])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 1e-6), (torch.bfloat16, 2e-2)]
)
@pytest.mark.parametrize("rows", [1, 300])
def test_projections_equal_pytorchs_whether_laid_out_or_not(
    packed: bool | None, dtype: torch.dtype, tolerance: float, rows: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.rand(n, generator=generator, dtype=torch.float64) - 0.5 for n in ((rows, 7), (5, 7), (5,)))
    for added in (bias, None):
        projection = Projection(weight, added, dtype, packed=packed)
        assert projection.packed == (packed is None and can_pack(weight.to(dtype)))
        found = projection(x[None])
        assert (found.shape, found.dtype) == ((1, rows, 5), dtype)
        torch.testing.assert_close(found[0].double(), F.linear(x, weight, added), rtol=0, atol=tolerance)


def test_only_weights_on_a_cpu_are_laid_out() -> None:
    assert not can_pack(torch.zeros(5, 7, device="meta"))
    assert not can_pack(torch.zeros(5, 7, dtype=torch.float64))
    assert not can_pack(torch.zeros(0, 7))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_equals_pytorchs(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(3, 2, n, 8, generator=generator).to(dtype) for n in (4, 12, 12))
    expected = F.scaled_dot_product_attention(query.double(), key.double(), value.double(), scale=1.0)
    found = softmax_attention(query, key, value)
    assert found.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 0.04
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=tolerance)
