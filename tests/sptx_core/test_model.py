"""The network: the original's golden outputs, alignment at every length, what it returns, and how it is run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from material.golden_weights import GoldenCase
from material.networks import network_of, tiny_config
from torch import Tensor

from sptx_core.alphabet import N_CODE
from sptx_core.config import ResidualStage, SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel

GOLDEN_TOLERANCE = 2e-5  # float32 against the original network; float64 moves its logits by up to 3.5e-6

SMALL = tiny_config(
    input_channels=4,
    context=10,
    max_seq_len=32,
    encoders=(
        SpTransformerFeatureEncoderConfig(6, (ResidualStage(1, 3, 1), ResidualStage(2, 5, 2))),
        SpTransformerFeatureEncoderConfig(4, (ResidualStage(1, 3, 1),)),
    ),
    local_heads=1,
    bucket_size=8,
)
ON_REQUEST: dict[str, Any] = {
    f"output_{entry}": True for entry in ("attentions", "hidden_states", "contexts", "choices")
}


def network(config: SpTransformerConfig = SMALL) -> SpTransformerModel:
    return network_of(config).requires_grad_(False)


def random_ids(length: int, batch: int = 2, codes: int = 5) -> Tensor:
    return torch.randint(codes, (batch, length), generator=torch.Generator().manual_seed(length))


@pytest.fixture(scope="module")
def published(golden_checkpoint: Path) -> SpTransformerModel:
    return SpTransformerModel.from_pretrained(golden_checkpoint)


# --- fidelity --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("case", range(6))
@torch.inference_mode()
def test_logits_equal_those_of_the_original_network(
    case: int, published: SpTransformerModel, golden_cases: tuple[GoldenCase, ...]
) -> None:
    codes, expected = golden_cases[case]
    logits = published(torch.from_numpy(codes)[None], flanked=True).logits[0].numpy()
    assert logits.shape == expected.shape
    assert np.abs(logits - expected).max() < GOLDEN_TOLERANCE


@pytest.mark.slow
@torch.inference_mode()
def test_float64_agrees_with_the_original_network(
    golden_checkpoint: Path, golden_cases: tuple[GoldenCase, ...]
) -> None:
    model = SpTransformerModel.from_pretrained(golden_checkpoint).double()
    codes, expected = golden_cases[3]
    output = model(torch.from_numpy(codes)[None], flanked=True)
    assert output.logits.dtype == output.last_hidden_state.dtype == output.scores().dtype == torch.float64
    assert np.abs(output.logits[0].numpy() - expected).max() < GOLDEN_TOLERANCE


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


@pytest.mark.slow
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


# --- what it returns -------------------------------------------------------------------------------------------------


def test_an_empty_batch_gives_an_empty_output() -> None:
    assert network()(torch.zeros(0, 8, dtype=torch.long)).logits.shape == (0, 8, 5)


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


@pytest.mark.parametrize("length", [1, 13, 20])
def test_asking_for_more_changes_no_number(length: int) -> None:
    model, ids = network(), random_ids(length)
    plain, recorded = model(ids), model(ids, **ON_REQUEST)
    assert torch.equal(plain.logits, recorded.logits)
    assert torch.equal(plain.last_hidden_state, recorded.last_hidden_state)
    assert list(recorded) == ["last_hidden_state", "logits", "contexts", "hidden_states", "attentions", "choices"]


def test_hidden_states_lie_around_each_layer() -> None:
    model, ids = network(), random_ids(13)
    seen: list[Tensor] = []
    hooks = [layer.register_forward_pre_hook(lambda _, given: seen.append(given[0])) for layer in model.layers]
    output = model(ids, output_hidden_states=True, output_contexts=True)
    for hook in hooks:
        hook.remove()
    states = output.hidden_states
    assert len(states) == len(seen) + 1 == SMALL.layers + 1
    assert all(state.shape == (2, 13, 16) for state in states)
    first = (SMALL.max_seq_len - 13) // 2
    assert all(torch.equal(state, x[:, first : first + 13]) for state, x in zip(states, seen, strict=False))
    assert states[-1] is output.last_hidden_state
    assert output.contexts == (output.last_hidden_state,)


# --- without attention, and several side by side ----------------------------------------------------------------------


BARE = dataclasses.replace(SMALL, layers=0, input_path_channels=0, hidden_size=7, tissues=0)
"""No attention, no path around the encoders, no usage; 7 is no multiple of the heads."""


@pytest.mark.parametrize("leak", [0.0, 0.1])
def test_without_attention_heads_read_the_fusion(leak: float) -> None:
    """Against the same steps written down without the classes of the network."""
    encoders = tuple(dataclasses.replace(encoder, leak=leak) for encoder in BARE.encoders)
    model, ids = network(dataclasses.replace(BARE, encoders=encoders)), random_ids(13)
    x = F.pad(F.one_hot(ids, 5)[..., :4].mT.float(), (10, 10))
    parts = []
    for number, stages in enumerate(([1, 2], [1])):
        w = model.encoders[number].state_dict()
        y = F.conv1d(x, w["input.weight"], w["input.bias"])
        total, block = F.conv1d(y, w["first_skip.weight"], w["first_skip.bias"]), 0
        for stage, blocks in enumerate(stages):
            for _ in range(blocks):
                z = y
                for half in "12":
                    norm, conv = f"blocks.{block}.norm{half}.", f"blocks.{block}.conv{half}."
                    state = [w[norm + name] for name in ("running_mean", "running_var", "weight", "bias")]
                    z = F.leaky_relu(F.batch_norm(z, *state), leak)
                    z = F.conv1d(z, w[conv + "weight"], w[conv + "bias"], padding="same", dilation=1 + stage)
                y, block = y + z, block + 1
            total = total + F.conv1d(y, w[f"skips.{stage}.weight"], w[f"skips.{stage}.bias"])
        parts.append(total[..., 10:-10])
    fused = F.conv1d(torch.cat(parts, 1), model.fusion.weight, model.fusion.bias)
    expected = F.conv1d(fused, model.splice_head.weight, model.splice_head.bias).mT
    output = model(ids)
    assert torch.allclose(output.logits, expected, atol=1e-6)
    assert torch.allclose(output.last_hidden_state, fused.mT, atol=1e-6)
    assert model.output_channels == ("no_splice", "acceptor", "donor")


def test_without_attention_a_prediction_does_not_depend_on_how_many_others_there_are() -> None:
    model, ids = network(BARE), random_ids(32)
    whole = model(ids).logits
    part = model(ids[:, 5:29], flanked=True).logits  # 10 of context on both sides
    assert torch.allclose(part, whole[:, 15:19], atol=1e-6)


def test_without_attention_there_is_nothing_to_record() -> None:
    output = network(BARE)(random_ids(9), **ON_REQUEST)
    assert output.attentions == ()
    assert len(output.hidden_states) == 1
    assert output.hidden_states[0] is output.last_hidden_state
    assert output.choices.bucket.shape == output.choices.probability.shape == (2, 0, 0, 0)
    assert output.choices.bucket.dtype == torch.int64


@pytest.mark.parametrize("config", [SMALL, BARE], ids=["attention", "bare"])
def test_scores_of_members_are_the_mean_of_those_of_each(config: SpTransformerConfig) -> None:
    ensemble, ids = network(dataclasses.replace(config, members=3)), random_ids(13)
    assert len(ensemble.networks) == 3
    found, each = ensemble(ids, **ON_REQUEST), [member(ids, **ON_REQUEST) for member in ensemble.networks]
    scores = torch.stack([output.scores() for output in each])
    assert not torch.allclose(scores[0], scores[1], atol=1e-3)
    assert torch.allclose(found.scores(), scores.mean(0), atol=1e-6)
    assert torch.equal(found.last_hidden_state, torch.cat([output.last_hidden_state for output in each], -1))
    assert len(found.attentions) == 3 * config.layers
    assert len(found.hidden_states) == 3 * (config.layers + 1)
    assert torch.equal(found.choices.bucket, torch.cat([output.choices.bucket for output in each], 1))
    assert set(ensemble(ids)) == {"last_hidden_state", "logits"}


def test_tensors_of_members_have_their_numbers_before_their_names() -> None:
    one, several = network(BARE), network(dataclasses.replace(BARE, members=2))
    assert [*several.state_dict()] == [f"member.{number}.{name}" for number in (0, 1) for name in one.state_dict()]
    assert one.networks == (one,)


@pytest.mark.slow
def test_members_are_trained_and_checkpointed_together() -> None:
    model = SpTransformerModel(dataclasses.replace(SMALL, members=2)).train()
    model.gradient_checkpointing_enable()
    assert all(member.gradient_checkpointing for member in model.networks)
    model(random_ids(32)).logits.square().mean().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


# --- how it is run ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "settings"),
    [({}, {}), ({}, {"output_attentions": True, "output_hidden_states": True}), ({"layers": 0, "members": 2}, {})],
)
def test_forward_compiles_as_one_graph(changed: dict[str, Any], settings: dict[str, Any]) -> None:
    model, ids = network(dataclasses.replace(SMALL, **changed)), random_ids(10)
    compiled = torch.compile(model, backend="eager", fullgraph=True)  # the graph is the point, not its code
    found, expected = compiled(ids, **settings), model(ids, **settings)
    assert torch.allclose(found.logits, expected.logits, atol=1e-6)
    assert list(found) == list(expected)


@pytest.mark.parametrize(("dtype", "largest"), [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_low_precision_is_near_and_stays_low(dtype: torch.dtype, largest: float) -> None:
    model, ids = network(), random_ids(10)
    expected = model(ids).logits
    output = model.to(dtype)(ids, output_attentions=True, output_hidden_states=True)
    assert {output.logits.dtype, *(state.dtype for state in output.hidden_states)} == {dtype}
    assert output.attentions[0].sinkhorn_attentions.dtype == dtype
    assert output.scores().dtype == torch.float32
    assert 0 < (output.logits.float() - expected).abs().max() < largest


def test_training_mode_reaches_every_parameter() -> None:
    model = SpTransformerModel(SMALL)
    model(random_ids(32)).logits.square().mean().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("settings", [None, {"use_reentrant": True}, {"preserve_rng_state": False}])
def test_checkpointed_layers_have_the_same_gradients_and_are_computed_twice(settings: dict[str, bool] | None) -> None:
    gradients, passes = [], []
    for enable in (False, True):
        model = network_of(SMALL).train()
        model.gradient_checkpointing_enable(enable, gradient_checkpointing_kwargs=settings)
        times: list[int] = []
        model.layers[0].register_forward_pre_hook(lambda _module, _given, times=times: times.append(1))
        model(random_ids(10)).logits.square().sum().backward()
        gradients.append({name: x.grad for name, x in model.named_parameters()} | dict(model.named_buffers()))
        passes.append(len(times))
    assert passes == [1, 2]
    for name, plain in gradients[0].items():
        assert plain is not None
        assert torch.allclose(plain, gradients[1][name], atol=1e-6), name


def test_checkpointing_is_turned_off_again() -> None:
    model = network()
    model.gradient_checkpointing_enable()
    assert model.gradient_checkpointing
    model.gradient_checkpointing_disable()
    assert not model.gradient_checkpointing


def test_settings_of_checkpointing_that_there_are_not_are_refused() -> None:
    with pytest.raises(InputError, match=r"may hold use_reentrant, preserve_rng_state; there is no setting depth"):
        network().gradient_checkpointing_enable(gradient_checkpointing_kwargs={"depth": 1})
    with pytest.raises(InputError, match="settings are gradient_checkpointing_kwargs"):
        network().gradient_checkpointing_enable({"use_reentrant": True})  # type: ignore[arg-type]  # the point


def test_settings_of_checkpointing_reach_pytorch() -> None:
    model = network_of(SMALL).train().requires_grad_(False)
    model.layers.requires_grad_()
    model.gradient_checkpointing_enable()
    model(random_ids(10)).logits.sum().backward()
    assert model.layers[0].expand.weight.grad is not None
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
    with pytest.warns(UserWarning, match="requires_grad=True"):  # which only reentrant checkpointing needs
        model(random_ids(10))
