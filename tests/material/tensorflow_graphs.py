"""Frozen graphs of TensorFlow: written small for tests with protobuf's own library, and evaluated node by node.

`graph_scores` computes the operations of a graph as TensorFlow defines them and knows nothing of networks: it takes
CI-SpliceAI's published file as well. The messages are declared here as far as they are needed (GraphDef, NodeDef,
AttrValue, TensorProto and TensorShapeProto of tensorflow/core/framework).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from material.family_networks import Array, Weights
from torch import Tensor

FLOAT, INT32 = 1, 3  # DT_FLOAT, DT_INT32
KINDS = {"string": 9, "bytes": 12, "int64": 3, "int32": 5, "float": 2, "bool": 8}

# Message -> field -> (number, type, repeated); a type that is no kind above is a message.
MESSAGES: dict[str, dict[str, tuple[int, str, bool]]] = {
    "Dim": {"size": (1, "int64", False)},
    "Shape": {"dim": (2, "Dim", True)},
    "TensorProto": {
        "dtype": (1, "int32", False),
        "tensor_shape": (2, "Shape", False),
        "tensor_content": (4, "bytes", False),
        "float_val": (5, "float", True),
        "int_val": (7, "int32", True),
    },
    "ListValue": {"i": (3, "int64", True)},
    "AttrValue": {
        "list": (1, "ListValue", False),
        "s": (2, "bytes", False),
        "i": (3, "int64", False),
        "b": (5, "bool", False),
        "type": (6, "int32", False),
        "tensor": (8, "TensorProto", False),
    },
    "AttrEntry": {"key": (1, "string", False), "value": (2, "AttrValue", False)},
    "NodeDef": {
        "name": (1, "string", False),
        "op": (2, "string", False),
        "input": (3, "string", True),
        "attr": (5, "AttrEntry", True),
    },
    "GraphDef": {"node": (1, "NodeDef", True)},
}


@cache
def graph_class() -> Any:
    """GraphDef as a class of protobuf's library."""
    file = descriptor_pb2.FileDescriptorProto(name="graph_of_tests.proto", package="graph_of_tests", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, repeated) in fields.items():
            added = message.field.add(name=field, number=number, label=3 if repeated else 1, type=KINDS.get(kind, 11))
            if kind not in KINDS:
                added.type_name = f".graph_of_tests.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("graph_of_tests.GraphDef"))


# --- written ----------------------------------------------------------------------------------------------------------


