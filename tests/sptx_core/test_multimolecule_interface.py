"""What the network gives on request, its heads and its tokenizer, live against MultiMolecule's, where installed."""

from __future__ import annotations

import dataclasses
import doctest
import inspect
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sptx_core.checkpoint import Layout, renamed
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel
from sptx_core.multimolecule import SpTransformerConfig
from sptx_core.token_prediction import SpTransformerForTokenPrediction
from sptx_core.tokenizer import DnaTokenizer

multimolecule = pytest.importorskip("multimolecule")

TOLERANCE = 2e-5
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
ASKED: dict[str, Any] = {f"output_{what}": True for what in ("attentions", "hidden_states", "contexts")}


class Pair(NamedTuple):
    """The port, and ours."""

    port: Any
    ours: Any


def randomised(port: Any) -> Any:
    """The model with weights and running statistics that all do something."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in port.state_dict().items():
        if tensor.is_floating_point():
            spread = 0.5 if tensor.ndim == 1 or "position" in name else 1 / tensor[0].numel() ** 0.5
            tensor.copy_(spread * torch.randn(tensor.shape, generator=generator))
            if "var" in name or ("norm" in name and name.endswith("weight")):
                tensor.abs_().add_(0.5)
    return port.eval().requires_grad_(False)


def networks(local_heads: int, tmp_path: Path) -> Pair:
    config = multimolecule.SpTransformerConfig(
        **SIZES, encoders=[{"hidden_size": 5}], num_local_attention_heads=local_heads
    )
    port = randomised(multimolecule.SpTransformerModel(config))
    port.save_pretrained(tmp_path)
    return Pair(port, SpTransformerModel.from_pretrained(tmp_path).requires_grad_(False))


def assert_near(ours: Tensor, port: Tensor) -> None:
    assert ours.shape == port.shape
    assert (ours - port).detach().abs().max() < TOLERANCE


@pytest.mark.parametrize("local_heads", [0, 1, 4])
def test_outputs_on_request(local_heads: int, tmp_path: Path) -> None:
    pair = networks(local_heads, tmp_path)
    port, ours = (model(IDS, **ASKED) for model in pair)
    assert list(ours) == list(port)
    assert ours.logits.std() > 0.1
    for name in ("contexts", "hidden_states"):
        assert len(ours[name]) == len(port[name])
        for x, y in zip(ours[name], port[name], strict=True):
            assert_near(x, y)
    for found, expected in zip(ours.attentions, port.attentions, strict=True):
        assert {field.name for field in dataclasses.fields(found)} >= set(expected.keys())
        for name in (field.name for field in dataclasses.fields(found)):
            value, other = getattr(found, name), getattr(expected, name)
            if isinstance(value, Tensor):
                assert_near(value, other)
            else:
                assert value == other, name


def test_channels_and_postprocessing(tmp_path: Path) -> None:
    pair = networks(1, tmp_path)
    (port, port_names), (ours, our_names) = (model.postprocess(model(IDS)) for model in pair)
    assert list(our_names) == list(port_names)
    assert_near(ours, port)


def test_columns_masks_and_ragged_batches(tmp_path: Path) -> None:
    pair = networks(1, tmp_path)
    columns = torch.rand(2, 27, 5, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 27, dtype=torch.long)
    mask[1, 11:] = 0
    for given in ({"inputs_embeds": columns}, {"inputs_embeds": columns, "attention_mask": mask}):
        port, ours = (model(**given) for model in pair)
        assert_near(ours.logits, port.logits)
    port, ours = (model(IDS, attention_mask=mask) for model in pair)
    assert_near(ours.logits, port.logits)
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
def test_token_prediction(problem_type: str, transform: str | None, labels: Tensor, tmp_path: Path) -> None:
    head = {"num_labels": 3, "problem_type": problem_type, "transform": transform, "hidden_size": 16}
    config = multimolecule.SpTransformerConfig(**SIZES, encoders=[{"hidden_size": 5}], head=head)
    port = randomised(multimolecule.SpTransformerForTokenPrediction(config))
    port.save_pretrained(tmp_path)
    ours = SpTransformerForTokenPrediction.from_pretrained(tmp_path)
    expected, found = port(IDS, labels=labels), ours(IDS, labels=labels)
    assert list(found) == list(expected)
    assert_near(found.logits, expected.logits)
    assert_near(found.loss, expected.loss)


def test_configurations_by_the_same_names() -> None:
    port = multimolecule.SpTransformerModel(multimolecule.SpTransformerConfig(**SIZES, num_local_attention_heads=1))
    ours = SpTransformerModel(SpTransformerConfig(**SIZES, num_local_attention_heads=1))
    named = renamed(ours.state_dict(), Layout.OURS, Layout.MULTIMOLECULE)
    assert {name: x.shape for name, x in named.items()} == {name: x.shape for name, x in port.state_dict().items()}


@pytest.mark.parametrize(
    "name", ["SpTransformerConfig", "SpTransformerModel", "SpTransformerForTokenPrediction", "DnaTokenizer"]
)
def test_published_examples_run_with_another_import(name: str) -> None:
    published = inspect.getdoc(getattr(multimolecule, name))
    assert published is not None
    ours = published.replace("from multimolecule import", "from sptx_core.multimolecule import")
    ours = ours.replace("ValueError: ", "sptx_core.errors.InputError: ")  # in words of our own, too
    examples = doctest.DocTestParser().get_doctest(ours, {}, name, None, None)
    results = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL).run(examples)
    assert results.attempted >= 4
    assert results.failed == 0


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
def test_tokens_and_ids(settings: dict[str, Any]) -> None:
    port, ours = multimolecule.DnaTokenizer(**settings), DnaTokenizer(**settings)
    assert ours.vocabulary == port.get_vocab()
    for sequence in SEQUENCES:
        try:
            expected = port(sequence)["input_ids"]
        except ValueError:
            with pytest.raises(InputError, match="codons"):
                ours(sequence)
            continue
        assert ours(sequence)["input_ids"] == expected, sequence
        assert ours.tokenize(sequence) == port.tokenize(sequence)
        assert ours.decode(expected) == port.decode(expected)


def test_batches_of_ids() -> None:
    port, ours = multimolecule.DnaTokenizer(), DnaTokenizer()
    batch = ["ACGT", "AC", ""]
    assert dict(ours(batch)) == dict(port(batch))
    assert dict(ours(batch, padding=True)) == dict(port(batch, padding=True))
    assert ours("ACGT", add_special_tokens=False)["input_ids"] == port("ACGT", add_special_tokens=False)["input_ids"]
    expected, found = (t(batch, padding=True, return_tensors="pt") for t in (port, ours))
    for name in ("input_ids", "attention_mask"):
        assert torch.equal(found[name], expected[name])


def test_ids_of_the_network_mean_the_same_bases(tmp_path: Path) -> None:
    pair = networks(1, tmp_path)
    ids = DnaTokenizer.from_pretrained(tmp_path)("GGUAAGTCATCAG", return_tensors="pt")["input_ids"]
    assert_near(pair.ours(ids).logits, pair.port(inputs_embeds=F.one_hot(ids, 5).float()).logits)
