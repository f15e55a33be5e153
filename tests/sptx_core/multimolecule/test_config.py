"""A configuration by MultiMolecule's names holds one of ours: reading, changing, refusing, saving."""

from __future__ import annotations

import copy
import dataclasses
import doctest
import inspect
import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from material.checkpoints import MULTIMOLECULE, MULTIMOLECULE_JSON, multimolecule_folder, multimolecule_tensors
from material.networks import network_of

from sptx_core import config as own
from sptx_core.config import ResidualStage
from sptx_core.errors import InputError
from sptx_core.multimolecule import HeadConfig, SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.multimolecule import config as module

PUBLISHED = {
    "vocab_size": 5,
    "context": 4000,
    "hidden_size": 128,
    "encoders": [SpTransformerFeatureEncoderConfig(128), SpTransformerFeatureEncoderConfig(64)],
    "attention_hidden_size": 256,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_local_attention_heads": 2,
    "intermediate_size": 1024,
    "bucket_size": 64,
    "max_seq_len": 8192,
    "num_splice_labels": 3,
    "num_tissues": 15,
    "tissue_names": [f"tissue_{index}" for index in range(15)],
    "hidden_act": "relu",
    "intermediate_act": "gelu",
    "batch_norm_eps": 1e-5,
    "batch_norm_momentum": 0.1,
    "num_labels": 15,
    "head": HeadConfig(num_labels=15, hidden_size=256, problem_type="regression"),
    "problem_type": "regression",
    "output_contexts": False,
    "pad_token_id": 4,
    "bos_token_id": None,
    "eos_token_id": None,
    "unk_token_id": 4,
    "mask_token_id": None,
    "null_token_id": None,
}
# Settings that are all other than published, and the same network by our names.
OTHER: dict[str, Any] = {
    "vocab_size": 4,
    "context": 7,
    "hidden_size": 6,
    "encoders": [{"hidden_size": 4}],
    "attention_hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_local_attention_heads": 1,
    "intermediate_size": 12,
    "bucket_size": 8,
    "max_seq_len": 40,
    "num_splice_labels": 3,
    "num_tissues": 2,
    "tissue_names": ["brain", "liver"],
    "hidden_act": "relu",
    "intermediate_act": "gelu",
    "batch_norm_eps": 1e-5,
    "batch_norm_momentum": 0.3,
    "num_labels": 3,
    "head": {"transform": "nonlinear", "dropout": 0.5, "bias": False},
    "problem_type": "multilabel",
    "output_contexts": True,
    "pad_token_id": 3,
    "bos_token_id": None,
    "eos_token_id": None,
    "unk_token_id": None,
    "mask_token_id": 5,
    "null_token_id": 6,
}
OURS = own.SpTransformerConfig(
    input_channels=4,
    context=7,
    max_seq_len=40,
    encoders=(own.SpTransformerFeatureEncoderConfig(4),),
    input_path_channels=6,
    hidden_size=32,
    layers=3,
    heads=4,
    local_heads=1,
    bucket_size=8,
    feed_forward_size=12,
    tissues=2,
    tissue_names=("brain", "liver"),
    head=own.HeadConfig(3, "multilabel", "nonlinear", 0.5, bias=False),
)


def test_examples_in_the_docstring_run() -> None:
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted >= 6


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), PUBLISHED.items())
def test_every_documented_attribute_is_read_as_published(name: str, value: Any) -> None:
    assert getattr(SpTransformerConfig(), name) == value
    assert name in dir(SpTransformerConfig())


def test_there_are_28_documented_attributes() -> None:
    assert tuple(PUBLISHED) == module.DOCUMENTED == tuple(OTHER)
    assert len(module.DOCUMENTED) == 28
    assert list(inspect.signature(SpTransformerConfig).parameters) == [*module.DOCUMENTED, *module.INHERITED]


@pytest.mark.parametrize("by_place", [False, True])
def test_settings_are_given_by_place_or_by_name(by_place: bool) -> None:
    config = SpTransformerConfig(*OTHER.values()) if by_place else SpTransformerConfig(**OTHER)
    assert isinstance(config, SpTransformerConfig)
    assert config.network == OURS
    changed = {"encoders": [SpTransformerFeatureEncoderConfig(4)]}
    changed["head"] = HeadConfig(3, 32, "multilabel", 0.5, "nonlinear", bias=False)
    for name, value in (OTHER | changed).items():
        assert getattr(config, name) == value, name


