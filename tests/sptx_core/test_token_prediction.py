"""A head on the network: its sizes, its losses, what they leave out, and its files."""

from __future__ import annotations

import dataclasses
import doctest
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from material.checkpoints import MULTIMOLECULE, multimolecule_folder, multimolecule_tensors
from material.networks import network_of, tiny_config
from torch import Tensor

from sptx_core import token_prediction
from sptx_core.checkpoint import load_checkpoint
from sptx_core.config import HeadConfig, SpTransformerConfig
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel
from sptx_core.token_prediction import SpTransformerForTokenPrediction

CONFIG = tiny_config(context=4, layers=1)
GENERATOR = torch.Generator().manual_seed(0)
IDS = torch.randint(5, (2, 10), generator=GENERATOR)
REAL = torch.randn(2, 10, 3, generator=GENERATOR)
BITS = torch.randint(2, (2, 10, 3), generator=GENERATOR)
CLASSES = torch.randint(3, (2, 10), generator=GENERATOR)


def predictor(**head: Any) -> SpTransformerForTokenPrediction:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = dataclasses.replace(CONFIG, head=HeadConfig(**{"num_labels": 3} | head))
        return SpTransformerForTokenPrediction(config).eval()


def test_examples_in_the_docstring_run() -> None:
    result = doctest.testmod(token_prediction)
    assert result.failed == 0
    assert result.attempted >= 5


def by_hand(problem_type: str, logits: Tensor, labels: Tensor) -> Tensor:
    """Losses of single labels, spelt out: [B, L, num_labels], or [B, L] of classes."""
    if problem_type == "regression":
        return (logits - labels) ** 2
    if problem_type == "multiclass":
        return -logits.log_softmax(-1).gather(-1, labels[..., None])[..., 0]
    return -torch.where(labels.bool(), F.logsigmoid(logits), F.logsigmoid(-logits))


PROBLEMS = [("regression", REAL), ("binary", BITS), ("multilabel", BITS), ("multiclass", CLASSES)]


@pytest.mark.parametrize(("problem_type", "labels"), PROBLEMS)
def test_loss_is_the_mean_of_all_labels(problem_type: str, labels: Tensor) -> None:
    output = predictor(problem_type=problem_type)(IDS, labels=labels)
    assert list(output) == ["loss", "logits"]
    assert output.logits.shape == (2, 10, 3)
    assert torch.allclose(output.loss, by_hand(problem_type, output.logits, labels).mean())


@pytest.mark.parametrize("flanked", [False, True])
@pytest.mark.parametrize(("problem_type", "labels"), PROBLEMS)
def test_masked_positions_are_left_out_of_the_loss(problem_type: str, labels: Tensor, flanked: bool) -> None:
    model = predictor(problem_type=problem_type)
    mask = torch.ones(2, 10, dtype=torch.bool)
    mask[0, 2] = mask[1, 6:] = False
    ids, read = (F.pad(x, (4, 4), value=1) for x in (IDS, mask)) if flanked else (IDS, mask)
    output = model(ids, read, labels=labels, flanked=flanked)
    assert torch.allclose(output.loss, by_hand(problem_type, output.logits, labels)[mask].mean())
    changed = torch.where(mask if labels.ndim == 2 else mask[..., None], labels, 1 - labels)
    assert torch.equal(model(ids, read, labels=changed, flanked=flanked).loss, output.loss)


def test_what_fills_up_a_ragged_batch_is_left_out_of_the_loss() -> None:
    model = predictor()
    output = model([IDS[0], IDS[1, :6]], labels=REAL)
    errors = (output.logits - REAL) ** 2
    assert torch.allclose(output.loss, torch.cat((errors[0], errors[1, :6])).mean())


def test_unknown_labels_are_left_out_of_the_loss() -> None:
    real, classes = REAL.clone(), CLASSES.clone()
    real[0, 3, 1] = float("nan")
    classes[0, 3] = -100
    output = predictor()(IDS, labels=real)
    assert torch.allclose(output.loss, (output.logits - real)[~real.isnan()].square().mean())
    output = predictor(problem_type="multiclass")(IDS, labels=classes)
    expected = by_hand("multiclass", output.logits, CLASSES)[classes != -100].mean()
    assert torch.allclose(output.loss, expected)


