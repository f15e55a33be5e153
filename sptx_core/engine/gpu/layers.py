"""The attention and feed-forward layers by Triton's kernels: `sptx_core.engine.transformer`, with fewer passes.

A layer is three kernels and the choice of buckets between the first two. The first takes rows through the norm and the
projections; the second is both kinds of attention; the third adds their output to the residual stream and takes it
through norm and feed-forward. In and out as in `sptx_core.engine.transformer`, in float32 or bfloat16, for a network
that `sptx_core.engine.gpu.fits`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sptx_core.engine.gpu.operations import FeedForward, attend, finish, project
from sptx_core.engine.transformer import Choice, Transformer, through_windows
from sptx_core.model import Layer, SpTransformerModel
from sptx_core.windows import WindowSpec


class GpuTransformer(Transformer):
    """As `Transformer`."""

    def __init__(self, model: SpTransformerModel, spec: WindowSpec, dtype: torch.dtype) -> None:
        super().__init__(model, spec, dtype, torch.float32, None)

    def _layer(self, layer: Layer, dtype: torch.dtype) -> GpuLayer:
        return GpuLayer(layer, dtype)


class GpuLayer:
    """As `FastLayer`."""

    def __init__(self, layer: Layer, dtype: torch.dtype) -> None:
        attention = layer.attention
        self.heads, self.size = attention.heads, attention.bucket_size
        self.hidden = attention.query.weight.shape[0]
        self.near = attention.local_heads * self.hidden // self.heads  # channels of the local heads, which come first
        self.choose = Choice(attention, torch.float32)
        # Queries are scaled, and by 1 / ln 2 too, since softmax is taken to the base 2.
        query = attention.query.weight * (self.choose.scale / math.log(2))
        key = attention.key_value.weight.chunk(2)[0]
        self.weight = torch.cat((query, attention.key_value.weight)).to(dtype)
        self.far_key = key[self.near :].to(dtype)
        norms = (layer.attention_norm, layer.feed_forward_norm)
        self.norm, second = ((norm.weight.float(), norm.bias.float(), norm.eps) for norm in norms)
        linear = (attention.output, layer.expand, layer.contract)
        output, expand, contract = ((part.weight.to(dtype), part.bias.float()) for part in linear)
        self.after = FeedForward(output, second, expand, contract)

    def __call__(self, x: Tensor, choices: list[Tensor] | None = None) -> None:
        """Add attention and feed-forward to x [B, S, hidden]; its choices [B, far heads, buckets] to `choices`."""
        windows, rows = len(x), x.view(-1, self.hidden)
        qkv, means = project(rows, self.norm, self.weight, self.size)
        means = means.view(windows, -1, self.hidden)
        bucket, probability = self.choose(means, slice(None))
        if choices is not None:
            choices.append(bucket.transpose(1, 2))
        chosen = through_windows(bucket, means.shape[1])
        far = qkv[:, self.hidden + self.near : 2 * self.hidden]
        finish(rows, self._attend(qkv, far, chosen, probability, windows, 0), self.after)

    def last(self, x: Tensor, first: int, length: int, choices: list[Tensor] | None = None) -> Tensor:
        """What the layer makes of positions [first, first + length) of x [B, S, hidden]: [B, length, hidden]."""
        windows, size = len(x), self.size
        buckets = x.shape[1] // size
        begin, end = first // size, -(-(first + length) // size)  # buckets of those positions
        low, high = max(begin - 1, 0), min(end + 1, buckets)
        far, means = project(x.view(-1, self.hidden), self.norm, self.far_key, size)
        bucket, probability = self.choose(means.view(windows, buckets, self.hidden), slice(begin, end))
        if choices is not None:
            choices.append(bucket.new_full((windows, bucket.shape[2], buckets), -1))
            choices[-1][..., begin:end] = bucket.transpose(1, 2)
        around = x[:, low * size : high * size].reshape(-1, self.hidden)
        qkv, _ = project(around, self.norm, self.weight, size)
        attended = self._attend(qkv, far, through_windows(bucket, buckets), probability, windows, begin - low)
        kept = x[:, begin * size : end * size].contiguous()
        finish(kept.view(-1, self.hidden), attended, self.after)
        return kept[:, first - begin * size :][:, :length]

    def _attend(
        self, qkv: Tensor, far: Tensor, chosen: Tensor, probability: Tensor, windows: int, first: int
    ) -> Tensor:
        return attend(
            qkv, far, chosen, probability.flatten(0, 1), heads=self.heads, size=self.size, windows=windows, first=first
        )