class Writer:
    """A graph in the making; names carry no meaning but that they differ."""

    def __init__(self) -> None:
        self.graph = graph_class()()

    def node(self, operation: str, *inputs: str, **attributes: Any) -> str:
        node = self.graph.node.add(name=f"n{len(self.graph.node)}", op=operation, input=inputs)
        for key, value in attributes.items():
            entry = node.attr.add(key=key)
            if isinstance(value, bool):
                entry.value.b = value
            elif isinstance(value, int):
                entry.value.i = value
            elif isinstance(value, bytes):
                entry.value.s = value
            else:
                entry.value.list.i.extend(value)
        return str(node.name)

    def constant(self, values: Any, dtype: int = INT32, *, listed: bool = False) -> str:
        """A constant, as bytes or as a list of numbers, and what reads it."""
        array = np.asarray(values, np.float32 if dtype == FLOAT else np.int32)
        node = self.graph.node.add(name=f"n{len(self.graph.node)}", op="Const")
        tensor = node.attr.add(key="value").value.tensor
        tensor.dtype = dtype
        for size in array.shape:
            tensor.tensor_shape.dim.add(size=size)
        if listed or not array.shape:
            (tensor.float_val if dtype == FLOAT else tensor.int_val).extend(array.ravel().tolist())
        else:
            tensor.tensor_content = array.tobytes()
        return self.node("Identity", node.name)

    def convolution(self, weights: Weights, name: str, data: str, dilation: int = 1, number: str = "") -> str:
        kernel, bias = (weights.arrays[f"{name}.{part}{number}"] for part in ("kernel", "bias"))
        edge = dilation * (len(kernel) - 1) // 2
        x = data
        if dilation > 1:
            # Tests choose lengths of sequences that the dilation divides, so that constants do.
            x = self.node("SpaceToBatchND", x, self.constant([dilation]), self.constant([[edge, edge]]))
        x = self.node("ExpandDims", x, self.constant(-3))
        kernel_node = self.node("ExpandDims", self.constant(kernel, FLOAT), self.constant(0))
        x = self.node("Conv2D", x, kernel_node, padding=b"VALID" if dilation > 1 else b"SAME", dilations=[1, 1, 1, 1])
        x = self.node("Squeeze", x, squeeze_dims=[-3])
        if dilation > 1:
            x = self.node("BatchToSpaceND", x, self.constant([dilation]), self.constant([[0, 0]]))
        return self.node("BiasAdd", x, self.constant(bias, FLOAT))

    def activated(self, weights: Weights, block: str, data: str, number: str) -> str:
        gamma, beta, mean, variance = (
            self.constant(weights.arrays[f"{block}.{part}{number}"], FLOAT)
            for part in ("gamma", "beta", "mean", "variance")
        )
        root = self.node("Rsqrt", self.node("AddV2", variance, self.constant(weights.epsilon, FLOAT)))
        scale = self.node("Mul", root, gamma)
        shift = self.node("Sub", beta, self.node("Mul", mean, scale))
        return self.node("Relu", self.node("AddV2", self.node("Mul", data, scale), shift))

    def network(self, weights: Weights, data: str) -> str:
        x = first = self.convolution(weights, "input", data)
        total = self.convolution(weights, "skip0", first)
        for index, (stage, dilation, is_last) in enumerate(weights.blocks()):
            y = self.convolution(
                weights, f"block{index}", self.activated(weights, f"block{index}", x, "1"), dilation, "1"
            )
            y = self.convolution(
                weights, f"block{index}", self.activated(weights, f"block{index}", y, "2"), dilation, "2"
            )
            x = self.node("AddV2", y, x)
            if is_last:
                total = self.node("AddV2", total, self.convolution(weights, f"skip{stage + 1}", x))
        flank = weights.context
        ends = (self.constant([0, flank, 0]), self.constant([0, -flank, 0]), self.constant([1, 1, 1]))
        masks = {"begin_mask": 5, "end_mask": 5, "ellipsis_mask": 0, "new_axis_mask": 0, "shrink_axis_mask": 0}
        logits = self.convolution(weights, "head", self.node("StridedSlice", total, *ends, **masks))
        highest = self.node("Max", logits, self.constant(-1), keep_dims=True)
        exponent = self.node("Exp", self.node("Sub", logits, highest))
        return self.node("RealDiv", exponent, self.node("Sum", exponent, self.constant(-1), keep_dims=True))


def frozen_graph(networks: list[Weights]) -> bytes:
    """A graph that gives the mean of networks, as CI-SpliceAI's file does."""
    writer = Writer()
    data = writer.node("Placeholder")
    pack = writer.node("Pack", *(writer.network(weights, data) for weights in networks), axis=0)
    mean = writer.node("Mean", pack, writer.constant(0), keep_dims=False)
    writer.node("Identity", mean, f"^{data}")  # with a control input, as frozen graphs have
    return bytes(writer.graph.SerializeToString())


# --- evaluated --------------------------------------------------------------------------------------------------------


def graph_scores(content: bytes, columns: Tensor, until: str | None = None) -> Tensor:
    """What the last node (or one named) gives for columns [1, 4, bases]: [1, channels, bases]."""
    graph = graph_class().FromString(content)
    nodes = {node.name: node for node in graph.node}
    values: dict[str, Tensor] = {}

    def value(name: str) -> Tensor:
        open_names = [name]
        while open_names:
            node = nodes[open_names[-1]]
            inputs = [origin for origin in node.input if not origin.startswith("^")]
            missing = [origin for origin in inputs if origin not in values]
            if missing:
                open_names += missing
                continue
            attributes = {entry.key: entry.value for entry in node.attr}
            if node.op == "Placeholder":
                values[node.name] = columns.transpose(1, 2)
            elif node.name not in values:
                values[node.name] = OPERATIONS[node.op](attributes, *(values[origin] for origin in inputs))
            open_names.pop()
        return values[name]

    return value(until or graph.node[-1].name).transpose(1, 2)


