"""The networks by MultiMolecule's names: calls, outputs, files; each stands in the place of ours."""

from __future__ import annotations

import copy
import dataclasses
import doctest
import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from material.checkpoints import MULTIMOLECULE, multimolecule_folder, multimolecule_tensors
from material.engine_networks import SMALL_SPEC, random_stretches, small_network
from material.networks import network_of
from torch import nn

from sptx_core import config as own
from sptx_core import model as own_model
from sptx_core import multimolecule as package
from sptx_core import token_prediction
from sptx_core.checkpoint import load_checkpoint
from sptx_core.engine.predictor import Predictor
from sptx_core.errors import InputError
from sptx_core.multimolecule import (
    ModelOutput,
    PredictorOutput,
    PreTrainedModel,
    SpTransformerConfig,
    SpTransformerForTokenPrediction,
    SpTransformerModel,
    SpTransformerModelOutput,
    SpTransformerPreTrainedModel,
    SpTransformerTokenPredictorOutput,
    models,
)

SIZES: dict[str, Any] = {
    "context": 4,
    "hidden_size": 6,
    "encoders": [{"hidden_size": 5}],
    "attention_hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "bucket_size": 8,
    "max_seq_len": 32,
    "num_tissues": 2,
}
IDS = torch.randint(5, (2, 10), generator=torch.Generator().manual_seed(0))
LABELS = torch.rand(2, 10, 3, generator=torch.Generator().manual_seed(1))
BOTH = pytest.mark.parametrize("kind", [SpTransformerModel, SpTransformerForTokenPrediction])


def config_of(**settings: Any) -> SpTransformerConfig:
    return SpTransformerConfig(**SIZES | {"num_labels": 3} | settings)


