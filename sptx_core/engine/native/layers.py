"""The attention and feed-forward layers by the compiled library: `sptx_core.engine.transformer`, with fewer passes.

A layer is two calls. The first takes each bucket through the norm and the projections and lays queries, keys and
values out as attention reads them; the second takes it through attention, output, norm and feed-forward while it is in
the cache. Between them buckets are chosen. In and out as in `sptx_core.engine.transformer`, on a CPU, in float32 or
bfloat16, for a network that `library.fits`.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from sptx_core.engine.native import library
from sptx_core.engine.native.library import BUCKET, EVERYTHING, MEANS, LayerArguments, Mode
from sptx_core.engine.transformer import Transformer
from sptx_core.model import Layer, SpTransformerModel
from sptx_core.windows import WindowSpec


class NativeTransformer(Transformer):
    """As `Transformer`."""

    def __init__(self, model: SpTransformerModel, spec: WindowSpec, dtype: torch.dtype) -> None:
        super().__init__(model, spec, dtype, torch.float32, None)

    def _layer(self, layer: Layer, dtype: torch.dtype) -> NativeLayer:
        return NativeLayer(layer, dtype)


class NativeLayer:
    """As `FastLayer`."""

    def __init__(self, layer: Layer, dtype: torch.dtype) -> None:
        attention = layer.attention
        self.mode, self.heads, self.near = Mode.of(dtype), attention.heads, attention.local_heads
        # Queries are scaled, and by 1 / ln 2 too, since softmax is taken to the base 2.
        query = attention.query.weight * (library.PANEL**-0.5 / math.log(2))
        key = attention.key_value.weight.chunk(2)[0]
        far = self.near * library.PANEL
        linear = (attention.output, layer.expand, layer.contract)
        weights = torch.cat((query, attention.key_value.weight)), *(part.weight for part in linear)
        norms = (layer.attention_norm, layer.feed_forward_norm)
        self.arguments = LayerArguments.of(
            [(norm.weight, norm.bias, norm.eps) for norm in norms],
            [
                *(library.panels(weight, self.mode) for weight in weights),
                *(library.panels(weight[far:], Mode.FLOAT32) for weight in (query, key)),
            ],
            [part.bias for part in linear],
            (query.shape[0], self.heads, self.near, layer.expand.out_features),
        )

    def __call__(self, x: Tensor, choices: list[Tensor] | None = None) -> None:
        """Add attention and feed-forward to x [B, S, hidden]; its choices [B, far heads, buckets] to `choices`."""
        tiles, means = self._tiles(x), self._means(x)
        library.project(self.mode, self.arguments, x, tiles, means, MEANS | EVERYTHING)
        chosen, probability = library.choose(self.arguments, means, 0, means.shape[1])
        if choices is not None:
            choices.append(_of_windows(chosen, means))
        library.attend(self.mode, self.arguments, x, tiles, 0, means.shape[1], chosen, probability)

    def last(self, x: Tensor, first: int, length: int, choices: list[Tensor] | None = None) -> Tensor:
        """What the layer makes of positions [first, first + length) of x [B, S, hidden]: [B, length, hidden]."""
        windows, buckets = len(x), x.shape[1] // BUCKET
        begin, end = first // BUCKET, -(-(first + length) // BUCKET)
        tiles, means = self._tiles(x), self._means(x)
        library.project(self.mode, self.arguments, x, tiles, means, MEANS)
        chosen, probability = library.choose(self.arguments, means, begin, end - begin)
        if choices is not None:
            found = _of_windows(chosen, means)
            choices.append(found.new_full((windows, found.shape[1], buckets), -1))
            choices[-1][..., begin:end] = found
        near = torch.arange(max(begin - 1, 0), min(end + 1, buckets))
        near = (near + buckets * torch.arange(windows)[:, None]).flatten().int()
        library.project_some(self.mode, self.arguments, x, tiles, near)
        wanted = np.zeros(windows * buckets, dtype=np.int32)  # of each bucket, the heads that chose it
        np.bitwise_or.at(wanted, chosen.numpy(), 1 << np.arange(chosen.shape[1]))
        wanted[near] = 0  # which are there
        far = np.flatnonzero(wanted)
        some = torch.from_numpy(far).int(), torch.from_numpy(wanted[far])
        library.project_some(self.mode, self.arguments, x, tiles, *some)
        for i, own in enumerate(zip(chosen.chunk(windows), probability.chunk(windows), strict=True)):
            library.attend(self.mode, self.arguments, x, tiles, i * buckets + begin, buckets, *own)
        return x[:, first : first + length]

    def _tiles(self, x: Tensor) -> Tensor:
        return library.new_tiles(self.heads, self.near, x.numel() // x.shape[2] // BUCKET, self.mode)

    def _means(self, x: Tensor) -> Tensor:
        return torch.empty(len(x), x.shape[1] // BUCKET, x.shape[2])


def _of_windows(chosen: Tensor, means: Tensor) -> Tensor:
    """Chosen buckets [B * count, far heads], among all -> in their window, [B, far heads, count]."""
    windows, buckets, _ = means.shape
    return (torch.unflatten(chosen, 0, (windows, -1)) % buckets).transpose(1, 2).long()
