"""The bucket that each bucket of a window looks at, for each Sinkhorn head: `choose_buckets`."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from sptx_core.engine.flops import performed
from sptx_core.engine.triton import MIN_PRODUCT

DEPTH = 32  # channels in a step
WARPS = 8


def choose_buckets(
    means: Tensor,
    query: Tensor,
    key: Tensor,
    scale: float,
    head_size: int,
    first: int,
    count: int,
    gaps: list[Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """For each bucket and Sinkhorn head the bucket of the window whose mean key fits its mean query best.

    Parameters
    ----------
    means : Tensor
        float32 [windows, buckets, hidden], means over each bucket of what is projected.
    query, key : Tensor
        float32 [Sinkhorn heads * head_size, hidden], weights of the projections.
    scale : float
        Of products of a query and a key.
    head_size : int
        Channels of a head.
    first, count : int
        Buckets `first`, ..., `first` + count - 1 of each window choose.
    gaps : list, optional
        Gets float32 [windows]: the smallest difference between the two best fits of a bucket of each window, infinity
        where there is no second.

    Returns
    -------
    tuple of Tensor
        The buckets, numbered through all windows, int64, and their share of the softmax over the window's buckets,
        float32; both [windows * count, Sinkhorn heads].
    """
    windows, buckets, hidden = means.shape
    heads = len(query) // head_size
    performed(2 * windows * buckets * len(query) * (2 * hidden + buckets))
    chosen = means.new_empty(windows * count, heads, dtype=torch.int64)
    probability = means.new_empty(windows * count, heads)
    smallest = means.new_full((windows, max(1, heads)), torch.inf)
    if heads:
        choose_kernel[(windows, heads)](
            means,
            query,
            key,
            scale,
            chosen,
            probability,
            smallest,
            buckets,
            first,
            count,
            HIDDEN=hidden,
            HEAD=head_size,
            HEADS=heads,
            BUCKETS=max(MIN_PRODUCT, triton.next_power_of_2(buckets)),
            DEPTH=min(DEPTH, hidden),
            GAPS=gaps is not None,
            num_warps=WARPS,
        )
    if gaps is not None:
        gaps.append(smallest.amin(1))
    return chosen, probability


@triton.jit(do_not_specialize=["buckets", "first", "count"])
def choose_kernel(
    means,  # float32 [windows, buckets, HIDDEN]
    query,  # float32 [HEADS * HEAD, HIDDEN]
    key,  # float32 [HEADS * HEAD, HIDDEN]
    scale,  # float32
    chosen,  # out: int64 [windows * count, HEADS]
    probability,  # out: float32 [windows * count, HEADS]
    gaps,  # out: float32 [windows, HEADS], of the buckets that choose
    buckets,  # of a window
    first,  # bucket of a window that chooses
    count,  # buckets of a window that choose
    HIDDEN: tl.constexpr,
    HEAD: tl.constexpr,  # channels
    HEADS: tl.constexpr,  # Sinkhorn heads
    BUCKETS: tl.constexpr,  # a power of two, at least `buckets`
    DEPTH: tl.constexpr,  # channels in a step
    GAPS: tl.constexpr,  # whether gaps are wanted
):
    """A block computes one window and one head; products are in float32, so that the choice is."""
    window, head = tl.program_id(0), tl.program_id(1)
    bucket, channel = tl.arange(0, BUCKETS), tl.arange(0, HEAD)
    exists = bucket < buckets
    q = tl.zeros((BUCKETS, HEAD), dtype=tl.float32)
    k = tl.zeros((BUCKETS, HEAD), dtype=tl.float32)
    for low in range(0, HIDDEN, DEPTH):
        depth = low + tl.arange(0, DEPTH)
        mean = tl.load(means + (window * buckets + bucket)[:, None] * HIDDEN + depth, mask=exists[:, None], other=0.0)
        part = (head * HEAD + channel)[None, :] * HIDDEN + depth[:, None]
        q = tl.dot(mean, tl.load(query + part), q, input_precision="ieee")
        k = tl.dot(mean, tl.load(key + part), k, input_precision="ieee")
    fit = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
    fit = tl.where(exists[None, :], fit, float("-inf"))
    total = tl.sum(tl.exp(fit - tl.max(fit, 1)[:, None]), 1)
    to = (window * count + bucket - first) * HEADS + head
    mask = (bucket >= first) & (bucket < first + count)
    which = tl.minimum(tl.argmax(fit, 1), buckets - 1)  # a bucket of the window, even where no fit is a number
    tl.store(chosen + to, (which + window * buckets).to(tl.int64), mask=mask)
    tl.store(probability + to, 1 / total, mask=mask)
    if GAPS:
        second = tl.max(tl.where(bucket[None, :] == which[:, None], float("-inf"), fit), 1)
        tl.store(gaps + window * HEADS + head, tl.min(tl.where(mask, tl.max(fit, 1) - second, float("inf")), 0))