def network(kind: Any = SpTransformerModel, **settings: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(config_of(**settings)).eval()


@pytest.mark.slow
@pytest.mark.parametrize("module", [package, models])
def test_examples_in_the_docstrings_run(module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # one saves a network
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted >= 6


# --- what they are ---------------------------------------------------------------------------------------------------


def test_each_stands_in_the_place_of_ours() -> None:
    model, predictor = network(), network(SpTransformerForTokenPrediction)
    assert isinstance(model, own_model.SpTransformerModel)
    assert isinstance(predictor, token_prediction.SpTransformerForTokenPrediction)
    assert isinstance(predictor.model, SpTransformerModel)
    ours = own_model.SpTransformerModel(model.sizes).eval()
    ours.load_state_dict(model.state_dict())
    assert torch.equal(ours(IDS).logits, model(IDS).logits)


@BOTH
def test_the_configuration_has_their_names_and_the_sizes_ours(kind: Any) -> None:
    config = config_of()
    model = kind(config)
    assert model.config is config
    assert model.sizes == config.network
    assert (model.config.hidden_size, model.sizes.hidden_size) == (6, 16)
    assert isinstance(model, SpTransformerPreTrainedModel)
    assert isinstance(model, PreTrainedModel)
    assert kind(config.network).config == config


def test_both_parts_of_a_predictor_share_the_configuration() -> None:
    predictor = network(SpTransformerForTokenPrediction)
    assert predictor.model.config is predictor.config
    clone = copy.deepcopy(predictor)
    assert clone.model.config is clone.config is not predictor.config
    assert clone.config == predictor.config


def test_a_predictor_of_a_network_without_a_head_has_the_published_one() -> None:
    sizes = dataclasses.replace(config_of().network, head=None)
    model = SpTransformerForTokenPrediction(sizes)
    assert model.head_config == own.HeadConfig()
    assert model.config.num_labels == 15


def test_what_is_no_configuration_is_refused() -> None:
    with pytest.raises(InputError, match="config must be a SpTransformerConfig, not 3"):
        SpTransformerModel(3)  # type: ignore[arg-type]  # the point


@BOTH
def test_statistics_are_averaged_with_the_momentum_of_the_configuration(kind: Any) -> None:
    norms = [x for x in network(kind, batch_norm_momentum=0.25).modules() if isinstance(x, nn.BatchNorm1d)]
    assert len(norms) == 32
    assert {norm.momentum for norm in norms} == {0.25}


FIXED: dict[str, Any] = {
    "batch_norm_momentum": 0.5,
    "problem_type": "binary",
    "num_labels": 4,
    "head": {"dropout": 0.5},
    "context": 7,
    "encoders": [{"hidden_size": 4}],
}


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize(("name", "value"), FIXED.items())
def test_what_a_network_was_built_with_cannot_be_changed_in_its_configuration(kind: Any, name: str, value: Any) -> None:
    model = network(kind)
    for built in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        with pytest.raises(InputError, match=f"^{name}: a network was built with this config; change a copy of it and"):
            setattr(built.config, name, value)
        assert built.config == config_of()
        setattr(built.config, name, getattr(built.config, name))  # no change
        built.config.pad_token_id = 3
        free = copy.deepcopy(built.config)
        setattr(free, name, value)
        assert kind(free).config == free != built.config


def test_device_precision_and_number_of_parameters() -> None:
    model = network().double()
    assert (model.device, model.dtype) == (torch.device("cpu"), torch.float64)
    count = model.num_parameters()
    model.norm.requires_grad_(False)
    assert model.num_parameters(only_trainable=True) == count - 32


# --- calls -----------------------------------------------------------------------------------------------------------


def test_names_of_channels_are_lists() -> None:
    model = network(tissue_names=["brain", "liver"])
    names = ["no_splice", "acceptor", "donor", "brain", "liver"]
    assert model.output_channels == names
    output = model(IDS)
    for given in (output, output.logits, {"logits": output.logits, "input_ids": IDS}):
        scores, found = model.postprocess(given)
        assert found == names
        assert torch.allclose(scores[..., :3].sum(-1), torch.ones(2, 10))
        assert torch.equal(scores[..., 3:], output.logits[..., 3:])


def test_outputs_are_read_as_in_that_package() -> None:
    output = network()(IDS)
    assert isinstance(output, SpTransformerModelOutput)
    assert isinstance(output, ModelOutput)
    assert not isinstance(output, PredictorOutput)
    assert output[0] is output["last_hidden_state"]
    assert [x is y for x, y in zip(output[:2], output.to_tuple(), strict=True)] == [True, True]
    output = network(SpTransformerForTokenPrediction)(IDS, labels=LABELS)
    assert isinstance(output, SpTransformerTokenPredictorOutput)
    assert isinstance(output, PredictorOutput)
    assert isinstance(output, ModelOutput)
    loss, logits = output.to_tuple()
    assert loss is output[0] is output.loss
    assert logits is output[1]


@BOTH
def test_a_tuple_on_request(kind: Any) -> None:
    model = network(kind)
    named = model(IDS, output_hidden_states=True)
    found = model(IDS, output_hidden_states=True, return_dict=False)
    assert type(found) is tuple
    assert len(found) == len(named)
    for x, y in zip(found, named.to_tuple(), strict=True):
        assert type(x) is type(y)
    assert torch.equal(found[0], named[0])
    model.config.return_dict = False
    assert type(model(IDS)) is tuple
    assert isinstance(model(IDS, return_dict=True), Mapping)


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("entry", ["attentions", "hidden_states", "contexts"])
def test_further_entries_by_call_or_by_configuration(entry: str, kind: Any) -> None:
    flag = f"output_{entry}"
    model = network(kind)
    assert entry not in model(IDS)
    assert entry in model(IDS, **{flag: True})
    setattr(model.config, flag, True)
    assert entry in model(IDS)
    assert entry in model(IDS, **{flag: None})
    assert entry not in model(IDS, **{flag: False})
    assert entry in network(kind, **{flag: True})(IDS)


def test_attention_maps_are_mappings_without_gradients() -> None:
    output = network().train()(IDS, output_attentions=True)
    for found in output.attentions:
        assert isinstance(found, ModelOutput)
        assert not any(x.requires_grad for x in found.values() if isinstance(x, torch.Tensor))
        assert found["bucket_size"] == 8
    assert output.logits.requires_grad


def test_labels_say_what_the_head_predicts() -> None:
    model = network(SpTransformerForTokenPrediction, problem_type=None)
    classes = IDS % 3
    losses = {
        "regression": LABELS,
        "multilabel": (LABELS > 0.5).long(),
        "multiclass": classes,
    }
    for problem_type, labels in losses.items():
        told = network(SpTransformerForTokenPrediction, problem_type=problem_type)
        assert torch.equal(model(IDS, labels=labels).loss, told(IDS, labels=labels).loss)
    assert torch.equal(model(IDS, labels=classes[..., None]).loss, model(IDS, labels=classes).loss)


@BOTH
def test_gradient_checkpointing_by_its_keyword(kind: Any) -> None:
    model = network(kind).train()
    times = []
    layers = model.model.layers if kind is SpTransformerForTokenPrediction else model.layers
    layers[0].register_forward_pre_hook(lambda *_: times.append(1))
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model(IDS).logits.sum().backward()
    assert len(times) == 2
    model.gradient_checkpointing_disable()
    model(IDS).logits.sum().backward()
    assert len(times) == 3


@pytest.mark.slow
def test_it_compiles_to_one_graph_with_the_flags_of_its_configuration() -> None:
    model = network(output_contexts=True)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert torch.equal(compiled(IDS)["contexts"][0], model(IDS).last_hidden_state)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"input_ids": IDS.repeat(1, 4)}, "40 bases to predict are more than the 32"),
        ({"input_ids": IDS, "attention_mask": torch.full((2, 10), 2.0)}, "0, 1, or shares between them"),
        ({"input_ids": IDS[:, :0]}, "nothing to predict"),
        ({"input_ids": IDS, "labels": torch.rand(2, 10, 2)}, "labels must have shape [2, 10, 3]"),
    ],
)
def test_what_cannot_be_read_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        network(SpTransformerForTokenPrediction)(**given)


