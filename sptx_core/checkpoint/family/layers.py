"""A network as a graph of layers, and the network of the family that it is.

Files that hold a graph (Keras, TensorFlow) say what follows on what. Which layer is which is read off that graph and
never off the order or the numbers of their names:

    input -> convolution -+-> 1x1 -----------------------------------------------+
                          +-> blocks -+-> 1x1 ------------------------------- sum +-> crop -> 1x1
                                      +-> blocks -+-> 1x1 ------------------- sum +
                                                  +-> ...

A block is norm, ReLU, convolution, norm, ReLU, convolution, added to what enters it. Anything else is an `InputError`
that names the layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor

from sptx_core.channels import SPLICE
from sptx_core.checkpoint.family.network import ResidualNetwork, encoder_shapes, reach
from sptx_core.checkpoint.shapes import misfits
from sptx_core.config import ResidualStage, SpTransformerFeatureEncoderConfig
from sptx_core.errors import InputError
from sptx_core.words import counted


class Kind(StrEnum):
    """What a layer does; the value is what messages call it."""

    INPUT = "an input"
    CONVOLUTION = "a convolution"
    NORM = "a batch norm"
    RELU = "a ReLU"
    SUM = "a sum"
    CROP = "a crop"


BRANCH = (Kind.CONVOLUTION, Kind.RELU, Kind.NORM, Kind.CONVOLUTION, Kind.RELU, Kind.NORM)
"""What a block adds to its input, from the last layer to the first."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer of a graph."""

    kind: Kind
    inputs: tuple[str, ...] = ()
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """By PyTorch's names and in its order of axes: `weight` [outputs, inputs, taps], `bias`, `running_mean`,
    `running_var` (for our epsilon)."""
    dilation: int = 1
    crop: int = 0
    """Bases that are cut off on each side."""


class Block(NamedTuple):
    """Names of a block's layers."""

    norm1: str
    conv1: str
    norm2: str
    conv2: str


def network_of(layers: Mapping[str, Layer], output: str, source: str) -> ResidualNetwork:
    """Find the network of splice sites in a graph.

    Parameters
    ----------
    layers
        Layers by name.
    output
        The name of the last convolution, whose outputs are the logits of `SPLICE`.
    source
        The file, as messages call it.

    Returns
    -------
    ResidualNetwork
        Its tensors are those of the layers.

    Raises
    ------
    InputError
        The graph is none of this family, or tensors are missing, misshapen or not finite.
    """
    graph = _Graph(layers, source)
    head = graph.layer(output, Kind.CONVOLUTION)
    crop = graph.layer(head.inputs[0], Kind.CROP)
    trunks = sorted((graph.trunk(skip) for skip in graph.skips(crop.inputs[0])), key=lambda trunk: len(trunk.blocks))
    longest = trunks[-1]
    if any(trunk.first != longest.first or trunk.blocks != longest.blocks[: len(trunk.blocks)] for trunk in trunks):
        raise InputError(f"{source} holds no network of SpliceAI's family: its skips leave different chains of blocks")
    starts = [len(trunk.blocks) for trunk in trunks]
    if starts[0] or len(starts) < 2 or len(set(starts)) < len(starts):
        raise InputError(f"{source} holds no network of SpliceAI's family: expected a skip before and after each stage")
    stages = tuple(graph.stage(longest.blocks[begin:end]) for begin, end in pairwise(starts))
    names = {"input": longest.first, "first_skip": trunks[0].skip}
    for index, block in enumerate(longest.blocks):
        names |= {f"blocks.{index}.{part}": name for part, name in block._asdict().items()}
    names |= {f"skips.{index}": trunk.skip for index, trunk in enumerate(trunks[1:])}
    encoder = SpTransformerFeatureEncoderConfig(graph.width(longest.first), stages)
    if crop.crop != reach(encoder):
        raise InputError(
            f"{source} crops {counted(crop.crop, 'base')} on each side where its convolutions reach {reach(encoder):,}"
        )
    tensors = graph.tensors(names, encoder)
    return ResidualNetwork(source, encoder, tensors, SPLICE, *graph.last_map(output, encoder.channels))


class Trunk(NamedTuple):
    """What leads to a skip."""

    skip: str
    first: str
    """The convolution that reads the input."""
    blocks: tuple[Block, ...]
    """Between the two, from the input on."""


