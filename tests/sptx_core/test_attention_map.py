"""Recorded attention: its shapes, that it is what the layers attended with, and that recording changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from networks import tiny_config
from torch import Tensor

from sptx_core.attention import SpTransformerAttentionMap
from sptx_core.model import Attention, SpTransformerModel

CONFIG = tiny_config(max_seq_len=20, layers=3, local_heads=1)
BUCKETS, SIZE, HEADS = 5, 4, 4
ALL: dict[str, Any] = {f"output_{what}": True for what in ("attentions", "hidden_states", "contexts", "choices")}


def network(local_heads: int = 1) -> SpTransformerModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SpTransformerModel(replace(CONFIG, local_heads=local_heads)).eval().requires_grad_(False)


def random_ids(length: int) -> Tensor:
    return torch.randint(5, (2, length), generator=torch.Generator().manual_seed(length))


@pytest.mark.parametrize("length", [1, 13, 20])
def test_recording_changes_no_number(length: int) -> None:
    model, ids = network(), random_ids(length)
    plain, recorded = model(ids), model(ids, **ALL)
    assert torch.equal(plain.logits, recorded.logits)
    assert torch.equal(plain.last_hidden_state, recorded.last_hidden_state)
    assert list(recorded) == ["last_hidden_state", "logits", "contexts", "hidden_states", "attentions", "choices"]


@pytest.mark.parametrize("local_heads", [0, 1, 4])
def test_shapes_and_scalars(local_heads: int) -> None:
    maps = network(local_heads)(random_ids(13), output_attentions=True).attentions
    assert len(maps) == CONFIG.layers
    for found in maps:
        assert (found.local_attentions is None) == (found.local_key_positions is None) == (local_heads == 0)
        if local_heads:
            assert found.local_attentions.shape == (2, local_heads, BUCKETS, SIZE, 3 * SIZE)
            assert found.local_key_positions.shape == (BUCKETS, 3 * SIZE)
        far = HEADS - local_heads
        assert (found.sinkhorn_attentions is None) == (found.sinkhorn_reorder is None) == (far == 0)
        if far:
            assert found.sinkhorn_attentions.shape == (2, far, BUCKETS, SIZE, 2 * SIZE)
            assert found.sinkhorn_reorder.shape == (2, far, BUCKETS, BUCKETS)
        assert (found.bucket_size, found.look_backward, found.look_forward) == (SIZE, 1, 1)
        assert (found.num_local_heads, found.num_sinkhorn_heads, found.sequence_length) == (local_heads, far, 20)


def test_weights_of_a_query_sum_to_one_and_padding_has_none() -> None:
    for found in network()(random_ids(13), output_attentions=True).attentions:
        for weights in (found.local_attentions, found.sinkhorn_attentions):
            assert weights.min() >= 0
            assert torch.allclose(weights.sum(-1), torch.ones(()), atol=1e-6)
        padded = (found.local_key_positions == -1)[:, None].expand(-1, SIZE, -1)
        assert padded.sum() == 2 * SIZE * SIZE
        assert (found.local_attentions[:, :, padded] == 0).all()
        assert (found.local_attentions[:, :, ~padded] > 0).all()


def test_key_positions_count_through_the_sequence() -> None:
    (found, *_) = network()(random_ids(13), output_attentions=True).attentions
    for window in range(BUCKETS):
        positions = range((window - 1) * SIZE, (window + 2) * SIZE)
        expected = [x if 0 <= x < BUCKETS * SIZE else -1 for x in positions]
        assert found.local_key_positions[window].tolist() == expected


def test_reorder_holds_the_weight_of_each_choice_alone() -> None:
    output = network()(random_ids(13), **ALL)
    for layer, found in enumerate(output.attentions):
        bucket, probability = (x[:, layer] for x in output.choices)
        expected = F.one_hot(bucket, BUCKETS) * probability[..., None]
        assert torch.equal(found.sinkhorn_reorder, expected)


def contracted(layer: Attention, x: Tensor, found: SpTransformerAttentionMap) -> Tensor:
    """The layer's attention of x [B, S, C], from recorded weights and projected values, bucket by bucket."""
    key, value = (y.unflatten(2, (HEADS, -1)).transpose(1, 2) for y in layer.key_value(x).chunk(2, -1))
    attended = torch.zeros_like(value)  # [B, H, S, D]
    own = [slice(u * SIZE, (u + 1) * SIZE) for u in range(BUCKETS)]
    n = found.num_local_heads
    for u in range(BUCKETS):
        if found.local_attentions is not None and found.local_key_positions is not None:
            positions = found.local_key_positions[u]
            seen = value[:, :n, positions] * (positions >= 0)[:, None]
            attended[:, :n, own[u]] = found.local_attentions[:, :, u] @ seen
        if found.sinkhorn_attentions is not None and found.sinkhorn_reorder is not None:
            moved = sum(found.sinkhorn_reorder[:, :, u, v, None, None] * key[:, n:, own[v]] for v in range(BUCKETS))
            seen = torch.cat((moved, value[:, n:, own[u]]), 2)  # keys stand for the values of the chosen bucket
            attended[:, n:, own[u]] = found.sinkhorn_attentions[:, :, u] @ seen
    result: Tensor = layer.output(attended.transpose(1, 2).flatten(2))
    return result


@pytest.mark.parametrize("local_heads", [0, 1, 4])
def test_weights_and_values_give_the_output_of_the_layer_again(local_heads: int) -> None:
    attention = network(local_heads).double().layers[0].attention
    assert isinstance(attention, Attention)
    x = torch.randn(2, 20, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    attended, _, found = attention(x, True)
    assert torch.allclose(contracted(attention, x, found), attended, atol=1e-12)


def test_hidden_states_lie_around_each_layer() -> None:
    model, ids = network(), random_ids(13)
    seen: list[Tensor] = []
    hooks = [layer.register_forward_pre_hook(lambda _, given: seen.append(given[0])) for layer in model.layers]
    output = model(ids, output_hidden_states=True, output_contexts=True)
    for hook in hooks:
        hook.remove()
    states = output.hidden_states
    assert len(states) == CONFIG.layers + 1
    assert all(state.shape == (2, 13, 16) for state in states)
    first = (CONFIG.max_seq_len - 13) // 2
    assert all(torch.equal(state, x[:, first : first + 13]) for state, x in zip(states, seen, strict=False))
    assert states[-1] is output.last_hidden_state
    assert output.contexts == (output.last_hidden_state,)
