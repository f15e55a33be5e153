"""Attention of one head to one, two or three buckets; modes of the matrix units take tile_attention.h."""

import ctypes
import math

import pytest
import torch
from material.random_layer import assert_near, operand_values
from torch import Tensor

from sptx_core.engine.native.library import BUCKET, Mode
from sptx_core.engine.native.weights import PANEL, panels


def operands(pieces, mode: Mode, x: Tensor) -> Tensor:
    """Values [64, 32] as operands by position."""
    words = torch.empty(BUCKET, mode.words(PANEL), dtype=torch.int32)
    pieces.operands(mode, x, x.numel(), words)
    return words


def addresses(tensors: list[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    """An array of pointers to tensors."""
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


@pytest.mark.parametrize("sources", [1, 2, 3])
@pytest.mark.parametrize("weight", [None, 0.3])
def test_attention_equals_softmax(
    pieces, mode: Mode, limits: tuple[float, float], sources: int, weight: float | None
) -> None:
    generator = torch.Generator().manual_seed(sources)
    query = torch.randn(BUCKET, PANEL, generator=generator)
    key, value = torch.randn(2, sources, BUCKET, PANEL, generator=generator)
    queries = operands(pieces, mode, query / math.log(2))
    keys = [operands(pieces, mode, x).T.contiguous() for x in key]
    values = [panels(x.T, mode) for x in value]
    pitch = 2 * mode.words(PANEL)  # as of two heads
    found = torch.full((BUCKET, pitch), -1, dtype=torch.int32)
    factor = 1.0 if weight is None else weight
    pieces.attention(
        mode, sources, queries, addresses(keys), addresses(values), weight is not None, factor, found, pitch
    )
    key[0] *= factor
    value[0] *= factor
    shares = torch.softmax(query.double() @ key.flatten(0, 1).double().T, 1)
    assert_near(operand_values(found[:, : mode.words(PANEL)], mode), shares @ value.flatten(0, 1).double(), limits)
    assert (found[:, mode.words(PANEL) :] == -1).all()


@pytest.mark.parametrize(("scale", "limit"), [(0.01, 5e-7), (4, 5e-6)])
@pytest.mark.parametrize("sources", [1, 2, 3])
def test_products_have_all_their_bits(pieces, mode: Mode, scale: float, limit: float, sources: int) -> None:
    """Of small queries, whose shares are near each other, those with values; of large ones those with keys."""
    generator = torch.Generator().manual_seed(sources)
    query = scale * torch.randn(BUCKET, PANEL, generator=generator)
    key, value = torch.randn(2, sources, BUCKET, PANEL, generator=generator)
    queries = operands(pieces, mode, query / math.log(2))
    keys, values = [operands(pieces, mode, x).T.contiguous() for x in key], [panels(x.T, mode) for x in value]
    found = torch.zeros(BUCKET, mode.words(PANEL), dtype=torch.int32)
    pieces.attention(mode, sources, queries, addresses(keys), addresses(values), False, 1.0, found, mode.words(PANEL))
    shares = torch.softmax(query.double() @ key.flatten(0, 1).double().T, 1)
    expected = shares @ value.flatten(0, 1).double()
    error = ((operand_values(found, mode) - expected).square().mean() / expected.square().mean()).sqrt()
    assert error < (limit if mode in (Mode.FLOAT32, Mode.MATRIX_FLOAT32) else 2e4 * limit)


def test_what_is_not_a_number_stays_so(pieces, mode: Mode) -> None:
    query, key, value = torch.randn(3, BUCKET, PANEL, generator=torch.Generator().manual_seed(0))
    query[5, 3] = torch.nan
    keys, values = [operands(pieces, mode, key).T.contiguous()], [panels(value.T, mode)]
    found = torch.zeros(BUCKET, mode.words(PANEL), dtype=torch.int32)
    queries = operands(pieces, mode, query)
    pieces.attention(mode, 1, queries, addresses(keys), addresses(values), False, 1.0, found, mode.words(PANEL))
    nan = operand_values(found, mode).isnan().any(1)
    assert nan.nonzero().flatten().tolist() == [5]
