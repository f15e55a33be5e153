"""A layer with random weights, as the library reads it and as PyTorch computes it in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sptx_core.engine.native.library import BUCKET, Mode
from sptx_core.engine.native.weights import PANEL, LayerArguments, panels


def operand_values(words: Tensor, mode: Mode) -> Tensor:
    """Operands [..., words] -> their values [..., elements], in float64."""
    if not mode.parts:
        return words.view(torch.float32).double()
    parts = words.contiguous().view(torch.bfloat16).unflatten(-1, (-1, mode.parts, 32))
    return parts.double().sum(-2).flatten(-2)


@dataclass(frozen=True)
class RandomLayer:
    """Weights in float32 and what they compute in float64; x is [buckets, 64, hidden]."""

    heads: int
    local_heads: int
    inner: int
    seed: int = 0

    @property
    def hidden(self) -> int:
        """Channels of the residual stream."""
        return PANEL * self.heads

    def random(self, name: str, *shape: int) -> Tensor:
        """Random weights, the same each time for a name."""
        generator = torch.Generator().manual_seed(self.seed + sum(map(ord, name)))
        return torch.randn(*shape, generator=generator)

    def linear(self, name: str) -> Tensor:
        """The weight of a linear map."""
        sizes = {"expand": (self.inner, self.hidden), "contract": (self.hidden, self.inner)}
        outputs, inputs = sizes.get(name, (self.hidden, self.hidden))
        return self.random(name, outputs, inputs) / inputs**0.5

    def bias(self, name: str) -> Tensor:
        """The bias of a linear map."""
        return self.random(name + " bias", self.linear(name).shape[0])

    def arguments(self, mode: Mode) -> LayerArguments:
        """The layer as the library reads it."""
        query = self.linear("query") * (PANEL**-0.5 / math.log(2))
        key = self.linear("key")
        projections = torch.cat((query, key, self.linear("value")))
        sinkhorn = slice(self.local_heads * PANEL, None)
        norms = [(self.random(f"{name} weight", self.hidden), self.random(name, self.hidden), 1e-5) for name in "ab"]
        weights = [
            panels(weight, mode) for weight in (projections, *map(self.linear, ("output", "expand", "contract")))
        ]
        weights += [panels(weight[sinkhorn], Mode.FLOAT32) for weight in (query, key)]
        biases = [self.bias(name) for name in ("output", "expand", "contract")]
        return LayerArguments.of(norms, weights, biases, (self.hidden, self.heads, self.local_heads, self.inner))

    def normed(self, x: Tensor, name: str) -> Tensor:
        """The norm before attention, "a", or before the feed-forward, "b"."""
        weight, bias = self.random(f"{name} weight", self.hidden), self.random(name, self.hidden)
        return F.layer_norm(x.double(), (self.hidden,), weight.double(), bias.double(), 1e-5)

    def projected(self, x: Tensor, name: str) -> Tensor:
        """Queries, keys or values, [buckets, heads, 64, 32]."""
        y = self.normed(x, "a") @ self.linear(name).double().T
        return y.unflatten(-1, (self.heads, PANEL)).transpose(1, 2)

    def scores(self, x: Tensor) -> Tensor:
        """How well mean keys fit mean queries of a window's buckets, [Sinkhorn heads, buckets, buckets]."""
        query, key = (self.projected(x, name).mean(2)[:, self.local_heads :] for name in ("query", "key"))
        return torch.einsum("ihd,jhd->hij", query, key) * PANEL**-0.5

    def attended(self, x: Tensor, in_window: int, chosen: Tensor, probability: Tensor) -> Tensor:
        """What attention gives, before the output projection, [buckets, 64, hidden]."""
        query, key, value = (self.projected(x, name) for name in ("query", "key", "value"))
        y = torch.empty_like(query)
        for bucket in range(len(x)):
            window = bucket // in_window
            near = [b for b in (bucket - 1, bucket, bucket + 1) if b // in_window == window]
            for head in range(self.heads):
                keys, values = ([part[b, head] for b in near] for part in (key, value))
                if head >= self.local_heads:
                    at = bucket, head - self.local_heads
                    other = key[int(chosen[at]), head] * probability[at].double()
                    keys, values = [other, key[bucket, head]], [other, value[bucket, head]]
                shares = torch.softmax(query[bucket, head] @ torch.cat(keys).T * PANEL**-0.5, 1)
                y[bucket, head] = shares @ torch.cat(values)
        return y.transpose(1, 2).flatten(2)

    def fed_forward(self, x: Tensor) -> Tensor:
        """The residual stream after the feed-forward."""
        expanded = F.gelu(F.linear(self.normed(x, "b"), self.linear("expand").double(), self.bias("expand").double()))
        return x + F.linear(expanded, self.linear("contract").double(), self.bias("contract").double())

    def stream(self, buckets: int) -> Tensor:
        """A residual stream in float32."""
        return self.random("stream", buckets, BUCKET, self.hidden)


def assert_near(found: Tensor, expected: Tensor, limits: tuple[float, float]) -> None:
    """Hold the median and the largest difference to their limits."""
    difference = (found - expected).abs()
    assert difference.median() < limits[0]
    assert difference.max() < limits[1]