@pytest.mark.parametrize("path", ["reference", "shared"])
def test_the_engine_takes_it(path: str) -> None:
    ours = small_network()
    theirs = SpTransformerModel(SpTransformerConfig.of(ours.sizes)).eval()
    theirs.load_state_dict(ours.state_dict())
    given = random_stretches(SMALL_SPEC, [2])
    assert theirs.config.hidden_size != theirs.sizes.hidden_size
    found, expected = (Predictor(model, SMALL_SPEC, batch=1, path=path).predict(given)[0] for model in (theirs, ours))
    assert (found == expected).all()


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@BOTH
def test_saved_and_loaded_it_is_the_same(kind: Any, tmp_path: Path) -> None:
    model = network(kind, output_contexts=True, batch_norm_momentum=0.3, pad_token_id=None, problem_type="binary")
    model.save_pretrained(tmp_path)
    loaded = kind.from_pretrained(tmp_path)
    assert loaded.config == model.config
    assert not loaded.training
    assert list(loaded(IDS)) == list(model(IDS))
    assert torch.equal(loaded(IDS).logits, model(IDS).logits)
    assert own_model.SpTransformerModel.from_pretrained(tmp_path).config == model.sizes
    settings = json.loads((tmp_path / "config.json").read_text())["multimolecule"]
    assert settings == {"output_contexts": True, "batch_norm_momentum": 0.3, "pad_token_id": None}


@pytest.mark.slow
@BOTH
def test_settings_of_a_folder_of_multimolecule_count(kind: Any, tmp_path: Path) -> None:
    tensors = multimolecule_tensors(network_of(MULTIMOLECULE))
    beside = {"output_contexts": True, "output_attentions": True, "batch_norm_momentum": 0.3}
    head = {"num_labels": 3, "problem_type": "multiclass", "dropout": 0.5}
    folder = multimolecule_folder(tmp_path, tensors, **beside, head=head)
    model = kind.from_pretrained(folder)
    assert {"contexts", "attentions"} < set(model(IDS))
    assert dict(model.config.head) | head == dict(model.config.head)
    assert model.config.hidden_size == 5
    assert {x.momentum for x in model.modules() if isinstance(x, nn.BatchNorm1d)} == {0.3}
    if kind is SpTransformerForTokenPrediction:
        assert model.token_head.decoder.out_features == 3
        assert model.head_config == own.HeadConfig(3, "multiclass", dropout=0.5)
    assert model.from_checkpoint(model.to_checkpoint()).config == model.config


