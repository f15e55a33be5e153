"""The attention and feed-forward layers as Triton kernels, with fewer passes than `sptx_core.engine.torch.layers`.

A layer is a product of normalised rows and the projections by PyTorch, and four kernels. The first chooses buckets by
the means of rows; two are the two kinds of attention; the last adds their output to the residual stream, takes it
through norm and feed-forward and normalises it for the next layer. In float32, where operands are pairs that PyTorch
does not know, all products are kernels.

In: float32 [B, S, hidden] on a GPU. Out: logits [B, core, channels]. Products are in float32 or bfloat16, for a network
that `sptx_core.engine.triton.size_reasons` has nothing against.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from sptx_core.engine.geometry import CoreBuckets
from sptx_core.engine.torch.layers import OutputHeads, record_choice
from sptx_core.engine.torch.operators import Projection
from sptx_core.engine.triton.bucket_attention import attend_buckets
from sptx_core.engine.triton.bucket_choice import choose_buckets
from sptx_core.engine.triton.convolution import PreparedConvolution, multiply_rows
from sptx_core.engine.triton.feed_forward import FeedForward
from sptx_core.engine.triton.row_norm import NormedRows, NormWeights, normalise_rows
from sptx_core.model import Layer, SpTransformerModel
from sptx_core.windows import WindowSpec


class TritonTransformer:
    """All layers, the last norm and the output heads.

    Parameters
    ----------
    model : SpTransformerModel
        The network in float64, from which weights are taken.
    spec : WindowSpec
        How the windows lie.
    dtype : torch.dtype
        Precision of products: float32, bfloat16, or float16 in the interpreter.
    """

    def __init__(self, model: SpTransformerModel, spec: WindowSpec, dtype: torch.dtype) -> None:
        self.core = CoreBuckets.of(model.sizes, spec)
        self.layers = [TritonLayer(layer, dtype) for layer in model.layers if isinstance(layer, Layer)]
        self.heads = OutputHeads(model, torch.float32)

    def __call__(self, x: Tensor, choices: list[Tensor] | None = None, gaps: list[Tensor] | None = None) -> Tensor:
        """[B, S, hidden], which is overwritten -> [B, core, channels]; lists as for `TorchTransformer`."""
        rows = self.layers[0].begin(x)
        for layer, following in pairwise(self.layers):
            rows = layer(x, rows, following.norm, choices, gaps)
        return self.heads(self.layers[-1].last(x, rows, self.core, choices, gaps))


class TritonLayer:
    """One layer, on the rows of B windows in place: [B, S, hidden].

    Rows come normalised by the layer before and leave normalised for the next one. Buckets are numbered through all
    windows.
    """

    def __init__(self, layer: Layer, dtype: torch.dtype) -> None:
        attention = layer.attention
        self.heads, self.bucket_size, self.dtype = attention.heads, attention.bucket_size, dtype
        self.hidden = attention.query.weight.shape[0]
        self.head_size = self.hidden // self.heads
        self.local_channels = attention.local_heads * self.head_size  # the local heads come first
        self.scale = self.head_size**-0.5
        # Queries are scaled, and by 1 / ln 2 too, since the kernel takes powers of 2 in the softmax.
        query = attention.query.weight * (self.scale / math.log(2))
        key = attention.key_value.weight.chunk(2)[0]
        self.mean_query, self.mean_key = (
            attention.query.weight[self.local_channels :].float(),
            key[self.local_channels :].float(),
        )
        self.project, self.sinkhorn_key = (
            _linear_map(weight, dtype)
            for weight in (torch.cat((query, attention.key_value.weight)), key[self.local_channels :])
        )
        norms = (layer.attention_norm, layer.feed_forward_norm)
        self.norm, second = (NormWeights(norm.weight.float(), norm.bias.float(), norm.eps) for norm in norms)
        linear = (attention.output, layer.expand, layer.contract)
        output, expand, contract = ((part.weight, part.bias) for part in linear)
        self.feed_forward = FeedForward(output, second, expand, contract, dtype)

    def begin(self, x: Tensor) -> NormedRows:
        """Normalise the rows of x [B, S, hidden], where there is no layer before."""
        return normalise_rows(x.view(-1, self.hidden), self.norm, self.bucket_size, self.dtype)

    def __call__(
        self,
        x: Tensor,
        rows: NormedRows,
        following: NormWeights,
        choices: list[Tensor] | None = None,
        gaps: list[Tensor] | None = None,
    ) -> NormedRows:
        """Add attention and feed-forward to x, in place.

        Parameters
        ----------
        x : Tensor
            float32 [B, S, hidden].
        rows : NormedRows
            The rows of `x` after this layer's norm.
        following : NormWeights
            The norm of the next layer.
        choices, gaps : list, optional
            As for `TorchTransformer`.

        Returns
        -------
        NormedRows
            The rows for the next layer.
        """
        qkv = self.project(rows.normed)
        chosen, probability = self._choose(rows, len(x), slice(None), choices, gaps)
        keys = qkv[:, self.hidden + self.local_channels : 2 * self.hidden]
        attended = self._attend(qkv, keys, chosen, probability, len(x), 0)
        return self.feed_forward(x.view(-1, self.hidden), attended, following, self.bucket_size)

    def last(
        self,
        x: Tensor,
        rows: NormedRows,
        core: CoreBuckets,
        choices: list[Tensor] | None = None,
        gaps: list[Tensor] | None = None,
    ) -> Tensor:
        """The layer's output at the positions of the core, [B, length, hidden], from x [B, S, hidden] and its rows."""
        windows, size = len(x), self.bucket_size
        keys = self.sinkhorn_key(rows.normed)
        chosen, probability = self._choose(rows, windows, slice(core.begin, core.end), choices, gaps)
        around = torch.unflatten(rows.normed, 0, (windows, -1))[:, core.low * size : core.high * size]
        qkv = self.project(around.flatten(0, 1))
        attended = self._attend(qkv, keys, chosen, probability, windows, core.begin - core.low)
        kept = x[:, core.begin * size : core.end * size].contiguous()
        self.feed_forward(kept.view(-1, self.hidden), attended, None, size)
        return kept[:, core.core_rows(core.begin)]

    def _choose(
        self,
        rows: NormedRows,
        windows: int,
        queries: slice,
        choices: list[Tensor] | None,
        gaps: list[Tensor] | None,
    ) -> tuple[Tensor, Tensor]:
        """Choices of the buckets `queries` of each window and their probability, as `attend_buckets` takes them."""
        means = rows.means.view(windows, -1, self.hidden)
        buckets = means.shape[1]
        first, end, _ = queries.indices(buckets)
        chosen, probability = choose_buckets(
            means, self.mean_query, self.mean_key, self.scale, self.head_size, first, end - first, gaps
        )
        if choices is not None:
            record_choice(choices, torch.unflatten(chosen, 0, (windows, -1)) % buckets, first, buckets)
        return chosen, probability

    def _attend(
        self, qkv: Tensor, keys: Tensor, chosen: Tensor, probability: Tensor, windows: int, first: int
    ) -> Tensor:
        return attend_buckets(
            qkv,
            keys,
            chosen,
            probability,
            heads=self.heads,
            bucket_size=self.bucket_size,
            windows=windows,
            first=first,
        )


def _linear_map(weight: Tensor, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """A map of operands by `weight` [C out, C in]: PyTorch's, or for pairs, which it does not know, a kernel."""
    if dtype != torch.float32:
        return Projection(weight, None, dtype)
    linear = PreparedConvolution.of(weight[..., None], None, dtype)
    return lambda rows: multiply_rows(rows, linear, rows.new_empty(len(rows), len(weight), dtype=torch.float32))
