"""Local and Sinkhorn attention against loops over single positions, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sptx_core.attention import local_attention, sinkhorn_attention


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


def test_attention_has_gradients_through_the_probability_of_the_choice() -> None:
    heads = tuple(x.requires_grad_() for x in random_heads(8))
    assert torch.autograd.gradcheck(lambda q, k, v: sinkhorn_attention(q, k, v, 4)[0], heads)
    assert torch.autograd.gradcheck(lambda q, k, v: local_attention(q, k, v, 4), heads)


def test_no_heads_of_one_kind_give_no_output() -> None:
    none = torch.zeros(2, 0, 8, 4)
    assert local_attention(none, none, none, 4).shape == none.shape
    attended, chosen = sinkhorn_attention(none, none, none, 4)
    assert attended.shape == none.shape
    assert chosen.bucket.shape == (2, 0, 2)
