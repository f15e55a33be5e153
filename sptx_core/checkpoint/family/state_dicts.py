"""Networks in state dicts of PyTorch whose names are those of OpenSpliceAI or of Pangolin.

A state dict has no graph: its names say which tensor is which. Kernels show in shapes, dilations leave no trace, and
both programs have the stages of `STAGES`, of which OpenSpliceAI's networks of less context have the first ones. Names
are facts of the published files:

- OpenSpliceAI (`model_10000nt_rs10.pt` and its like): blocks and skips numbered together, a last map to the three
  splice classes, LeakyReLU of slope 0.1;
- Pangolin (`final.FOLD.OUTPUT.3` with or without `.v2`): eight last maps, for each of four tissues one to P(splice)
  (two classes) and one to usage; a file was trained for one of them, which its name alone tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from sptx_core.channels import SPLICE
from sptx_core.checkpoint.family.network import ResidualNetwork, encoder_shapes
from sptx_core.checkpoint.names import is_counter
from sptx_core.checkpoint.shapes import TensorShape, misfits
from sptx_core.config import ResidualStage, SpTransformerFeatureEncoderConfig
from sptx_core.errors import InputError

STAGES = (ResidualStage(4, 11, 1), ResidualStage(4, 11, 4), ResidualStage(4, 21, 10), ResidualStage(4, 41, 25))
"""Of a context of 40, 200, 1,000 and 5,000 bases on each side: the first stage, the first two, and so on."""
BLOCKS = STAGES[0].blocks
"""Blocks of every stage."""

LEAK = 0.1
"""Slope of OpenSpliceAI's LeakyReLU."""

TISSUES = ("heart", "liver", "brain", "testis")
"""Pangolin's, in the order of its outputs."""
PANGOLIN_FILE = re.compile(r"final\.(?P<fold>\d+)\.(?P<output>[0-7])\.3(?P<version>\.v2)?")