def test_ours_is_another_class_and_stays_the_one_place_of_sizes() -> None:
    assert SpTransformerConfig is not own.SpTransformerConfig
    assert SpTransformerConfig().network == own.SpTransformerConfig(head=own.HeadConfig())
    assert SpTransformerConfig.of(OURS).network == OURS
    assert SpTransformerConfig.of(OURS).hidden_size == 6


def test_what_a_call_returns_is_as_in_every_network_of_that_package() -> None:
    config = SpTransformerConfig()
    assert (config.output_attentions, config.output_hidden_states, config.return_dict) == (False, False, True)
    config = SpTransformerConfig(output_attentions=True, output_hidden_states=True, return_dict=False)
    assert (config.output_attentions, config.output_hidden_states, config.return_dict) == (True, True, False)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, own.HeadConfig()),
        ({"num_labels": 3}, own.HeadConfig(3)),
        ({"problem_type": None}, own.HeadConfig(problem_type=None)),
        ({"num_labels": 3, "head": {"problem_type": "binary"}}, own.HeadConfig(3, "binary")),
        ({"num_labels": 3, "head": HeadConfig(problem_type="binary")}, own.HeadConfig(3, "binary")),
        ({"num_labels": 3, "head": {"num_labels": 2}}, own.HeadConfig(2)),
        ({"num_labels": 3, "head": own.HeadConfig(2, dropout=0.5)}, own.HeadConfig(2, dropout=0.5)),
        ({"head": {"hidden_size": 256}}, own.HeadConfig()),
    ],
)
def test_a_head_is_given_in_either_form(settings: dict[str, Any], expected: own.HeadConfig) -> None:
    assert SpTransformerConfig(**settings).network.head == expected


def test_what_transformers_writes_besides_is_left_out() -> None:
    config = SpTransformerConfig.from_dict(MULTIMOLECULE_JSON | {"architectures": ["SpTransformerModel"]})
    assert dataclasses.replace(config.network, head=None) == MULTIMOLECULE
    assert not hasattr(config, "architectures")
    assert not hasattr(config, "depth")


# --- changing --------------------------------------------------------------------------------------------------------


ALONE = OTHER | {"max_seq_len": 128, "tissue_names": list("abcdefghijklmno")}  # what goes with the published values


@pytest.mark.parametrize(("name", "value"), ALONE.items())
def test_an_attribute_is_set(name: str, value: Any) -> None:
    config = SpTransformerConfig()
    setattr(config, name, value)
    assert config == SpTransformerConfig(**{name: value})
    assert (config == SpTransformerConfig()) == (value == PUBLISHED[name])


def test_settings_of_the_head_are_set_one_by_one() -> None:
    config = SpTransformerConfig(head={"dropout": 0.5})
    config.num_labels = 3
    config.problem_type = "binary"
    config.attention_hidden_size = 32
    assert config.head == HeadConfig(3, 32, "binary", 0.5)
    config.head = {"transform": "linear"}
    assert config.head == HeadConfig(3, 32, "binary", transform="linear")


def test_several_are_replaced_at_once() -> None:
    config = SpTransformerConfig()
    config.update({"bucket_size": 5, "max_seq_len": 10})
    assert (config.bucket_size, config.max_seq_len) == (5, 10)


def test_a_refused_change_changes_nothing() -> None:
    config = SpTransformerConfig()
    with pytest.raises(InputError):
        config.update({"output_contexts": True, "bucket_size": 5})
    assert config == SpTransformerConfig()


def test_copies_are_equal_and_independent() -> None:
    config = SpTransformerConfig(**OTHER)
    for other in (
        copy.deepcopy(config),
        pickle.loads(pickle.dumps(config)),
        SpTransformerConfig.from_dict(config.to_dict()),
    ):
        assert other == config
        other.num_labels = 4
        assert other != config
    assert config != "text"


