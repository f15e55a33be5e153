"""The two kinds of attention in SpTransformer, and records of their weights.

Both kinds take queries, keys and values of shape [B, H, L, D] (H heads of D channels, L a multiple of `bucket_size`),
cut the sequence into L / bucket_size buckets, scale scores by D ** -0.5 and return [B, H, L, D].

- `local_attention`: a bucket attends to itself and to the bucket on either side of it.
- `sinkhorn_attention`: a bucket attends to itself and to one bucket that it chooses from the whole sequence. This is
  the sparse Sinkhorn attention of Tay et al. (2020), with the best bucket in place of a soft permutation.

`attention_map` computes the weights with which they attended. It computes them a second time, beside the fused kernels,
which do not return them; so recording them changes no number of the network. They are records: no gradients lead
through them, also in training.

There are no parameters here; `sptx_core.model.Attention` holds the projections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sptx_core.output_base import Output

LOOK = 1  # buckets on either side of its own that a local head attends to, as published


class SinkhornChoice(NamedTuple):
    """The bucket that each bucket of each Sinkhorn head chose, and its probability.

    Both tensors are [B, heads, buckets] for a layer and [B, layers, heads, buckets] for the network, where `heads`
    counts only the Sinkhorn heads. Another order of summation may choose another bucket where two are nearly tied.
    """

    bucket: Tensor
    """int64: the chosen bucket, 0-based along the attended sequence."""
    probability: Tensor
    """Its softmax probability among all buckets, by which its keys are weighted; in the network's precision."""

    @classmethod
    def of_layers(cls, chosen: Sequence[SinkhornChoice], x: Tensor) -> SinkhornChoice:
        """The choices of all layers of a network, for sequences x [B, ...]; [B, 0, 0, 0] where there are no layers."""
        if chosen:
            return cls(*(torch.stack(of, 1) for of in zip(*chosen, strict=True)))
        none = x.new_empty(len(x), 0, 0, 0)
        return cls(none.long(), none)


@dataclass(frozen=True, eq=False)
class SpTransformerAttentionMap(Output):
    """The weights with which one layer attended, for the keys that it attended to.

    B sequences, W = bucket_size, S = sequence_length attended positions in S / W buckets. The first predicted base is
    at position (S - predicted bases) // 2. The weights of a query sum to 1 over its keys. If there are no heads of a
    kind, its tensors are None and no entries of the mapping.
    """

    local_attentions: Tensor | None
    """[B, local heads, buckets, W, 3W]: keys are those of the bucket before, of the bucket itself, of the one after."""
    local_key_positions: Tensor | None
    """int64 [buckets, 3W]: position of each of these keys; -1 beyond the ends, where weights are exactly 0."""
    sinkhorn_attentions: Tensor | None
    """[B, Sinkhorn heads, buckets, W, 2W]: keys are the weighted ones of the chosen bucket, then the bucket's own."""
    sinkhorn_reorder: Tensor | None
    """[B, Sinkhorn heads, buckets, buckets]: the weight of the chosen bucket's keys, 0 for every other bucket."""
    bucket_size: int
    look_backward: int
    """Buckets before its own that a local head attends to."""
    look_forward: int
    """Buckets after its own that a local head attends to."""
    num_local_heads: int
    num_sinkhorn_heads: int
    sequence_length: int
    """Attended positions."""


def local_attention(query: Tensor, key: Tensor, value: Tensor, bucket_size: int) -> Tensor:
    """Attend from each bucket to itself and to its neighbours; the first and the last bucket have only one.

    Parameters
    ----------
    query, key, value
        [B, H, L, D].
    bucket_size
        Positions in a bucket.

    Returns
    -------
    Tensor
        [B, H, L, D].
    """
    heads = query.shape[1]
    visible = _visible(query.shape[2] // bucket_size, bucket_size, query.device)
    key, value = (_with_neighbours(x, bucket_size) for x in (key, value))  # [B, H, buckets, 3 * size, D]
    return _attend(_in_buckets(query, bucket_size), key, value, visible.repeat(heads, 1).unsqueeze(1))


def sinkhorn_attention(query: Tensor, key: Tensor, value: Tensor, bucket_size: int) -> tuple[Tensor, SinkhornChoice]:
    """Attend from each bucket to itself and to the bucket whose mean key fits its mean query best.

    The keys of the chosen bucket are weighted by its probability, and these weighted *keys* also take the place of its
    values: the published network was trained that way.

    Parameters
    ----------
    query, key, value
        [B, H, L, D].
    bucket_size
        Positions in a bucket.

    Returns
    -------
    Tensor
        [B, H, L, D].
    SinkhornChoice
        The chosen buckets and their probabilities, [B, H, L / bucket_size].
    """
    query, key, value = (_in_buckets(x, bucket_size) for x in (query, key, value))  # [B, H, buckets, size, D]
    fit = query.mean(3) @ key.mean(3).transpose(2, 3) * query.shape[-1] ** -0.5  # [B, H, buckets, buckets]
    probability, bucket = fit.softmax(-1).max(-1)  # [B, H, buckets]
    choice = SinkhornChoice(bucket, probability)
    chosen = _chosen_keys(key, choice)
    attended = _attend(query, torch.cat((chosen, key), 3), torch.cat((chosen, value), 3))
    return attended, choice


@torch.no_grad()
def attention_map(
    query: Tensor, key: Tensor, choice: SinkhornChoice, local_heads: int, bucket_size: int
) -> SpTransformerAttentionMap:
    """Compute the weights with which all heads of a layer attended.

    Parameters
    ----------
    query, key
        [B, H, L, D], the local heads first.
    choice
        What the Sinkhorn heads of this layer chose.
    local_heads
        How many of the H heads are local.
    bucket_size
        Positions in a bucket.

    Returns
    -------
    SpTransformerAttentionMap
        In the type of `query`, without gradients.
    """
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
    """Which of the keys in and around each bucket lie within the sequence: bool [buckets, 3 * size]."""
    exists = F.pad(torch.ones(buckets, dtype=torch.bool, device=device), (LOOK, LOOK))
    return exists.unfold(0, 1 + 2 * LOOK, 1).repeat_interleave(bucket_size, 1)


def _chosen_keys(key: Tensor, choice: SinkhornChoice) -> Tensor:
    """For each bucket the keys of its chosen bucket, weighted by the probability: [B, H, buckets, size, D]."""
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
