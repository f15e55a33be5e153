"""Attention, output projection and feed-forward of a layer's buckets, in place."""

import pytest
import torch
import torch.nn.functional as F
from material.random_layer import RandomLayer, assert_near

from sptx_core.engine.native import library
from sptx_core.engine.native.library import EVERYTHING, Mode


@pytest.mark.slow
@pytest.mark.parametrize("local_heads", [0, 1, 3])
@pytest.mark.parametrize(("in_window", "first", "count"), [(1, 0, 3), (2, 1, 2), (6, 0, 12), (6, 3, 5)])
def test_attend(
    mode: Mode, limits: tuple[float, float], local_heads: int, in_window: int, first: int, count: int
) -> None:
    """Windows of one bucket, of ends alone and with an inside; all buckets or some, across a window's end too."""
    layer, buckets = RandomLayer(3, local_heads, 96), 2 * in_window + (in_window == 1)
    x, arguments = layer.stream(buckets), layer.arguments(mode)
    generator = torch.Generator().manual_seed(0)
    shape = (buckets, 3 - local_heads)
    chosen = torch.randint(0, buckets, shape, generator=generator, dtype=torch.int32)
    probability = torch.rand(*shape, generator=generator)
    blocks = library.new_head_blocks(3, local_heads, buckets, mode)
    library.project(mode, arguments, x, blocks, torch.empty(0), EVERYTHING)
    attended = layer.attended(x, in_window, chosen, probability)
    stream = x + F.linear(attended, layer.linear("output").double(), layer.bias("output").double())
    expected = layer.fed_forward(stream)

    part = slice(first, first + count)
    found = x.clone()
    library.attend(mode, arguments, found, blocks, first, in_window, chosen[part], probability[part])
    assert_near(found[part], expected[part], limits)
    rest = torch.ones(buckets, dtype=torch.bool)
    rest[part] = False
    assert torch.equal(found[rest], x[rest])
