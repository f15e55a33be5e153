"""Weights in panels and at the points of Toom-Cook."""

import pytest
import torch

from sptx_core.engine.native.library import Mode
from sptx_core.engine.native.weights import (
    PANEL,
    POINTS,
    TAPS,
    ConvolutionArguments,
    LayerArguments,
    at_points,
    panels,
)


def test_panels_in_float32_have_a_column_for_each_output() -> None:
    weight = torch.arange(64 * 96.0).reshape(64, 96)
    found = panels(weight, Mode.FLOAT32)
    assert found.shape == (2, 96, PANEL)
    assert torch.equal(found.transpose(1, 2).reshape(64, 96), weight)


@pytest.mark.parametrize(("mode", "parts"), [(Mode.BFLOAT16, 1), (Mode.MATRIX_BFLOAT16, 1), (Mode.MATRIX_FLOAT32, 3)])
def test_panels_of_bfloat16_hold_pairs_of_inputs_and_all_parts(mode: Mode, parts: int) -> None:
    weight = torch.randn(5, 64, 96, generator=torch.Generator().manual_seed(0))
    found = panels(weight, mode)
    assert found.shape == (5, 2, mode.words(96), PANEL, 2)
    assert found.is_contiguous()
    steps = found.unflatten(2, (3, parts, 16)).double().sum(3)  # [5, panels, steps, pairs, PANEL, 2]
    inputs = steps.transpose(4, 5).flatten(2, 4)  # [5, panels, inputs, PANEL]
    whole = weight.double() if parts == 3 else weight.bfloat16().double()
    assert torch.equal(inputs.transpose(2, 3).flatten(1, 2), whole)


def test_taps_at_the_points_are_polynomials_divided_by_differences() -> None:
    weight = torch.randn(2, 3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = at_points(weight)
    assert found.shape == (len(POINTS) + 1, 2, 2, 3)
    taps = torch.cat((weight, torch.zeros(2, 3, 2)), 2).unflatten(2, (2, TAPS))
    for row, point in zip(found, POINTS, strict=False):
        value = sum(taps[..., i] * point**i for i in range(TAPS))
        for other in POINTS:
            value = value / (point - other) if other != point else value
        torch.testing.assert_close(row, value.permute(2, 0, 1))
    assert torch.equal(found[-1], taps[..., TAPS - 1].permute(2, 0, 1))  # infinity


@pytest.mark.parametrize(("kernel", "groups", "last"), [(1, 1, False), (3, 1, False), (5, 1, True), (11, 3, False)])
def test_a_tap_that_is_left_over_goes_alone(kernel: int, groups: int, last: bool) -> None:
    arguments = ConvolutionArguments.of(
        torch.randn(64, 32, kernel), torch.zeros(64), None, dilation=2, relu=True, mode=Mode.FLOAT32
    )
    assert (arguments.inputs, arguments.outputs, arguments.groups, arguments.dilation) == (32, 64, groups, 2)
    assert bool(arguments.last) == last
    assert arguments.scale is None


def test_structures_keep_what_they_point_to() -> None:
    doubles = torch.zeros(32, dtype=torch.float64)  # of which float32 copies are made
    layer = LayerArguments.of([(doubles, doubles, 1e-5)] * 2, [torch.zeros(32, 32)] * 6, [doubles] * 3, (32, 1, 0, 32))
    kept = {tensor.data_ptr() for tensor in layer.tensors if tensor is not None}
    pointers = {layer.attention_norm.weight, layer.feed_forward_norm.bias, layer.project, layer.contract_bias}
    assert pointers <= kept
    assert {tensor.dtype for tensor in layer.tensors if tensor is not None} == {torch.float32}
