"""Both kinds of attention, a bucket and a head at a time: `attend_buckets`.

Softmax is taken with powers of 2: queries come scaled by 1 / ln 2. Tiles of rows and the running sums follow
FlashAttention (Dao et al. 2022), but a bucket meets at most three buckets of keys, which are all held at once.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from sptx_core.engine.flops import performed
from sptx_core.engine.triton.operands import PRODUCT, new_operands, store_operands

WARPS = 4


def attend_buckets(
    qkv: Tensor,
    sinkhorn_keys: Tensor,
    chosen: Tensor,
    probability: Tensor,
    *,
    heads: int,
    bucket_size: int,
    windows: int,
    first: int,
) -> Tensor:
    """Attention of some buckets of each window: operands [n * bucket_size, hidden] in the precision of `qkv`.

    A local head sees its bucket and the two beside it in the window; a Sinkhorn head sees its bucket and the keys of
    the chosen one, times their probability, which are values too.

    Parameters
    ----------
    qkv : Tensor
        Queries, scaled by head_size ** -0.5 / ln 2, keys and values of consecutive buckets of each window,
        [windows * buckets * bucket_size, 3 * hidden]; the buckets that attend and their neighbours are among them.
    sinkhorn_keys : Tensor
        Keys of the Sinkhorn heads of all buckets of all windows [., Sinkhorn heads * head_size]; may be a view of
        columns.
    chosen : Tensor
        int64 [n, Sinkhorn heads], numbers of buckets in `sinkhorn_keys`, for the n attending buckets of all windows.
    probability : Tensor
        float32 [n, Sinkhorn heads].
    heads : int
        Heads of both kinds; the first ones are local.
    bucket_size : int
        Positions of a bucket.
    windows : int
        Number of windows.
    first : int
        Number of the first attending bucket of a window among its buckets in `qkv`.
    """
    hidden = qkv.shape[1] // 3
    count, sinkhorn_heads = chosen.shape
    seen = 3 * (heads - sinkhorn_heads) + 2 * sinkhorn_heads  # buckets, over all heads
    performed(4 * count * bucket_size * bucket_size * (hidden // heads) * seen)
    out = new_operands([count * bucket_size], hidden, qkv.dtype, qkv.device)
    for is_local, of_kind in ((True, heads - sinkhorn_heads), (False, sinkhorn_heads)):
        if of_kind:
            attend_kernel[(count, of_kind)](
                qkv,
                sinkhorn_keys,
                chosen,
                probability,
                out,
                len(qkv) // bucket_size // windows,
                first,
                count // windows,
                LOCAL=is_local,
                KEY_STRIDE=sinkhorn_keys.stride(0),
                PAIRS=qkv.dtype == torch.float32,
                HEADS=heads,
                LOCAL_HEADS=heads - sinkhorn_heads,
                SIZE=bucket_size,
                HEAD=hidden // heads,
                num_warps=WARPS,
            )
    return out


@triton.jit(do_not_specialize=["buckets", "first", "count"])
def attend_kernel(
    qkv,  # [windows * buckets * SIZE, 3 * HEADS * HEAD]
    sinkhorn_keys,  # [., Sinkhorn heads * HEAD], rows KEY_STRIDE apart
    chosen,  # int64 [windows * count, Sinkhorn heads]
    probability,  # float32 [windows * count, Sinkhorn heads]
    out,  # out: operands [windows * count * SIZE, HEADS * HEAD]
    buckets,  # of a window in qkv
    first,  # bucket of a window in qkv that attends
    count,  # buckets of a window that attend
    LOCAL: tl.constexpr,  # kind of heads
    KEY_STRIDE: tl.constexpr,  # elements
    PAIRS: tl.constexpr,  # whether `out` holds pairs
    HEADS: tl.constexpr,  # of both kinds
    LOCAL_HEADS: tl.constexpr,
    SIZE: tl.constexpr,  # positions of a bucket
    HEAD: tl.constexpr,  # channels of a head
):
    """A block computes one bucket and one head."""
    number, head = tl.program_id(0), tl.program_id(1)
    if not LOCAL:
        head += LOCAL_HEADS
    SINKHORN_HEADS: tl.constexpr = HEADS - LOCAL_HEADS
    place = first + number % count  # of the bucket, among those of its window in qkv
    position, channel = tl.arange(0, SIZE), tl.arange(0, HEAD)
    start = ((number // count) * buckets + place).to(tl.int64) * SIZE
    queries = qkv + (start + position)[:, None] * (3 * HEADS * HEAD) + head * HEAD + channel
    keys, values = queries + HEADS * HEAD, queries + 2 * HEADS * HEAD
    query, value = tl.load(queries), tl.load(values)
    scores = tl.dot(query, tl.trans(tl.load(keys)), input_precision=PRODUCT)
    largest = tl.max(scores, 1)
    if LOCAL:
        step = SIZE * 3 * HEADS * HEAD  # elements from a bucket to the next
        has_before, has_after = place > 0, place < buckets - 1
        before = tl.dot(query, tl.trans(tl.load(keys - step, mask=has_before, other=0.0)), input_precision=PRODUCT)
        after = tl.dot(query, tl.trans(tl.load(keys + step, mask=has_after, other=0.0)), input_precision=PRODUCT)
        before = tl.where(has_before, before, float("-inf"))
        after = tl.where(has_after, after, float("-inf"))
        largest = tl.maximum(largest, tl.maximum(tl.max(before, 1), tl.max(after, 1)))
        weights = tl.exp2(scores - largest[:, None])
        before = tl.exp2(before - largest[:, None])
        after = tl.exp2(after - largest[:, None])
        total = tl.sum(weights, 1) + tl.sum(before, 1) + tl.sum(after, 1)
        attended = tl.dot(weights.to(value.dtype), value, input_precision=PRODUCT)
        of_before = tl.load(values - step, mask=has_before, other=0.0)
        attended = tl.dot(before.to(value.dtype), of_before, attended, input_precision=PRODUCT)
        of_after = tl.load(values + step, mask=has_after, other=0.0)
        attended = tl.dot(after.to(value.dtype), of_after, attended, input_precision=PRODUCT)
    else:
        which = tl.load(chosen + number * SINKHORN_HEADS + head - LOCAL_HEADS)
        share = tl.load(probability + number * SINKHORN_HEADS + head - LOCAL_HEADS)
        rows = sinkhorn_keys + (which * SIZE + position)[:, None] * KEY_STRIDE + (head - LOCAL_HEADS) * HEAD + channel
        other = tl.load(rows)  # times the share these are keys and values
        of_other = tl.dot(query, tl.trans(other), input_precision=PRODUCT) * share
        largest = tl.maximum(largest, tl.max(of_other, 1))
        weights = tl.exp2(scores - largest[:, None])
        of_other = tl.exp2(of_other - largest[:, None])
        total = tl.sum(weights, 1) + tl.sum(of_other, 1)
        attended = tl.dot(weights.to(value.dtype), value, input_precision=PRODUCT)
        attended = tl.dot((of_other * share).to(value.dtype), other, attended, input_precision=PRODUCT)
    attended = attended * (1 / total)[:, None]
    row = (number * SIZE + position).to(tl.int64)[:, None]
    mask = position[:, None] < SIZE
    store_operands(out, row, head * HEAD + channel[None, :], attended, mask, HEADS * HEAD, PAIRS)
