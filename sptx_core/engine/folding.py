"""The convolutional part of the network, taken apart and folded for a window layout.

In: a network in float64, so that folding loses nothing, and how the windows lie. Out: weights in the same precision.
What is folded, exactly: the second BatchNorm of a residual block into the convolution before it; the skips of the
encoders into the fusion; everything that is linear in a single base (first skips, input path, all biases) into one
table with a row for each code. Where the network pads features with zeros before the fusion, only the fusion's bias
remains.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from sptx_core.alphabet import BASES
from sptx_core.engine.geometry import AttendedSpan, kept_margins
from sptx_core.model import FeatureEncoder, ResidualBlock, SpTransformerModel
from sptx_core.windows import WindowSpec


@dataclass(frozen=True, eq=False)
class FoldedBlock:
    """A residual block: x + conv2(relu(conv1(relu(x * scale + shift))))."""

    scale: Tensor
    """[C]."""
    shift: Tensor
    """[C]."""
    weight1: Tensor
    """[C, C, kernel], of the first convolution, with the second norm folded in."""
    bias1: Tensor
    """[C]."""
    weight2: Tensor
    """[C, C, kernel], of the second convolution."""
    bias2: Tensor
    """[C]."""
    dilation: int
    """Positions between the taps of either convolution."""
    margin1: int
    """Margin to keep after the first convolution (`kept_margins`)."""
    margin2: int
    """Margin to keep after the second convolution."""

    @classmethod
    def of(cls, block: ResidualBlock, margin1: int, margin2: int) -> FoldedBlock:
        """Fold a block of the network, in its precision."""
        scale1, shift1 = _affine(block.norm1)
        scale2, shift2 = _affine(block.norm2)
        return cls(
            scale1,
            shift1,
            block.conv1.weight * scale2[:, None, None],
            _bias(block.conv1) * scale2 + shift2,
            block.conv2.weight,
            _bias(block.conv2),
            block.conv1.dilation[0],
            margin1,
            margin2,
        )

    @property
    def radius(self) -> int:
        """Positions on either side that each convolution reads."""
        return self.weight1.shape[2] // 2 * self.dilation


@dataclass(frozen=True, eq=False)
class FoldedStage:
    """Residual blocks of one encoder and the skip that adds their output to the fused features."""

    encoder: int
    """Number of the encoder."""
    reach: int
    """Positions on either side that the output depends on."""
    blocks: list[FoldedBlock]
    skip: Tensor
    """[hidden, C]."""


@dataclass(frozen=True, eq=False)
class FoldedEncoders:
    """All weights of the convolutional part, in the precision of the network they were folded from."""

    input_tables: list[Tensor]
    """For each encoder [5, C]: the input of its first block, for each code."""
    fused_table: Tensor
    """[5, hidden]: the part of the fused features that depends on one base, for each code."""
    stages: list[FoldedStage]
    """Of all encoders, by their reach: fused features reach as far as those that are added to them."""
    position: Tensor
    """[S, hidden], position embedding."""
    padding: Tensor
    """[S, hidden], what the attention layers read at positions outside the window."""


def fold_encoders(model: SpTransformerModel, spec: WindowSpec) -> FoldedEncoders:
    """Fold both encoders, the input path, the fusion and the position embedding.

    Parameters
    ----------
    model : SpTransformerModel
        The network, in float64 so that folding loses nothing.
    spec : WindowSpec
        How the windows lie.
    """
    config = model.sizes
    margin = AttendedSpan.of(config, spec).margin
    bias = _bias(model.fusion)[:, None]
    fusion = model.fusion.weight[..., 0]  # [hidden, C of all parts]
    parts = [*(encoder.channels for encoder in config.encoders), config.input_path_channels]
    *of_encoders, of_path = torch.split(fusion, parts, 1)
    by_base = [of_path @ model.input_path(_one_hot(config.input_channels, fusion))[0] + bias]  # each [hidden, 5]
    inputs, stages = [], []
    for number, (encoder, part) in enumerate(zip(model.encoders, of_encoders, strict=True)):
        assert isinstance(encoder, FeatureEncoder)
        given = encoder.input(_one_hot(encoder.input.in_channels, fusion))  # [1, C, 5]
        skips = [skip for skip in encoder.skips if isinstance(skip, nn.Conv1d)]
        biases = torch.stack([_bias(skip) for skip in skips]).sum(0)
        by_base.append(part @ (encoder.first_skip(given)[0] + biases[:, None]))
        inputs.append(given[0].T)
        stages += _fold_stages(number, encoder, [part @ skip.weight[..., 0] for skip in skips], margin)
    position = (model.position.bucket + model.position.place).flatten(0, 2)
    return FoldedEncoders(
        inputs,
        torch.stack(by_base).sum(0).T,
        sorted(stages, key=lambda stage: stage.reach),
        position,
        position + bias[:, 0],
    )


def _fold_stages(number: int, encoder: FeatureEncoder, skips: list[Tensor], margin: int) -> list[FoldedStage]:
    """Stages of one encoder; `skips` are [hidden, C], one for each stage."""
    blocks = [block for block in encoder.blocks if isinstance(block, ResidualBlock)]
    radii = [_radius(convolution) for block in blocks for convolution in (block.conv1, block.conv2)]
    margins = iter(kept_margins(radii, margin))
    folded = iter([FoldedBlock.of(block, next(margins), next(margins)) for block in blocks])
    stages, convolutions = [], 0
    for count, skip in zip(encoder.blocks_of_stages, skips, strict=True):
        convolutions += 2 * count
        stages.append(FoldedStage(number, sum(radii[:convolutions]), list(islice(folded, count)), skip))
    return stages


def _one_hot(input_channels: int, like: Tensor) -> Tensor:
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
