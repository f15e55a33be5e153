"""The feed-forward, added to the residual stream."""

import ctypes

import pytest
from material.random_layer import RandomLayer, assert_near

from sptx_core.engine.native.library import Mode


@pytest.mark.parametrize("inner", [32, 256, 608])  # fewer columns than are expanded at once, as many, more and a rest
def test_feed_forward(pieces, mode: Mode, limits: tuple[float, float], inner: int) -> None:
    layer = RandomLayer(2, 1, inner)
    x = layer.stream(1).reshape(64, 64)
    expected = layer.fed_forward(x)
    pieces.feed_forward_of(mode, ctypes.byref(layer.arguments(mode)), x, 64)
    assert_near(x, expected, limits)
