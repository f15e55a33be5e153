"""The attention and feed-forward layers by the compiled library.

A layer is two calls. The first takes each bucket through the norm and the projections and lays queries, keys and
values out as attention reads them; the second takes it through attention, output, norm and feed-forward while it is in
the cache. Between the two, buckets are chosen. `sptx_core.engine.torch.layers` needs more passes.

In: float32 [B, S, hidden] on a CPU. Out: logits [B, core, channels]. Products are in float32 or bfloat16, for a
network that `library.fits`.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from sptx_core.engine.geometry import CoreBuckets
from sptx_core.engine.native import library
from sptx_core.engine.native.library import BUCKET, EVERYTHING, MEANS, LayerArguments, Mode
from sptx_core.engine.torch.layers import OutputHeads, record_choice
from sptx_core.model import Layer, SpTransformerModel
from sptx_core.windows import WindowSpec


class NativeTransformer:
    """All layers, the last norm and the output heads.

    Parameters
    ----------
    model : SpTransformerModel
        The network in float64, from which weights are taken.
    spec : WindowSpec
        How the windows lie.
    dtype : torch.dtype
        Precision of the operands of products, float32 or bfloat16.
    """

    def __init__(self, model: SpTransformerModel, spec: WindowSpec, dtype: torch.dtype) -> None:
        self.core = CoreBuckets.of(model.sizes, spec)
        self.layers = [NativeLayer(layer, dtype) for layer in model.layers if isinstance(layer, Layer)]
        self.heads = OutputHeads(model, torch.float32)

    def __call__(self, x: Tensor, choices: list[Tensor] | None = None, gaps: list[Tensor] | None = None) -> Tensor:
        """[B, S, hidden], which is overwritten -> [B, core, channels]; lists as for `TorchTransformer`."""
        for layer in self.layers[:-1]:
            layer(x, choices, gaps)
        return self.heads(self.layers[-1].last(x, self.core, choices, gaps))


class NativeLayer:
    """One layer, on the rows of B windows in place: [B, S, hidden]. Buckets are numbered through all windows."""

    def __init__(self, layer: Layer, dtype: torch.dtype) -> None:
        attention = layer.attention
        self.mode, self.heads, self.local_heads = library.fastest_mode(dtype), attention.heads, attention.local_heads
        # Queries are scaled, and by 1 / ln 2 too, since the library takes powers of 2 in the softmax.
        query = attention.query.weight * (library.PANEL**-0.5 / math.log(2))
        key = attention.key_value.weight.chunk(2)[0]
        first = self.local_heads * library.PANEL  # channel of the Sinkhorn heads
        linear = (attention.output, layer.expand, layer.contract)
        weights = torch.cat((query, attention.key_value.weight)), *(part.weight for part in linear)
        norms = (layer.attention_norm, layer.feed_forward_norm)
        self.arguments = LayerArguments.of(
            [(norm.weight, norm.bias, norm.eps) for norm in norms],
            [
                *(library.panels(weight, self.mode) for weight in weights),
                *(library.panels(weight[first:], Mode.FLOAT32) for weight in (query, key)),
            ],
            [part.bias for part in linear],
            (query.shape[0], self.heads, self.local_heads, layer.expand.out_features),
        )

    def __call__(self, x: Tensor, choices: list[Tensor] | None = None, gaps: list[Tensor] | None = None) -> None:
        """Add attention and feed-forward to x [B, S, hidden]; lists as for `TorchTransformer`."""
        tiles, means = self._new_tiles(x), _new_means(x)
        buckets = means.shape[1]
        library.project(self.mode, self.arguments, x, tiles, means, MEANS | EVERYTHING)
        chosen, probability = library.choose(self.arguments, means, 0, buckets, gaps)
        _record(choices, chosen, 0, means)
        library.attend(self.mode, self.arguments, x, tiles, 0, buckets, chosen, probability)

    def last(
        self, x: Tensor, core: CoreBuckets, choices: list[Tensor] | None = None, gaps: list[Tensor] | None = None
    ) -> Tensor:
        """The layer's output at the positions of the core: a view [B, length, hidden] of x [B, S, hidden]."""
        windows, buckets = len(x), core.buckets
        tiles, means = self._new_tiles(x), _new_means(x)
        library.project(self.mode, self.arguments, x, tiles, means, MEANS)
        chosen, probability = library.choose(self.arguments, means, core.begin, core.end - core.begin, gaps)
        _record(choices, chosen, core.begin, means)
        near = torch.arange(core.low, core.high)
        near = (near + buckets * torch.arange(windows)[:, None]).flatten().int()
        library.project_some(self.mode, self.arguments, x, tiles, near)
        # Of other buckets only the keys of the Sinkhorn heads that chose them: bit h stands for Sinkhorn head h.
        wanted = np.zeros(windows * buckets, dtype=np.int32)
        np.bitwise_or.at(wanted, chosen.numpy(), 1 << np.arange(chosen.shape[1]))
        wanted[near] = 0
        far = np.flatnonzero(wanted)
        some = torch.from_numpy(far).int(), torch.from_numpy(wanted[far])
        library.project_some(self.mode, self.arguments, x, tiles, *some)
        for i, own in enumerate(zip(chosen.chunk(windows), probability.chunk(windows), strict=True)):
            library.attend(self.mode, self.arguments, x, tiles, i * buckets + core.begin, buckets, *own)
        return x[:, core.first : core.first + core.length]

    def _new_tiles(self, x: Tensor) -> Tensor:
        return library.new_head_blocks(self.heads, self.local_heads, x.numel() // x.shape[2] // BUCKET, self.mode)


def _new_means(x: Tensor) -> Tensor:
    """Memory for the means of each bucket of x [B, S, hidden]: [B, buckets, hidden]."""
    return torch.empty(len(x), x.shape[1] // BUCKET, x.shape[2])


def _record(choices: list[Tensor] | None, chosen: Tensor, first: int, means: Tensor) -> None:
    """`record_choice` of chosen buckets [B * n, Sinkhorn heads], which the library numbers through all windows."""
    if choices is not None:
        windows, buckets, _ = means.shape
        record_choice(choices, (torch.unflatten(chosen, 0, (windows, -1)) % buckets).long(), first, buckets)
