"""One network of SpliceAI's family by our names, and several of them as the tensors of one checkpoint.

A network of the family is one residual encoder (`sptx_core.model.FeatureEncoder`) and 1x1 maps of its output. It has no
attention. Networks stand together in two ways:

- side by side in one member, each with its own encoder and its own output channels: a network of splice sites, and
  networks of usage beside it;
- as members of an ensemble, which have the same sizes: a score is the mean of theirs.

What the encoders give goes through the fusion as it is, and each head has zeros where it does not look
(docs/network.md). The context is what the convolutions reach, the largest of all encoders.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sptx_core.channels import SPLICE
from sptx_core.checkpoint.names import is_counter
from sptx_core.checkpoint.shapes import TensorShape, network_shapes
from sptx_core.config import SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.errors import InputError
from sptx_core.words import counted

MAX_PREDICTED = 8192
"""Bases that a call predicts at most; without attention no prediction depends on it."""
EPSILON = 1e-5
"""What our batch norms add to the variance."""


@dataclass(frozen=True, eq=False)
class ResidualNetwork:
    """A network of the family as it was read from a file."""

    source: str
    """The file, as messages call it."""
    encoder: SpTransformerFeatureEncoderConfig
    tensors: dict[str, Tensor]
    """Of the encoder, float32, by our names in it: `input.weight` and so on, without counters of training steps."""
    channels: tuple[str, ...]
    """Of the output: those of `SPLICE`, or tissues."""
    weight: Tensor
    """Of the 1x1 map to the output: [channels, channels of the encoder], float32."""
    bias: Tensor
    """[channels]."""

    @property
    def context(self) -> int:
        """Bases that the convolutions reach to either side."""
        return reach(self.encoder)

    @property
    def input_channels(self) -> int:
        """4 (A C G T) or 5 (with N)."""
        return self.tensors["input.weight"].shape[1]


def reach(encoder: SpTransformerFeatureEncoderConfig) -> int:
    """Bases to either side that a feature depends on; each block has two convolutions."""
    return sum(stage.blocks * (stage.kernel_size - 1) * stage.dilation for stage in encoder.stages)


def sizes_of(
    input_channels: int, encoders: Sequence[SpTransformerFeatureEncoderConfig], tissues: tuple[str, ...], members: int
) -> SpTransformerConfig:
    """The sizes of a checkpoint whose members have these encoders side by side."""
    return SpTransformerConfig(
        input_channels=input_channels,
        context=max(map(reach, encoders)),
        max_seq_len=MAX_PREDICTED,
        encoders=tuple(encoders),
        input_path_channels=0,
        hidden_size=sum(encoder.channels for encoder in encoders),
        layers=0,
        tissues=len(tissues),
        tissue_names=tissues or None,
        members=members,
    )


def encoder_shapes(input_channels: int, encoder: SpTransformerFeatureEncoderConfig) -> dict[str, TensorShape]:
    """Every tensor of an encoder, by our names in it, but for counters of training steps."""
    shapes = network_shapes(sizes_of(input_channels, [encoder], (), 1))
    prefix = "encoders.0."
    found = {name.removeprefix(prefix): like for name, like in shapes.items() if name.startswith(prefix)}
    return {name: like for name, like in found.items() if not is_counter(name)}


def with_our_epsilon(variance: Tensor, epsilon: float) -> Tensor:
    """The running variance that does with our epsilon what the given one does with another."""
    return (variance.double() + (epsilon - EPSILON)).float()


def ensemble(members: Sequence[Sequence[ResidualNetwork]]) -> tuple[SpTransformerConfig, dict[str, Tensor]]:
    """Put networks together.

    Parameters
    ----------
    members
        Of each member the networks that stand side by side: that of splice sites, then those of usage.

    Returns
    -------
    SpTransformerConfig
        With the names of tissues.
    dict
        Every tensor of the checkpoint by our names; copies.

    Raises
    ------
    InputError
        Members differ in their sizes, or two channels have one name.
    """
    for member in members[1:]:
        _require_same_sizes(members[0], member)
    first = members[0]
    tissues = tuple(name for network in first[1:] for name in network.channels)
    input_channels = max(network.input_channels for member in members for network in member)
    config = sizes_of(input_channels, [network.encoder for network in first], tissues, len(members))
    tensors: dict[str, Tensor] = {}
    for index, member in enumerate(members):
        prefix = f"member.{index}." if len(members) > 1 else ""
        tensors |= {f"{prefix}{name}": tensor for name, tensor in _member(config, member).items()}
    return config, tensors


def copies(networks: Iterable[ResidualNetwork]) -> list[tuple[ResidualNetwork, ResidualNetwork]]:
    """Pairs of networks with the same weights, of which an ensemble has no use: the first, and each that repeats it."""
    found: list[tuple[ResidualNetwork, ResidualNetwork]] = []
    seen: list[ResidualNetwork] = []
    for network in networks:
        same = next((other for other in seen if _same(other, network)), None)
        if same is None:
            seen.append(network)
        else:
            found.append((same, network))
    return found


def _same(one: ResidualNetwork, other: ResidualNetwork) -> bool:
    if (one.encoder, one.channels) != (other.encoder, other.channels) or not torch.equal(one.weight, other.weight):
        return False
    return all(torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())


def _require_same_sizes(first: Sequence[ResidualNetwork], other: Sequence[ResidualNetwork]) -> None:
    for one, two in zip(first, other, strict=True):
        if (one.encoder, one.channels) != (two.encoder, two.channels):
            raise InputError(
                f"{two.source} ({_sizes(two)}) and {one.source} ({_sizes(one)}) cannot be members of one network: "
                "give files of the same sizes"
            )


def _sizes(network: ResidualNetwork) -> str:
    stages = network.encoder.stages
    blocks = counted(sum(stage.blocks for stage in stages), "block")
    return f"context {network.context:,}, {counted(network.encoder.channels, 'channel')}, {blocks}"


def _member(config: SpTransformerConfig, networks: Sequence[ResidualNetwork]) -> dict[str, Tensor]:
    """The tensors of one member by our names, counters at zero."""
    tensors: dict[str, Tensor] = {}
    for index, network in enumerate(networks):
        for name, tensor in network.tensors.items():
            wide = (
                F.pad(tensor, (0, 0, 0, config.input_channels - tensor.shape[1])) if name == "input.weight" else tensor
            )
            tensors[f"encoders.{index}.{name}"] = wide.clone()
    tensors["fusion.weight"] = torch.eye(config.hidden_size).unsqueeze(2)
    tensors["fusion.bias"] = torch.zeros(config.hidden_size)
    # Each row of a head reads the channels of its own network: a matrix of blocks.
    rows: Tensor = torch.block_diag(*(network.weight for network in networks))  # type: ignore[no-untyped-call]
    rows = rows.unsqueeze(2)
    bias = torch.cat([network.bias for network in networks])
    for head, part in (("splice_head", slice(len(SPLICE))), ("usage_head", slice(len(SPLICE), None))):
        if len(bias[part]):
            tensors[f"{head}.weight"], tensors[f"{head}.bias"] = rows[part].clone(), bias[part].clone()
    shapes = network_shapes(config.member)
    zeros = {name: torch.zeros(like.shape, dtype=like.dtype) for name, like in shapes.items() if is_counter(name)}
    return zeros | tensors
