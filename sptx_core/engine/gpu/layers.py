"""The attention and feed-forward layers by Triton's kernels: `sptx_core.engine.transformer`, with fewer passes.

A layer is a product of the library, of normalised rows and the projections, and four kernels. The first chooses
buckets by the means of rows; two are the two kinds of attention; the last adds their output to the residual stream,
takes it through norm and feed-forward and normalises it for the next layer. In float32, where operands are pairs that
the library does not know, all products are kernels of their own. In and out as in `sptx_core.engine.transformer`, in
float32 or bfloat16, for a network that `sptx_core.engine.gpu.fits`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sptx_core.engine.gpu.operations import Convolution, FeedForward, Norm, attend, choose, multiply, normalise
from sptx_core.engine.kernels import Projection
from sptx_core.engine.transformer import Transformer
from sptx_core.model import Layer, SpTransformerModel
from sptx_core.windows import WindowSpec


class GpuTransformer(Transformer):
    """As `Transformer`."""

    layers: list[GpuLayer]  # type: ignore[assignment]  # which take more

    def __init__(self, model: SpTransformerModel, spec: WindowSpec, dtype: torch.dtype) -> None:
        super().__init__(model, spec, dtype, torch.float32, None)

    def _layer(self, layer: Layer, dtype: torch.dtype) -> Any:
        return GpuLayer(layer, dtype)

    def __call__(self, x: Tensor, choices: list[Tensor] | None = None) -> Tensor:
        """As of `Transformer`."""
        rows = self.layers[0].begin(x)
        for layer, following in pairwise(self.layers):
            rows = layer(x, rows, following.norm, choices)
        x = self.layers[-1].last(x, rows, self.before, self.core, choices)
        logits: Tensor = self.heads(self.norm(x))
        return logits


class Rows(NamedTuple):
    """Rows of B windows after a layer's first norm."""

    normed: Tensor
    """[B * S, hidden], operands of products."""
    means: Tensor
    """[B * buckets, hidden], float32, means over each bucket."""


class GpuLayer:
    """As `FastLayer`, but rows come normalised, by the layer before, and leave so."""

    def __init__(self, layer: Layer, dtype: torch.dtype) -> None:
        attention = layer.attention
        self.heads, self.size, self.dtype = attention.heads, attention.bucket_size, dtype
        self.hidden = attention.query.weight.shape[0]
        self.width = self.hidden // self.heads
        self.near = attention.local_heads * self.width  # channels of the local heads, which come first
        self.scale = self.width**-0.5
        # Queries are scaled, and by 1 / ln 2 too, since softmax is taken to the base 2.
        query = attention.query.weight * (self.scale / math.log(2))
        key = attention.key_value.weight.chunk(2)[0]
        self.of_means = attention.query.weight[self.near :].float(), key[self.near :].float()
        self.project, self.far_key = (
            _linear(weight, dtype) for weight in (torch.cat((query, attention.key_value.weight)), key[self.near :])
        )
        norms = (layer.attention_norm, layer.feed_forward_norm)
        self.norm, second = ((norm.weight.float(), norm.bias.float(), norm.eps) for norm in norms)
        linear = (attention.output, layer.expand, layer.contract)
        output, expand, contract = ((part.weight, part.bias) for part in linear)
        self.after = FeedForward(output, second, expand, contract, dtype)

    def begin(self, x: Tensor) -> Rows:
        """Rows of x [B, S, hidden], where there is no layer before."""
        return Rows(*normalise(x.view(-1, self.hidden), self.norm, self.size, self.dtype))

    def __call__(self, x: Tensor, rows: Rows, following: Norm, choices: list[Tensor] | None = None) -> Rows:
        """Add attention and feed-forward to x [B, S, hidden], whose `rows` are given; returns those for the next layer.

        Its choices [B, far heads, buckets] are added to `choices`.
        """
        qkv = self.project(rows.normed)
        chosen, probability = self._choose(rows, len(x), slice(None), choices)
        far = qkv[:, self.hidden + self.near : 2 * self.hidden]
        attended = self._attend(qkv, far, chosen, probability, len(x), 0)
        return Rows(*self.after(x.view(-1, self.hidden), attended, following, self.size))

    def last(self, x: Tensor, rows: Rows, first: int, length: int, choices: list[Tensor] | None = None) -> Tensor:
        """What the layer makes of positions [first, first + length) of x [B, S, hidden]: [B, length, hidden]."""
        windows, size = len(x), self.size
        buckets = x.shape[1] // size
        begin, end = first // size, -(-(first + length) // size)  # buckets of those positions
        low, high = max(begin - 1, 0), min(end + 1, buckets)
        far = self.far_key(rows.normed)
        chosen, probability = self._choose(rows, windows, slice(begin, end), choices)
        around = torch.unflatten(rows.normed, 0, (windows, -1))[:, low * size : high * size]
        qkv = self.project(around.flatten(0, 1))
        attended = self._attend(qkv, far, chosen, probability, windows, begin - low)
        kept = x[:, begin * size : end * size].contiguous()
        self.after(kept.view(-1, self.hidden), attended, None, size)
        return kept[:, first - begin * size :][:, :length]

    def _choose(self, rows: Rows, windows: int, asked: slice, choices: list[Tensor] | None) -> tuple[Tensor, Tensor]:
        """Of some buckets of each window, the chosen ones and their probability, as `attend` takes them."""
        means = rows.means.view(windows, -1, self.hidden)
        buckets = means.shape[1]
        first, end, _ = asked.indices(buckets)
        chosen, probability = choose(means, *self.of_means, self.scale, self.width, first, end - first)
        if choices is not None:
            found = chosen.new_full((windows, chosen.shape[1], buckets), -1)
            found[..., first:end] = torch.unflatten(chosen, 0, (windows, -1)).transpose(1, 2) % buckets
            choices.append(found)
        return chosen, probability

    def _attend(
        self, qkv: Tensor, far: Tensor, chosen: Tensor, probability: Tensor, windows: int, first: int
    ) -> Tensor:
        return attend(qkv, far, chosen, probability, heads=self.heads, size=self.size, windows=windows, first=first)


def _linear(weight: Tensor, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Rows of operands through `weight` [C out, C in]: by the library, which knows no pairs, or a kernel."""
    if dtype != torch.float32:
        return Projection(weight, None, dtype)
    linear = Convolution.of(weight[..., None], None, dtype)
    return lambda rows: multiply(rows, linear, rows.new_empty(len(rows), len(weight), dtype=torch.float32))
