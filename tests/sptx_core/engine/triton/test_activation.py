from __future__ import annotations

import pytest
import torch
from material.operands import DEVICE, assert_close, random

pytest.importorskip("triton", reason="Triton is not installed")

from sptx_core.engine.features import SharedFeatures
from sptx_core.engine.triton.activation import activate_features
from sptx_core.engine.triton.convolution import PreparedConvolution, convolve_features


@pytest.mark.parametrize("margin", [2, 3])
def test_activation_of_what_a_convolution_gives(margin: int) -> None:
    scale, shift = random(32, seed=1), random(32, seed=2)
    convolution = PreparedConvolution.of(random(32, 16, 7, seed=3), None, torch.float32)
    x = convolve_features(convolution, SharedFeatures.begin(random(70, 16), 2, 60, 10), margin)
    assert x.left.shape == (2, 3 - margin, 32)
    found = activate_features(x, scale, shift, torch.float16)
    for part, before in zip((found.inner, found.left, found.right), (x.inner, x.left, x.right), strict=True):
        assert part.dtype == torch.float16
        assert_close(part, (before * scale + shift).relu(), 1e-3)


def test_ends_that_lie_elsewhere_are_refused() -> None:
    ends = random(2, 6, 16)
    x = SharedFeatures(random(100, 16), ends, ends, 8, 2, 60, 50)
    with pytest.raises(ValueError, match="ends do not lie after"):
        activate_features(x, torch.ones(16, device=DEVICE), torch.zeros(16, device=DEVICE), torch.float32)
