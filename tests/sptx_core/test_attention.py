"""Local and Sinkhorn attention against loops over single positions, in float64; and the weights that are recorded."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from material.networks import tiny_network
from torch import Tensor

from sptx_core.attention import SpTransformerAttentionMap, local_attention, sinkhorn_attention
from sptx_core.model import Attention, SpTransformerModel

BUCKETS, SIZE, HEADS, LAYERS = 5, 4, 4, 3  # of the networks whose weights are recorded


def random_heads(length: int, heads: int = 3, width: int = 4, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(length)
    return tuple(torch.randn(batch, heads, length, width, generator=generator, dtype=torch.float64) for _ in range(3))  # type: ignore[return-value]


def attend(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """One query [D] over keys and values [n, D], spelt out."""
    weights = [math.exp(float(query @ key) / math.sqrt(len(query))) for key in keys]
    return sum(weight * value for weight, value in zip(weights, values, strict=True)) / sum(weights)  # type: ignore[return-value]


@pytest.mark.parametrize(("length", "size"), [(12, 4), (5, 5), (6, 1), (8, 4)])
def test_local_attention_sees_its_bucket_and_the_neighbours(length: int, size: int) -> None:
    query, key, value = random_heads(length)
    result = local_attention(query, key, value, size)
    for batch in range(2):
        for head in range(3):
            for position in range(length):
                bucket = position // size
                seen = slice(max(0, (bucket - 1) * size), min(length, (bucket + 2) * size))
                expected = attend(query[batch, head, position], key[batch, head, seen], value[batch, head, seen])
                assert torch.allclose(result[batch, head, position], expected)


@pytest.mark.parametrize(("length", "size"), [(12, 4), (5, 5), (6, 1), (8, 4)])
def test_sinkhorn_attention_sees_its_bucket_and_the_keys_of_its_choice(length: int, size: int) -> None:
    query, key, value = random_heads(length)
    result, chosen = sinkhorn_attention(query, key, value, size)
    buckets = length // size
    assert chosen.bucket.shape == chosen.probability.shape == (2, 3, buckets)
    for batch in range(2):
        for head in range(3):
            q, k, v = (x[batch, head].reshape(buckets, size, -1) for x in (query, key, value))
            for bucket in range(buckets):
                fits = torch.tensor([float(q[bucket].mean(0) @ other.mean(0)) / 2 for other in k]).exp()  # 2 = sqrt(D)
                best = int(fits.argmax())
                weight = float(fits[best] / fits.sum())
                assert chosen.bucket[batch, head, bucket] == best
                assert float(chosen.probability[batch, head, bucket]) == pytest.approx(weight, rel=1e-6)
                moved = weight * k[best]  # keys, also where values would stand
                keys, values = torch.cat((moved, k[bucket])), torch.cat((moved, v[bucket]))
                for place in range(size):
                    expected = attend(q[bucket, place], keys, values)
                    assert torch.allclose(result[batch, head, bucket * size + place], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_attention_has_gradients_through_the_probability_of_the_choice() -> None:
    heads = tuple(x.requires_grad_() for x in random_heads(8, heads=2, batch=1))
    assert torch.autograd.gradcheck(lambda q, k, v: sinkhorn_attention(q, k, v, 4)[0], heads)
    assert torch.autograd.gradcheck(lambda q, k, v: local_attention(q, k, v, 4), heads)


def test_no_heads_of_one_kind_give_no_output() -> None:
    none = torch.zeros(2, 0, 8, 4)
    assert local_attention(none, none, none, 4).shape == none.shape
    attended, chosen = sinkhorn_attention(none, none, none, 4)
    assert attended.shape == none.shape
    assert chosen.bucket.shape == (2, 0, 2)


# --- recorded weights ------------------------------------------------------------------------------------------------


def network(local_heads: int = 1) -> SpTransformerModel:
    return tiny_network(max_seq_len=BUCKETS * SIZE, layers=LAYERS, local_heads=local_heads).requires_grad_(False)


def random_ids(length: int) -> Tensor:
    return torch.randint(5, (2, length), generator=torch.Generator().manual_seed(length))


@pytest.mark.parametrize("local_heads", [0, 1, 4])
def test_shapes_and_scalars(local_heads: int) -> None:
    maps = network(local_heads)(random_ids(13), output_attentions=True).attentions
    assert len(maps) == LAYERS
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
    output = network()(random_ids(13), output_attentions=True, output_choices=True)
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


@pytest.mark.parametrize("train", [False, True])
def test_a_map_is_a_mapping_of_records_without_gradients(train: bool) -> None:
    model = network().requires_grad_().train(train)
    output = model(random_ids(13), output_attentions=True)
    found = output.attentions[0]
    assert output.logits.requires_grad
    assert list(found)[:4] == ["local_attentions", "local_key_positions", "sinkhorn_attentions", "sinkhorn_reorder"]
    assert len(found) == len(found.to_tuple()) == 10
    assert found["sinkhorn_reorder"] is found[3] is found.sinkhorn_reorder
    assert not any(value.requires_grad for value in found.to_tuple()[:4])


def test_kinds_of_heads_that_are_missing_have_no_entries() -> None:
    (found, *_) = network(4)(random_ids(13), output_attentions=True).attentions
    assert "sinkhorn_attentions" not in found
    assert found["num_sinkhorn_heads"] == 0
