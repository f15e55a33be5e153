"""Networks of splice sites in a frozen graph of TensorFlow, as CI-SpliceAI's five are, read without TensorFlow.

The file is a GraphDef (tensorflow/core/framework/graph.proto, node_def.proto, attr_value.proto, tensor.proto): nodes
with a name, an operation, the names of their inputs and attributes, weights as constants. Keras' layers have become
several operations each, which are put together again by following inputs, never by the names of nodes:

- a convolution is BiasAdd of Conv2D, whose input may be cut up and put together (SpaceToBatchND, BatchToSpaceND) for
  its dilation;
- a batch norm is x * scale + (beta - mean * scale), with scale = gamma / sqrt(variance + epsilon);
- the output is the mean of several networks' softmax.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from sptx_core.checkpoint.family import wire
from sptx_core.checkpoint.family.layers import Kind, Layer, network_of
from sptx_core.checkpoint.family.network import ResidualNetwork, with_our_epsilon
from sptx_core.errors import InputError
from sptx_core.words import counted

FIRST_BYTE = b"\n"
"""Of a GraphDef, which begins with a node."""

NODE, NAME, OPERATION, INPUT, ATTRIBUTES = 1, 1, 2, 3, 5  # fields of GraphDef and NodeDef
KEY, VALUE = 1, 2  # fields of an attribute
LIST, TENSOR, LIST_INTEGERS = 1, 8, 3  # fields of AttrValue and of its list
DTYPE, SHAPE, CONTENT, FLOATS, INTEGERS = 1, 2, 4, 5, 7  # fields of TensorProto
DIMENSION, SIZE = 2, 1  # fields of TensorShapeProto
DTYPES = {1: np.dtype("<f4"), 3: np.dtype("<i4")}  # numbers of DT_FLOAT and DT_INT32

MAX_LISTED = 10_000_000  # numbers of a constant that is not written out: far above those of any network

PASSED = ("Identity", "ExpandDims", "Squeeze", "SpaceToBatchND", "BatchToSpaceND")
"""Operations that change how numbers lie, not what they are."""


@dataclass(frozen=True, eq=False)
class Node:
    """One operation."""

    operation: str
    inputs: tuple[str, ...]
    """Names of nodes, without control inputs and numbers of outputs."""
    attributes: Mapping[str, memoryview]


def read_frozen_graph(content: bytes, source: str) -> list[ResidualNetwork]:
    """Read the networks whose mean a graph gives, in the graph's order.

    Parameters
    ----------
    content
        The file's bytes.
    source
        What messages call it; the number of the network, from 1, is added.

    Returns
    -------
    list of ResidualNetwork
        Of splice sites; the epsilon of their batch norms is in the variances.

    Raises
    ------
    InputError
        The file is damaged, or holds other networks.
    """
    try:
        nodes = dict(_nodes(memoryview(content)))
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise InputError(f"{source} is damaged or no frozen graph of TensorFlow: {error}") from error
    graph = _Graph(nodes, source)
    heads = graph.heads()
    several = len(heads) > 1
    names = [f"{source} (network {index})" if several else source for index in range(1, len(heads) + 1)]
    return [network_of(graph.layers(head), head, name) for head, name in zip(heads, names, strict=True)]


def _nodes(content: memoryview) -> Iterator[tuple[str, Node]]:
    for message in wire.fields(content)[NODE]:
        found = wire.fields(_message(message))
        attributes = {}
        for entry in found[ATTRIBUTES]:
            pair = wire.fields(_message(entry))
            attributes[_text(pair[KEY][0])] = _message(pair[VALUE][0])
        inputs = [_text(name) for name in found[INPUT]]
        plain = tuple(name.partition(":")[0] for name in inputs if not name.startswith("^"))
        yield _text(found[NAME][0]), Node(_text(found[OPERATION][0]), plain, attributes)


def _message(value: wire.Value) -> memoryview:
    if isinstance(value, int):
        raise TypeError("a number stands where a message was expected")
    return value


def _text(value: wire.Value) -> str:
    return bytes(_message(value)).decode()


class _Graph:
    """Operations, and the layers that they make up."""

    def __init__(self, nodes: Mapping[str, Node], source: str) -> None:
        self.nodes, self.source = nodes, source

    def fault(self, name: str, expected: str) -> NoReturn:
        node = self.nodes.get(name)
        found = "missing" if node is None else f"the operation {node.operation}"
        raise InputError(
            f"{self.source} holds no networks of SpliceAI's family: {name} is {found}, where {expected} was expected"
        )

    def node(self, name: str, *operations: str) -> Node:
        """The node of that name, which must be one of some operations."""
        node = self.nodes.get(name)
        if node is None or node.operation not in operations:
            self.fault(name, " or ".join(operations))
        return node

    def inputs(self, name: str, *operations: str, count: int = 2) -> tuple[str, ...]:
        """The inputs of a node, without what it is told in constants where there are more."""
        found = self.node(name, *operations).inputs
        if len(found) < count:
            self.fault(name, f"one of {counted(count, 'input')}")
        return found[:count]

    def passed(self, name: str) -> tuple[list[str], str]:
        """The operations that only lay numbers out anew, from a node on, and the node whose numbers these are."""
        found: list[str] = []
        while (node := self.nodes.get(name)) is not None and node.operation in PASSED and node.inputs:
            found.append(name)
            name = node.inputs[0]
            if len(found) > len(self.nodes):
                return self.fault(name, "no circle of operations")
        return found, name

    def origin(self, name: str) -> str:
        """The node whose numbers these are."""
        return self.passed(name)[1]

    def heads(self) -> list[str]:
        """The last convolutions of the networks whose mean the graph gives."""
        means = [name for name, node in self.nodes.items() if node.operation == "Mean"]
        if len(means) != 1:
            raise InputError(f"{self.source} holds {len(means)} means of networks, where one was expected")
        pack = self.node(self.inputs(means[0], "Mean", count=1)[0], "Pack")
        heads = []
        for name in pack.inputs:
            exponent, total = self.inputs(name, "RealDiv")
            if self.inputs(total, "Sum", count=1)[0] != exponent:
                self.fault(name, "a softmax")
            shifted = self.inputs(exponent, "Exp", count=1)[0]
            heads.append(self.inputs(shifted, "Sub")[0])
        return heads

    def layers(self, head: str) -> dict[str, Layer]:
        """All layers that lead to a node, by the name of their last node."""
        found: dict[str, Layer] = {}
        open_names = [head]
        while open_names:
            name = open_names.pop()
            if name not in found:
                found[name] = self.layer(name)
                open_names += found[name].inputs
        return found

    def layer(self, name: str) -> Layer:
        node = self.nodes.get(name)
        match node.operation if node else None:
            case "Placeholder":
                return Layer(Kind.INPUT)
            case "BiasAdd":
                return self.convolution(name)
            case "Relu":
                return Layer(Kind.RELU, (self.origin(self.inputs(name, "Relu", count=1)[0]),))
            case "AddV2" | "Add":
                one, other = self.inputs(name, "AddV2", "Add")
                if one in self.nodes and self.nodes[one].operation == "Mul":
                    return self.norm(one, other)
                return Layer(Kind.SUM, (self.origin(one), self.origin(other)))
            case "StridedSlice":
                return self.crop(name)
        return self.fault(name, "a layer")

    def convolution(self, name: str) -> Layer:
        """BiasAdd of Conv2D; the kernel is [taps, inputs, outputs]."""
        features, bias = self.inputs(name, "BiasAdd")
        convolution = self.origin(features)
        data, kernel = self.inputs(convolution, "Conv2D")
        weight = self.constant(kernel)
        if weight.dim() != 3:
            self.fault(kernel, f"a kernel of [taps, inputs, outputs], not of {list(weight.shape)},")
        return Layer(
            Kind.CONVOLUTION,
            (self.origin(data),),
            {"weight": weight.permute(2, 1, 0).contiguous(), "bias": self.constant(bias)},
            dilation=self.dilation(convolution, data),
        )

    def dilation(self, convolution: str, data: str) -> int:
        """Of the convolution itself, or the number of pieces into which its input is cut."""
        attribute = self.node(convolution, "Conv2D").attributes.get("dilations", memoryview(b""))
        try:
            lists = [wire.fields(_message(part)) for part in wire.fields(attribute)[LIST]]
            dilation = max((number for part in lists for number in wire.integers(part[LIST_INTEGERS])), default=1)
        except (ValueError, TypeError) as error:
            raise InputError(f"{self.source} is damaged: dilations of {convolution} cannot be read") from error
        for name in self.passed(data)[0]:
            if self.nodes[name].operation == "SpaceToBatchND":
                dilation *= int(self.number(self.inputs(name, "SpaceToBatchND")[1]))
        return dilation

    def norm(self, product: str, shift: str) -> Layer:
        """Read x * scale + (beta - mean * scale)."""
        data, scale = self.inputs(product, "Mul")
        beta, mean_scaled = self.inputs(shift, "Sub")
        mean, same_scale = self.inputs(mean_scaled, "Mul")
        root, gamma = self.inputs(scale, "Mul")
        variance, epsilon = self.inputs(self.inputs(root, "Rsqrt", count=1)[0], "AddV2", "Add")
        if same_scale != scale:
            self.fault(mean_scaled, f"a product with {scale}")
        tensors = {
            "weight": self.constant(gamma),
            "bias": self.constant(beta),
            "running_mean": self.constant(mean),
            "running_var": with_our_epsilon(self.constant(variance), self.number(epsilon)),
        }
        return Layer(Kind.NORM, (self.origin(data),), tensors)

    def crop(self, name: str) -> Layer:
        """A slice from `crop` bases to `-crop` bases of [sequences, bases, channels]."""
        data, begin, end, step = self.inputs(name, "StridedSlice", count=4)
        first, last, steps = (self.constant(part).flatten().tolist() for part in (begin, end, step))
        crop = int(first[1]) if len(first) == 3 else 0
        if (first, last, steps) != ([0, crop, 0], [0, -crop, 0], [1, 1, 1]):
            self.fault(name, "a crop of both sides")
        return Layer(Kind.CROP, (self.origin(data),), crop=crop)

    def number(self, name: str) -> float:
        """The one number of a constant."""
        found = self.constant(name)
        if found.numel() != 1:
            self.fault(name, "a constant of one number")
        return float(found)

    def constant(self, name: str) -> Tensor:
        """The numbers of a constant, float32 or int32."""
        name = self.origin(name)
        attributes = self.node(name, "Const").attributes
        try:
            array = _array(wire.fields(_message(wire.fields(attributes["value"])[TENSOR][0])))
        except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
            raise InputError(f"{self.source} is damaged: the constant {name} cannot be read ({error})") from error
        return torch.from_numpy(array.copy())


def _array(tensor: dict[int, list[wire.Value]]) -> np.ndarray[Any, Any]:
    """The numbers of a TensorProto: as bytes, or as a list whose last entry stands for all that follow."""
    dtype = DTYPES[next(wire.integers(tensor[DTYPE]), 0)]
    sizes = [
        wire.fields(_message(size))[SIZE] for part in tensor[SHAPE] for size in wire.fields(_message(part))[DIMENSION]
    ]
    shape = [next(wire.integers(size), 0) for size in sizes]
    if min(shape, default=0) < 0:
        raise ValueError(f"shape {shape}")
    if tensor[CONTENT]:
        return np.frombuffer(_message(tensor[CONTENT][0]), dtype).reshape(shape)
    if dtype.kind == "f":
        listed = np.frombuffer(b"".join(bytes(_message(part)) for part in tensor[FLOATS]), dtype)
    else:
        listed = np.array(list(wire.integers(tensor[INTEGERS])), dtype)
    count = math.prod(shape)
    if not 0 < len(listed) <= count <= MAX_LISTED:
        raise ValueError(f"{len(listed)} numbers for a shape of {shape}")
    return np.concatenate((listed, np.repeat(listed[-1:], count - len(listed)))).reshape(shape)