class _Graph:
    """Questions to a graph, each of which names the layer at fault."""

    def __init__(self, layers: Mapping[str, Layer], source: str) -> None:
        self.layers, self.source = layers, source

    def layer(self, name: str, kind: Kind) -> Layer:
        """The layer of that name, which must be of that kind."""
        layer = self.layers.get(name)
        if layer is None or layer.kind is not kind or len(layer.inputs) < (kind is not Kind.INPUT):
            found = "missing" if layer is None else str(layer.kind)
            raise InputError(
                f"{self.source} holds no network of SpliceAI's family: {name} is {found}, where {kind} was expected"
            )
        return layer

    def skips(self, name: str) -> list[str]:
        """The 1x1 convolutions that are added up to a sum."""
        found, open_names, seen = [], [name], set()
        while open_names:
            name = open_names.pop()
            if name in seen:
                raise InputError(f"{self.source} holds no network of SpliceAI's family: {name} is added twice")
            seen.add(name)
            if name in self.layers and self.layers[name].kind is Kind.SUM:
                open_names += self.layers[name].inputs
            else:
                self.layer(name, Kind.CONVOLUTION)
                found.append(name)
        return found

    def trunk(self, skip: str) -> Trunk:
        """Follow a skip back to the input."""
        blocks: list[Block] = []
        name = self.layers[skip].inputs[0]
        while name in self.layers and self.layers[name].kind is Kind.SUM:
            block, name = self.block(name)
            blocks.append(block)
            if len(blocks) > len(self.layers):
                raise InputError(f"{self.source} is damaged: its layers follow on one another in a circle")
        first = self.layer(name, Kind.CONVOLUTION)
        self.layer(first.inputs[0], Kind.INPUT)
        return Trunk(skip, name, tuple(reversed(blocks)))

    def block(self, name: str) -> tuple[Block, str]:
        """The block that ends in a sum, and what enters it."""
        inputs = self.layers[name].inputs
        for branch in inputs:
            if (chain := self.branch(branch)) and sorted(inputs) == sorted((branch, self.layers[chain[-1]].inputs[0])):
                conv2, _, norm2, conv1, _, norm1 = chain
                return Block(norm1, conv1, norm2, conv2), self.layers[norm1].inputs[0]
        raise InputError(f"{self.source} holds no network of SpliceAI's family: {name} is the sum of no residual block")

    def branch(self, name: str) -> list[str]:
        """The layers of a block from the last to the first; none if they are others."""
        chain = []
        for kind in BRANCH:
            layer = self.layers.get(name)
            if layer is None or layer.kind is not kind or len(layer.inputs) != 1:
                return []
            chain.append(name)
            name = layer.inputs[0]
        return chain

    def stage(self, blocks: tuple[Block, ...]) -> ResidualStage:
        """The sizes that all convolutions of a stage have."""
        sizes = set()
        for name in (name for block in blocks for name in (block.conv1, block.conv2)):
            sizes.add((self.taps(name), self.layers[name].dilation))
        if len(sizes) > 1:
            raise InputError(f"{self.source}: the convolutions from {blocks[0].conv1} to {blocks[-1].conv2} differ")
        taps, dilation = sizes.pop()
        try:
            return ResidualStage(len(blocks), taps, dilation)
        except InputError as error:
            raise InputError(f"{self.source}: {blocks[0].conv1}: {error}") from error

    def taps(self, name: str) -> int:
        return self.weight(name).shape[2]

    def width(self, name: str) -> int:
        return self.weight(name).shape[0]

    def weight(self, name: str) -> Tensor:
        """The weight of a convolution."""
        weight = self.layers[name].tensors.get("weight")
        if weight is None or weight.dim() != 3 or not weight.numel():
            found = "missing" if weight is None else list(weight.shape)
            raise InputError(f"{self.source}: the weight of {name} is {found} instead of [outputs, inputs, taps]")
        return weight

    def tensors(self, names: Mapping[str, str], encoder: SpTransformerFeatureEncoderConfig) -> dict[str, Tensor]:
        """The tensors of the encoder by our names; faults are told by the names of layers."""
        first = self.weight(names["input"])
        found = {f"{ours}.{part}": x for ours, name in names.items() for part, x in self.layers[name].tensors.items()}
        theirs = {ours: f"{names[ours.rpartition('.')[0]]} {ours.rpartition('.')[2]}" for ours in found}
        expected = encoder_shapes(first.shape[1], encoder)
        theirs |= {ours: f"{names[ours.rpartition('.')[0]]} {ours.rpartition('.')[2]}" for ours in expected}
        faults = misfits(
            {theirs[ours]: x for ours, x in found.items()}, {theirs[ours]: like for ours, like in expected.items()}
        )
        if faults or first.shape[1] != 4:
            faults = (
                faults or f"misshapen: {names['input']} reads {counted(first.shape[1], 'channel')} instead of A C G T"
            )
            raise InputError(f"the tensors of {self.source} do not fit the network ({faults})")
        return found

    def last_map(self, name: str, channels: int) -> tuple[Tensor, Tensor]:
        """Weight [3, channels] and bias [3] of the last convolution."""
        weight, bias = self.weight(name), self.layers[name].tensors.get("bias")
        shapes = (tuple(weight.shape), tuple(bias.shape) if bias is not None else None)
        if shapes != ((len(SPLICE), channels, 1), (len(SPLICE),)):
            raise InputError(
                f"{self.source}: the last convolution, {name}, must lead from {counted(channels, 'channel')} to no "
                f"splice site, acceptor and donor, not have the shapes {shapes[0]} and {shapes[1]}"
            )
        assert bias is not None
        if not (weight.isfinite().all() and bias.isfinite().all()):
            raise InputError(f"the tensors of {self.source} do not fit the network (not finite: {name})")
        return weight[:, :, 0], bias
