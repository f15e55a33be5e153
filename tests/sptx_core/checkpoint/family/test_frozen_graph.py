"""Frozen graphs of TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from material.family_networks import columns_of, random_sequence, random_weights
from material.mutations import INPUTS, mutated
from material.tensorflow_graphs import Writer, frozen_graph, graph_class, graph_scores

from sptx_core.checkpoint.checkpoint import Checkpoint
from sptx_core.checkpoint.family.frozen_graph import FIRST_BYTE, read_frozen_graph
from sptx_core.checkpoint.family.network import ensemble
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel

CONTENT = frozen_graph([random_weights(0), random_weights(1)])
TOLERANCE = 2e-5  # of float32 scores
LENGTH = 192  # of which the small network's dilation of 3 is a divisor, as the writer needs it


def changed(change: Callable[[Any], None]) -> bytes:
    graph = graph_class().FromString(CONTENT)
    change(graph)
    return bytes(graph.SerializeToString())


def first(graph: Any, operation: str) -> Any:
    return next(node for node in graph.node if node.op == operation)


def weights(graph: Any) -> Any:
    """The first constant of more than one number."""
    return next(node for node in graph.node if node.op == "Const" and node.attr[0].value.tensor.tensor_shape.dim)


def test_a_graph_gives_the_mean_of_its_networks() -> None:
    assert CONTENT.startswith(FIRST_BYTE)
    networks = read_frozen_graph(CONTENT, "small.pb")
    assert [network.source for network in networks] == ["small.pb (network 1)", "small.pb (network 2)"]
    model = SpTransformerModel.from_checkpoint(Checkpoint(*ensemble([[network] for network in networks])))
    columns = columns_of(random_sequence(LENGTH))
    with torch.inference_mode():
        ours = model.predict_columns(columns).scores()[0].T
    theirs = graph_scores(CONTENT, columns)[0]
    assert ours.shape == theirs.shape
    assert theirs.std(1).min() > 0.02
    assert (ours - theirs).abs().max() < TOLERANCE


def test_one_network_keeps_the_name_of_the_file() -> None:
    (network,) = read_frozen_graph(frozen_graph([random_weights(0)]), "small.pb")
    assert network.source == "small.pb"


def test_a_constant_of_equal_numbers_may_list_one() -> None:
    writer = Writer()
    node = writer.constant([0.5, 0.5, 0.5], dtype=1, listed=True)
    graph = graph_class().FromString(CONTENT)
    bias = next(node for node in graph.node if node.op == "BiasAdd").input[1]
    constant = next(node for node in graph.node if node.name == next(n for n in graph.node if n.name == bias).input[0])
    size = constant.attr[0].value.tensor.tensor_shape.dim[0].size
    constant.attr[0].value.tensor.CopyFrom(writer.graph.node[0].attr[0].value.tensor)
    constant.attr[0].value.tensor.tensor_shape.dim[0].size = size
    del constant.attr[0].value.tensor.float_val[1:]
    assert node
    network = read_frozen_graph(graph.SerializeToString(), "small.pb")[0]
    assert network.tensors["input.bias"].tolist() == [0.5] * size


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda graph: first(graph, "Mean").__setattr__("op", "Max"), "holds 0 means of networks"),
        (
            lambda graph: first(graph, "Relu").__setattr__("op", "Elu"),
            "is the operation Elu, where a layer was expected",
        ),
        (lambda graph: first(graph, "Rsqrt").__setattr__("op", "Sqrt"), "Sqrt, where Rsqrt was expected"),
        (
            lambda graph: first(graph, "Conv2D").input.__setitem__(1, "none"),
            "none is missing, where Const was expected",
        ),
        (lambda graph: first(graph, "Squeeze").input.__setitem__(0, first(graph, "Squeeze").name), "no circle"),
        (
            lambda graph: weights(graph).attr[0].value.tensor.tensor_shape.dim.add(size=1 << 40),
            "the constant n4 cannot be read",
        ),
        (lambda graph: weights(graph).attr[0].value.tensor.__setattr__("dtype", 2), "constant n4 cannot be read"),
        (lambda graph: weights(graph).attr.pop(), "the constant n4 cannot be read"),
    ],
)
def test_another_graph_is_refused_by_the_node_at_fault(change: Callable[[Any], None], sentence: str) -> None:
    with pytest.raises(InputError, match=f"small.pb.*{sentence}"):
        read_frozen_graph(changed(change), "small.pb")


@pytest.mark.parametrize("content", [b"", b"\n", CONTENT[: len(CONTENT) // 2], b"\n\x03abc", b"not a graph"])
def test_what_is_no_graph_is_one_sentence(content: bytes) -> None:
    with pytest.raises(InputError, match=r"small\.pb"):
        read_frozen_graph(content, "small.pb")


@settings(max_examples=INPUTS, deadline=None)
@given(data=st.data())
def test_no_fault_of_a_file_is_more_than_a_sentence(data: st.DataObject) -> None:
    content = data.draw(mutated([frozen_graph([random_weights(0, ((1, 3, 1),), channels=2)])], b"\x00\x0a\x12\x1a\xff"))
    with suppress(InputError):
        read_frozen_graph(content, "small.pb")
