"""Shapes without a network are those of the network, sizes are read back off them, and misfits are listed."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from material.checkpoints import MULTIMOLECULE, OFFICIAL
from torch import Tensor, nn

from sptx_core.checkpoint.shapes import (
    MAX_LISTED,
    TensorShape,
    config_from_shapes,
    head_shapes,
    misfits,
    network_shapes,
)
from sptx_core.config import HeadConfig, ResidualStage, SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel
from sptx_core.token_prediction import TokenPredictionHead

sizes = st.integers(1, 9)


@st.composite
def configs(draw: st.DrawFn) -> SpTransformerConfig:
    stage = st.builds(ResidualStage, st.integers(1, 3), st.sampled_from([1, 3, 5]), sizes)
    stages = st.lists(stage, min_size=1, max_size=3).map(tuple)
    encoder = st.builds(SpTransformerFeatureEncoderConfig, sizes, stages, st.sampled_from([0.0, 0.1]))
    heads, bucket_size = draw(st.integers(1, 4)), draw(sizes)
    return SpTransformerConfig(
        input_channels=draw(st.sampled_from([4, 5])),
        context=draw(st.integers(0, 9)),
        max_seq_len=bucket_size * draw(sizes),
        encoders=tuple(draw(st.lists(encoder, min_size=1, max_size=3))),
        input_path_channels=draw(st.integers(0, 9)),
        hidden_size=heads * draw(sizes),
        layers=draw(st.integers(0, 3)),
        heads=heads,
        local_heads=draw(st.integers(0, heads)),
        bucket_size=bucket_size,
        feed_forward_size=draw(sizes),
        tissues=draw(st.integers(0, 9)),
        members=draw(st.integers(1, 3)),
    )


def state_of(module: type[nn.Module], *arguments: object, device: str = "meta") -> dict[str, Tensor]:
    """The tensors of a module; on the meta device without memory for them, which is quicker only if they are large."""
    with torch.device(device):
        return module(*arguments).state_dict()


def assert_alike(found: dict[str, TensorShape], expected: dict[str, Tensor]) -> None:
    assert list(found.items()) == [(name, (tuple(x.shape), x.dtype)) for name, x in expected.items()]


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(configs())
def test_shapes_are_those_of_the_network_in_its_order(config: SpTransformerConfig) -> None:
    assert_alike(network_shapes(config), state_of(SpTransformerModel, config, device="cpu"))


@pytest.mark.parametrize("input_channels", [4, 5])
def test_shapes_of_the_published_network(input_channels: int) -> None:
    config = SpTransformerConfig(input_channels=input_channels)
    assert_alike(network_shapes(config), state_of(SpTransformerModel, config))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("transform", [None, "linear", "nonlinear"])
def test_shapes_of_a_head(transform: str | None, bias: bool) -> None:
    config = HeadConfig(3, transform=transform, bias=bias)
    assert_alike(head_shapes(config, 8), state_of(TokenPredictionHead, config, 8))


@pytest.mark.parametrize("config", [SpTransformerConfig(), OFFICIAL, MULTIMOLECULE])
def test_sizes_are_read_off_shapes(config: SpTransformerConfig) -> None:
    published = SpTransformerConfig()
    seen = dataclasses.replace(config, context=published.context, heads=published.heads, local_heads=2)
    assert config_from_shapes(state_of(SpTransformerModel, config)) == seen


def test_a_size_is_read_from_whichever_tensor_has_it() -> None:
    tensors = state_of(SpTransformerModel, OFFICIAL)
    for name in ("usage_head.weight", "norm.weight", "layers.0.expand.weight", "input_path.0.bias"):
        del tensors[name]
    assert config_from_shapes(tensors) == OFFICIAL


def test_sizes_without_tensors_are_as_published() -> None:
    channels = {f"encoders.{index}.input.bias": torch.zeros(size) for index, size in enumerate((128, 64))}
    assert config_from_shapes(channels) == SpTransformerConfig()


def test_impossible_shapes_are_refused() -> None:
    tensors = state_of(SpTransformerModel, OFFICIAL) | {"input_path.0.weight": torch.zeros(5, 6, 1)}
    with pytest.raises(InputError, match=r"input_channels must be 4 .* not 6"):
        config_from_shapes(tensors)


def test_tensors_that_fit_have_no_misfits() -> None:
    expected = {"a.weight": TensorShape((2, 3)), "a.num_batches_tracked": TensorShape((), torch.int64)}
    assert misfits({"a.weight": torch.zeros(2, 3)}, expected) == ""
    assert misfits({"a.weight": torch.zeros(2, 3).bfloat16()}, expected) == ""


def test_misfits_are_listed_by_their_kind() -> None:
    found = {"b": torch.zeros(3), "c": torch.zeros(1), "d": torch.tensor([1.0, torch.nan])}
    expected = {"a": TensorShape((2,)), "b": TensorShape((2,)), "d": TensorShape((2,))}
    assert misfits(found, expected) == "missing: a; unexpected: c; misshapen: b [3] instead of [2]; not finite: d"


def test_a_long_list_of_misfits_is_cut_and_counted() -> None:
    names = [f"x{index}" for index in range(MAX_LISTED + 3)]
    message = misfits({}, {name: TensorShape((1,)) for name in names})
    assert re.fullmatch(r"missing: x0, .*, x19 and 3 more", message)
