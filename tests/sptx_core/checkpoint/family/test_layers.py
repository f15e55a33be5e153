"""Which layer of a graph is which."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from sptx_core.checkpoint.family.layers import Kind, Layer, network_of
from sptx_core.errors import InputError

CHANNELS = 3


def convolution(data: str, outputs: int = CHANNELS, inputs: int = CHANNELS, taps: int = 1, dilation: int = 1) -> Layer:
    tensors = {"weight": torch.rand(outputs, inputs, taps), "bias": torch.rand(outputs)}
    return Layer(Kind.CONVOLUTION, (data,), tensors, dilation=dilation)


def norm(data: str) -> Layer:
    parts = ("weight", "bias", "running_mean", "running_var")
    return Layer(Kind.NORM, (data,), {part: torch.rand(CHANNELS) for part in parts})


def graph() -> dict[str, Layer]:
    """One stage of one block, under names and in an order that say nothing."""
    return {
        "out": convolution("cut", outputs=3),
        "cut": Layer(Kind.CROP, ("all",), crop=4),
        "all": Layer(Kind.SUM, ("z", "b")),
        "b": convolution("a"),
        "z": convolution("block"),
        "block": Layer(Kind.SUM, ("a", "conv2")),
        "conv2": convolution("relu2", taps=3, dilation=2),
        "relu2": Layer(Kind.RELU, ("norm2",)),
        "norm2": norm("conv1"),
        "conv1": convolution("relu1", taps=3, dilation=2),
        "relu1": Layer(Kind.RELU, ("norm1",)),
        "norm1": norm("a"),
        "a": convolution("x", inputs=4),
        "x": Layer(Kind.INPUT),
    }


def changed(**layers: Layer) -> dict[str, Layer]:
    return graph() | layers


def with_tensor(name: str, part: str, tensor: Tensor | None) -> dict[str, Layer]:
    layers = graph()
    tensors = {**layers[name].tensors, part: tensor}
    kept = {key: value for key, value in tensors.items() if value is not None}
    return layers | {name: dataclasses.replace(layers[name], tensors=kept)}


def test_layers_are_told_by_what_they_follow_on() -> None:
    layers = graph()
    found = network_of(layers, "out", "file")
    assert [dataclasses.astuple(stage) for stage in found.encoder.stages] == [(1, 3, 2)]
    assert found.encoder.channels == CHANNELS
    for ours, name in {"input": "a", "first_skip": "b", "skips.0": "z", "blocks.0.conv2": "conv2"}.items():
        assert found.tensors[f"{ours}.weight"] is layers[name].tensors["weight"]
    assert torch.equal(found.weight, layers["out"].tensors["weight"][:, :, 0])


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        (changed(cut=Layer(Kind.CROP, ("all",), crop=5)), "crops 5 bases on each side where its convolutions reach 4"),
        (changed(all=Layer(Kind.RELU, ("z",))), "all is a ReLU, where a convolution was expected"),
        ({name: layer for name, layer in graph().items() if name != "norm1"}, "block is the sum of no residual block"),
        (changed(block=Layer(Kind.SUM, ("conv2", "b"))), "block is the sum of no residual block"),
        (changed(all=Layer(Kind.SUM, ("z",))), "expected a skip before and after each stage"),
        (changed(all=Layer(Kind.SUM, ("z", "z", "b"))), "z is added twice"),
        (changed(conv1=convolution("relu1", taps=5)), "the convolutions from conv1 to conv2 differ"),
        (changed(norm1=norm("block"), block=Layer(Kind.SUM, ("block", "conv2"))), "follow on one another in a circle"),
        (changed(a=convolution("x", inputs=5)), "a reads 5 channels instead of A C G T"),
        (changed(out=convolution("cut", outputs=2)), "the last convolution, out, must lead from 3 channels"),
        (changed(x=Layer(Kind.RELU, ("a",))), "x is a ReLU, where an input was expected"),
        (with_tensor("conv2", "weight", None), "the weight of conv2 is missing"),
        (with_tensor("norm2", "running_var", None), r"missing: norm2 running_var"),
        (with_tensor("norm2", "scale", torch.rand(3)), r"unexpected: norm2 scale"),
        (with_tensor("b", "weight", torch.rand(3, 2, 1)), r"misshapen: b weight \[3, 2, 1\] instead of \[3, 3, 1\]"),
        (with_tensor("conv1", "bias", torch.full((3,), torch.nan)), "not finite: conv1 bias"),
        (with_tensor("out", "bias", torch.full((3,), torch.inf)), "not finite: out"),
    ],
)
def test_another_graph_is_refused_by_the_layer_at_fault(layers: dict[str, Layer], sentence: str) -> None:
    with pytest.raises(InputError, match=f"file.*{sentence}"):
        network_of(layers, "out", "file")
