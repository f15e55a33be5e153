"""MultiMolecule's settings in our names, and those that the network cannot have."""

from __future__ import annotations

import re
from typing import Any

import pytest
from material.checkpoints import MULTIMOLECULE, MULTIMOLECULE_JSON

from sptx_core.checkpoint.multimolecule_settings import beside_of, config_of, head_of, head_settings_of
from sptx_core.config import HeadConfig, SpTransformerConfig
from sptx_core.errors import InputError


def test_settings_are_read_by_their_names_and_those_left_out_are_as_published() -> None:
    assert config_of(MULTIMOLECULE_JSON) == MULTIMOLECULE
    assert config_of({}) == SpTransformerConfig()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu', but this network can only have 'relu'"),
        ({"batch_norm_eps": 1e-3}, "batch_norm_eps is 0.001"),
        ({"num_splice_labels": 4}, "num_splice_labels is 4"),
        ({"vocab_size": 7}, "input_channels must be 4"),
        ({"num_attention_heads": 3}, "must be a multiple of heads"),
        ({"encoders": [4, 2]}, "encoders must be a list of hidden sizes"),
        ({"encoders": 4}, "encoders must be a list of hidden sizes"),
        ({"architectures": 5}, "architectures must be a list of names, not 5"),
        ({"architectures": "SpTransformerForTokenPrediction"}, "architectures must be a list of names, not 'SpT"),
    ],
)
def test_settings_that_the_network_cannot_have_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        config_of(MULTIMOLECULE_JSON | settings)


@pytest.mark.parametrize(
    ("names", "expected"),
    [(["brain", "liver"], ("brain", "liver")), (["tissue_0", "tissue_1"], None), (None, None)],
)
def test_names_of_tissues_are_kept_unless_they_are_placeholders(
    names: list[str] | None, expected: tuple[str, ...] | None
) -> None:
    assert config_of(MULTIMOLECULE_JSON | {"tissue_names": names}).tissue_names == expected


def test_a_head_is_read_only_of_a_network_that_was_saved_with_one() -> None:
    head = {"num_labels": 3, "problem_type": "binary", "hidden_size": 16}
    alone = MULTIMOLECULE_JSON | {"head": head, "architectures": ["SpTransformerModel"]}
    assert config_of(alone).head is None
    with_head = alone | {"architectures": ["SpTransformerForTokenPrediction"]}
    assert config_of(with_head).head == HeadConfig(3, "binary")


def test_settings_that_the_head_cannot_have_are_refused() -> None:
    assert head_settings_of({"dropout": 0.1, "act": None}) == {"dropout": 0.1}
    with pytest.raises(InputError, match=re.escape("act of the head is 'sigmoid', but this head can only have None")):
        head_settings_of({"act": "sigmoid"})


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, None),
        ({"num_labels": 3}, HeadConfig(3)),
        ({"num_labels": 3, "head": None}, HeadConfig(3)),
        ({"num_labels": 3, "problem_type": "binary", "head": {"num_labels": None}}, HeadConfig(3, "binary")),
        ({"num_labels": 3, "problem_type": "binary", "head": {"num_labels": 2}}, HeadConfig(2, "binary")),
        ({"num_labels": 3, "problem_type": None, "head": {"problem_type": None}}, HeadConfig(3, None)),
        ({"attention_hidden_size": 16, "head": {"hidden_size": 16, "dropout": 0.5}}, HeadConfig(dropout=0.5)),
    ],
)
def test_what_a_head_leaves_out_the_network_says(settings: dict[str, Any], expected: HeadConfig | None) -> None:
    assert head_of(settings) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head": [3]}, "head must hold settings by name"),
        ({"attention_hidden_size": 16, "head": {"hidden_size": 8}}, "hidden_size of the head is 8, but it reads 16"),
    ],
)
def test_impossible_heads_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        head_of(settings)


def test_what_our_configuration_has_no_place_for_is_kept_where_it_is_not_as_published() -> None:
    assert beside_of(MULTIMOLECULE_JSON) == {}
    beside = {"output_attentions": True, "batch_norm_momentum": 0.3, "pad_token_id": None}
    assert beside_of(MULTIMOLECULE_JSON | beside) == beside


def test_settings_of_a_head_are_kept_aside_unless_they_are_used() -> None:
    head = {"num_labels": 3, "problem_type": None, "head": {"act": "sigmoid"}}
    assert beside_of(MULTIMOLECULE_JSON | head | {"architectures": ["SpTransformerModel"]}) == head
    assert beside_of(MULTIMOLECULE_JSON | head | {"architectures": ["SpTransformerForTokenPrediction"]}) == {}
