"""The network: the golden outputs of the original, alignment at every length, input and output."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sptx_core.alphabet import N_CODE
from sptx_core.channels import scores
from sptx_core.config import ResidualStage, SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.errors import InputError
from sptx_core.inputs import one_hot
from sptx_core.model import SpTransformerModel

GOLDEN_TOLERANCE = 2e-5  # float32 against the original network; float64 moves its logits by up to 3.5e-6

SMALL = SpTransformerConfig(
    input_channels=4,
    context=10,
    max_seq_len=32,
    encoders=(
        SpTransformerFeatureEncoderConfig(6, (ResidualStage(1, 3, 1), ResidualStage(2, 5, 2))),
        SpTransformerFeatureEncoderConfig(4, (ResidualStage(1, 3, 1),)),
    ),
    input_path_channels=5,
    hidden_size=16,
    layers=2,
    heads=4,
    local_heads=1,
    bucket_size=8,
    feed_forward_size=12,
    tissues=2,
)


def network(config: SpTransformerConfig = SMALL, seed: int = 0) -> SpTransformerModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = SpTransformerModel(config)
        for name, buffer in model.named_buffers():
            if buffer.is_floating_point():  # running statistics that do something
                buffer.copy_(torch.rand_like(buffer) + ("var" in name))
    return model.eval().requires_grad_(False)


def random_ids(length: int, batch: int = 2, codes: int = 5) -> Tensor:
    return torch.randint(codes, (batch, length), generator=torch.Generator().manual_seed(length))


@pytest.fixture(scope="module")
def published(golden_checkpoint: Path) -> SpTransformerModel:
    return SpTransformerModel.from_pretrained(golden_checkpoint)


# --- fidelity --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", range(6))
def test_logits_equal_those_of_the_original_network(case: int, published: SpTransformerModel, shared: Path) -> None:
    with np.load(shared / "golden" / "official_seed0.npz") as golden, torch.inference_mode():
        logits = published(torch.from_numpy(golden[f"codes_{case}"])[None], flanked=True).logits[0].numpy()
        assert logits.shape == golden[f"logits_{case}"].shape
        assert np.abs(logits - golden[f"logits_{case}"]).max() < GOLDEN_TOLERANCE


def test_float64_agrees_with_the_original_network(golden_checkpoint: Path, shared: Path) -> None:
    model = SpTransformerModel.from_pretrained(golden_checkpoint).double()
    with np.load(shared / "golden" / "official_seed0.npz") as golden, torch.inference_mode():
        output = model(torch.from_numpy(golden["codes_3"])[None], flanked=True)
        assert output.logits.dtype == output.last_hidden_state.dtype == output.scores().dtype == torch.float64
        assert np.abs(output.logits[0].numpy() - golden["logits_3"]).max() < GOLDEN_TOLERANCE


def test_number_of_parameters() -> None:
    def count(config: SpTransformerConfig) -> int:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in SpTransformerModel(config).parameters())

    assert count(SpTransformerConfig()) == 17_074_386
    first_layers = 128 + 64 + 128  # weights that read the fifth input channel
    assert count(SpTransformerConfig(input_channels=4)) == 17_074_386 - first_layers
    unused_heads = (3 + 15) * (128 + 1)  # of the first encoder in an official checkpoint
    assert count(SpTransformerConfig(input_channels=4)) + unused_heads == 17_076_388


# --- alignment -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def echo() -> SpTransformerModel:
    """A network whose logits at a position depend on the base there and on nothing else."""
    model = network()
    for name, parameter in model.named_parameters():
        silent = name.startswith(("encoders", "position", "layers"))
        if silent:
            parameter.zero_()
    return model


@pytest.mark.parametrize("flanked", [False, True])
@pytest.mark.parametrize("length", range(1, SMALL.max_seq_len + 1))
def test_each_base_gets_its_own_prediction_at_every_length(
    length: int, flanked: bool, echo: SpTransformerModel
) -> None:
    of_codes = torch.cat([echo(torch.tensor([[code]])).logits[0] for code in range(5)])  # [5, channels]
    assert torch.pdist(of_codes).min() > 1e-2
    ids = random_ids(length + 2 * SMALL.context * flanked)
    predicted = ids[:, SMALL.context : SMALL.context + length] if flanked else ids
    assert torch.allclose(echo(ids, flanked=flanked).logits, of_codes[predicted], atol=1e-5)


@pytest.mark.parametrize("length", [1, 2, 7, 31, 32])
def test_every_size_of_input_gives_its_size_of_output(length: int) -> None:
    output = network()(random_ids(length))
    assert output.logits.shape == (2, length, 5)
    assert output.last_hidden_state.shape == (2, length, 16)


@pytest.mark.parametrize("length", [1, 8, 13, 32])
def test_flanks_of_n_equal_the_padding_of_four_channels(length: int) -> None:
    model, ids = network(), random_ids(length)
    flanked = F.pad(ids, (SMALL.context, SMALL.context), value=N_CODE)
    assert torch.equal(model(ids).logits, model(flanked, flanked=True).logits)


def test_flanks_are_read() -> None:
    model, ids = network(), random_ids(8 + 2 * SMALL.context, codes=4)
    changed = ids.clone()
    changed[:, SMALL.context - 1] = (ids[:, SMALL.context - 1] + 1) % 4
    assert not torch.allclose(model(ids, flanked=True).logits, model(changed, flanked=True).logits, atol=1e-4)


def test_a_fifth_channel_tells_n_from_padding() -> None:
    model = network(dataclasses.replace(SMALL, input_channels=5))
    ids = random_ids(8)
    flanked = F.pad(ids, (SMALL.context, SMALL.context), value=N_CODE)
    assert not torch.allclose(model(ids).logits, model(flanked, flanked=True).logits, atol=1e-4)
    with torch.no_grad():
        for first in (*(encoder.input for encoder in model.encoders), model.input_path[0]):
            first.weight[:, N_CODE] = 0
    assert torch.equal(model(ids).logits, model(flanked, flanked=True).logits)


def test_one_hot_columns() -> None:
    codes = torch.tensor([[0, 3, 4]])
    assert one_hot(codes, 4, torch.float32).tolist() == [[[1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 1, 0]]]
    assert one_hot(codes, 5, torch.float64)[0, 4].tolist() == [0, 0, 1]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32, torch.int64])
def test_codes_of_any_integer_type_are_taken(dtype: torch.dtype) -> None:
    model, ids = network(), random_ids(9)
    assert torch.equal(model(ids.to(dtype)).logits, model(ids).logits)


def test_sequences_of_a_batch_do_not_touch() -> None:
    model, ids = network(), random_ids(20, batch=3)
    alone = torch.cat([model(row[None]).logits for row in ids])
    assert torch.allclose(model(ids).logits, alone, atol=1e-5)


@pytest.mark.parametrize("local_heads", [0, 4])
@pytest.mark.parametrize("length", [5, 32])
def test_heads_may_all_be_of_one_kind(local_heads: int, length: int) -> None:
    output = network(dataclasses.replace(SMALL, local_heads=local_heads))(random_ids(length))
    assert output.logits.shape == (2, length, 5)
    assert output.logits.isfinite().all()


def test_no_context_is_a_context_too() -> None:
    model, ids = network(dataclasses.replace(SMALL, context=0)), random_ids(11)
    assert torch.equal(model(ids).logits, model(ids, flanked=True).logits)


# --- input and output ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "flanked", "message"),
    [
        (torch.zeros(1, 33, dtype=torch.long), False, r"33 bases to predict are more than the 32 .*max_seq_len"),
        (torch.zeros(1, 53, dtype=torch.long), True, r"33 bases to predict are more than the 32 .*max_seq_len"),
        (torch.zeros(1, 0, dtype=torch.long), False, "nothing to predict"),
        (torch.zeros(1, 20, dtype=torch.long), True, "nothing to predict: 20 of them are flank"),
        (torch.zeros(8, dtype=torch.long), False, r"of shape \[batch, length\], not torch.int64 of shape \[8\]"),
        (torch.zeros(1, 8), False, "must be integers .* not torch.float32"),
        (torch.zeros(1, 8, dtype=torch.bool), False, "must be integers .* not torch.bool"),
        (torch.full((1, 8), 5), False, "must be 0..4"),
        (torch.full((1, 8), -1), False, "must be 0..4"),
    ],
)
def test_impossible_input_is_refused_with_the_reason(ids: Tensor, flanked: bool, message: str) -> None:
    with pytest.raises(InputError, match=message):
        network()(ids, flanked=flanked)


def test_an_empty_batch_gives_an_empty_output() -> None:
    assert network()(torch.zeros(0, 8, dtype=torch.long)).logits.shape == (0, 8, 5)


def test_output_is_a_mapping_with_attributes_and_without_empty_entries() -> None:
    output = network()(random_ids(8))
    assert list(output) == list(output.keys()) == ["last_hidden_state", "logits"]
    assert len(output) == 2
    assert output["logits"] is output.logits
    assert dict(output)["last_hidden_state"] is output.last_hidden_state
    assert str(output.keys()) == "odict_keys(['last_hidden_state', 'logits'])"
    assert output.attentions is None
    for name in ("attentions", "scores", "nothing"):
        assert name not in output
        with pytest.raises(KeyError):
            output[name]


def test_scores_of_an_output_are_those_of_its_logits() -> None:
    output = network()(random_ids(8))
    assert torch.equal(output.scores(), scores(output.logits))
    assert torch.allclose(output.scores()[..., :3].sum(-1), torch.ones(2, 8))


def test_postprocess_leaves_usage_as_it_is_and_names_the_channels() -> None:
    model = network()
    output = model(random_ids(8))
    for given in (output, output.logits):
        found, names = model.postprocess(given)
        assert torch.equal(found[..., :3], output.logits[..., :3].softmax(-1))
        assert torch.equal(found[..., 3:], output.logits[..., 3:])
        assert names == model.output_channels == ("no_splice", "acceptor", "donor", "tissue_0", "tissue_1")


def test_logits_are_read_off_the_last_hidden_state() -> None:
    model = network()
    output = model(random_ids(8))
    heads: list[Any] = [model.splice_head, model.usage_head]
    logits = torch.cat([F.linear(output.last_hidden_state, head.weight[..., 0], head.bias) for head in heads], -1)
    assert torch.allclose(output.logits, logits, atol=1e-6)


def test_choices_tell_what_each_sinkhorn_head_chose() -> None:
    output = network()(random_ids(8), output_choices=True)
    assert list(output)[-1] == "choices"
    assert output.choices is not None
    bucket, probability = output.choices
    assert bucket.shape == probability.shape == (2, SMALL.layers, 3, 4)  # three Sinkhorn heads, four buckets of eight
    assert 0 <= bucket.min() <= bucket.max() < 4
    assert 1 / 4 <= probability.min() <= probability.max() <= 1


def test_training_mode_reaches_every_parameter() -> None:
    model = SpTransformerModel(SMALL)
    model(random_ids(32)).logits.square().mean().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
