"""Toom-Cook: seven products give four outputs of four taps."""

import pytest
import torch

from sptx_core.engine.native.weights import at_points


def test_four_outputs_of_four_taps(pieces) -> None:
    generator = torch.Generator().manual_seed(0)
    x, taps = torch.randn(7, 16, generator=generator), torch.randn(16, 1, 4, generator=generator)
    v, y = torch.empty(7, 16), torch.empty(4, 16)
    pieces.toom_cook_values(x, v)
    weight = at_points(taps.double())[:, 0, :, 0]  # [points, channels]
    pieces.toom_cook_outputs((v * weight).float(), y)
    expected = torch.stack([(taps[:, 0].T * x[i : i + 4]).sum(0) for i in range(4)])
    torch.testing.assert_close(y, expected, rtol=0, atol=5e-6)


def test_values_are_whole_where_the_points_ask_for_nothing_else(pieces) -> None:
    """The values of one position after another, as the header's polynomials have them, times 4."""
    x, v = torch.zeros(7, 16), torch.empty(7, 16)
    found = torch.zeros(7, 7)
    for i in range(7):
        x.zero_()[i] = 4
        pieces.toom_cook_values(x, v)
        found[:, i] = v[:, 0]
    points = torch.tensor([0, 1, -1, 0.5, -0.5, 3])
    for row, point in enumerate(points):  # each is zero at all other points, as a polynomial
        others = torch.cat((points[:row], points[row + 1 :]))
        powers = others[:, None] ** torch.arange(7)
        torch.testing.assert_close(powers @ found[row], torch.zeros(5), rtol=0, atol=1e-3)
        assert (point ** torch.arange(7)) @ found[row] != 0
    powers = points[:, None] ** torch.arange(7)
    torch.testing.assert_close(powers @ found[6], torch.zeros(6), rtol=0, atol=1e-3)


@pytest.mark.parametrize("dilation", [1, 3, 10])
def test_rows_stand_for_each_position_once(pieces, dilation: int) -> None:
    rows = range(5 * dilation)
    places = [pieces.first_position(row, dilation) + i * dilation for row in rows for i in range(4)]
    assert sorted(places) == list(range(20 * dilation))
