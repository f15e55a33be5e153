"""MultiMolecule's names, and live against its package, where installed: weights, outputs, heads, token ids."""

from __future__ import annotations

import dataclasses
import doctest
import inspect
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from material.checkpoints import multimolecule_tensors
from torch import Tensor

from sptx_core import multimolecule
from sptx_core.config import HeadConfig, SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel
from sptx_core.token_prediction import SpTransformerForTokenPrediction
from sptx_core.tokenizer import DnaTokenizer

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


def test_examples_in_the_docstring_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # one saves a network
    result = doctest.testmod(multimolecule)
    assert result.failed == 0
    assert result.attempted >= 20


def test_settings_by_their_multimolecule_names() -> None:
    assert multimolecule.SpTransformerConfig() == SpTransformerConfig()
    config = multimolecule.SpTransformerConfig(
        hidden_size=6,
        attention_hidden_size=32,
        encoders=[multimolecule.SpTransformerFeatureEncoderConfig(hidden_size=4)],
        num_tissues=2,
        tissue_names=["brain", "liver"],
        num_labels=3,
        head={"problem_type": "multilabel", "transform": "nonlinear"},
    )
    assert config == SpTransformerConfig(
        input_path_channels=6,
        hidden_size=32,
        encoders=(SpTransformerFeatureEncoderConfig(4),),
        tissues=2,
        tissue_names=("brain", "liver"),
        head=HeadConfig(3, "multilabel", "nonlinear"),
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 3}, "this network has no setting depth"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu', but this network can only have 'relu'"),
        ({"head": {"act": "sigmoid"}}, "act of the head is 'sigmoid', but this head can only have None"),
    ],
)
def test_settings_that_it_cannot_have_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        multimolecule.SpTransformerConfig(**settings)


def test_configurations_by_the_same_names(port: Any) -> None:
    theirs = port.SpTransformerModel(port.SpTransformerConfig(**SIZES, num_local_attention_heads=1)).state_dict()
    ours = SpTransformerModel(multimolecule.SpTransformerConfig(**SIZES, num_local_attention_heads=1))
    assert {name: x.shape for name, x in multimolecule_tensors(ours).items()} == {
        name: x.shape for name, x in theirs.items()
    }


@pytest.mark.parametrize(
    "name", ["SpTransformerConfig", "SpTransformerModel", "SpTransformerForTokenPrediction", "DnaTokenizer"]
)
def test_published_examples_run_with_another_import(name: str, port: Any) -> None:
    published = inspect.getdoc(getattr(port, name))
    assert published is not None
    ours = published.replace("from multimolecule import", "from sptx_core.multimolecule import")
    ours = ours.replace("ValueError: ", "sptx_core.errors.InputError: ")  # in words of our own, too
    examples = doctest.DocTestParser().get_doctest(ours, {}, name, None, None)
    results = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL).run(examples)
    assert results.attempted >= 4
    assert results.failed == 0


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
def test_golden_weights_give_the_same_logits(length: int, golden: Pair) -> None:
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
    assert list(our_names) == list(their_names)
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
    assert_near(pair.ours(rows).logits, pair.port(nested).logits)
    for model in pair:
        for wrong in ({}, {"input_ids": IDS, "inputs_embeds": columns}):
            with pytest.raises(ValueError, match="input_ids"):
                model(**wrong)


@pytest.mark.parametrize("transform", [None, "linear", "nonlinear"])
@pytest.mark.parametrize(
    ("problem_type", "labels"),
    [
        ("regression", torch.rand(2, 27, 3, generator=torch.Generator().manual_seed(1))),
        ("binary", (IDS[..., None] == torch.arange(3)).float()),
        ("multilabel", (IDS[..., None] == torch.arange(3)).float()),
        ("multiclass", IDS % 3),
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
            with pytest.raises(InputError, match="codons"):
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
