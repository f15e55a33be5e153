"""The two kinds of attention in SpTransformer, and the record of what the Sinkhorn heads chose.

Both functions take queries, keys and values of shape [B, H, L, D] (H heads of width D, L a multiple of
`bucket_size`), see the sequence as L / bucket_size buckets, scale scores by D ** -0.5 and return [B, H, L, D].

- `local_attention`: a bucket attends to itself and to the bucket on either side of it.
- `sinkhorn_attention`: a bucket attends to itself and to one other bucket, which it chose from the whole sequence:
  the sparse Sinkhorn attention of Tay et al. (2020), here with the best bucket kept instead of a soft permutation.

No parameters live here; `sptx_core.model.Attention` owns the projections.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class SpTransformerAttentionMap(NamedTuple):
    """The bucket that each bucket of each Sinkhorn head looked at besides itself, and how sure it was.

    Both tensors are [B, heads, buckets] for one layer and [B, layers, heads, buckets] for the network; `heads` counts
    the Sinkhorn heads only. Two runs whose `bucket` differs met a near tie that tipped under another summation order.
    """

    bucket: Tensor
    """int64: the chosen bucket, 0-based along the attended sequence."""
    probability: Tensor
    """Its softmax probability among all buckets, the weight of its keys; the network's dtype."""


def local_attention(query: Tensor, key: Tensor, value: Tensor, bucket_size: int) -> Tensor:
    """Attend from each bucket to itself and its two neighbours; beyond the ends there is nothing to see."""
    heads, buckets = query.shape[1], query.shape[2] // bucket_size
    key, value = (_with_neighbours(x, bucket_size) for x in (key, value))  # [B, H, buckets, 3 * size, D]
    exists = F.pad(torch.ones(buckets, dtype=torch.bool, device=query.device), (1, 1))
    visible = exists.unfold(0, 3, 1).repeat_interleave(bucket_size, 1)  # [buckets, 3 * size]
    return _attend(_in_buckets(query, bucket_size), key, value, visible.repeat(heads, 1).unsqueeze(1))


def sinkhorn_attention(
    query: Tensor, key: Tensor, value: Tensor, bucket_size: int
) -> tuple[Tensor, SpTransformerAttentionMap]:
    """Attend from each bucket to itself and to the one bucket whose mean key fits its mean query best.

    The chosen bucket's keys enter weighted by its probability, and these weighted *keys* also stand in for its values:
    the published network was trained so.
    """
    query, key, value = (_in_buckets(x, bucket_size) for x in (query, key, value))  # [B, H, buckets, size, D]
    fit = query.mean(3) @ key.mean(3).transpose(2, 3) * query.shape[-1] ** -0.5  # [B, H, buckets, buckets]
    probability, bucket = fit.softmax(-1).max(-1)  # [B, H, buckets]
    sequence, head = (torch.arange(n, device=key.device) for n in key.shape[:2])
    chosen = key[sequence[:, None, None], head[:, None], bucket] * probability[..., None, None]  # as key
    attended = _attend(query, torch.cat((chosen, key), 3), torch.cat((chosen, value), 3))
    return attended, SpTransformerAttentionMap(bucket, probability)


def _in_buckets(x: Tensor, bucket_size: int) -> Tensor:
    """[B, H, L, D] -> [B, H, buckets, size, D]."""
    return torch.unflatten(x, 2, (-1, bucket_size))


def _with_neighbours(x: Tensor, bucket_size: int) -> Tensor:
    """Each bucket between the one before it and the one after it: [B, H, L, D] -> [B, H, buckets, 3 * size, D]."""
    return F.pad(x, (0, 0, bucket_size, bucket_size)).unfold(2, 3 * bucket_size, bucket_size).transpose(3, 4)


def _attend(query: Tensor, key: Tensor, value: Tensor, visible: Tensor | None = None) -> Tensor:
    """Softmax attention within each bucket; query [B, H, buckets, size, D] -> [B, H, L, D].

    `visible` is a mask, broadcast to [H * buckets, size, keys]. Heads and buckets are folded into one axis because
    the fused kernels take four dimensions.
    """
    shape = query.shape
    query, key, value = (x.flatten(1, 2) for x in (query, key, value))  # [B, H * buckets, ., D]
    return F.scaled_dot_product_attention(query, key, value, attn_mask=visible).reshape(shape).flatten(2, 3)
