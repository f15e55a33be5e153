"""Networks side by side and as members, as one checkpoint."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from material.family_networks import columns_of, openspliceai_state, random_sequence, random_weights

from sptx_core.channels import SPLICE
from sptx_core.checkpoint.checkpoint import Checkpoint
from sptx_core.checkpoint.family.network import ResidualNetwork, copies, ensemble, reach, sizes_of, with_our_epsilon
from sptx_core.checkpoint.family.state_dicts import read_openspliceai
from sptx_core.config import ResidualStage, SpTransformerFeatureEncoderConfig
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel

ONE_STAGE = ((4, 11, 1),)


def network(seed: int, *, channels: int = 6) -> ResidualNetwork:
    return read_openspliceai(openspliceai_state(random_weights(seed, ONE_STAGE, channels=channels)), f"file {seed}")


def usage(seed: int, name: str, *, channels: int = 3) -> ResidualNetwork:
    found = network(seed, channels=channels)
    return dataclasses.replace(found, channels=(name,), weight=found.weight[:1], bias=found.bias[:1])


def test_the_published_stages_reach_the_published_context() -> None:
    stages = (ResidualStage(4, 11, 1), ResidualStage(4, 11, 4), ResidualStage(4, 21, 10), ResidualStage(4, 41, 25))
    found = [reach(SpTransformerFeatureEncoderConfig(32, stages[:count])) for count in (1, 2, 3, 4)]
    assert found == [40, 200, 1000, 5000]


def test_networks_side_by_side_give_what_each_gives_alone() -> None:
    splice, heart, liver = network(0), usage(1, "heart"), usage(2, "liver", channels=5)
    together = SpTransformerModel.from_checkpoint(Checkpoint(*ensemble([[splice, heart, liver]])))
    assert together.output_channels == (*SPLICE, "heart", "liver")
    columns = columns_of(random_sequence(120))
    with torch.inference_mode():
        logits = together.predict_columns(columns).logits
        for first, part in ((0, splice), (3, heart), (4, liver)):
            filled = (
                part
                if part is splice
                else dataclasses.replace(
                    part, channels=SPLICE, weight=part.weight.repeat(3, 1), bias=part.bias.repeat(3)
                )
            )
            alone = (
                SpTransformerModel.from_checkpoint(Checkpoint(*ensemble([[filled]]))).predict_columns(columns).logits
            )
            width = len(part.channels)
            torch.testing.assert_close(logits[..., first : first + width], alone[..., :width], rtol=0, atol=2e-5)


def test_members_have_their_tensors_under_their_numbers() -> None:
    config, tensors = ensemble([[network(0)], [network(1)]])
    assert config.members == 2
    assert torch.equal(tensors["member.1.encoders.0.input.bias"], network(1).tensors["input.bias"])
    assert not any(name.startswith("encoders") for name in tensors)


def test_members_of_other_sizes_are_refused_by_name() -> None:
    with pytest.raises(
        InputError, match=r"file 1 \(context 40, 5 channels, 4 blocks\) and file 0 .* of the same sizes"
    ):
        ensemble([[network(0)], [network(1, channels=5)]])


def test_two_channels_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="tissue_names must be 2 different names"):
        ensemble([[network(0), usage(1, "heart"), usage(2, "heart")]])


def test_a_network_that_is_there_twice_is_found() -> None:
    first, second, again = network(0), network(1), dataclasses.replace(network(0), source="a copy")
    assert [(one.source, two.source) for one, two in copies([first, second, again])] == [("file 0", "a copy")]


def test_an_input_channel_for_n_stands_beside_four_channels() -> None:
    other = network(1)
    weight = torch.cat((other.tensors["input.weight"], torch.ones(6, 1, 1)), 1)
    wide = dataclasses.replace(other, tensors={**other.tensors, "input.weight": weight}, channels=("heart",))
    wide = dataclasses.replace(wide, weight=other.weight[:1], bias=other.bias[:1])
    config, tensors = ensemble([[network(0), wide]])
    assert config.input_channels == 5
    assert torch.equal(tensors["encoders.0.input.weight"][:, 4], torch.zeros(6, 1))
    assert torch.equal(tensors["encoders.1.input.weight"], weight)


def test_variances_take_up_another_epsilon() -> None:
    variance = torch.rand(50)
    ours = 1 / (with_our_epsilon(variance, 1e-3) + 1e-5).sqrt()
    torch.testing.assert_close(ours, 1 / (variance + 1e-3).sqrt(), rtol=3e-7, atol=0)


def test_the_sizes_hold_the_largest_context() -> None:
    stages = ResidualStage(1, 3, 1), ResidualStage(2, 5, 3)
    config = sizes_of(
        4, [SpTransformerFeatureEncoderConfig(4, stages[:1]), SpTransformerFeatureEncoderConfig(4, stages)], (), 1
    )
    assert (config.context, config.hidden_size, config.layers, config.tissues) == (26, 8, 0, 0)