@pytest.mark.parametrize("problem_type", ["regression", "binary", "multilabel", None])
def test_integers_of_minus_100_are_unknown_for_every_problem(problem_type: str | None) -> None:
    labels = BITS.clone()
    labels[0, 3, 1] = labels[1, 6:] = -100
    output = predictor(problem_type=problem_type)(IDS, labels=labels)
    expected = by_hand(problem_type or "multilabel", output.logits, labels)[labels != -100].mean()
    assert torch.allclose(output.loss, expected)


def test_floats_of_minus_100_are_values_of_a_regression() -> None:
    real = REAL.clone()
    real[0, 3, 1] = -100
    output = predictor()(IDS, labels=real)
    assert torch.allclose(output.loss, (output.logits - real).square().mean())


@pytest.mark.parametrize("problem_type", ["regression", "multiclass"])
def test_nothing_known_is_no_loss(problem_type: str) -> None:
    labels = CLASSES * 0 - 100 if problem_type == "multiclass" else REAL * float("nan")
    loss = predictor(problem_type=problem_type)(IDS, labels=labels).loss
    assert loss.item() == 0
    loss.backward()


def test_a_single_label_may_leave_its_axis_out() -> None:
    model = predictor(num_labels=1)
    assert torch.equal(model(IDS, labels=REAL[..., 0]).loss, model(IDS, labels=REAL[..., :1]).loss)


def test_classes_may_have_an_axis_of_their_own_and_be_floats() -> None:
    model = predictor(problem_type="multiclass")
    expected = model(IDS, labels=CLASSES).loss
    unknown = CLASSES.float()
    unknown[0, 3] = torch.nan
    assert torch.equal(model(IDS, labels=CLASSES[..., None]).loss, expected)
    assert torch.equal(model(IDS, labels=CLASSES.float()).loss, expected)
    assert torch.equal(
        model(IDS, labels=unknown).loss, model(IDS, labels=unknown.nan_to_num(-100)[..., None].long()).loss
    )


@pytest.mark.parametrize(
    ("num_labels", "labels", "expected"),
    [
        (3, REAL, "regression"),
        (3, BITS, "multilabel"),
        (3, BITS.bool(), "multilabel"),
        (3, BITS.float(), "regression"),
        (3, CLASSES, "multiclass"),
        (3, CLASSES[..., None], "multiclass"),
        (1, REAL[..., 0], "regression"),
        (1, BITS[..., 0], "binary"),
        (1, BITS[..., :1], "binary"),
    ],
)
def test_labels_say_what_a_head_predicts_that_does_not(num_labels: int, labels: Tensor, expected: str) -> None:
    silent = predictor(num_labels=num_labels, problem_type=None)
    told = predictor(num_labels=num_labels, problem_type=expected)
    assert torch.equal(silent(IDS, labels=labels).loss, told(IDS, labels=labels).loss)
    assert silent.config.head.problem_type is None


def test_problem_types_differ_in_their_loss() -> None:
    assert len({predictor(problem_type=kind)(IDS, labels=BITS).loss.item() for kind in ("regression", "binary")}) == 2


@pytest.mark.parametrize("wrong", [3, -1, -99, 1.5])
@pytest.mark.parametrize("axis", [False, True])
def test_classes_that_there_are_not_are_refused(wrong: float, axis: bool) -> None:
    labels = CLASSES.to(torch.float64 if wrong == 1.5 else torch.int64, copy=True)
    labels[1, 4] = wrong
    with pytest.raises(InputError, match=re.escape(f"must be 0..2, or -100 where unknown, found {wrong}")):
        predictor(problem_type="multiclass")(IDS, labels=labels[..., None] if axis else labels)


@pytest.mark.parametrize("problem_type", ["binary", "multilabel"])
@pytest.mark.parametrize("wrong", [2, -1])
def test_bits_that_are_none_are_refused(wrong: int, problem_type: str) -> None:
    labels = BITS.clone()
    labels[1, 4, 0] = wrong
    with pytest.raises(InputError, match=f"{problem_type} labels must be 0..1, found"):
        predictor(problem_type=problem_type)(IDS, labels=labels)
    predictor(problem_type=problem_type)(IDS, labels=BITS * 0.5)  # shares are labels


