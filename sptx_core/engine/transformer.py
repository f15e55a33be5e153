"""From the attended positions of a window to the logits of its core: the attention and feed-forward layers.

In: [S, hidden] for a window, fused features with their position embedding. Out: logits [core, channels].

What is not computed: everything of the last layer that no kept position needs (its queries, feed-forward and heads run
over the buckets around the core alone, keys only of those and of the chosen buckets; its choice still looks at every
bucket, by their means). Means of queries and keys are projections of the means of what is projected, which keeps the
choice in the precision of the residual stream. The chosen bucket's keys are picked by index.

Rows are worked on in pieces small enough for a CPU's cache.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sptx_core.engine.kernels import Projection
from sptx_core.model import Layer, SpTransformerModel
from sptx_core.windows import WindowSpec

ROWS = 1024  # rows of the feed-forward at a time: 4 MB of its 1,024 channels in float32
BUCKETS = 16  # buckets of Sinkhorn attention at a time


class Transformer:
    """All layers, the last norm and the heads.

    Args:
        model: the network in float64, from which weights are taken.
        spec: how the windows lie.
        dtype: precision of the operands of products.
        wide: precision of the residual stream, norms and choices.

    """

    def __init__(self, model: SpTransformerModel, spec: WindowSpec, dtype: torch.dtype, wide: torch.dtype) -> None:
        config = model.config
        self.before = (config.max_seq_len - spec.core) // 2
        self.core = spec.core
        self.layers = [FastLayer(layer, dtype, wide) for layer in model.layers if isinstance(layer, Layer)]
        self.norm = Norm(model.norm, wide)
        heads = (model.splice_head, model.usage_head)
        weight = torch.cat([head.weight[..., 0] for head in heads])
        bias = torch.cat([head.bias for head in heads if head.bias is not None])
        self.heads = Projection(weight, bias, wide)

    def __call__(self, x: Tensor, choices: list[Tensor] | None = None) -> Tensor:
        """[S, hidden], which is overwritten -> [core, channels].

        To `choices` are added each layer's chosen buckets, [far heads, buckets]; of the last layer, -1 where none was
        needed.
        """
        for layer in self.layers[:-1]:
            layer(x, choices)
        x = self.layers[-1].last(x, self.before, self.core, choices)
        logits: Tensor = self.heads(self.norm(x))
        return logits


class Norm:
    """A LayerNorm in the precision of the residual stream."""

    def __init__(self, norm: torch.nn.LayerNorm, wide: torch.dtype) -> None:
        self.weight, self.bias, self.eps = norm.weight.to(wide), norm.bias.to(wide), norm.eps

    def __call__(self, x: Tensor) -> Tensor:
        """[..., hidden] -> the same shape."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class FastLayer:
    """One layer, on [S, hidden] in place."""

    def __init__(self, layer: Layer, dtype: torch.dtype, wide: torch.dtype) -> None:
        attention = layer.attention
        self.bucket_size, self.heads = attention.bucket_size, attention.heads
        query, (key, value) = attention.query.weight, attention.key_value.weight.chunk(2)
        self.size = query.shape[0]
        self.head_size = self.size // self.heads
        self.near = attention.local_heads * self.head_size  # channels of the local heads, which come first
        self.scale = self.head_size**-0.5
        self.attention_norm = Norm(layer.attention_norm, wide)
        self.feed_forward_norm = Norm(layer.feed_forward_norm, wide)
        self.project = Projection(torch.cat((query, key, value)), None, dtype)
        self.far_query, self.far_key = (Projection(w[self.near :], None, wide) for w in (query, key))
        self.output = Projection(attention.output.weight, attention.output.bias, dtype)
        self.expand = Projection(layer.expand.weight, layer.expand.bias, dtype)
        self.contract = Projection(layer.contract.weight, layer.contract.bias, dtype)

    def __call__(self, x: Tensor, choices: list[Tensor] | None = None) -> None:
        """Add attention and feed-forward to x [S, hidden]; its choices [far heads, buckets] to `choices`."""
        y = self.attention_norm(x)
        bucket, probability = self._choose(y, slice(None))
        if choices is not None:
            choices.append(bucket.T)
        qkv = self.project(y)
        x += self._attend(qkv, qkv, bucket, probability)
        self._feed_forward(x)

    def last(self, x: Tensor, first: int, length: int, choices: list[Tensor] | None = None) -> Tensor:
        """What the layer makes of rows [first, first + length) of x [S, hidden]: [length, hidden]."""
        size = self.bucket_size
        low = max(first // size - 1, 0)  # buckets of those rows and a neighbour on either side
        high = min(-(-(first + length) // size) + 1, len(x) // size)
        y = self.attention_norm(x)
        bucket, probability = self._choose(y, slice(low, high))
        if choices is not None:
            choices.append(bucket.new_full((bucket.shape[1], len(x) // size), -1))
            choices[-1][:, low:high] = bucket.T
        asked, place = torch.unique(bucket, return_inverse=True)
        keys = self.project(y.view(-1, size, self.size)[asked])
        qkv = self.project(y[low * size : high * size])
        attended = self._attend(qkv, keys.view(-1, 3 * self.size), place, probability)
        rows = slice(first - low * size, first - low * size + length)
        kept = x[first : first + length] + attended[rows]
        self._feed_forward(kept)
        return kept

    def _feed_forward(self, x: Tensor) -> None:
        for rows in torch.split(x, ROWS):
            y = self.expand(self.feed_forward_norm(rows))
            rows += self.contract(F.gelu(y))

    def _choose(self, y: Tensor, queries: slice) -> tuple[Tensor, Tensor]:
        """For buckets `queries` and each far head, the bucket whose mean key fits best, and its probability.

        y is [S, hidden]; returns [buckets, far heads] twice.
        """
        mean = y.view(-1, self.bucket_size, self.size).mean(1)  # [buckets of all, hidden]
        query = torch.unflatten(self.far_query(mean[queries]), 1, (-1, self.head_size)).transpose(0, 1)
        key = torch.unflatten(self.far_key(mean), 1, (-1, self.head_size)).transpose(0, 1)  # [far heads, buckets, D]
        fit = query @ key.transpose(1, 2) * self.scale
        probability, bucket = fit.softmax(-1).max(-1)
        return bucket.T, probability.T

    def _attend(self, qkv: Tensor, chosen_from: Tensor, bucket: Tensor, probability: Tensor) -> Tensor:
        """Both kinds of attention and the output projection: [rows, 3 * hidden] -> [rows, hidden].

        chosen_from: [rows, 3 * hidden] of the buckets that `bucket` counts; bucket, probability: [buckets, far heads].
        """
        merged = qkv.new_empty(len(qkv) // self.bucket_size, self.bucket_size, self.size)
        if self.near:
            self._local(qkv, merged[:, :, : self.near])
        if self.near < self.size:
            for first in range(0, len(merged), BUCKETS):
                some = slice(first, first + BUCKETS)
                rows = qkv[first * self.bucket_size : (first + BUCKETS) * self.bucket_size]
                moved = self._move(chosen_from, bucket[some], probability[some])
                self._sinkhorn(rows, moved, merged[some, :, self.near :])
        return self.output(merged.view(-1, self.size))

    def _move(self, chosen_from: Tensor, bucket: Tensor, probability: Tensor) -> Tensor:
        """Keys of the chosen buckets, weighted by their probability: [buckets, size, far channels]."""
        heads = bucket.shape[1]
        by_head = chosen_from.view(-1, self.head_size)  # rows of D: queries of all heads, keys, values, next position
        key_of_head = torch.arange(2 * self.heads - heads, 2 * self.heads, device=bucket.device)
        position = bucket[:, None] * self.bucket_size + torch.arange(self.bucket_size, device=bucket.device)[:, None]
        index = position * (3 * self.heads) + key_of_head  # [buckets, size, far heads]
        moved = by_head.index_select(0, index.flatten()).view(*index.shape, -1)
        return moved.mul_(probability[:, None, :, None]).flatten(2)

    def _sinkhorn(self, qkv: Tensor, moved: Tensor, attended: Tensor) -> None:
        """Each bucket attends to the weighted keys of the one it chose, which are values too, and to itself.

        qkv: [rows, 3 * hidden]; moved, attended: [buckets, size, far channels], the latter is written.
        """
        own = qkv.view(*moved.shape[:2], 3, self.size)[..., self.near :]
        heads = (-1, self.head_size)
        query, key, value = (
            torch.unflatten(x, 2, heads).transpose(1, 2)  # [buckets, far heads, size or 2 * size, D]
            for x in (own[:, :, 0], torch.cat((moved, own[:, :, 1]), 1), torch.cat((moved, own[:, :, 2]), 1))
        )
        attended.copy_(F.scaled_dot_product_attention(query, key, value, scale=self.scale).transpose(1, 2).flatten(2))

    def _local(self, qkv: Tensor, attended: Tensor) -> None:
        """Each bucket attends to itself and its neighbours, which are read in place, as overlapping views.

        qkv: [rows, 3 * hidden]; attended: [buckets, size, local channels], which is written.
        """
        buckets, size, channels = attended.shape
        row, heads, width = 3 * self.size, channels // self.head_size, self.head_size
        strides = (size * row, width, row, 1)
        for first, end, low, high in _neighbourhoods(buckets):
            shape = (end - first, heads, size, width)
            around = (end - first, heads, (high - low) * size, width)
            query = qkv.as_strided(shape, strides, qkv.storage_offset() + first * size * row)
            key, value = (
                qkv.as_strided(around, strides, qkv.storage_offset() + low * size * row + part * self.size)
                for part in (1, 2)
            )
            y = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
            attended[first:end] = y.transpose(1, 2).flatten(2)


def _neighbourhoods(buckets: int) -> list[tuple[int, int, int, int]]:
    """Runs of buckets [first, end) that see as many: `first` sees buckets [low, high), each next one a bucket on."""
    if buckets == 1:
        return [(0, 1, 0, 1)]
    runs = [(0, 1, 0, 2), (1, buckets - 1, 0, 3), (buckets - 1, buckets, buckets - 2, buckets)]
    return [run for run in runs if run[0] < run[1]]
