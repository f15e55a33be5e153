"""The two kinds of attention in SpTransformer, and the records of what they looked at.

Both kinds take queries, keys and values of shape [B, H, L, D] (H heads of width D, L a multiple of
`bucket_size`), see the sequence as L / bucket_size buckets, scale scores by D ** -0.5 and return [B, H, L, D].

- `local_attention`: a bucket attends to itself and to the bucket on either side of it.
- `sinkhorn_attention`: a bucket attends to itself and to one other bucket, which it chose from the whole sequence:
  the sparse Sinkhorn attention of Tay et al. (2020), here with the best bucket kept instead of a soft permutation.

`attention_map` says with which weights they attended. It computes these anew beside the fused kernels, which keep
none, so recording changes no number of the network.

No parameters live here; `sptx_core.model.Attention` owns the projections.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LOOK = 1  # buckets on either side that a local head sees besides its own


class SinkhornChoice(NamedTuple):
    """The bucket that each bucket of each Sinkhorn head looked at besides itself, and how sure it was.

    Both tensors are [B, heads, buckets] for one layer and [B, layers, heads, buckets] for the network; `heads` counts
    the Sinkhorn heads only. Two runs whose `bucket` differs met a near tie that tipped under another summation order.
    """

    bucket: Tensor
    """int64: the chosen bucket, 0-based along the attended sequence."""
    probability: Tensor
    """Its softmax probability among all buckets, the weight of its keys; the network's dtype."""


@dataclass(frozen=True, eq=False)
class SpTransformerAttentionMap:
    """The weights with which one layer attended; there is no [positions, positions] matrix behind them.

    B sequences, W = bucket_size, S = sequence_length attended positions in `buckets` = S / W buckets, which are the
    windows of the local heads too. The first predicted base is at position (S - predicted bases) // 2. Weights of a
    query sum to 1 over its keys; a kind without heads has None.
    """

    local_attentions: Tensor | None
    """[B, local heads, windows, W, 3W]: keys are the window before, the window itself and the one after it."""
    local_key_positions: Tensor | None
    """int64 [windows, 3W]: position of each of these keys, -1 beyond the ends, where weights are exactly 0."""
    sinkhorn_attentions: Tensor | None
    """[B, Sinkhorn heads, buckets, W, 2W]: keys are those of the chosen bucket, weighted, then the bucket's own."""
    sinkhorn_reorder: Tensor | None
    """[B, Sinkhorn heads, buckets, buckets]: the weight of the chosen bucket's keys, zero for every other bucket."""
    bucket_size: int
    look_backward: int
    look_forward: int
    num_local_heads: int
    num_sinkhorn_heads: int
    sequence_length: int


def local_attention(query: Tensor, key: Tensor, value: Tensor, bucket_size: int) -> Tensor:
    """Attend from each bucket to itself and its two neighbours; beyond the ends there is nothing to see."""
    heads = query.shape[1]
    visible = _visible(query.shape[2] // bucket_size, bucket_size, query.device)
    key, value = (_with_neighbours(x, bucket_size) for x in (key, value))  # [B, H, buckets, 3 * size, D]
    return _attend(_in_buckets(query, bucket_size), key, value, visible.repeat(heads, 1).unsqueeze(1))


def sinkhorn_attention(query: Tensor, key: Tensor, value: Tensor, bucket_size: int) -> tuple[Tensor, SinkhornChoice]:
    """Attend from each bucket to itself and to the one bucket whose mean key fits its mean query best.

    The chosen bucket's keys enter weighted by its probability, and these weighted *keys* also stand in for its values:
    the published network was trained so.
    """
    query, key, value = (_in_buckets(x, bucket_size) for x in (query, key, value))  # [B, H, buckets, size, D]
    fit = query.mean(3) @ key.mean(3).transpose(2, 3) * query.shape[-1] ** -0.5  # [B, H, buckets, buckets]
    probability, bucket = fit.softmax(-1).max(-1)  # [B, H, buckets]
    choice = SinkhornChoice(bucket, probability)
    chosen = _chosen_keys(key, choice)
    attended = _attend(query, torch.cat((chosen, key), 3), torch.cat((chosen, value), 3))
    return attended, choice


def attention_map(
    query: Tensor, key: Tensor, choice: SinkhornChoice, local_heads: int, bucket_size: int
) -> SpTransformerAttentionMap:
    """The weights of all heads, [B, H, L, D] with the local ones first, whose Sinkhorn heads made this choice."""
    heads, length = query.shape[1:3]
    buckets = length // bucket_size
    query, near = _in_buckets(query, bucket_size), _with_neighbours(key[:, :local_heads], bucket_size)
    own = _in_buckets(key[:, local_heads:], bucket_size)
    local = positions = sinkhorn = reorder = None
    if local_heads:
        visible = _visible(buckets, bucket_size, key.device)
        local = _weights(query[:, :local_heads], near, visible[:, None])
        place = torch.arange(-bucket_size, 2 * bucket_size, device=key.device)
        start = bucket_size * torch.arange(buckets, device=key.device)
        positions = (start[:, None] + place).masked_fill(~visible, -1)
    if local_heads < heads:
        sinkhorn = _weights(query[:, local_heads:], torch.cat((_chosen_keys(own, choice), own), 3))
        nothing = query.new_zeros(*choice.bucket.shape, buckets)
        reorder = nothing.scatter(-1, choice.bucket[..., None], choice.probability[..., None])
    return SpTransformerAttentionMap(
        local_attentions=local,
        local_key_positions=positions,
        sinkhorn_attentions=sinkhorn,
        sinkhorn_reorder=reorder,
        bucket_size=bucket_size,
        look_backward=LOOK,
        look_forward=LOOK,
        num_local_heads=local_heads,
        num_sinkhorn_heads=heads - local_heads,
        sequence_length=length,
    )


def _visible(buckets: int, bucket_size: int, device: torch.device) -> Tensor:
    """Which of the keys around each bucket exist: bool [buckets, 3 * size]."""
    exists = F.pad(torch.ones(buckets, dtype=torch.bool, device=device), (LOOK, LOOK))
    return exists.unfold(0, 1 + 2 * LOOK, 1).repeat_interleave(bucket_size, 1)


def _chosen_keys(key: Tensor, choice: SinkhornChoice) -> Tensor:
    """Keys of each bucket's chosen one, weighted by its probability: as key [B, H, buckets, size, D]."""
    sequence, head = (torch.arange(n, device=key.device) for n in key.shape[:2])
    return key[sequence[:, None, None], head[:, None], choice.bucket] * choice.probability[..., None, None]


def _weights(query: Tensor, key: Tensor, visible: Tensor | None = None) -> Tensor:
    """Softmax weights of query [B, H, buckets, size, D] over key [B, H, buckets, keys, D]: [..., size, keys]."""
    score: Tensor = query @ key.transpose(3, 4) * query.shape[-1] ** -0.5
    return (score if visible is None else score.masked_fill(~visible, float("-inf"))).softmax(-1)


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