@pytest.mark.parametrize("kind", ["list", "nested", "danling"])
@pytest.mark.parametrize(("problem_type", "labels"), PROBLEMS)
def test_labels_of_a_ragged_batch_may_be_ragged(problem_type: str, labels: Tensor, kind: str) -> None:
    def ragged(x: Tensor) -> Any:
        rows = [x[0], x[1, :6]]
        if kind == "danling":
            return pytest.importorskip("danling").NestedTensor(rows)
        return torch.nested.nested_tensor(rows, layout=torch.jagged) if kind == "nested" else rows

    model = predictor(problem_type=problem_type)
    assert torch.equal(model(ragged(IDS), labels=ragged(labels)).loss, model(ragged(IDS), labels=labels).loss)
    with pytest.raises(InputError, match="labels of a ragged batch must be as long as its sequences"):
        model(IDS, labels=ragged(labels))


def test_a_mask_and_labels_in_a_list_go_together() -> None:
    mask = torch.ones(2, 10)
    mask[0, 2] = 0
    model = predictor()
    assert torch.equal(model(IDS, mask, labels=list(REAL)).loss, model(IDS, mask, labels=REAL).loss)


@pytest.mark.parametrize("labels", [REAL[:, :4], REAL[..., :2], CLASSES])
def test_labels_of_another_shape_are_refused(labels: Tensor) -> None:
    with pytest.raises(InputError, match=re.escape("labels must have shape [2, 10, 3], not")):
        predictor()(IDS, labels=labels)


def test_outputs_on_request_and_forms_of_input_are_those_of_the_network() -> None:
    model = predictor()
    output = model(IDS, output_attentions=True, output_hidden_states=True, output_contexts=True)
    assert list(output) == ["logits", "contexts", "hidden_states", "attentions"]
    assert torch.equal(output.logits, model.token_head(model.model(IDS).last_hidden_state))
    assert torch.equal(model(inputs_embeds=F.one_hot(IDS, 5).float()).logits, output.logits)


def test_head_has_the_parts_of_its_configuration() -> None:
    assert set(predictor().token_head.state_dict()) == {"decoder.weight", "decoder.bias"}
    assert set(predictor(bias=False).token_head.state_dict()) == {"decoder.weight"}
    linear, nonlinear = (predictor(transform=kind) for kind in ("linear", "nonlinear"))
    assert linear.token_head.state_dict().keys() == nonlinear.token_head.state_dict().keys()
    assert not torch.allclose(linear(IDS).logits, nonlinear(IDS).logits, atol=1e-3)
    dropping = predictor(dropout=0.5)
    assert torch.equal(dropping(IDS).logits, dropping(IDS).logits)
    dropping.token_head.train()
    assert not torch.equal(dropping(IDS).logits, dropping(IDS).logits)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_labels": 0}, "num_labels of a HeadConfig"),
        ({"problem_type": "ranking"}, "problem_type must be one of regression, binary, multilabel, multiclass"),
        ({"transform": "cubic"}, "transform must be"),
        ({"dropout": 1.0}, "dropout must be"),
        ({"bias": None}, "bias of a HeadConfig"),
    ],
)
def test_impossible_heads_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        HeadConfig(**settings)
    with pytest.raises(InputError, match="head must be a HeadConfig"):
        SpTransformerConfig(head=settings)  # type: ignore[arg-type]  # the point


@pytest.mark.parametrize(
    "settings", [{}, {"transform": "nonlinear", "problem_type": "multilabel", "bias": False}, {"problem_type": None}]
)
def test_saved_and_loaded_it_predicts_the_same(settings: dict[str, Any], tmp_path: Path) -> None:
    model = predictor(**settings)
    model.save_pretrained(tmp_path)
    loaded = SpTransformerForTokenPrediction.from_pretrained(tmp_path)
    assert loaded.config == model.config
    assert not loaded.training
    assert torch.equal(loaded(IDS).logits, model(IDS).logits)


def test_a_network_alone_gets_a_new_head_of_the_sizes_asked_for(tmp_path: Path) -> None:
    network = network_of(CONFIG)
    network.save_pretrained(tmp_path)
    assert "head" not in json.loads((tmp_path / "config.json").read_text())["config"]
    model = SpTransformerForTokenPrediction.from_pretrained(tmp_path, head=HeadConfig(2, "binary"))
    assert model.config.head == HeadConfig(2, "binary")
    assert model(IDS).logits.shape == (2, 10, 2)
    assert torch.equal(model.model(IDS).logits, network(IDS).logits)
    assert SpTransformerForTokenPrediction.from_pretrained(tmp_path)(IDS).logits.shape == (2, 10, 15)


