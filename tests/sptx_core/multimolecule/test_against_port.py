"""MultiMolecule's names live against its package, where installed: settings, weights, outputs, heads, token ids."""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from material.checkpoints import multimolecule_tensors
from torch import Tensor, nn

from sptx_core import multimolecule
from sptx_core.errors import InputError
from sptx_core.multimolecule import (
    DnaTokenizer,
    SpTransformerConfig,
    SpTransformerForTokenPrediction,
    SpTransformerModel,
)
from sptx_core.multimolecule.config import DOCUMENTED, INHERITED

pytestmark = pytest.mark.slow

TOLERANCE = 2e-5  # of float32 logits; last hidden states of the golden network have about the same size
SIZES: dict[str, Any] = {
    "context": 10,
    "hidden_size": 6,
    "attention_hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "bucket_size": 8,
    "max_seq_len": 40,
    "num_tissues": 2,
}
IDS = torch.randint(4, (2, 27), generator=torch.Generator().manual_seed(0))  # the port's head is blind at N
ON_REQUEST: dict[str, Any] = {f"output_{entry}": True for entry in ("attentions", "hidden_states", "contexts")}


@pytest.fixture(scope="module")
def port() -> Any:
    """MultiMolecule's package."""
    return pytest.importorskip("multimolecule")


class Pair(NamedTuple):
    """The same network in MultiMolecule's package and in ours."""

    port: Any
    ours: Any


