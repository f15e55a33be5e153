"""The attention and feed-forward layers by PyTorch's operators; the output heads, which all paths take from here.

In: [B, S, hidden] for B windows, fused features with their position embedding. Out: logits [B, core, channels].

The last layer computes only what the core needs (`sptx_core.engine.geometry.CoreBuckets`): queries, feed-forward and
heads over the buckets around the core, keys of these and of the chosen buckets. Its choice still looks at every bucket,
by their means. Means of queries and keys are projections of the means of what is projected, which keeps the choice in
the precision of the residual stream. The keys of the chosen bucket are picked by index.

A layer passes twice over the windows' rows. The first pass computes norm, means and projections. The second, when every
key and value is known, computes attention, output and feed-forward, and adds to the residual stream in place. It goes
in pieces of rows: on a CPU small ones, so that what lies between two steps stays in its cache, on a GPU all rows at
once.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from sptx_core.engine.geometry import CoreBuckets
from sptx_core.engine.torch.operators import Projection, softmax_attention
from sptx_core.model import Attention, Layer, SpTransformerModel
from sptx_core.windows import WindowSpec

CPU_ROWS = 1024  # rows of a piece on a CPU, fastest of 512, 1,024 and 2,048
FEED_FORWARD_ROWS = 256  # of these at once: 1 MB of its 1,024 channels in float32


class TorchTransformer:
    """All layers, the last norm and the output heads.

    Parameters
    ----------
    model : SpTransformerModel
        The network in float64, from which weights are taken.
    spec : WindowSpec
        How the windows lie.
    dtype : torch.dtype
        Precision of the operands of products.
    wide : torch.dtype
        Precision of the residual stream, norms and choices.
    rows : int or None
        Rows of a piece, at least one bucket; None for all at once.
    """

    def __init__(
        self, model: SpTransformerModel, spec: WindowSpec, dtype: torch.dtype, wide: torch.dtype, rows: int | None
    ) -> None:
        self.core = CoreBuckets.of(model.sizes, spec)
        self.layers = [TorchLayer(layer, dtype, wide, rows) for layer in model.layers if isinstance(layer, Layer)]
        self.heads = OutputHeads(model, wide)

    def __call__(self, x: Tensor, choices: list[Tensor] | None = None, gaps: list[Tensor] | None = None) -> Tensor:
        """Logits of the cores of B windows.

        Parameters
        ----------
        x : Tensor
            [B, S, hidden] in the precision of the residual stream; overwritten.
        choices : list, optional
            For each layer the chosen buckets are added to it, int64 [B, Sinkhorn heads, buckets]; -1 where the last
            layer needs no choice.
        gaps : list, optional
            For each layer the smallest gaps of its choices are added to it, [B] (`smallest_gaps`).

        Returns
        -------
        Tensor
            [B, core, channels].
        """
        for layer in self.layers[:-1]:
            layer(x, choices, gaps)
        return self.heads(self.layers[-1].last(x, self.core, choices, gaps))


class OutputHeads:
    """The last norm and both output heads, in the precision of the residual stream."""

    def __init__(self, model: SpTransformerModel, wide: torch.dtype) -> None:
        weight = torch.cat([head.weight[..., 0] for head in model.heads])
        bias = torch.cat([head.bias for head in model.heads if head.bias is not None])
        assert isinstance(model.norm, torch.nn.LayerNorm)
        self.norm, self.projection = RowNorm(model.norm, wide), Projection(weight, bias, wide)

    def __call__(self, x: Tensor) -> Tensor:
        """[B, core, hidden] -> logits [B, core, channels]."""
        return self.projection(self.norm(x))


class RowNorm:
    """A LayerNorm in the precision of the residual stream."""

    def __init__(self, norm: torch.nn.LayerNorm, wide: torch.dtype) -> None:
        self.weight, self.bias, self.eps = norm.weight.to(wide), norm.bias.to(wide), norm.eps

    def __call__(self, x: Tensor) -> Tensor:
        """[..., hidden] -> the same shape."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class BucketChoice:
    """The bucket that each bucket of a window looks at, for each Sinkhorn head, by the means of queries and keys."""

    def __init__(self, attention: Attention, wide: torch.dtype) -> None:
        query, key = attention.query.weight, attention.key_value.weight.chunk(2)[0]
        self.head_size = query.shape[0] // attention.heads
        self.scale = self.head_size**-0.5
        far = attention.local_heads * self.head_size  # first channel of the Sinkhorn heads
        self.query, self.key = (Projection(weight[far:], None, wide) for weight in (query, key))

    def __call__(self, means: Tensor, queries: slice, gaps: list[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The bucket whose mean key fits best, and its share of the softmax over the window's buckets.

        Parameters
        ----------
        means : Tensor
            [B, buckets, hidden], means over each bucket of what is projected.
        queries : slice
            Buckets of each window that look.
        gaps : list, optional
            Gets the `smallest_gaps`.

        Returns
        -------
        tuple of Tensor
            Numbers of buckets in their window, int64, and shares, both [B, queries, Sinkhorn heads].
        """
        query = torch.unflatten(self.query(means[:, queries]), 2, (-1, self.head_size)).transpose(1, 2)
        key = torch.unflatten(self.key(means), 2, (-1, self.head_size)).transpose(1, 2)  # [B, heads, buckets, D]
        fit = query @ key.transpose(2, 3) * self.scale
        if gaps is not None:
            gaps.append(smallest_gaps(fit))
        probability, bucket = fit.softmax(-1).max(-1)
        return bucket.transpose(1, 2), probability.transpose(1, 2)


class TorchLayer:
    """One layer, on the rows of B windows in place: [B, S, hidden]. Buckets are numbered through all windows."""

    def __init__(self, layer: Layer, dtype: torch.dtype, wide: torch.dtype, rows: int | None) -> None:
        attention = layer.attention
        self.bucket_size, self.heads = attention.bucket_size, attention.heads
        self.piece = None if rows is None else max(1, rows // self.bucket_size)  # buckets
        query, (key, value) = attention.query.weight, attention.key_value.weight.chunk(2)
        self.size = query.shape[0]
        self.head_size = self.size // self.heads
        self.local_channels = attention.local_heads * self.head_size  # the local heads come first
        self.attention_norm = RowNorm(layer.attention_norm, wide)
        self.feed_forward_norm = RowNorm(layer.feed_forward_norm, wide)
        self.choice = BucketChoice(attention, wide)
        self.project = Projection(torch.cat((query * self.choice.scale, key, value)), None, dtype)
        self.sinkhorn_key = Projection(key[self.local_channels :], None, dtype)
        self.output = Projection(attention.output.weight, attention.output.bias, dtype)
        self.expand = Projection(layer.expand.weight, layer.expand.bias, dtype)
        self.contract = Projection(layer.contract.weight, layer.contract.bias, dtype)

    def __call__(self, x: Tensor, choices: list[Tensor] | None = None, gaps: list[Tensor] | None = None) -> None:
        """Add attention and feed-forward to x [B, S, hidden]; `choices` and `gaps` as for `TorchTransformer`."""
        windows, size = len(x), self.bucket_size
        x = x.view(-1, size, self.size)  # [buckets, size, hidden]
        y = self.attention_norm(x)
        qkv = self.project(y)
        bucket, probability = self.choice(y.mean(1).view(windows, -1, self.size), slice(None), gaps)
        record_choice(choices, bucket, 0, bucket.shape[1])
        sinkhorn_keys = _SinkhornKeys(qkv.view(-1, self.head_size), 3 * self.heads, 2 * self.heads - bucket.shape[2])
        bucket, probability = through_windows(bucket, len(x) // windows), probability.flatten(0, 1)
        for some in self._pieces(len(x)):
            piece = x[some]
            piece += self._attend(qkv, some, windows, sinkhorn_keys, bucket[some], probability[some])
            self._feed_forward(piece.view(-1, self.size))

    def last(
        self, x: Tensor, core: CoreBuckets, choices: list[Tensor] | None = None, gaps: list[Tensor] | None = None
    ) -> Tensor:
        """The layer's output at the positions of the core, [B, length, hidden], from x [B, S, hidden]."""
        windows, buckets = len(x), core.buckets
        low, high = core.low, core.high
        y = self.attention_norm(x).view(windows, buckets, self.bucket_size, self.size)
        bucket, probability = self.choice(y.mean(2), slice(low, high), gaps)
        record_choice(choices, bucket, low, buckets)
        asked = through_windows(bucket, buckets)
        y = y.flatten(0, 1)
        if self.piece is None:  # a GPU would have to wait for the number of different buckets
            keys = self.sinkhorn_key(y)
        else:
            used, asked = torch.unique(asked, return_inverse=True)
            keys = self.sinkhorn_key(y[used])
        sinkhorn_keys = _SinkhornKeys(keys.view(-1, self.head_size), bucket.shape[2], 0)
        qkv = self.project(torch.unflatten(y, 0, (windows, buckets))[:, low:high].flatten(0, 1))
        everything = slice(0, len(qkv))
        attended = self._attend(qkv, everything, windows, sinkhorn_keys, asked, probability.flatten(0, 1))
        attended = attended.view(windows, -1, self.size)[:, core.core_rows(low)]
        kept = x[:, core.first : core.first + core.length] + attended
        self._feed_forward(kept.view(-1, self.size))
        return kept

    def _pieces(self, buckets: int) -> Iterator[slice]:
        piece = self.piece or buckets
        return (slice(first, min(first + piece, buckets)) for first in range(0, buckets, piece))

    def _feed_forward(self, x: Tensor) -> None:
        """Add the feed-forward to rows x [n, hidden]."""
        for some in (x,) if self.piece is None else torch.split(x, FEED_FORWARD_ROWS):
            some += self.contract(F.gelu(self.expand(self.feed_forward_norm(some))))

    def _attend(
        self, qkv: Tensor, some: slice, windows: int, sinkhorn_keys: _SinkhornKeys, bucket: Tensor, probability: Tensor
    ) -> Tensor:
        """Both kinds of attention and the output projection for buckets `some`: [some, size, hidden].

        qkv: [buckets, size, 3 * hidden] of `windows` windows; bucket, probability: [some, Sinkhorn heads].
        """
        merged = qkv.new_empty(some.stop - some.start, self.bucket_size, self.size)
        if self.local_channels:
            self._local(qkv, some, len(qkv) // windows, merged[..., : self.local_channels])
        if self.local_channels < self.size:
            self._sinkhorn(
                qkv[some],
                sinkhorn_keys.moved(bucket, probability, self.bucket_size),
                merged[..., self.local_channels :],
            )
        return self.output(merged)

    def _sinkhorn(self, qkv: Tensor, moved: Tensor, attended: Tensor) -> None:
        """Each bucket attends to the weighted keys of the bucket it chose, which are values too, and to itself.

        qkv: [some, size, 3 * hidden]; moved: [some, Sinkhorn heads, size, D]; attended, which is written: [some, size,
        Sinkhorn heads * D].
        """
        own = torch.unflatten(qkv, 2, (3, self.heads, self.head_size))[:, :, :, self.heads - moved.shape[1] :]
        query, key, value = own.transpose(1, 3).unbind(2)  # [some, Sinkhorn heads, size, D]
        y = softmax_attention(query, torch.cat((moved, key), 2), torch.cat((moved, value), 2))
        torch.unflatten(attended, 2, (-1, self.head_size)).copy_(y.transpose(1, 2))

    def _local(self, qkv: Tensor, some: slice, buckets: int, attended: Tensor) -> None:
        """Each bucket attends to itself and its neighbours in its window, which are read in place.

        qkv: [all buckets, size, 3 * hidden], `buckets` of them in a window; attended: [some, size, local channels],
        which is written. The first and last bucket of a window have one neighbour less; those between two windows are
        computed with three first, together with the others, and then overwritten.
        """
        for where, low, high in neighbourhoods(some, buckets, len(qkv)):
            if len(where):
                y = self._look(qkv, where, low, high)
                attended[where.start - some.start : where.stop - some.start : where.step] = y

    def _look(self, qkv: Tensor, where: range, low: int, high: int) -> Tensor:
        """Local heads of buckets b in `where`, which see buckets [b + low, b + high): [where, size, channels]."""
        size, width = self.bucket_size, self.head_size
        row = 3 * self.size
        strides = (where.step * size * row, width, row, 1)
        shape = (len(where), self.local_channels // width, size, width)
        around = (*shape[:2], (high - low) * size, width)
        query = qkv.as_strided(shape, strides, qkv.storage_offset() + where.start * size * row)
        key, value = (
            qkv.as_strided(around, strides, qkv.storage_offset() + (where.start + low) * size * row + part * self.size)
            for part in (1, 2)
        )
        return softmax_attention(query, key, value).transpose(1, 2).flatten(2)


class _SinkhornKeys:
    """Where the keys of the Sinkhorn heads lie: from head `first` on in rows [positions * heads of a position, D]."""

    def __init__(self, rows: Tensor, heads: int, first: int) -> None:
        self.rows, self.heads, self.first = rows, heads, first

    def moved(self, bucket: Tensor, probability: Tensor, size: int) -> Tensor:
        """Keys of the chosen buckets [n, Sinkhorn heads], times their probability: [n, Sinkhorn heads, size, D]."""
        device = bucket.device
        head = torch.arange(self.first, self.first + bucket.shape[1], device=device)
        position = bucket[..., None] * size + torch.arange(size, device=device)
        index = position * self.heads + head[:, None]  # [n, Sinkhorn heads, size]
        moved = self.rows.index_select(0, index.flatten()).view(*index.shape, -1)
        return moved.mul_(probability[..., None, None])


def smallest_gaps(fit: Tensor) -> Tensor:
    """How near the choices of each window are to a tie.

    Parameters
    ----------
    fit : Tensor
        [B, Sinkhorn heads, queries, buckets]: scaled products of mean queries and mean keys.

    Returns
    -------
    Tensor
        [B], the smallest difference between the best and the second-best fit of a query; infinity without a second.
    """
    if not fit.shape[1] or fit.shape[3] < 2:
        return fit.new_full((len(fit),), torch.inf)
    best, second = fit.topk(2, -1).values.unbind(-1)
    return (best - second).flatten(1).amin(1)


def record_choice(choices: list[Tensor] | None, bucket: Tensor, first: int, buckets: int) -> None:
    """Add the choices of a layer to `choices`, where they are wanted, for comparisons.

    Parameters
    ----------
    choices : list or None
        Gets int64 [B, Sinkhorn heads, buckets], -1 for buckets that did not choose; None where nobody asks.
    bucket : Tensor
        int64 [B, n, Sinkhorn heads], numbers in the window, chosen by buckets `first`, ..., `first` + n - 1 of each.
    first, buckets : int
        First bucket that chose, and buckets of a window.
    """
    if choices is None:
        return
    recorded = bucket.new_full((len(bucket), bucket.shape[2], buckets), -1)
    recorded[..., first : first + bucket.shape[1]] = bucket.transpose(1, 2)
    choices.append(recorded)


def through_windows(bucket: Tensor, buckets: int) -> Tensor:
    """Numbers of buckets in their window [B, n, heads] -> among those of all windows [B * n, heads]."""
    start = torch.arange(0, len(bucket) * buckets, buckets, device=bucket.device)
    return (bucket + start[:, None, None]).flatten(0, 1)


def neighbourhoods(some: slice, buckets: int, total: int) -> list[tuple[range, int, int]]:
    """Buckets of `some` with the neighbours that they see.

    Parameters
    ----------
    some : slice
        Buckets, numbered through all windows.
    buckets, total : int
        Buckets of a window and of all windows.

    Returns
    -------
    list of (range, int, int)
        (b, low, high): buckets in b see [b + low, b + high). A later entry replaces an earlier one.
    """
    start = range(-(-some.start // buckets) * buckets, some.stop, buckets)  # first buckets of their windows
    end = range((some.start // buckets + 1) * buckets - 1, some.stop, buckets)  # last ones
    if buckets == 1:
        return [(start, 0, 1)]
    inner = range(max(some.start, 1), min(some.stop, total - 1))
    return [(inner, -1, 2), (start, 0, 2), (end, -1, 1)]