class PangolinName(NamedTuple):
    """What the name of one of Pangolin's files says."""

    output: int
    """Twice the tissue's number, plus 1 for usage."""
    fold: int
    is_v2: bool

    @property
    def channel(self) -> str:
        """Our name of the channel: the tissue for its usage, `heart_splice` and so on for P(splice)."""
        return TISSUES[self.output // 2] + ("" if self.output % 2 else "_splice")


def pangolin_name(name: str) -> PangolinName | None:
    """Read the name of one of Pangolin's files; None for any other."""
    match = PANGOLIN_FILE.fullmatch(name)
    return PangolinName(int(match["output"]), int(match["fold"]), bool(match["version"])) if match else None


def is_openspliceai(names: Iterable[str]) -> bool:
    """Whether these are names of OpenSpliceAI's tensors."""
    return "initial_conv.weight" in names


def is_pangolin(names: Iterable[str]) -> bool:
    """Whether these are names of Pangolin's tensors."""
    return "conv_last1.weight" in names


def read_openspliceai(tensors: Mapping[str, Tensor], source: str) -> ResidualNetwork:
    """Read a network of splice sites.

    Parameters
    ----------
    tensors
        The state dict.
    source
        The file, as messages call it.

    Returns
    -------
    ResidualNetwork
        With `SPLICE` for channels.

    Raises
    ------
    InputError
        Tensors are missing, unexpected, misshapen or not finite: the message names them.
    """
    numbers = {match[1] for name in tensors if (match := re.match(r"residual_units\.(\d+)\.conv1\.", name))}
    encoder = _encoder(tensors, "initial_conv.weight", len(numbers), LEAK)
    names = {"input": "initial_conv", "first_skip": "initial_skip.conv"}
    for index in range(len(encoder.stages) * BLOCKS):
        unit = f"residual_units.{index + index // BLOCKS}"  # a skip follows the blocks of each stage
        names |= {f"blocks.{index}.norm{n}": f"{unit}.batchnorm{n}" for n in (1, 2)}
        names |= {f"blocks.{index}.conv{n}": f"{unit}.conv{n}" for n in (1, 2)}
    for index in range(len(encoder.stages)):
        names[f"skips.{index}"] = f"residual_units.{(BLOCKS + 1) * index + BLOCKS}.conv"
    last = {"final_conv": len(SPLICE)}
    found = fitted(tensors, encoder, names, last, source)
    return ResidualNetwork(source, encoder, found, SPLICE, *_map(tensors, "final_conv"))


def read_pangolin(tensors: Mapping[str, Tensor], output: int, channel: str, source: str) -> ResidualNetwork:
    """Read the network of one of Pangolin's eight outputs.

    Parameters
    ----------
    tensors
        The state dict, with the last maps of all outputs.
    output
        Number of the output that the file was trained for, 0 to 7.
    channel
        What the channel shall be called.
    source
        The file, as messages call it.

    Returns
    -------
    ResidualNetwork
        With one channel, before its sigmoid: usage, or the logit of P(splice) (of two classes the second's, minus the
        first's).

    Raises
    ------
    InputError
        As in `read_openspliceai`.
    """
    encoder = _encoder(tensors, "conv1.weight", len(STAGES) * BLOCKS, 0.0)
    names = {"input": "conv1", "first_skip": "skip"}
    for index in range(len(STAGES) * BLOCKS):
        names |= {f"blocks.{index}.norm{n}": f"resblocks.{index}.bn{n}" for n in (1, 2)}
        names |= {f"blocks.{index}.conv{n}": f"resblocks.{index}.conv{n}" for n in (1, 2)}
    names |= {f"skips.{index}": f"convs.{index}" for index in range(len(STAGES))}
    last = {f"conv_last{number + 1}": 1 if number % 2 else 2 for number in range(2 * len(TISSUES))}
    found = fitted(tensors, encoder, names, last, source)
    weight, bias = one_logit(*_map(tensors, f"conv_last{output + 1}"))
    return ResidualNetwork(source, encoder, found, (channel,), weight, bias)


def one_logit(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """A last map [1, C] whose sigmoid is the probability of the last of one or two classes."""
    return (weight, bias) if len(bias) == 1 else (weight[1:] - weight[:1], bias[1:] - bias[:1])


def fitted(
    tensors: Mapping[str, Tensor],
    encoder: SpTransformerFeatureEncoderConfig,
    names: Mapping[str, str],
    last: Mapping[str, int],
    source: str,
    *,
    input_channels: int = 4,
    last_dimensions: int = 3,
) -> dict[str, Tensor]:
    """Check the tensors of a file and give those of the encoder.

    Parameters
    ----------
    tensors
        All tensors of the network, by their names in the file.
    encoder
        Its sizes.
    names
        Modules of the encoder: our name in it, and the file's.
    last
        Last maps by their names in the file, with the number of their outputs.
    source
        The file, as messages call it.
    input_channels
        4 or 5.
    last_dimensions
        3 where last maps are convolutions of one tap, 2 where they are matrices.

    Returns
    -------
    dict
        By our names, float32, copies.

    Raises
    ------
    InputError
        Tensors are missing, unexpected, misshapen or not finite.
    """
    theirs = {}
    expected = {}
    for name, like in encoder_shapes(input_channels, encoder).items():
        module, _, part = name.rpartition(".")
        theirs[name] = f"{names[module]}.{part}"
        expected[theirs[name]] = like
    for name, outputs in last.items():
        expected[f"{name}.weight"] = TensorShape((outputs, encoder.channels, 1)[:last_dimensions])
        expected[f"{name}.bias"] = TensorShape((outputs,))
    given = {name: tensor for name, tensor in tensors.items() if not is_counter(name)}
    if faults := misfits(given, expected):
        raise InputError(f"the tensors of {source} do not fit the network ({faults})")
    return {ours: given[name].to(torch.float32, copy=True) for ours, name in theirs.items()}


def _encoder(tensors: Mapping[str, Tensor], first: str, blocks: int, leak: float) -> SpTransformerFeatureEncoderConfig:
    """Sizes by the number of blocks; those of the whole network where the number is impossible."""
    stages = STAGES[: blocks // BLOCKS] if blocks % BLOCKS == 0 and blocks <= BLOCKS * len(STAGES) else STAGES
    weight = tensors.get(first)
    channels = weight.shape[0] if weight is not None and weight.dim() and weight.shape[0] else 32
    return SpTransformerFeatureEncoderConfig(channels, stages or STAGES, leak)


def _map(tensors: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    """A last map as a matrix and its bias, after `fitted`."""
    return tensors[f"{name}.weight"].float().flatten(1), tensors[f"{name}.bias"].float()