def test_what_multimolecule_has_no_names_for_is_refused() -> None:
    for changed in ({"members": 2}, {"encoders": (own.SpTransformerFeatureEncoderConfig(8, leak=0.1),)}):
        config = SpTransformerConfig.of(own.SpTransformerConfig(layers=0, **changed))
        with pytest.raises(InputError, match="no names for members and leak"):
            config.to_dict()
        assert "SpTransformerConfig" in repr(config)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 3}, "this network has no setting depth"),
        ({"model_type": "bert"}, "model_type is 'bert', not 'sptransformer'"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu', but this network can only have 'relu'"),
        ({"batch_norm_eps": 1e-3}, "batch_norm_eps is 0.001, but"),
        ({"num_splice_labels": 4}, "num_splice_labels is 4, but"),
        ({"vocab_size": 7}, "vocab_size must be 4 (A C G T) or 5"),
        ({"hidden_size": 0}, "hidden_size of a SpTransformerConfig must be an integer of at least 1, not 0"),
        ({"num_hidden_layers": 0}, "num_hidden_layers of a SpTransformerConfig must be an integer of at least 1"),
        ({"num_tissues": 0}, "num_tissues of a SpTransformerConfig must be an integer of at least 1, not 0"),
        ({"num_attention_heads": 3}, "attention_hidden_size (256) must be a multiple of num_attention_heads (3)"),
        ({"num_local_attention_heads": 9}, "num_local_attention_heads (9) must be at most num_attention_heads (8)"),
        ({"max_seq_len": 100}, "max_seq_len (100) must be a multiple of bucket_size (64)"),
        ({"encoders": []}, "encoders must be a tuple of one or more"),
        ({"tissue_names": ["brain"]}, "tissue_names must be 15 different names"),
        ({"tissue_names": "brain"}, "tissue_names must be a list, not 'brain'"),
        ({"head": {"act": "sigmoid"}}, "act of the head is 'sigmoid', but this head can only have None"),
        ({"head": {"hidden_size": 128}}, "hidden_size of the head is 128, but it reads 256 channels"),
        ({"head": {"output_name": "logits"}}, "output_name of the head is 'logits', but"),
        ({"head": {"depth": 3}}, "a head has no setting depth"),
        ({"head": 3}, "head must hold settings by name, not 3"),
        ({"problem_type": "ranking"}, "problem_type must be one of"),
        ({"output_contexts": 1}, "output_contexts must be True or False, not 1"),
        ({"batch_norm_momentum": 2}, "batch_norm_momentum must be from 0 to 1, not 2"),
        ({"bos_token_id": 1}, "bos_token_id must be None: the network reads no such token, not 1"),
        ({"pad_token_id": -1}, "pad_token_id must be an integer of at least 0 or None, not -1"),
    ],
)
def test_what_the_network_cannot_have_is_refused_by_multimolecule_names(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        SpTransformerConfig(**settings)


def test_a_place_that_there_is_not_and_a_setting_given_twice() -> None:
    with pytest.raises(TypeError, match="28 settings have a place, 29 were given"):
        SpTransformerConfig(*OTHER.values(), True)
    with pytest.raises(TypeError, match="given twice: vocab_size"):
        SpTransformerConfig(5, vocab_size=5)


# --- dictionaries and files ------------------------------------------------------------------------------------------


def test_plain_values_are_json_and_hold_everything() -> None:
    config = SpTransformerConfig(**OTHER)
    plain = json.loads(json.dumps(config.to_dict()))
    assert SpTransformerConfig.from_dict(plain) == config
    assert plain["model_type"] == "sptransformer"
    assert repr(config) == f"SpTransformerConfig {json.dumps(plain, indent=2)}"


def test_stages_that_only_ours_can_have_are_kept() -> None:
    ours = dataclasses.replace(OURS, encoders=(own.SpTransformerFeatureEncoderConfig(4, (ResidualStage(1, 3, 2),)),))
    config = SpTransformerConfig.of(ours)
    assert SpTransformerConfig.from_dict(config.to_dict()).network == ours
    config.encoders = config.encoders * 2
    assert config.network.encoders == ours.encoders * 2


def test_the_configuration_of_a_checkpoint_is_read(tmp_path: Path) -> None:
    beside = {"output_attentions": True, "num_labels": 3, "head": {"num_labels": None, "dropout": 0.5}}
    folder = multimolecule_folder(tmp_path, multimolecule_tensors(network_of(MULTIMOLECULE)), **beside)
    (folder / "model.safetensors").write_bytes(b"of which nothing is read")
    config = SpTransformerConfig.from_pretrained(folder)
    assert config.network == MULTIMOLECULE
    assert config.output_attentions
    assert config.head == HeadConfig(3, 16, "regression", 0.5)
    assert config.network_with_head().head == own.HeadConfig(3, dropout=0.5)
    config = SpTransformerConfig.from_pretrained(folder, problem_type="binary", output_attentions=False)
    assert config.head == HeadConfig(3, 16, "binary", 0.5)
    assert not config.output_attentions


def test_flags_of_a_call_come_before_those_of_the_configuration() -> None:
    config = SpTransformerConfig(output_attentions=True, return_dict=False)
    given = {"output_attentions": None, "output_contexts": True}
    assert config.outputs(given) == {"output_attentions": True, "output_hidden_states": False, "output_contexts": True}
    assert not config.outputs({"output_attentions": False})["output_attentions"]
    assert [config.returns_dict(x) for x in (None, True, False)] == [False, True, False]
