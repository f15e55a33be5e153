"""Parts of a configuration by MultiMolecule's names: mappings with attributes, which cannot be changed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import pytest

from sptx_core import config as own
from sptx_core.config import ResidualStage
from sptx_core.errors import InputError
from sptx_core.multimolecule.parts import HeadConfig, SpTransformerFeatureEncoderConfig, in_words_of, own_encoders


def test_an_encoder_has_its_channels_as_hidden_size() -> None:
    encoder = SpTransformerFeatureEncoderConfig(64)
    assert encoder == SpTransformerFeatureEncoderConfig(hidden_size=64)
    assert encoder.hidden_size == encoder["hidden_size"] == 64
    assert dict(encoder) == encoder.to_dict() == {"hidden_size": 64}
    assert encoder.network == own.SpTransformerFeatureEncoderConfig(64)
    assert repr(encoder) == "SpTransformerFeatureEncoderConfig(hidden_size=64)"
    assert SpTransformerFeatureEncoderConfig().hidden_size == 128


def test_stages_that_are_not_published_stay() -> None:
    ours = own.SpTransformerFeatureEncoderConfig(4, (ResidualStage(1, 3, 2),))
    plain = SpTransformerFeatureEncoderConfig(4, stages=ours.stages).to_dict()
    assert plain == {"hidden_size": 4, "stages": ({"blocks": 1, "kernel_size": 3, "dilation": 2},)}
    assert own_encoders([plain]) == (ours,)


def test_a_head_has_every_setting_of_multimolecule() -> None:
    head = HeadConfig(num_labels=3)
    assert isinstance(head, Mapping)
    assert head["num_labels"] == head.num_labels == 3
    assert dict(head) == {
        "num_labels": 3,
        "hidden_size": None,
        "problem_type": None,
        "dropout": 0.0,
        "transform": None,
        "transform_act": "gelu",
        "bias": True,
        "act": None,
        "layer_norm_eps": 1e-12,
        "output_name": None,
        "type": None,
        "loss_weight": None,
    }
    with pytest.raises(KeyError):
        head["depth"]


@pytest.mark.parametrize("part", [HeadConfig(num_labels=3), SpTransformerFeatureEncoderConfig(3)])
def test_parts_cannot_be_changed(part: Any) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        part.hidden_size = 4


def test_encoders_are_read_from_every_form() -> None:
    ours = own.SpTransformerFeatureEncoderConfig(4)
    forms = [{"hidden_size": 4}, SpTransformerFeatureEncoderConfig(4), ours]
    assert own_encoders(forms) == own_encoders(tuple(forms)) == (ours,) * 3
    assert own_encoders([{}]) == (own.SpTransformerFeatureEncoderConfig(128),)
    assert own_encoders(None) == own.SpTransformerConfig().encoders


@pytest.mark.parametrize(
    ("encoders", "message"),
    [
        ([4], "an encoder has a hidden_size and no other setting, not 4"),
        ([{"channels": 4}], "an encoder has a hidden_size and no other setting"),
        ({"hidden_size": 4}, "encoders must be a list of hidden sizes"),
        ([{"hidden_size": 0}], "hidden_size of a SpTransformerFeatureEncoderConfig must be an integer"),
        ([{"hidden_size": 4, "stages": [{}]}], "lacks its setting blocks"),
    ],
)
def test_impossible_encoders_are_refused_by_their_names(encoders: Any, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        own_encoders(encoders)


def test_a_message_is_put_in_other_words() -> None:
    with (
        pytest.raises(InputError, match=r"^layers 3 and heads_of are not num_heads$"),
        in_words_of({"heads": "num_heads"}),
    ):
        raise InputError("layers 3 and heads_of are not heads")
