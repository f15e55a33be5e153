"""The convolutional part of the network, taken apart and folded for a window layout.

In: a network in float64, so that folding loses nothing, and how the windows lie. Out: weights in the same precision.
What is folded, exactly: the second BatchNorm of a residual block into the convolution before it; the skips of the
encoders into the fusion; everything that is linear in a single base (first skips, input path, all biases) into one
table with a row for each code. Where the network pads features with zeros before the fusion, only the fusion's bias
remains.

Fused features are what the attention layers read, or, without attention, the logits: fusion and heads are then one map.
Those of several members stand side by side, the first one first, and the encoders of all members are counted through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sptx_core.alphabet import BASES
from sptx_core.engine.geometry import AttendedSpan, kept_margins
from sptx_core.model import AxialPosition, FeatureEncoder, ResidualBlock, SpTransformerModel
from sptx_core.windows import WindowSpec


@dataclass(frozen=True, eq=False)
class FoldedBlock:
    """A residual block: x + conv2(act(conv1(act(x * scale + shift)))), where act is a ReLU or leaks."""

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
    leak: float
    """What the activation leaves of negative features, 0 for a ReLU."""
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
            block.leak,
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
    """[fused, C]."""


@dataclass(frozen=True, eq=False)
class FoldedEncoders:
    """All weights of the convolutional part, in the precision of the network they were folded from."""

    input_tables: list[Tensor]
    """For each encoder [5, C]: the input of its first block, for each code."""
    fused_table: Tensor
    """[5, fused]: the part of the fused features that depends on one base, for each code."""
    stages: list[FoldedStage]
    """Of all encoders, by their reach: fused features reach as far as those that are added to them."""
    position: Tensor
    """[S, fused], position embedding; zeros without attention."""
    padding: Tensor
    """[S, fused], what the attention layers read at positions outside the window."""


def fold_encoders(
    model: SpTransformerModel, spec: WindowSpec, filled_up: Callable[[int], int] | None = None
) -> FoldedEncoders:
    """Fold all encoders, the input path, the fusion and the position embedding.

    Parameters
    ----------
    model : SpTransformerModel
        The network, in float64 so that folding loses nothing.
    spec : WindowSpec
        How the windows lie.
    filled_up : callable, optional
        Says for a number of channels how many a row of fused features shall have, which are filled up with zeros.
    """
    config = model.sizes
    span = AttendedSpan.of(config, spec)
    maps = [_fused_map(network) for network in model.networks]
    rows = len(maps[0][0])
    fused = (filled_up or int)(rows * len(maps))
    inputs: list[Tensor] = []
    stages: list[FoldedStage] = []
    by_base, biases, positions = [], [], []
    for number, (network, (weight, bias)) in enumerate(zip(model.networks, maps, strict=True)):
        before = number * rows
        place = partial(F.pad, pad=(0, 0, before, fused - before - rows))  # among the channels of all members
        of_base = bias[:, None]
        parts = [*(encoder.channels for encoder in config.encoders), config.input_path_channels]
        *of_encoders, of_path = torch.split(weight, parts, 1)
        if network.input_path is not None:
            of_base = of_base + of_path @ network.input_path(_one_hot(config.input_channels, weight))[0]
        for encoder, part in zip(_encoders(network), of_encoders, strict=True):
            given = encoder.input(_one_hot(encoder.input.in_channels, weight))  # [1, C, 5]
            skips = [skip for skip in encoder.skips if isinstance(skip, nn.Conv1d)]
            of_skips = torch.stack([_bias(skip) for skip in skips]).sum(0)
            of_base = of_base + part @ (encoder.first_skip(given)[0] + of_skips[:, None])
            targets = [place(part @ skip.weight[..., 0]) for skip in skips]
            stages += _fold_stages(len(inputs), encoder, targets, span.margin)
            inputs.append(given[0].T)
        by_base.append(place(of_base))
        biases.append(place(bias[:, None])[:, 0])
        positions.append(place(_position(network, rows, span.size).T).T)
    position = torch.stack(positions).sum(0)
    return FoldedEncoders(
        inputs,
        torch.stack(by_base).sum(0).T,
        sorted(stages, key=lambda stage: stage.reach),
        position,
        position + torch.stack(biases).sum(0),
    )


def _fused_map(network: SpTransformerModel) -> tuple[Tensor, Tensor]:
    """The map from the channels of all parts to fused features, [rows, C], and its bias [rows]."""
    weight, bias = network.fusion.weight[..., 0], _bias(network.fusion)
    if network.sizes.layers:
        return weight, bias
    heads = torch.cat([head.weight[..., 0] for head in network.heads])
    return heads @ weight, heads @ bias + torch.cat([_bias(head) for head in network.heads])


def _position(network: SpTransformerModel, rows: int, size: int) -> Tensor:
    """The position embedding [size, rows]."""
    if isinstance(network.position, AxialPosition):
        return (network.position.bucket + network.position.place).flatten(0, 2)
    return network.fusion.weight.new_zeros(size, rows)


def _encoders(network: SpTransformerModel) -> Iterator[FeatureEncoder]:
    return (encoder for encoder in network.encoders if isinstance(encoder, FeatureEncoder))


def _fold_stages(number: int, encoder: FeatureEncoder, skips: list[Tensor], margin: int) -> list[FoldedStage]:
    """Stages of one encoder; `skips` are [fused, C], one for each stage."""
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
