"""The buckets that Sinkhorn heads choose."""

import pytest
import torch
from material.random_layer import RandomLayer

from sptx_core.engine.native import library
from sptx_core.engine.native.library import MEANS, Mode
from sptx_core.engine.torch.layers import smallest_gaps


@pytest.mark.parametrize("layer", [RandomLayer(3, 1, 32), RandomLayer(2, 0, 32)])
@pytest.mark.parametrize(("windows", "buckets"), [(1, 1), (3, 5), (2, 70)])
def test_the_best_bucket_of_the_window_and_its_probability(layer: RandomLayer, windows: int, buckets: int) -> None:
    if not library.usable(torch.float32):
        pytest.skip("the compiled library is not there, or not for this processor")
    x = layer.stream(windows * buckets)
    arguments, means = layer.arguments(Mode.FLOAT32), torch.empty(windows, buckets, layer.hidden)
    blocks = library.new_head_blocks(layer.heads, layer.local_heads, len(x), Mode.FLOAT32)
    library.project(Mode.FLOAT32, arguments, x, blocks, means, MEANS)
    first, count = buckets // 3, (buckets + 1) // 2
    gaps: list[torch.Tensor] = []
    chosen, probability = library.choose(arguments, means, first, count, gaps)
    assert chosen.shape == probability.shape == (windows * count, layer.heads - layer.local_heads)
    for window, own in enumerate(x.split(buckets)):
        shares = torch.softmax(layer.scores(own)[:, first : first + count], 2)  # [heads, count, buckets]
        best, index = shares.max(2)
        part = slice(window * count, (window + 1) * count)
        assert torch.equal(chosen[part].T.long(), index + window * buckets)
        torch.testing.assert_close(probability[part].T.double(), best, rtol=1e-5, atol=0)
        gap = smallest_gaps(layer.scores(own)[None, :, first : first + count])
        torch.testing.assert_close(gaps[0][window : window + 1].double(), gap, rtol=0, atol=1e-5)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 40])
def test_of_equal_scores_the_first_is_chosen(pieces, count: int) -> None:
    scores, probability = torch.zeros(48), torch.empty(1)
    scores[count:] = 9  # not among them
    scores[count // 2] = 2
    scores[count - 1] = 2
    assert pieces.largest_of(scores, count, probability) == count // 2
    equal = 1 if count == 1 else 2
    assert probability.item() == pytest.approx(1 / (equal + (count - equal) * 2**-2), rel=1e-6)
