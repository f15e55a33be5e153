"""Every window that the features stand for is found in them again."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sptx_core.engine.features import SharedFeatures

WIDTH, STRIDE, WINDOWS = 30, 11, 3


def made(reach: int, margin: int) -> tuple[Tensor, SharedFeatures]:
    """Random features of each window, whole [n, width, 2], and the parts of them that are kept."""
    generator = torch.Generator().manual_seed(reach)
    stretch = torch.randn((WINDOWS - 1) * STRIDE + WIDTH, 2, generator=generator)
    whole = torch.stack([stretch[i * STRIDE :][:WIDTH] for i in range(WINDOWS)])
    for end in (whole[:, :reach], whole[:, WIDTH - reach :]):
        end.copy_(torch.randn(end.shape, generator=generator))
    left, right = whole[:, margin:reach], whole[:, WIDTH - reach : WIDTH - margin]
    return whole, SharedFeatures(stretch[reach : len(stretch) - reach], left, right, reach, margin, WIDTH, STRIDE)


def windows(x: SharedFeatures) -> Tensor:
    """Positions [margin, width - margin) of each window."""
    return torch.cat((x.left, x.slices(0, WIDTH - 2 * x.reach), x.right), 1)


@pytest.mark.parametrize(("reach", "margin"), [(0, 0), (4, 0), (4, 3), (4, 4)])
def test_windows_are_put_together_from_their_parts(reach: int, margin: int) -> None:
    whole, x = made(reach, margin)
    assert torch.equal(windows(x), whole[:, margin : WIDTH - margin])


@pytest.mark.parametrize(("reach", "margin"), [(4, 1), (7, 1), (7, 3), (7, 6), (7, 7), (15, 1)])
def test_ends_grow_and_keep_their_features(reach: int, margin: int) -> None:
    whole, x = made(4, 1)
    grown = x.grow(reach, margin)
    assert (grown.reach, grown.margin, grown.left.shape[1]) == (reach, margin, reach - margin)
    assert torch.equal(windows(grown), whole[:, margin : WIDTH - margin])
    assert torch.equal(grown.inner, x.inner[reach - 4 : len(x.inner) - reach + 4])


def test_functions_of_each_position_reach_every_part() -> None:
    (whole, x), (other, y) = made(4, 1), made(4, 1)
    assert torch.equal(windows(x.map(torch.neg)), -whole[:, 1:-1])
    assert torch.equal(windows(x.zip(torch.add, y)), (whole + other)[:, 1:-1])


def test_before_any_convolution_nothing_is_an_end() -> None:
    stretch = torch.randn((WINDOWS - 1) * STRIDE + WIDTH, 2)
    x = SharedFeatures.begin(stretch, WINDOWS, WIDTH, STRIDE)
    assert (x.reach, x.margin, x.left.shape, x.right.shape) == (0, 0, (WINDOWS, 0, 2), (WINDOWS, 0, 2))
    assert torch.equal(windows(x)[2], stretch[2 * STRIDE :])
