"""From codes of a stretch to what the attention layers read of each of its windows, each base encoded once.

In: uint8 codes [(n - 1) * stride + width] of n consecutive windows. Out: for each window the sum of fused features and
position embedding, [S, hidden], S = max_seq_len, in the precision of the residual stream.

What is folded, exactly: the second BatchNorm of a block into the convolution before it; the skips of the encoders into
the fusion; everything that is linear in a single base (first skips, input path, all biases) into one table look-up.
Where the network pads features with zeros before the fusion, the fusion's bias remains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

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
        self.spec, self.size = spec, config.max_seq_len
        self.first = config.context - (config.max_seq_len - spec.core) // 2  # window position of the first attended one
        low, high = max(0, self.first), min(spec.width, self.first + self.size)
        self.low, self.high = low, high
        margin = min(low, spec.width - high)

        fusion_bias = _bias(model.fusion)[:, None]
        fusion = model.fusion.weight[..., 0]  # [hidden, C of all parts]
        parts = [*(encoder.channels for encoder in config.encoders), config.input_path_channels]
        *of_encoders, of_path = torch.split(fusion, parts, 1)
        self.stacks = [
            self._stack(encoder, part, margin, dtype, wide)
            for encoder, part in zip(model.encoders, of_encoders, strict=True)
            if isinstance(encoder, FeatureEncoder)
        ]
        self.reach = max(stack.reach for stack in self.stacks)
        self.margin = min(margin, self.reach)
        inputs = _columns(config.input_channels, fusion)
        by_path = of_path @ model.input_path(inputs)[0]  # [hidden, 5]
        self.table = (by_path + fusion_bias).T.to(wide).contiguous()  # [5, hidden]
        position = (model.position.bucket + model.position.place).flatten(0, 2)
        self.position = position.to(wide)  # [S, hidden]
        self.padded = (position + fusion_bias[:, 0]).to(wide)

    def _stack(
        self, encoder: FeatureEncoder, fusion: Tensor, margin: int, dtype: torch.dtype, wide: torch.dtype
    ) -> Stack:
        return Stack(encoder, fusion, margin, dtype, wide)

    def __call__(self, codes: Tensor) -> Encoded:
        """Windows of codes [(n - 1) * stride + width] -> n tensors [S, hidden], each made when it is asked for."""
        ids = codes.long()
        windows = self.spec.count(len(codes))
        begin = Shared.begin(F.embedding(ids, self.table), windows, self.spec.width, self.spec.stride)
        fused = begin.grow(self.reach, self.margin)
        for stack in self.stacks:
            fused = fused.zip(Tensor.add_, stack(ids, begin).grow(self.reach, self.margin))
        return Encoded(self, fused)

    def window(self, fused: Shared, i: int) -> Tensor:
        """Attended positions [S, hidden] of window i, with their position embedding."""
        inner = fused.inner[i * self.spec.stride :][: self.spec.width - 2 * self.reach]
        kept = torch.cat((fused.left[i], inner, fused.right[i]))  # window positions [margin, width - margin)
        present = kept[self.low - self.margin : self.high - self.margin]
        start = self.low - self.first
        x = self.padded.clone() if len(present) < self.size else torch.empty_like(self.position)
        torch.add(present, self.position[start : start + len(present)], out=x[start : start + len(present)])
        return x


class Encoded(Sequence[Tensor]):
    """The attended positions of each window of a stretch, [S, hidden], which are put together anew at each access."""

    def __init__(self, encoder: Encoder, fused: Shared) -> None:
        self.encoder, self.fused = encoder, fused

    def __len__(self) -> int:
        return len(self.fused.left)

    def __getitem__(self, i: int) -> Tensor:  # type: ignore[override]  # no slices
        if not 0 <= i < len(self):
            raise IndexError(i)
        return self.encoder.window(self.fused, i)


class Stack:
    """One encoder, with its share of the fusion: codes -> its addend to the fused features."""

    def __init__(
        self, encoder: FeatureEncoder, fusion: Tensor, margin: int, dtype: torch.dtype, wide: torch.dtype
    ) -> None:
        blocks = [block for block in encoder.blocks if isinstance(block, ResidualBlock)]
        radii = [_radius(convolution) for block in blocks for convolution in (block.conv1, block.conv2)]
        kept = iter(margins(radii, margin))
        ready = iter([self._block(block, next(kept), next(kept), dtype, wide) for block in blocks])
        self.reach, self.margin = sum(radii), margin
        self.stages = [list(islice(ready, count)) for count in encoder.blocks_of_stages]
        skips = [skip for skip in encoder.skips if isinstance(skip, nn.Conv1d)]
        self.skips = [self._skip(fusion @ skip.weight[..., 0], dtype) for skip in skips]
        base = encoder.input(_columns(encoder.input.in_channels, fusion))  # [1, C, 5]
        biases = torch.stack([_bias(skip) for skip in skips]).sum(0)
        self.input = base[0].T.to(wide).contiguous()  # [5, C]
        self.table = (fusion @ (encoder.first_skip(base)[0] + biases[:, None])).T.to(wide).contiguous()  # [5, hidden]

    def __call__(self, ids: Tensor, like: Shared) -> Shared:
        """Codes [length] -> addend, `like` features that no convolution has seen yet."""
        windows = len(like.left)
        x = Shared.begin(F.embedding(ids, self.input), windows, like.width, like.stride)
        fused = Shared.begin(F.embedding(ids, self.table), windows, like.width, like.stride)
        for stage, skip in zip(self.stages, self.skips, strict=True):
            for block in stage:
                x = block(x)
            margin = min(self.margin, x.reach)
            fused = fused.grow(x.reach, margin).zip(skip, x.grow(x.reach, margin))
        return fused

    def _block(
        self, block: ResidualBlock, middle: int, margin: int, dtype: torch.dtype, wide: torch.dtype
    ) -> Callable[[Shared], Shared]:
        return Block(block, middle, margin, dtype, wide)

    def _skip(self, weight: Tensor, dtype: torch.dtype) -> Callable[[Tensor, Tensor], Tensor]:
        """What adds to fused features [..., hidden] a linear map [hidden, C] of features [..., C]."""
        projection = Projection(weight, None, dtype)
        return lambda fused, x: fused.add_(projection(x))


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