@pytest.mark.slow
@pytest.mark.parametrize("with_head", [False, True])
def test_a_folder_of_multimolecule_keeps_the_settings_of_its_head(with_head: bool, tmp_path: Path) -> None:
    tensors = multimolecule_tensors(network_of(MULTIMOLECULE))
    head = {"num_labels": None, "problem_type": "multiclass", "transform": "linear", "dropout": 0.5}
    folder = multimolecule_folder(tmp_path, tensors, num_labels=3, problem_type="binary", head=head)
    model = SpTransformerForTokenPrediction.from_pretrained(folder)
    assert model.config.head == HeadConfig(3, "multiclass", "linear", 0.5)
    assert torch.equal(model.model.norm.weight, network_of(MULTIMOLECULE).norm.weight)
    assert SpTransformerModel.from_pretrained(folder).config.head is None
    if with_head:  # its weights are kept, too, where the file does not say whose network it is
        saved = {f"model.{name}": x for name, x in tensors.items()}
        saved |= {f"token_head.{name}": x for name, x in model.token_head.state_dict().items()}
        multimolecule_folder(folder, saved, num_labels=3, problem_type="binary", head=head)
        again = SpTransformerForTokenPrediction.from_pretrained(folder)
        assert torch.equal(again(IDS).logits, model(IDS).logits)


def test_a_head_that_cannot_be_is_refused_where_it_is_asked_for(tmp_path: Path) -> None:
    folder = multimolecule_folder(
        tmp_path, multimolecule_tensors(network_of(MULTIMOLECULE)), head={"act": "sigmoid", "num_labels": 3}
    )
    SpTransformerModel.from_pretrained(folder)
    with pytest.raises(InputError, match="act of the head is 'sigmoid'"):
        SpTransformerForTokenPrediction.from_pretrained(folder)
    SpTransformerForTokenPrediction.from_pretrained(folder, head=HeadConfig(2))


@pytest.mark.parametrize("head", [HeadConfig(3), HeadConfig(2, "binary", "linear")])
def test_a_head_that_is_asked_for_replaces_that_of_the_checkpoint(head: HeadConfig, tmp_path: Path) -> None:
    model = predictor()
    model.save_pretrained(tmp_path)
    replaced = SpTransformerForTokenPrediction.from_pretrained(tmp_path, head=head)
    assert replaced.config.head == head
    assert not torch.equal(replaced.token_head.decoder.weight[:2], model.token_head.decoder.weight[:2])
    assert torch.equal(replaced.model(IDS).logits, model.model(IDS).logits)


def test_a_head_that_does_not_fit_is_refused_by_its_file_and_tensors(tmp_path: Path) -> None:
    predictor().save_pretrained(tmp_path)
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace('"num_labels": 3', '"num_labels": 4'))
    message = f"the head of {tmp_path} does not fit its configuration (misshapen: decoder.weight [3, 16] instead of [4,"
    with pytest.raises(InputError, match=re.escape(message)):
        SpTransformerForTokenPrediction.from_pretrained(tmp_path)
    assert load_checkpoint(tmp_path).config.head == HeadConfig(4)
    SpTransformerModel.from_pretrained(tmp_path)  # which does not use it


def test_training_reaches_network_and_head() -> None:
    model = predictor(transform="nonlinear").train()
    model(IDS, labels=REAL).loss.backward()
    silent = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert all(name.startswith(("model.splice_head", "model.usage_head")) for name in silent)
    assert len(silent) == 4


def test_gradient_checkpointing_is_that_of_the_network() -> None:
    model = predictor().train()
    losses = []
    for turn in (model.gradient_checkpointing_disable, model.gradient_checkpointing_enable):
        turn()
        times: list[int] = []
        hook = model.model.layers[0].register_forward_pre_hook(lambda *_, times=times: times.append(1))
        model(IDS, labels=REAL).loss.backward()
        losses.append(len(times))
        hook.remove()
    assert losses == [1, 2]
    with pytest.raises(InputError, match="gradient_checkpointing_kwargs may hold"):
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"depth": 1})