def randomised(model: Any) -> Any:
    """The model with weights and running statistics that all do something."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            spread = 0.5 if tensor.ndim == 1 or "position" in name else 1 / tensor[0].numel() ** 0.5
            tensor.copy_(spread * torch.randn(tensor.shape, generator=generator))
            if "var" in name or ("norm" in name and name.endswith("weight")):
                tensor.abs_().add_(0.5)
    return model.eval().requires_grad_(False)


def networks(port: Any, local_heads: int, tmp_path: Path) -> Pair:
    config = port.SpTransformerConfig(**SIZES, encoders=[{"hidden_size": 5}], num_local_attention_heads=local_heads)
    theirs = randomised(port.SpTransformerModel(config))
    theirs.save_pretrained(tmp_path)
    return Pair(theirs, SpTransformerModel.from_pretrained(tmp_path).requires_grad_(False))


def assert_near(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).detach().abs().max() < TOLERANCE


def assert_agree(pair: Pair, length: int) -> None:
    ids = torch.randint(5, (1, length), generator=torch.Generator().manual_seed(length))  # N among them
    with torch.inference_mode():
        theirs, ours = pair.port(ids), pair.ours(ids)
    for name in ("logits", "last_hidden_state"):
        assert_near(ours[name], theirs[name])


# --- names of settings -----------------------------------------------------------------------------------------------


def test_configurations_by_the_same_names(port: Any) -> None:
    theirs = port.SpTransformerModel(port.SpTransformerConfig(**SIZES, num_local_attention_heads=1)).state_dict()
    ours = SpTransformerModel(SpTransformerConfig(**SIZES, num_local_attention_heads=1))
    assert {name: x.shape for name, x in multimolecule_tensors(ours).items()} == {
        name: x.shape for name, x in theirs.items()
    }


@pytest.mark.parametrize(
    "settings",
    [
        {},
        SIZES,
        SIZES | {"num_labels": 3, "problem_type": None, "output_contexts": True, "batch_norm_momentum": 0.3},
        {"encoders": [{"hidden_size": 4}], "tissue_names": list("abcdefghijklmno"), "output_attentions": True},
        {"vocab_size": 4, "pad_token_id": 3, "unk_token_id": None, "mask_token_id": 1, "null_token_id": 2},
    ],
)
def test_documented_attributes_have_the_same_values(settings: dict[str, Any], port: Any) -> None:
    theirs, ours = (package.SpTransformerConfig(**settings) for package in (port, multimolecule))
    for name in (*DOCUMENTED, *INHERITED):
        found, expected = getattr(ours, name), getattr(theirs, name)
        if name == "encoders":
            found, expected = map(dict, found), map(dict, expected)
            assert list(found) == list(expected)
        else:
            assert (dict(found) if name == "head" else found) == expected, name
    assert type(ours).from_dict(json.loads(theirs.to_json_string(use_diff=False))) == ours


def test_the_order_of_the_constructor_is_the_same(port: Any) -> None:
    theirs = [x for x in inspect.signature(port.SpTransformerConfig.__init__).parameters if x not in ("self", "kwargs")]
    assert theirs == list(DOCUMENTED)
    assert set(port.HeadConfig()) == set(multimolecule.HeadConfig())


# --- the same weights in both packages -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def golden(port: Any, golden_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """The golden weights, and a fifth input channel for N that is not zero."""
    tensors = multimolecule_tensors(SpTransformerModel.from_pretrained(golden_checkpoint))
    generator = torch.Generator().manual_seed(0)
    for name in ("feature_encoders.0.conv1.weight", "feature_encoders.1.conv1.weight", "projection.conv1.weight"):
        tensors[name] = torch.cat((tensors[name], torch.randn(len(tensors[name]), 1, 1, generator=generator)), 1)
    theirs = port.SpTransformerModel(port.SpTransformerConfig()).eval()
    theirs.load_state_dict(tensors)
    folder = tmp_path_factory.mktemp("port")
    theirs.save_pretrained(folder)
    return Pair(theirs, SpTransformerModel.from_pretrained(folder))


@pytest.mark.parametrize("length", [1, 192, 201, 1000])
def test_golden_weights_give_the_same_logits(golden: Pair, length: int) -> None:
    assert_agree(golden, length)


def test_both_have_the_same_number_of_parameters(golden: Pair) -> None:
    assert [sum(x.numel() for x in model.parameters()) for model in golden] == 2 * [17_074_386]


@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("local_heads", [0, 1, 4])
def test_a_network_of_other_sizes_agrees_with_and_without_a_head_on_top(
    local_heads: int, head: bool, port: Any, tmp_path: Path
) -> None:
    config = port.SpTransformerConfig(
        context=30,
        hidden_size=6,
        encoders=[{"hidden_size": 5}, {"hidden_size": 3}, {"hidden_size": 4}],
        attention_hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_local_attention_heads=local_heads,
        intermediate_size=24,
        bucket_size=8,
        max_seq_len=64,
        num_tissues=2,
        num_labels=2,
    )
    kind = port.SpTransformerForTokenPrediction if head else port.SpTransformerModel
    theirs = randomised(kind(config))
    theirs.save_pretrained(tmp_path)
    pair = Pair(theirs.model if head else theirs, SpTransformerModel.from_pretrained(tmp_path))
    for length in (1, 17, 24, 63, 64):
        assert_agree(pair, length)


# --- outputs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("local_heads", [0, 1, 4])
def test_outputs_on_request(local_heads: int, port: Any, tmp_path: Path) -> None:
    pair = networks(port, local_heads, tmp_path)
    theirs, ours = (model(IDS, **ON_REQUEST) for model in pair)
    assert list(ours) == list(theirs)
    assert ours.logits.std() > 0.1
    for name in ("contexts", "hidden_states"):
        assert len(ours[name]) == len(theirs[name])
        for x, y in zip(ours[name], theirs[name], strict=True):
            assert_near(x, y)
    for found, expected in zip(ours.attentions, theirs.attentions, strict=True):
        assert {field.name for field in dataclasses.fields(found)} >= set(expected.keys())
        for name in (field.name for field in dataclasses.fields(found)):
            value, other = getattr(found, name), getattr(expected, name)
            if isinstance(value, Tensor):
                assert_near(value, other)
            else:
                assert value == other, name


def test_channels_and_postprocessing(port: Any, tmp_path: Path) -> None:
    pair = networks(port, 1, tmp_path)
    (theirs, their_names), (ours, our_names) = (model.postprocess(model(IDS)) for model in pair)
    assert our_names == their_names
    assert pair.ours.output_channels == pair.port.output_channels
    assert_near(ours, theirs)


def test_columns_masks_and_ragged_batches(port: Any, tmp_path: Path) -> None:
    pair = networks(port, 1, tmp_path)
    columns = torch.rand(2, 27, 5, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 27, dtype=torch.long)
    mask[1, 11:] = 0
    for given in ({"inputs_embeds": columns}, {"inputs_embeds": columns, "attention_mask": mask}):
        theirs, ours = (model(**given) for model in pair)
        assert_near(ours.logits, theirs.logits)
    theirs, ours = (model(IDS, attention_mask=mask) for model in pair)
    assert_near(ours.logits, theirs.logits)
    rows = [IDS[0], IDS[1, :11]]
    nested = pytest.importorskip("danling").NestedTensor(rows)
    for ragged in (rows, nested):
        assert_near(pair.ours(ragged).logits, pair.port(nested).logits)
    share = torch.rand(2, 27, generator=torch.Generator().manual_seed(0))
    for given in ({"inputs_embeds": columns}, {"input_ids": IDS}):
        theirs, ours = (model(**given, attention_mask=share) for model in pair)
        assert_near(ours.logits, theirs.logits)
    for model in pair:
        for wrong in ({}, {"input_ids": IDS, "inputs_embeds": columns}):
            with pytest.raises(ValueError, match="input_ids"):
                model(**wrong)


def test_forms_of_an_output(port: Any, tmp_path: Path) -> None:
    for model in networks(port, 1, tmp_path):
        named, plain = model(IDS, **ON_REQUEST), model(IDS, **ON_REQUEST, return_dict=False)
        assert type(plain) is tuple
        assert len(plain) == len(named) == len(named.to_tuple()) == 5
        assert torch.equal(named[0], named.last_hidden_state)
        assert torch.equal(plain[1], named[1])
        assert len(named[:2]) == 2
        assert len(named.attentions[0]) == len(named.attentions[0].to_tuple()) == 10
        assert not named.attentions[0][0].requires_grad
        model.config.output_attentions = True
        assert list(model(IDS)) == ["last_hidden_state", "logits", "attentions"]


def test_settings_of_a_saved_network_count(port: Any, tmp_path: Path) -> None:
    settings = SIZES | {
        "output_contexts": True,
        "output_attentions": True,
        "num_labels": 3,
        "problem_type": "multiclass",
    }
    port.SpTransformerModel(port.SpTransformerConfig(**settings)).save_pretrained(tmp_path)
    for name, labels in (("SpTransformerModel", None), ("SpTransformerForTokenPrediction", IDS % 3)):
        theirs, ours = (getattr(package, name).from_pretrained(tmp_path).eval() for package in (port, multimolecule))
        given = {} if labels is None else {"labels": labels}
        found, expected = ours(IDS, **given), theirs(IDS, **given)
        assert list(found) == list(expected)
        assert found.logits.shape == expected.logits.shape
        if labels is not None:
            assert type(found.loss.grad_fn) is type(expected.loss.grad_fn)
        assert dict(ours.config.head) == dict(theirs.config.head)
        momenta = [{x.momentum for x in model.modules() if isinstance(x, nn.BatchNorm1d)} for model in (theirs, ours)]
        assert momenta[0] == momenta[1] == {0.1}


@pytest.mark.filterwarnings("ignore:`problem_type` is not set")  # theirs
@pytest.mark.parametrize("num_labels", [1, 3])
@pytest.mark.parametrize("kind", ["floats", "classes", "classes with an axis", "bits", "bools"])
def test_labels_say_the_same_of_a_head_that_does_not(kind: str, num_labels: int, port: Any, tmp_path: Path) -> None:
    labels = {
        "floats": torch.rand(2, 27, num_labels, generator=torch.Generator().manual_seed(1)),
        "classes": IDS % num_labels,
        "classes with an axis": IDS[..., None] % num_labels,
        "bits": (IDS[..., None] == torch.arange(num_labels)).long(),
        "bools": IDS[..., None] == torch.arange(num_labels),
    }[kind]
    config = port.SpTransformerConfig(**SIZES, encoders=[{"hidden_size": 5}], num_labels=num_labels, problem_type=None)
    theirs = randomised(port.SpTransformerForTokenPrediction(config))
    theirs.save_pretrained(tmp_path)
    ours = SpTransformerForTokenPrediction.from_pretrained(tmp_path, problem_type=None)
    assert_near(ours(IDS, labels=labels).loss, theirs(IDS, labels=labels).loss)


@pytest.mark.parametrize("transform", [None, "linear", "nonlinear"])
@pytest.mark.parametrize(
    ("problem_type", "labels"),
    [
        ("regression", torch.rand(2, 27, 3, generator=torch.Generator().manual_seed(1))),
        ("binary", (IDS[..., None] == torch.arange(3)).float()),
        ("multilabel", (IDS[..., None] == torch.arange(3)).float()),
        ("multiclass", IDS % 3),
        ("multiclass", IDS[..., None] % 3),
    ],
)
def test_token_prediction(problem_type: str, transform: str | None, labels: Tensor, port: Any, tmp_path: Path) -> None:
    head = {"num_labels": 3, "problem_type": problem_type, "transform": transform, "hidden_size": 16}
    config = port.SpTransformerConfig(**SIZES, encoders=[{"hidden_size": 5}], head=head)
    theirs = randomised(port.SpTransformerForTokenPrediction(config))
    theirs.save_pretrained(tmp_path)
    ours = SpTransformerForTokenPrediction.from_pretrained(tmp_path)
    expected, found = theirs(IDS, labels=labels), ours(IDS, labels=labels)
    assert list(found) == list(expected)
    assert_near(found.logits, expected.logits)
    assert_near(found.loss, expected.loss)


# --- tokenizer -------------------------------------------------------------------------------------------------------

SEQUENCES = (
    "<pad><cls><eos><unk><mask><null>ACGTNRYSWKMBDHVX|.*-?",
    "acgt",
    "acgu",
    "ACGTNRYSWKMBDHVI X",
    "tataaagta",
    "gattacaga<mask>ccc",
    "",
    "NNA",
)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"alphabet": "standard"},
        {"alphabet": "iupac"},
        {"alphabet": "streamline"},
        {"alphabet": "nucleobase"},
        {"alphabet": ["T", "A", "C"]},
        {"nmers": 2},
        {"nmers": 3},
        {"alphabet": "nucleobase", "nmers": 3},
        {"alphabet": "standard", "nmers": 2},
        {"codon": True},
        {"alphabet": "nucleobase", "codon": True},
        {"replace_U_with_T": False},
        {"do_upper_case": False},
        {"additional_special_tokens": ["<exon>", "<intron>"]},
    ],
)
def test_tokens_and_ids(settings: dict[str, Any], port: Any) -> None:
    theirs, ours = port.DnaTokenizer(**settings), DnaTokenizer(**settings)
    assert ours.vocabulary == theirs.get_vocab()
    for sequence in SEQUENCES:
        try:
            expected = theirs(sequence)["input_ids"]
        except ValueError:
            with pytest.raises(InputError, match="codon"):
                ours(sequence)
            continue
        assert ours(sequence)["input_ids"] == expected, sequence
        assert ours.tokenize(sequence) == theirs.tokenize(sequence)
        assert ours.decode(expected) == theirs.decode(expected)


def test_batches_of_ids(port: Any) -> None:
    theirs, ours = port.DnaTokenizer(), DnaTokenizer()
    batch = ["ACGT", "AC", ""]
    assert dict(ours(batch)) == dict(theirs(batch))
    assert dict(ours(batch, padding=True)) == dict(theirs(batch, padding=True))
    assert ours("ACGT", add_special_tokens=False)["input_ids"] == theirs("ACGT", add_special_tokens=False)["input_ids"]
    expected, found = (t(batch, padding=True, return_tensors="pt") for t in (theirs, ours))
    for name in ("input_ids", "attention_mask"):
        assert torch.equal(found[name], expected[name])


def test_ids_of_the_network_mean_the_same_bases(port: Any, tmp_path: Path) -> None:
    pair = networks(port, 1, tmp_path)
    ids = DnaTokenizer.from_pretrained(tmp_path)("GGUAAGTCATCAG", return_tensors="pt")["input_ids"]
    assert_near(pair.ours(ids).logits, pair.port(inputs_embeds=F.one_hot(ids, 5).float()).logits)
