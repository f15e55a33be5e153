"""The convolutional part of the network, folded for a window layout: each base of a stretch is encoded once.

In: codes of a stretch of n consecutive windows, uint8 [(n - 1) * stride + width], 5' to 3'. Out: for each window what
its attention layers read, the sum of fused features and position embedding, [S, hidden] with S = max_seq_len, in the
precision of the residual stream.

`fold_encoders` takes the network apart; `StretchEncoder` runs the parts. The paths `shared`, `native` and `triton` each
give it their own residual blocks and skips. What is folded, exactly: the second BatchNorm of a residual block into the
convolution before it; the skips of the encoders into the fusion; everything that is linear in a single base (first
skips, input path, all biases) into one table with a row for each code. Where the network pads features with zeros
before the fusion, only the fusion's bias remains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sptx_core.alphabet import BASES
from sptx_core.engine.features import SharedFeatures
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


Block = Callable[[SharedFeatures], SharedFeatures]
"""Takes features [., C] through a residual block."""
Skip = Callable[[SharedFeatures, SharedFeatures, int], SharedFeatures]
"""(fused, features, margin) -> fused features with a linear map of `features` added, at their reach and this margin.
May overwrite `fused`."""


class PositionTable:
    """What is added to the fused features of a window, and what stands in their place outside the window."""

    def __init__(self, span: AttendedSpan, position: Tensor, padding: Tensor) -> None:
        self.span, self.position, self.padding = span, position, padding


Placement = Callable[[SharedFeatures, int, PositionTable, Tensor], None]
"""(fused, first, table, x) -> x [n, S, hidden] is filled for windows `first`, `first` + 1, ..."""


@dataclass(frozen=True, eq=False)
class _Stage:
    """A stage in the form that a path computes with."""

    encoder: int
    blocks: list[Block]
    skip: Skip


class StretchEncoder:
    """Encodes stretches; blocks, skips and the placement of windows are those of one engine path.

    Parameters
    ----------
    model : SpTransformerModel
        The network in float64.
    spec : WindowSpec
        How the windows lie.
    wide : torch.dtype
        Precision of the residual stream.
    block : callable
        Makes a residual block from its folded weights.
    skip : callable
        Makes a skip from its weight [hidden, C].
    place : callable, optional
        Puts windows together; by default by PyTorch's operators.
    divides_work : bool
        Whether blocks and skips use as many threads as the features say, and give the same bytes for any number.
    """

    def __init__(
        self,
        model: SpTransformerModel,
        spec: WindowSpec,
        wide: torch.dtype,
        *,
        block: Callable[[FoldedBlock], Block],
        skip: Callable[[Tensor], Skip],
        place: Placement | None = None,
        divides_work: bool = False,
    ) -> None:
        folded = fold_encoders(model, spec)
        self.spec, self.divides_work = spec, divides_work
        self.span = AttendedSpan.of(model.sizes, spec)
        self.input_tables = [table.to(wide).contiguous() for table in folded.input_tables]
        self.fused_table = folded.fused_table.to(wide).contiguous()
        self.stages = [
            _Stage(stage.encoder, [block(one) for one in stage.blocks], skip(stage.skip)) for stage in folded.stages
        ]
        self.positions = PositionTable(self.span, folded.position.to(wide), folded.padding.to(wide))
        self.place = place or place_windows

    @property
    def device(self) -> torch.device:
        """Where codes are to be and features will be."""
        return self.fused_table.device

    def __call__(self, codes: Tensor, threads: int = 1) -> EncodedStretch:
        """Encode a stretch.

        Parameters
        ----------
        codes : Tensor
            uint8 [(n - 1) * stride + width], codes of n windows, on the device.
        threads : int
            Threads to use where the encoder divides the work itself (`divides_work`); PyTorch's operators use as many
            as `torch.set_num_threads` says.
        """
        ids = codes.long()
        layout = self.spec.count(len(codes)), self.spec.width, self.spec.stride, threads
        features = [SharedFeatures.begin(F.embedding(ids, table), *layout) for table in self.input_tables]
        fused = SharedFeatures.begin(F.embedding(ids, self.fused_table), *layout)
        for stage in self.stages:
            x = features[stage.encoder]
            for block in stage.blocks:
                x = block(x)
            features[stage.encoder] = x
            fused = stage.skip(fused, x, min(self.span.margin, x.reach))
        return EncodedStretch(fused, self.positions, self.place)


class EncodedStretch:
    """The fused features of a stretch, from which the input of the attention layers is put together at each call."""

    def __init__(self, fused: SharedFeatures, positions: PositionTable, place: Placement) -> None:
        self.fused, self._positions, self._place = fused, positions, place

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.fused.left)

    def put(self, first: int, x: Tensor) -> None:
        """Fill x [n, S, hidden] with the attended positions of windows `first`, ..., `first` + n - 1.

        Raises
        ------
        IndexError
            The stretch has no such windows.
        """
        if not 0 <= first <= first + len(x) <= len(self):
            raise IndexError(f"windows {first} to {first + len(x) - 1} of {len(self)}")
        self._place(self.fused, first, self._positions, x)

    def windows(self, first: int = 0, count: int | None = None) -> Tensor:
        """A new tensor [count, S, hidden] of the windows from `first` on, by default all of them."""
        like = self._positions.position
        x = like.new_empty(len(self) - first if count is None else count, *like.shape)
        self.put(first, x)
        return x


def place_windows(fused: SharedFeatures, first: int, table: PositionTable, x: Tensor) -> None:
    """Fill x [n, S, hidden] with fused features and position embedding of windows `first`, `first` + 1, ..."""
    span = table.span
    if span.is_padded:
        x.copy_(table.padding)
    at = fused.margin - span.first  # attended position of the first one that is kept
    for parts in (fused.left, fused.slices(0, fused.width - 2 * fused.reach), fused.right):
        kept = parts[first : first + len(x), max(0, -at) : max(0, span.size - at)]
        where = slice(max(0, at), max(0, at) + kept.shape[1])
        torch.add(kept, table.position[where], out=x[:, where])
        at += parts.shape[1]


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
