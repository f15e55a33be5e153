"""Norm, means and head blocks of buckets."""

import math

import pytest
import torch
from material.random_layer import RandomLayer, assert_near, operand_values
from torch import Tensor

from sptx_core.engine.native import library
from sptx_core.engine.native.library import BUCKET, EVERYTHING, MEANS, Mode
from sptx_core.engine.native.weights import PANEL

LAYERS = [RandomLayer(3, 1, 32), RandomLayer(1, 0, 32), RandomLayer(2, 2, 32)]


def projected(layer: RandomLayer, x: Tensor, mode: Mode, products: int) -> tuple[Tensor, Tensor]:
    """Head blocks and means; NaN where nothing is written."""
    blocks = library.new_head_blocks(layer.heads, layer.local_heads, len(x), mode).fill_(torch.nan)
    means = torch.full((len(x), layer.hidden), torch.nan)
    library.project(mode, layer.arguments(mode), x, blocks, means, products)
    return blocks, means


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("buckets", [1, 6])
def test_head_blocks_and_means(mode: Mode, limits: tuple[float, float], layer: RandomLayer, buckets: int) -> None:
    x = layer.stream(buckets)
    blocks, means = projected(layer, x, mode, MEANS | EVERYTHING)
    assert_near(means, layer.normed(x, "a").mean(1), (2e-6, 2e-5))
    heads, local = layer.heads, layer.local_heads
    queries, keys, values, keys_as_panels = blocks.view(torch.int32).split([heads, heads, heads, heads - local], 1)
    words = mode.words(PANEL)
    query = layer.projected(x, "query") * (PANEL**-0.5 / math.log(2))
    assert_near(operand_values(queries.unflatten(2, (BUCKET, words)), mode), query, limits)
    by_position = keys.unflatten(2, (words, BUCKET)).transpose(2, 3)
    assert_near(operand_values(by_position, mode), layer.projected(x, "key"), limits)
    for found, name, first in ((values, "value", 0), (keys_as_panels, "key", local)):
        pairs = found.reshape(buckets, found.shape[1], mode.words(BUCKET), PANEL)  # words of positions
        if mode.parts:
            pairs = pairs.contiguous().view(torch.bfloat16).unflatten(3, (PANEL, 2))
            pairs = pairs.unflatten(2, (-1, mode.parts, 16)).double().sum(3)  # [..., steps, 16, PANEL, 2]
            pairs = pairs.transpose(4, 5).flatten(2, 4)
        else:
            pairs = pairs.view(torch.float32)
        if found.numel():
            assert_near(pairs, layer.projected(x, name)[:, first:], limits)


def test_only_what_is_asked_for_is_written(mode: Mode) -> None:
    layer = LAYERS[0]
    x = layer.stream(5)
    blocks, means = projected(layer, x, mode, MEANS | EVERYTHING)
    no_blocks, same_means = projected(layer, x, mode, MEANS)
    same_blocks, no_means = projected(layer, x, mode, EVERYTHING)
    assert torch.equal(means, same_means)
    assert no_blocks.isnan().all()
    assert no_means.isnan().all()
    assert torch.equal(blocks.view(torch.int32), same_blocks.view(torch.int32))


def test_some_buckets_get_the_same_head_blocks(mode: Mode) -> None:
    layer = LAYERS[0]
    x = layer.stream(7)
    every, _ = projected(layer, x, mode, EVERYTHING)
    some = library.new_head_blocks(layer.heads, layer.local_heads, 7, mode).fill_(torch.nan)
    listed = torch.tensor([6, 0, 3, 4, 1], dtype=torch.int32)
    library.project_some(mode, layer.arguments(mode), x, some, listed)
    assert torch.equal(some[listed].view(torch.int32), every[listed].view(torch.int32))
    assert some[[2, 5]].isnan().all()


def test_wanted_heads_get_their_keys(mode: Mode) -> None:
    layer = LAYERS[0]  # heads 1 and 2 are Sinkhorn heads
    x = layer.stream(4)
    every, _ = projected(layer, x, mode, EVERYTHING)
    some = library.new_head_blocks(layer.heads, layer.local_heads, 4, mode).fill_(torch.nan)
    listed, wanted = torch.tensor([[3, 0, 1], [0b11, 0b10, 0b00]], dtype=torch.int32)
    library.project_some(mode, layer.arguments(mode), x, some, listed, wanted)
    written = {(3, 4), (3, 5), (3, 9), (3, 10), (0, 5), (0, 10)}  # keys by word and as panels
    for bucket in range(4):
        for block in range(11):
            found = some[bucket, block]
            if (bucket, block) in written:
                assert torch.equal(found.view(torch.int32), every[bucket, block].view(torch.int32))
            else:
                assert found.isnan().all()
