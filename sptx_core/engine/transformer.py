"""From the attended positions of windows to the logits of their cores: the attention and feed-forward layers.

In: [B, S, hidden] for B windows, fused features with their position embedding. Out: logits [B, core, channels].

What is not computed: everything of the last layer that no kept position needs (its queries, feed-forward and heads run
over the buckets around the core alone, keys only of those and of the chosen buckets; its choice still looks at every
bucket, by their means). Means of queries and keys are projections of the means of what is projected, which keeps the
choice in the precision of the residual stream. The chosen bucket's keys are picked by index.

A layer passes twice over the windows' rows: norm, means and projections; then, as every key and value is known,
attention, output and feed-forward, which add to the residual stream in place. The second pass goes in pieces of rows:
on a CPU small ones, so that what lies between two steps stays in its cache, on a GPU all rows at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from sptx_core.engine.kernels import Projection, attend
from sptx_core.model import Attention, Layer, SpTransformerModel
from sptx_core.windows import WindowSpec

CPU_ROWS = 1024  # rows of a piece on a CPU
FEED_FORWARD_ROWS = 256  # of these at once: 1 MB of its 1,024 channels in float32


class Transformer:
    """All layers, the last norm and the heads.

    Args:
        model: the network in float64, from which weights are taken.
        spec: how the windows lie.
        dtype: precision of the operands of products.
        wide: precision of the residual stream, norms and choices.
        rows: rows of a piece, at least one bucket; None for all at once.

    """

    def __init__(
        self, model: SpTransformerModel, spec: WindowSpec, dtype: torch.dtype, wide: torch.dtype, rows: int | None
    ) -> None:
        config = model.config
        self.before = (config.max_seq_len - spec.core) // 2
        self.core = spec.core
        self.wide, self.rows = wide, rows
        self.layers = [self._layer(layer, dtype) for layer in model.layers if isinstance(layer, Layer)]
        self.norm = Norm(model.norm, wide)
        heads = (model.splice_head, model.usage_head)
        weight = torch.cat([head.weight[..., 0] for head in heads])
        bias = torch.cat([head.bias for head in heads if head.bias is not None])
        self.heads = Projection(weight, bias, wide)

    def _layer(self, layer: Layer, dtype: torch.dtype) -> ReadyLayer:
        return FastLayer(layer, dtype, self.wide, self.rows)

    def __call__(self, x: Tensor, choices: list[Tensor] | None = None) -> Tensor:
        """[B, S, hidden], which is overwritten -> [B, core, channels].

        To `choices` are added each layer's chosen buckets, [B, far heads, buckets]; of the last layer, -1 where none
        was needed.
        """
        for layer in self.layers[:-1]:
            layer(x, choices)
        x = self.layers[-1].last(x, self.before, self.core, choices)
        logits: Tensor = self.heads(self.norm(x))
        return logits


class ReadyLayer(Protocol):
    """What `Transformer` asks of a layer; `FastLayer` says what each does."""

    def __call__(self, x: Tensor, choices: list[Tensor] | None = None) -> None:
        """Take x through the layer, in place."""

    def last(self, x: Tensor, first: int, length: int, choices: list[Tensor] | None = None) -> Tensor:
        """What it makes of some positions."""


class Norm:
    """A LayerNorm in the precision of the residual stream."""

    def __init__(self, norm: torch.nn.LayerNorm, wide: torch.dtype) -> None:
        self.weight, self.bias, self.eps = norm.weight.to(wide), norm.bias.to(wide), norm.eps

    def __call__(self, x: Tensor) -> Tensor:
        """[..., hidden] -> the same shape."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class Choice:
    """Which bucket each bucket of a window looks at, for each far head, by the means of queries and keys."""

    def __init__(self, attention: Attention, wide: torch.dtype) -> None:
        query, key = attention.query.weight, attention.key_value.weight.chunk(2)[0]
        self.size, self.head_size = query.shape[0], query.shape[0] // attention.heads
        self.scale = self.head_size**-0.5
        near = attention.local_heads * self.head_size
        self.query, self.key = (Projection(weight[near:], None, wide) for weight in (query, key))

    def __call__(self, means: Tensor, queries: slice) -> tuple[Tensor, Tensor]:
        """The window's bucket whose mean key fits best, for buckets `queries`, and its probability.

        means: [B, buckets, hidden], of what is projected; returns [B, queries, far heads] twice.
        """
        query = torch.unflatten(self.query(means[:, queries]), 2, (-1, self.head_size)).transpose(1, 2)
        key = torch.unflatten(self.key(means), 2, (-1, self.head_size)).transpose(1, 2)  # [B, far heads, buckets, D]
        fit = query @ key.transpose(2, 3) * self.scale
        probability, bucket = fit.softmax(-1).max(-1)
        return bucket.transpose(1, 2), probability.transpose(1, 2)


