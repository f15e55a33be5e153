"""Operands of products: how they are stored, and the precision of products; used by every operation.

Rows are positions, channels lie beside one another. Products take operands in the precision of the weights and sum in
float32. In float32 an operand is a pair of float16: its value times `SCALE`, rounded, and what that leaves out. A row
holds the first halves of all channels and then the second halves, [rows, 2 * channels]. Three products of halves make
one of float32: halves of 11 bits are multiplied without error, and the fourth product, of the two second halves, is
below the rounding of float32. They take the tensor cores half as long as three products of TF32 parts (`tf32x3`), which
the attention in float32 uses. In other precisions an operand is one number, [rows, channels].

The splitting of float32 for tensor cores follows Ootomo and Yokota (2022). With `TRITON_INTERPRET=1` all kernels run on
CPU tensors, for tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

PRODUCT = tl.constexpr("tf32x3")  # how float32 operands are multiplied; others are multiplied as they are
SCALE = tl.constexpr(8.0)  # of pairs, which then hold values up to 8,188 to within 2 ** -22 of them, or else 2 ** -28


@dataclass(frozen=True)
class Tile:
    """How a kernel cuts its work."""

    rows: int
    """Rows of a product."""
    columns: int
    """Columns of a product; 0 where a tile has all of them."""
    depth: int
    """Channels that are summed in one step."""
    warps: int
    stages: int
    """Steps that are loaded ahead."""


def new_operands(rows: Sequence[int], channels: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A new tensor for operands of products in `dtype`: [*rows, channels]; of pairs, float16 [*rows, 2 * channels]."""
    if dtype == torch.float32:
        return torch.empty(*rows, 2 * channels, dtype=torch.float16, device=device)
    return torch.empty(*rows, channels, dtype=dtype, device=device)


@triton.jit
def store_operands(
    out,  # pointer: [., CHANNELS] or, for pairs, float16 [., 2 * CHANNELS]
    row,  # int64 [ROWS, 1]
    channel,  # [1, COLUMNS], of `row`
    values,  # float32 [ROWS, COLUMNS]
    mask,  # [ROWS, 1], rows to be stored
    CHANNELS: tl.constexpr,  # of a row
    PAIRS: tl.constexpr,  # whether to store pairs
):
    """Store some channels of rows, in the dtype of `out` or as pairs."""
    at = out + row * (2 * CHANNELS if PAIRS else CHANNELS) + channel
    if PAIRS:
        values *= SCALE
        high = values.to(tl.float16)
        tl.store(at, high, mask=mask)
        tl.store(at + CHANNELS, (values - high.to(tl.float32)).to(tl.float16), mask=mask)
    else:
        tl.store(at, values.to(out.dtype.element_ty), mask=mask)