def _constant(attributes: Any) -> Tensor:
    tensor = attributes["value"].tensor
    dtype = {FLOAT: np.float32, INT32: np.int32}[tensor.dtype]
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_content:
        return torch.from_numpy(np.frombuffer(tensor.tensor_content, dtype).reshape(shape).copy())
    listed: Array = np.array(tensor.float_val if tensor.dtype == FLOAT else tensor.int_val, dtype)
    return torch.from_numpy(np.resize(listed, shape) if len(listed) == 1 else listed.reshape(shape))


def _convolution(attributes: Any, x: Tensor, kernel: Tensor) -> Tensor:
    weight = kernel[0].permute(2, 1, 0)
    padding = (weight.shape[2] - 1) // 2 if attributes["padding"].s == b"SAME" else 0
    return F.conv1d(x[:, 0].transpose(1, 2), weight, padding=padding).transpose(1, 2)[:, None]


def _cut_up(_: Any, x: Tensor, block: Tensor, paddings: Tensor) -> Tensor:
    size = int(block[0])
    x = F.pad(x, (0, 0, *paddings[0].tolist()))
    batch, length, channels = x.shape
    return x.reshape(batch, length // size, size, channels).permute(2, 0, 1, 3).reshape(-1, length // size, channels)


def _put_together(_: Any, x: Tensor, block: Tensor, crops: Tensor) -> Tensor:
    size, (left, right) = int(block[0]), crops[0].tolist()
    pieces, length, channels = x.shape
    x = x.reshape(size, pieces // size, length, channels).permute(1, 2, 0, 3).reshape(-1, length * size, channels)
    return x[:, left : x.shape[1] - right]


def _sliced(attributes: Any, x: Tensor, begin: Tensor, end: Tensor, step: Tensor) -> Tensor:
    masks = {name: attributes[name].i for name in ("begin_mask", "end_mask", "shrink_axis_mask")}
    places: list[Any] = []
    for axis, (first, last, stride) in enumerate(zip(begin.tolist(), end.tolist(), step.tolist(), strict=True)):
        bit = 1 << axis
        if masks["shrink_axis_mask"] & bit:
            places.append(first)
            continue
        places.append(
            slice(None if masks["begin_mask"] & bit else first, None if masks["end_mask"] & bit else last, stride)
        )
    return x[tuple(places)]


def _reduced(attributes: Any, x: Tensor, axis: Tensor, how: Callable[..., Tensor]) -> Tensor:
    return how(x, dim=int(axis), keepdim=attributes["keep_dims"].b)


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "Const": _constant,
    "Identity": lambda _, x: x,
    "ExpandDims": lambda _, x, axis: x.unsqueeze(int(axis)),
    "Squeeze": lambda attributes, x: x.squeeze(attributes["squeeze_dims"].list.i[0]),
    "Conv2D": _convolution,
    "BiasAdd": lambda _, x, bias: x + bias,
    "AddV2": lambda _, x, y: x + y,
    "Sub": lambda _, x, y: x - y,
    "Mul": lambda _, x, y: x * y,
    "RealDiv": lambda _, x, y: x / y,
    "FloorMod": lambda _, x, y: x % y,
    "Rsqrt": lambda _, x: x.rsqrt(),
    "Relu": lambda _, x: x.relu(),
    "Exp": lambda _, x: x.exp(),
    "Shape": lambda _, x: torch.tensor(x.shape, dtype=torch.int32),
    "Pack": lambda attributes, *parts: torch.stack(parts, attributes["axis"].i),
    "StridedSlice": _sliced,
    "SpaceToBatchND": _cut_up,
    "BatchToSpaceND": _put_together,
    "Max": lambda attributes, x, axis: _reduced(attributes, x, axis, torch.amax),
    "Sum": lambda attributes, x, axis: _reduced(attributes, x, axis, torch.sum),
    "Mean": lambda attributes, x, axis: _reduced(attributes, x, axis, torch.mean),
}
