"""The attention and feed-forward layers by the compiled library: `sptx_core.engine.transformer`, with fewer passes.

A layer is two calls. The first takes each bucket through the norm and the projections and lays queries, keys and
values out as attention reads them; the second takes it through attention, output, norm and feed-forward while it is in
the cache. Between them buckets are chosen. In and out as in `sptx_core.engine.transformer`, on a CPU, in float32 or
bfloat16, for a network that `library.fits`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sptx_core.engine.native import library
from sptx_core.engine.native.library import BUCKET, EVERYTHING, FAR_KEYS, MEANS, LayerArguments
from sptx_core.engine.transformer import Choice, Transformer, through_windows
from sptx_core.model import Layer, SpTransformerModel
from sptx_core.windows import WindowSpec


class NativeTransformer(Transformer):
    """As `Transformer`."""

    def __init__(self, model: SpTransformerModel, spec: WindowSpec, dtype: torch.dtype) -> None:
        super().__init__(model, spec, dtype, torch.float32, None)

    def _layer(self, layer: Layer, dtype: torch.dtype, wide: torch.dtype, rows: int | None) -> NativeLayer:
        return NativeLayer(layer, dtype)


class NativeLayer:
    """As `FastLayer`."""

    def __init__(self, layer: Layer, dtype: torch.dtype) -> None:
        attention = layer.attention
        self.choose = Choice(attention, torch.float32)
        self.dtype, self.heads, self.near = dtype, attention.heads, attention.local_heads
        query = attention.query.weight * (self.choose.scale / math.log(2))  # its softmax is taken to the base 2
        linear = (attention.output, layer.expand, layer.contract)
        weights = torch.cat((query, attention.key_value.weight)), *(part.weight for part in linear)
        norms = (layer.attention_norm, layer.feed_forward_norm)
        self.arguments = LayerArguments.of(
            [(norm.weight, norm.bias, norm.eps) for norm in norms],
            [library.panels(weight, dtype) for weight in weights],
            [part.bias for part in linear],
            (self.choose.size, self.heads, self.near, layer.expand.out_features),
        )

    def __call__(self, x: Tensor, choices: list[Tensor] | None = None) -> None:
        """Add attention and feed-forward to x [B, S, hidden]; its choices [B, far heads, buckets] to `choices`."""
        tiles, means = self._tiles(x), self._means(x)
        library.project(self.arguments, x, tiles, MEANS | EVERYTHING, means=means)
        bucket, probability = self.choose(means, slice(None))
        if choices is not None:
            choices.append(bucket.transpose(1, 2))
        asked = through_windows(bucket, means.shape[1])
        self._attend(x, tiles, 0, asked, probability.flatten(0, 1))

    def last(self, x: Tensor, first: int, length: int, choices: list[Tensor] | None = None) -> Tensor:
        """What the layer makes of positions [first, first + length) of x [B, S, hidden]: [B, length, hidden]."""
        buckets = x.shape[1] // BUCKET
        begin, end = first // BUCKET, -(-(first + length) // BUCKET)
        tiles, means = self._tiles(x), self._means(x)
        library.project(self.arguments, x, tiles, MEANS, means=means)
        bucket, probability = self.choose(means, slice(begin, end))
        if choices is not None:
            choices.append(bucket.new_full((len(x), bucket.shape[2], buckets), -1))
            choices[-1][..., begin:end] = bucket.transpose(1, 2)
        asked = through_windows(bucket, buckets)
        near = torch.arange(max(begin - 1, 0), min(end + 1, buckets))
        near = (near + buckets * torch.arange(len(x))[:, None]).flatten()
        library.project(self.arguments, x, tiles, EVERYTHING, near.int())
        far = asked.unique()
        far = far[~torch.isin(far, near)]
        library.project(self.arguments, x, tiles, FAR_KEYS, far.int())
        for i in range(len(x)):
            some = slice(i * (end - begin), (i + 1) * (end - begin))
            self._attend(x, tiles, i * buckets + begin, asked[some], probability[i])
        return x[:, first : first + length]

    def _attend(self, x: Tensor, tiles: Tensor, first: int, bucket: Tensor, probability: Tensor) -> None:
        chosen = bucket.int().contiguous(), probability.contiguous()
        library.attend(self.arguments, x, tiles, first, x.shape[1] // BUCKET, *chosen)

    def _tiles(self, x: Tensor) -> Tensor:
        return library.new_tiles(self.heads, self.near, x.numel() // x.shape[2] // BUCKET, self.dtype)

    def _means(self, x: Tensor) -> Tensor:
        return torch.empty(len(x), x.shape[1] // BUCKET, x.shape[2])