def test_a_head_is_described_by_the_folder_by_a_configuration_or_by_the_call(tmp_path: Path) -> None:
    folder = multimolecule_folder(
        tmp_path, multimolecule_tensors(network_of(MULTIMOLECULE)), num_labels=3, problem_type="binary"
    )
    config = SpTransformerConfig.from_pretrained(folder)
    assert SpTransformerForTokenPrediction(config).head_config == own.HeadConfig(3, "binary")
    load = SpTransformerForTokenPrediction.from_pretrained
    assert load(folder, config=config).head_config == own.HeadConfig(3, "binary")
    assert load(folder, num_labels=2).head_config == own.HeadConfig(2, "binary")


def test_a_head_that_cannot_be_hinders_only_who_asks_for_it(tmp_path: Path) -> None:
    folder = multimolecule_folder(
        tmp_path, multimolecule_tensors(network_of(MULTIMOLECULE)), head={"act": "sigmoid", "num_labels": 3}
    )
    model = SpTransformerModel.from_pretrained(folder)
    assert "sigmoid" in repr(model.config)
    for ask in (lambda: model.config.head, lambda: SpTransformerForTokenPrediction.from_pretrained(folder)):
        with pytest.raises(InputError, match="act of the head is 'sigmoid'"):
            ask()


@pytest.mark.slow
def test_settings_are_replaced_on_loading(tmp_path: Path) -> None:
    model = network(SpTransformerForTokenPrediction)
    model.save_pretrained(tmp_path)
    load = SpTransformerForTokenPrediction.from_pretrained
    same = load(tmp_path, problem_type="binary", output_contexts=True)
    assert torch.equal(same(IDS).logits, model(IDS).logits)
    assert same.config == config_of(problem_type="binary", output_contexts=True)
    new = load(tmp_path, head={"num_labels": 2})
    assert new(IDS).logits.shape == (2, 10, 2)
    assert new.config.num_labels == 2
    assert load(tmp_path, head=own.HeadConfig(3)).token_head.decoder.weight.ne(model.token_head.decoder.weight).any()
    assert SpTransformerModel.from_pretrained(tmp_path, num_labels=2).config.num_labels == 2
    given = config_of(problem_type=None)
    assert load(tmp_path, config=given).config == given


@pytest.mark.slow
@BOTH
def test_a_configuration_by_our_names_leaves_the_other_settings_as_they_are(kind: Any, tmp_path: Path) -> None:
    model = network(kind, output_contexts=True)
    model.save_pretrained(tmp_path)
    for sizes in (model.sizes, dataclasses.replace(model.sizes, head=None)):
        assert kind.from_pretrained(tmp_path, config=sizes).config == model.config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"context": 7}, "context cannot be replaced: the checkpoint was trained with its own"),
        ({"num_labels": 2}, "does not fit its configuration (misshapen: decoder.weight [3, 16] instead of [2, 16]"),
        ({"config": 3}, "config must be a SpTransformerConfig, not 3"),
        ({"config": SpTransformerConfig()}, "config has other sizes than"),
        ({"output_contexts": 3}, "output_contexts must be True or False"),
    ],
)
def test_settings_that_do_not_fit_a_checkpoint_are_refused(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    network(SpTransformerForTokenPrediction).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=re.escape(message)):
        SpTransformerForTokenPrediction.from_pretrained(tmp_path, **settings)


def test_digests_are_those_of_the_network(tmp_path: Path) -> None:
    model = network(output_attentions=True)
    model.save_pretrained(tmp_path)
    ours = own_model.SpTransformerModel.from_pretrained(tmp_path)
    assert load_checkpoint(tmp_path).digest() == model.to_checkpoint().digest() == ours.to_checkpoint().digest()
