"""From codes of a stretch to what the attention layers read of each of its windows, each base encoded once.

In: uint8 codes [(n - 1) * stride + width] of n consecutive windows. Out: for each window the sum of fused features and
position embedding, [S, hidden], S = max_seq_len, in the precision of the residual stream.

What is folded, exactly: the second BatchNorm of a block into the convolution before it; the skips of the encoders into
the fusion; everything that is linear in a single base (first skips, input path, all biases) into one table look-up.
Where the network pads features with zeros before the fusion, the fusion's bias remains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sptx_core.alphabet import BASES
from sptx_core.engine.kernels import Projection, convolution
from sptx_core.engine.shared import Shared, margins
from sptx_core.model import FeatureEncoder, ResidualBlock, SpTransformerModel
from sptx_core.windows import WindowSpec


class Encoder:
    """Both convolutional encoders, the input path, the fusion and the position embedding.

    Args:
        model: the network in float64, from which weights are folded.
        spec: how the windows lie.
        dtype: precision of the operands of convolutions and projections.
        wide: precision of the residual stream.

    """

    def __init__(self, model: SpTransformerModel, spec: WindowSpec, dtype: torch.dtype, wide: torch.dtype) -> None:
        config = model.config
        self.spec, self.size, self.wide = spec, config.max_seq_len, wide
        self.first = config.context - (config.max_seq_len - spec.core) // 2  # window position of the first attended one
        low, high = max(0, self.first), min(spec.width, self.first + self.size)
        self.low, self.high = low, high
        margin = min(low, spec.width - high)

        bias = _bias(model.fusion)[:, None]
        fusion = model.fusion.weight[..., 0]  # [hidden, C of all parts]
        parts = [*(encoder.channels for encoder in config.encoders), config.input_path_channels]
        *of_encoders, of_path = torch.split(fusion, parts, 1)
        stacks = [
            Stack(encoder, part, margin)
            for encoder, part in zip(model.encoders, of_encoders, strict=True)
            if isinstance(encoder, FeatureEncoder)
        ]
        by_base = of_path @ model.input_path(_columns(config.input_channels, fusion))[0] + bias  # [hidden, 5]
        self.table = torch.stack([by_base, *(stack.by_base for stack in stacks)]).sum(0).T.to(wide).contiguous()
        self.inputs = [stack.inputs.T.to(wide).contiguous() for stack in stacks]  # each [5, C]
        steps = [(stage, number) for number, stack in enumerate(stacks) for stage in stack.stages]
        steps.sort(key=lambda step: step[0].reach)  # fused features reach as far as those that are added to them
        self.steps = [
            Step(number, [self._block(*block, dtype) for block in stage.blocks], self._skip(stage.skip, dtype))
            for stage, number in steps
        ]
        self.reach = steps[-1][0].reach
        self.margin = min(margin, self.reach)
        position = (model.position.bucket + model.position.place).flatten(0, 2)
        self.position = position.to(wide)  # [S, hidden]
        self.padded = (position + bias[:, 0]).to(wide)

    def __call__(self, codes: Tensor, threads: int = 1) -> Encoded:
        """Codes [(n - 1) * stride + width] of n windows -> what the attention layers read of each.

        `threads` is for the compiled library; PyTorch's operators use as many as it was told.
        """
        ids = codes.long()
        like = self.spec.count(len(codes)), self.spec.width, self.spec.stride, threads
        features = [Shared.begin(F.embedding(ids, table), *like) for table in self.inputs]
        fused = Shared.begin(F.embedding(ids, self.table), *like)
        for step in self.steps:
            x = features[step.stack]
            for block in step.blocks:
                x = block(x)
            features[step.stack] = x
            fused = self._add(fused, step.skip, x, min(self.margin, x.reach))
        return Encoded(self, fused)

    def _block(self, block: ResidualBlock, middle: int, margin: int, dtype: torch.dtype) -> Callable[[Shared], Shared]:
        return Block(block, middle, margin, dtype, self.wide)

    def _skip(self, weight: Tensor, dtype: torch.dtype) -> Any:
        """What `_add` takes of a linear map [hidden, C]."""
        return Projection(weight, None, dtype)

    def _add(self, fused: Shared, skip: Any, x: Shared, margin: int) -> Shared:
        """Fused features with those of x, through its skip: with the reach of x and this margin."""
        return fused.grow(x.reach, margin).zip(lambda y, part: y.add_(skip(part)), x.grow(x.reach, margin))

    def put(self, fused: Shared, first: int, x: Tensor) -> None:
        """Attended positions of windows `first`, `first` + 1, ... with their position embedding -> x [n, S, hidden]."""
        if self.high - self.low < self.size:
            x.copy_(self.padded)
        at = self.margin - self.first  # attended position of the first one kept
        for parts in (fused.left, fused.slices(0, self.spec.width - 2 * self.reach), fused.right):
            kept = parts[first : first + len(x), max(0, -at) : max(0, self.size - at)]
            where = slice(max(0, at), max(0, at) + kept.shape[1])
            torch.add(kept, self.position[where], out=x[:, where])
            at += parts.shape[1]


class Encoded:
    """The windows of a stretch, encoded once; what is attended of each is put together anew at each call."""

    def __init__(self, encoder: Encoder, fused: Shared) -> None:
        self.encoder, self.fused = encoder, fused

    def __len__(self) -> int:
        return len(self.fused.left)

    def put(self, first: int, x: Tensor) -> None:
        """Attended positions of windows `first`, `first` + 1, ... -> x [n, S, hidden]."""
        if not 0 <= first <= first + len(x) <= len(self):
            raise IndexError(f"windows {first} to {first + len(x) - 1} of {len(self)}")
        self.encoder.put(self.fused, first, x)

    def windows(self, first: int = 0, count: int | None = None) -> Tensor:
        """The same as a new tensor, by default of all from `first` on."""
        like = self.encoder.position
        x = like.new_empty(len(self) - first if count is None else count, *like.shape)
        self.put(first, x)
        return x


class Stack:
    """One encoder with its share of the fusion, folded, in float64."""

    def __init__(self, encoder: FeatureEncoder, fusion: Tensor, margin: int) -> None:
        blocks = [block for block in encoder.blocks if isinstance(block, ResidualBlock)]
        radii = [_radius(convolution) for block in blocks for convolution in (block.conv1, block.conv2)]
        kept = iter(margins(radii, margin))
        ready = iter([(block, next(kept), next(kept)) for block in blocks])
        skips = [skip for skip in encoder.skips if isinstance(skip, nn.Conv1d)]
        inputs = encoder.input(_columns(encoder.input.in_channels, fusion))  # [1, C, 5]
        biases = torch.stack([_bias(skip) for skip in skips]).sum(0)
        self.inputs = inputs[0]  # [C, 5]
        self.by_base = fusion @ (encoder.first_skip(inputs)[0] + biases[:, None])  # [hidden, 5]
        self.stages = []
        done = 0
        for count, skip in zip(encoder.blocks_of_stages, skips, strict=True):
            done += 2 * count  # convolutions
            self.stages.append(Stage(sum(radii[:done]), list(islice(ready, count)), fusion @ skip.weight[..., 0]))


@dataclass(frozen=True, eq=False)
class Stage:
    """Blocks, each with the margins after its convolutions, and the skip after them."""

    reach: int
    blocks: list[tuple[ResidualBlock, int, int]]
    skip: Tensor
    """[hidden, C]."""


@dataclass(frozen=True, eq=False)
class Step:
    """A stage made ready, of encoder number `stack`."""

    stack: int
    blocks: list[Callable[[Shared], Shared]]
    skip: Any


class Block:
    """A residual block, the norm between its convolutions folded away."""

    def __init__(self, block: ResidualBlock, middle: int, margin: int, dtype: torch.dtype, wide: torch.dtype) -> None:
        (scale, shift), first, second = folded(block)
        self.scale, self.shift = scale.to(wide), shift.to(wide)
        self.middle, self.margin, self.dtype = middle, margin, dtype
        dilation = block.conv1.dilation[0]
        self.conv1 = convolution(*first, dilation, dtype, relu=True)
        self.conv2 = convolution(*second, dilation, dtype, relu=False)

    def __call__(self, x: Shared) -> Shared:
        """Features after the block."""
        y = x.map(self._activate).convolve(self.conv1, self.middle).convolve(self.conv2, self.margin)
        return x.grow(y.reach, y.margin).zip(torch.add, y)

    def _activate(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift, x, self.scale).relu_().to(self.dtype)


Pair = tuple[Tensor, Tensor]


def folded(block: ResidualBlock) -> tuple[Pair, Pair, Pair]:
    """Scale and shift of the first norm; weight and bias of either convolution, the second norm in those of the first.

    Without that norm the first convolution is followed by a ReLU alone.
    """
    scale, shift = _affine(block.norm2)
    first = block.conv1.weight * scale[:, None, None], _bias(block.conv1) * scale + shift
    return _affine(block.norm1), first, (block.conv2.weight, _bias(block.conv2))


def _columns(input_channels: int, like: Tensor) -> Tensor:
    """One-hot columns of the five codes, [1, input_channels, 5]."""
    return torch.eye(input_channels, len(BASES), dtype=like.dtype, device=like.device)[None]


def _affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Scale and shift that the norm applies to each channel."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return scale, norm.bias - norm.running_mean * scale


def _bias(convolution: nn.Conv1d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias


def _radius(convolution: nn.Conv1d) -> int:
    return convolution.kernel_size[0] // 2 * convolution.dilation[0]
