"""What follows attention in a layer: output map, norm, expansion, GELU, contraction, and the next layer's norm.

`FeedForward` does them by one kernel, or in float32, whose operands are pairs, by a kernel each.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from sptx_core.engine.flops import performed
from sptx_core.engine.triton.activation import gelu
from sptx_core.engine.triton.convolution import PreparedConvolution, multiply_rows
from sptx_core.engine.triton.operands import PRODUCT, Tile, new_operands
from sptx_core.engine.triton.row_norm import NormedRows, NormWeights, normalise_rows, store_means

TILE = Tile(128, 0, 64, 8, 2)  # for a Hopper GPU; docs/engine-notes.md has the tiles that were tried


class FeedForward:
    """What follows attention in a layer.

    Parameters
    ----------
    output : tuple of Tensor
        Weight [hidden, hidden] and bias [hidden] of the linear map after attention.
    norm : NormWeights
        The norm before the feed-forward.
    expand : tuple of Tensor
        Weight [inner, hidden] and bias [inner] of the first linear map of the feed-forward.
    contract : tuple of Tensor
        Weight [hidden, inner] and bias [hidden] of the second one.
    dtype : torch.dtype
        Precision of products.
    """

    def __init__(
        self,
        output: tuple[Tensor, Tensor],
        norm: NormWeights,
        expand: tuple[Tensor, Tensor],
        contract: tuple[Tensor, Tensor],
        dtype: torch.dtype,
    ) -> None:
        self.norm, self.dtype = norm, dtype
        self.output = PreparedConvolution.of(output[0][..., None], output[1], dtype)
        self.expand = PreparedConvolution.of(expand[0][..., None], expand[1], dtype, after="gelu")
        self.contract = PreparedConvolution.of(contract[0][..., None], contract[1], dtype)

    def __call__(self, x: Tensor, attended: Tensor, following: NormWeights | None, bucket_size: int) -> NormedRows:
        """Add attention, through its output map, and then the feed-forward to rows, in place.

        Parameters
        ----------
        x : Tensor
            float32 [n, hidden], the residual stream.
        attended : Tensor
            Operands [n, hidden], from `attend_buckets`.
        following : NormWeights or None
            The norm of the next layer.
        bucket_size : int
            Positions of a bucket.

        Returns
        -------
        NormedRows
            The result after the norm `following`; without it the values have no meaning.
        """
        if not self.output.takes_pairs:
            return self._at_once(x, attended, following, bucket_size)
        multiply_rows(attended, self.output, x, x)
        rows = normalise_rows(x, self.norm, bucket_size, self.dtype)
        wide = new_operands(x.shape[:1], self.contract.inputs, self.dtype, x.device)
        multiply_rows(multiply_rows(rows.normed, self.expand, wide), self.contract, x, x)
        return rows if following is None else normalise_rows(x, following, bucket_size, self.dtype)

    def _at_once(self, x: Tensor, attended: Tensor, following: NormWeights | None, bucket_size: int) -> NormedRows:
        (rows, hidden), inner = x.shape, self.contract.inputs
        performed(2 * rows * hidden * (hidden + 2 * inner))
        normed, means = x.new_empty(rows, hidden, dtype=self.dtype), x.new_empty(rows // bucket_size, hidden)
        finish_kernel[(triton.cdiv(rows, TILE.rows),)](
            x,
            attended,
            self.output.weight,
            self.output.bias,
            *self.norm,
            normed,
            self.expand.weight,
            self.expand.bias,
            self.contract.weight,
            self.contract.bias,
            *(following or self.norm),
            means,
            rows,
            HIDDEN=hidden,
            INNER=inner,
            ROWS=TILE.rows,
            DEPTH=min(TILE.depth, hidden),
            BUCKET=bucket_size,
            NEXT=following is not None,
            num_warps=TILE.warps,
            num_stages=TILE.stages,
        )
        return NormedRows(normed, means)


@triton.jit(do_not_specialize=["rows"])
def finish_kernel(
    x,  # in and out: float32 [rows, HIDDEN]
    attended,  # operands [rows, HIDDEN]
    output,  # operands [HIDDEN, HIDDEN]
    output_bias,  # float32 [HIDDEN]
    scale,  # float32 [HIDDEN], of the norm before the feed-forward
    shift,  # float32 [HIDDEN]
    eps,  # float32
    normed,  # out: operands [rows, HIDDEN], after the next layer's norm; until then after this layer's
    expand,  # operands [INNER, HIDDEN]
    expand_bias,  # float32 [INNER]
    contract,  # operands [HIDDEN, INNER]
    contract_bias,  # float32 [HIDDEN]
    next_scale,  # float32 [HIDDEN], of the next layer's norm
    next_shift,  # float32 [HIDDEN]
    next_eps,  # float32
    means,  # out: float32 [rows / BUCKET, HIDDEN]
    rows,
    HIDDEN: tl.constexpr,
    INNER: tl.constexpr,  # channels of the feed-forward
    ROWS: tl.constexpr,  # of a block, whole buckets
    DEPTH: tl.constexpr,  # channels in a step
    BUCKET: tl.constexpr,  # positions
    NEXT: tl.constexpr,  # whether there is a next layer
):
    """A block computes ROWS rows.

    The channels of the residual stream, y0 and y1, are held in two halves: a value whose layout changes is for a moment
    in the registers twice, and a half of ROWS x HIDDEN float32 fits there beside the sums where the whole would spill.
    """
    HALF: tl.constexpr = HIDDEN // 2
    channel, low = tl.arange(0, HIDDEN), tl.arange(0, HALF)
    high = HALF + low
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    mask = (row < rows)[:, None]
    at = row.to(tl.int64)[:, None] * HIDDEN
    y0 = tl.zeros((ROWS, HALF), dtype=tl.float32)
    y1 = tl.zeros((ROWS, HALF), dtype=tl.float32)
    for first in range(0, HIDDEN, DEPTH):
        depth = first + tl.arange(0, DEPTH)
        some = tl.load(attended + at + depth, mask=mask, other=0.0)
        y0 = tl.dot(some, tl.load(output + low[None, :] * HIDDEN + depth[:, None]), y0, input_precision=PRODUCT)
        y1 = tl.dot(some, tl.load(output + high[None, :] * HIDDEN + depth[:, None]), y1, input_precision=PRODUCT)
    y0 += tl.load(output_bias + low) + tl.load(x + at + low, mask=mask, other=0.0)
    y1 += tl.load(output_bias + high) + tl.load(x + at + high, mask=mask, other=0.0)
    z0, z1 = norm_of_halves(y0, y1, scale, shift, eps, HALF)
    # Stored and loaded again: an operand that is loaded is multiplied from where it lies in shared memory, and takes no
    # registers, which the sums need. The barrier is for threads that load what others have stored.
    tl.store(normed + at + low, z0.to(normed.dtype.element_ty), mask=mask)
    tl.store(normed + at + high, z1.to(normed.dtype.element_ty), mask=mask)
    tl.debug_barrier()
    operand = tl.load(normed + at + channel, mask=mask, other=0.0)
    bias = tl.load(expand_bias + tl.arange(0, DEPTH))
    for first in range(0, INNER, DEPTH):
        depth = first + tl.arange(0, DEPTH)
        bias_now = bias
        bias = tl.load(expand_bias + DEPTH + depth, mask=DEPTH + depth < INNER, other=0.0)
        part = tl.load(expand + depth[None, :] * HIDDEN + channel[:, None])
        wide = gelu(tl.dot(operand, part, input_precision=PRODUCT) + bias_now).to(part.dtype)
        y0 = tl.dot(wide, tl.load(contract + low[None, :] * INNER + depth[:, None]), y0, input_precision=PRODUCT)
        y1 = tl.dot(wide, tl.load(contract + high[None, :] * INNER + depth[:, None]), y1, input_precision=PRODUCT)
    y0 += tl.load(contract_bias + low)
    y1 += tl.load(contract_bias + high)
    tl.store(x + at + low, y0, mask=mask)
    tl.store(x + at + high, y1, mask=mask)
    if NEXT:
        z0, z1 = norm_of_halves(y0, y1, next_scale, next_shift, next_eps, HALF)
        store_means(means, z0, low, rows, HIDDEN, ROWS, BUCKET)
        store_means(means, z1, high, rows, HIDDEN, ROWS, BUCKET)
        tl.debug_barrier()  # every thread has read the operand
        tl.store(normed + at + low, z0.to(normed.dtype.element_ty), mask=mask)
        tl.store(normed + at + high, z1.to(normed.dtype.element_ty), mask=mask)


@triton.jit
def norm_of_halves(
    y0,  # float32 [ROWS, HALF], the first channels
    y1,  # float32 [ROWS, HALF], the other channels
    scale,  # float32 [2 * HALF]
    shift,  # float32 [2 * HALF]
    eps,  # float32
    HALF: tl.constexpr,
):
    """The LayerNorm of rows whose channels are held in two halves; `normalise_kernel` has that of whole rows."""
    channel = tl.arange(0, HALF)
    mean = ((tl.sum(y0, 1) + tl.sum(y1, 1)) / (2 * HALF))[:, None]
    squares = tl.sum((y0 - mean) * (y0 - mean), 1) + tl.sum((y1 - mean) * (y1 - mean), 1)
    factor = (1 / tl.sqrt(squares / (2 * HALF) + eps))[:, None]
    z0 = (y0 - mean) * factor * tl.load(scale + channel) + tl.load(shift + channel)
    z1 = (y1 - mean) * factor * tl.load(scale + HALF + channel) + tl.load(shift + HALF + channel)
    return z0, z1
