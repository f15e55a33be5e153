"""The LayerNorm of rows and its means over buckets: `normalise_rows`."""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from sptx_core.engine.triton.operands import new_operands, store_operands

WARPS = 8


class NormWeights(NamedTuple):
    """Weights of a LayerNorm."""

    scale: Tensor
    """float32 [hidden]."""
    shift: Tensor
    """float32 [hidden]."""
    eps: float


class NormedRows(NamedTuple):
    """Rows of B windows after a norm."""

    normed: Tensor
    """[B * S, hidden], operands of products."""
    means: Tensor
    """float32 [B * buckets, hidden], means over the positions of each bucket."""


def normalise_rows(x: Tensor, norm: NormWeights, bucket_size: int, dtype: torch.dtype) -> NormedRows:
    """The LayerNorm of rows, and its means over each bucket.

    Parameters
    ----------
    x : Tensor
        float32 [n, hidden].
    norm : NormWeights
        Scale, shift and epsilon.
    bucket_size : int
        Positions of a bucket, which divides n.
    dtype : torch.dtype
        Precision of the products that the rows are operands of.
    """
    rows, hidden = x.shape
    normed = new_operands([rows], hidden, dtype, x.device)
    means = x.new_empty(rows // bucket_size, hidden)
    normalise_kernel[(triton.cdiv(rows, bucket_size),)](
        x,
        *norm,
        normed,
        means,
        rows,
        HIDDEN=hidden,
        ROWS=bucket_size,
        BUCKET=bucket_size,
        PAIRS=dtype == torch.float32,
        num_warps=WARPS,
    )
    return NormedRows(normed, means)


@triton.jit(do_not_specialize=["rows"])
def normalise_kernel(
    x,  # float32 [rows, HIDDEN]
    scale,  # float32 [HIDDEN]
    shift,  # float32 [HIDDEN]
    eps,  # float32
    normed,  # out: operands [rows, HIDDEN]
    means,  # out: float32 [rows / BUCKET, HIDDEN]
    rows,
    HIDDEN: tl.constexpr,
    ROWS: tl.constexpr,  # of a block, whole buckets
    BUCKET: tl.constexpr,  # positions
    PAIRS: tl.constexpr,  # whether operands are pairs
):
    """A block computes ROWS rows."""
    channel = tl.arange(0, HIDDEN)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    mask = (row < rows)[:, None]
    at = row.to(tl.int64)[:, None]
    y = tl.load(x + at * HIDDEN + channel, mask=mask, other=0.0)
    centred = y - (tl.sum(y, 1) / HIDDEN)[:, None]
    deviation = tl.sqrt(tl.sum(centred * centred, 1) / HIDDEN + eps)
    y = centred * (1 / deviation)[:, None] * tl.load(scale + channel) + tl.load(shift + channel)
    store_means(means, y, channel, rows, HIDDEN, ROWS, BUCKET)
    store_operands(normed, at, channel, y, mask, HIDDEN, PAIRS)


@triton.jit
def store_means(
    means,  # out: float32 [rows / BUCKET, HIDDEN]
    normed,  # float32 [ROWS, COLUMNS], the rows of this block
    channel,  # [COLUMNS], which channels these are
    rows,
    HIDDEN: tl.constexpr,
    ROWS: tl.constexpr,
    BUCKET: tl.constexpr,
):
    """Store the means of some channels over each bucket of the block."""
    of_bucket = tl.sum(tl.reshape(normed, (ROWS // BUCKET, BUCKET, normed.shape[1])), 1) / BUCKET
    number = tl.program_id(0) * (ROWS // BUCKET) + tl.arange(0, ROWS // BUCKET)
    tl.store(means + number[:, None] * HIDDEN + channel, of_bucket, mask=(number < rows // BUCKET)[:, None])