class FastLayer:
    """One layer, on the rows of B windows in place: [B, S, hidden], buckets counted through all windows."""

    def __init__(self, layer: Layer, dtype: torch.dtype, wide: torch.dtype, rows: int | None) -> None:
        attention = layer.attention
        self.bucket_size, self.heads = attention.bucket_size, attention.heads
        self.piece = None if rows is None else max(1, rows // self.bucket_size)
        query, (key, value) = attention.query.weight, attention.key_value.weight.chunk(2)
        self.size = query.shape[0]
        self.head_size = self.size // self.heads
        self.near = attention.local_heads * self.head_size  # channels of the local heads, which come first
        self.dtype, self.wide = dtype, wide
        self.attention_norm = Norm(layer.attention_norm, wide)
        self.feed_forward_norm = Norm(layer.feed_forward_norm, wide)
        self.choose = Choice(attention, wide)
        self.project = Projection(torch.cat((query * self.choose.scale, key, value)), None, dtype)
        self.far_key = Projection(key[self.near :], None, dtype)
        self.output = Projection(attention.output.weight, attention.output.bias, dtype)
        self.expand = Projection(layer.expand.weight, layer.expand.bias, dtype)
        self.contract = Projection(layer.contract.weight, layer.contract.bias, dtype)

    def __call__(self, x: Tensor, choices: list[Tensor] | None = None) -> None:
        """Add attention and feed-forward to x [B, S, hidden]; its choices [B, far heads, buckets] to `choices`."""
        windows, size = len(x), self.bucket_size
        x = x.view(-1, size, self.size)  # [buckets, size, hidden]
        y = self.attention_norm(x)
        qkv = self.project(y)
        bucket, probability = self.choose(y.mean(1).view(windows, -1, self.size), slice(None))
        if choices is not None:
            choices.append(bucket.transpose(1, 2))
        source = _Keys(qkv.view(-1, self.head_size), 3 * self.heads, 2 * self.heads - bucket.shape[2])
        bucket, probability = through_windows(bucket, len(x) // windows), probability.flatten(0, 1)
        for some in self._pieces(len(x)):
            piece = x[some]
            piece += self._attend(qkv, some, windows, source, bucket[some], probability[some])
            self._feed_forward(piece.view(-1, self.size))

    def last(self, x: Tensor, first: int, length: int, choices: list[Tensor] | None = None) -> Tensor:
        """What the layer makes of positions [first, first + length) of x [B, S, hidden]: [B, length, hidden]."""
        windows, size = len(x), self.bucket_size
        buckets = x.shape[1] // size
        low = max(first // size - 1, 0)  # buckets of those positions and a neighbour on either side
        high = min(-(-(first + length) // size) + 1, buckets)
        y = self.attention_norm(x).view(windows, buckets, size, self.size)
        bucket, probability = self.choose(y.mean(2), slice(low, high))
        if choices is not None:
            choices.append(bucket.new_full((windows, bucket.shape[2], buckets), -1))
            choices[-1][..., low:high] = bucket.transpose(1, 2)
        asked = through_windows(bucket, buckets)
        y = y.flatten(0, 1)
        if self.piece is None:  # a GPU would have to wait for the number of those asked for
            keys = self.far_key(y)
        else:
            used, asked = torch.unique(asked, return_inverse=True)
            keys = self.far_key(y[used])
        source = _Keys(keys.view(-1, self.head_size), bucket.shape[2], 0)
        qkv = self.project(torch.unflatten(y, 0, (windows, buckets))[:, low:high].flatten(0, 1))
        everything = slice(0, len(qkv))
        attended = self._attend(qkv, everything, windows, source, asked, probability.flatten(0, 1))
        rows = slice(first - low * size, first - low * size + length)
        kept = x[:, first : first + length] + attended.view(windows, -1, self.size)[:, rows]
        self._feed_forward(kept.view(-1, self.size))
        return kept

    def _pieces(self, buckets: int) -> Iterator[slice]:
        piece = self.piece or buckets
        return (slice(first, min(first + piece, buckets)) for first in range(0, buckets, piece))

    def _feed_forward(self, x: Tensor) -> None:
        """Add it to rows x [n, hidden]."""
        for some in (x,) if self.piece is None else torch.split(x, FEED_FORWARD_ROWS):
            some += self.contract(F.gelu(self.expand(self.feed_forward_norm(some))))

    def _attend(
        self, qkv: Tensor, some: slice, windows: int, source: _Keys, bucket: Tensor, probability: Tensor
    ) -> Tensor:
        """Both kinds of attention and the output projection for buckets `some`: [some, size, hidden].

        qkv: [buckets, size, 3 * hidden] of `windows` windows; bucket, probability: [some, far heads].
        """
        merged = qkv.new_empty(some.stop - some.start, self.bucket_size, self.size)
        if self.near:
            self._local(qkv, some, len(qkv) // windows, merged[..., : self.near])
        if self.near < self.size:
            self._sinkhorn(qkv[some], source.move(bucket, probability, self.bucket_size), merged[..., self.near :])
        return self.output(merged)

    def _sinkhorn(self, qkv: Tensor, moved: Tensor, attended: Tensor) -> None:
        """Each bucket attends to the weighted keys of the one it chose, which are values too, and to itself.

        qkv: [some, size, 3 * hidden]; moved: [some, far heads, size, D]; attended: [some, size, far channels], which is
        written.
        """
        own = torch.unflatten(qkv, 2, (3, self.heads, self.head_size))[:, :, :, self.heads - moved.shape[1] :]
        query, key, value = own.transpose(1, 3).unbind(2)  # [some, far heads, size, D]
        y = attend(query, torch.cat((moved, key), 2), torch.cat((moved, value), 2))
        torch.unflatten(attended, 2, (-1, self.head_size)).copy_(y.transpose(1, 2))

    def _local(self, qkv: Tensor, some: slice, buckets: int, attended: Tensor) -> None:
        """Each bucket attends to itself and its neighbours in its window, which are read in place.

        qkv: [all buckets, size, 3 * hidden], `buckets` of them in a window; attended: [some, size, local channels],
        which is written. All but the first and last bucket of a window see three; these two are done again after
        that, unless they are the first and last of all.
        """
        for where, low, high in _neighbourhoods(some, buckets, len(qkv)):
            if len(where):
                y = self._look(qkv, where, low, high)
                attended[where.start - some.start : where.stop - some.start : where.step] = y

    def _look(self, qkv: Tensor, where: range, low: int, high: int) -> Tensor:
        """Local heads of buckets b in `where`, which see buckets [b + low, b + high): [where, size, channels]."""
        size, width = self.bucket_size, self.head_size
        row = 3 * self.size
        strides = (where.step * size * row, width, row, 1)
        shape = (len(where), self.near // width, size, width)
        around = (*shape[:2], (high - low) * size, width)
        query = qkv.as_strided(shape, strides, qkv.storage_offset() + where.start * size * row)
        key, value = (
            qkv.as_strided(around, strides, qkv.storage_offset() + (where.start + low) * size * row + part * self.size)
            for part in (1, 2)
        )
        return attend(query, key, value).transpose(1, 2).flatten(2)


class _Keys:
    """Where keys of the far heads lie: rows [positions * heads a position, D], those of the far heads from `first`."""

    def __init__(self, rows: Tensor, heads: int, first: int) -> None:
        self.rows, self.heads, self.first = rows, heads, first

    def move(self, bucket: Tensor, probability: Tensor, size: int) -> Tensor:
        """Keys of the chosen buckets [n, far heads], weighted by their probability: [n, far heads, size, D]."""
        device = bucket.device
        head = torch.arange(self.first, self.first + bucket.shape[1], device=device)
        position = bucket[..., None] * size + torch.arange(size, device=device)
        index = position * self.heads + head[:, None]  # [n, far heads, size]
        moved = self.rows.index_select(0, index.flatten()).view(*index.shape, -1)
        return moved.mul_(probability[..., None, None])


def through_windows(bucket: Tensor, buckets: int) -> Tensor:
    """Numbers of buckets in their window [B, n, heads] -> among those of all windows [B * n, heads]."""
    start = torch.arange(0, len(bucket) * buckets, buckets, device=bucket.device)
    return (bucket + start[:, None, None]).flatten(0, 1)


def _neighbourhoods(some: slice, buckets: int, total: int) -> list[tuple[range, int, int]]:
    """(b, low, high): of `some` buckets of `total`, those that see [b + low, b + high); a later one replaces a former.

    `buckets` is how many a window has.
    """
    start = range(-(-some.start // buckets) * buckets, some.stop, buckets)  # first buckets of their windows
    end = range((some.start // buckets + 1) * buckets - 1, some.stop, buckets)  # last ones
    if buckets == 1:
        return [(start, 0, 1)]
    inner = range(max(some.start, 1), min(some.stop, total - 1))
    return [(inner, -1, 2), (start, 0, 2), (end, -1, 1)]
