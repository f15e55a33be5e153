"""Features of overlapping windows, each position computed once for all the windows that agree on it.

The network pads every window with zeros at every convolution, so a window's features differ from those of the long
stretch it was cut from, but only near its ends: a feature farther from them than the convolutions so far reach is the
same in both. `Shared` therefore holds the features of n consecutive windows of `width` positions, `stride` apart, in
three parts (half-open positions; "of the stretch" counts from its first base, "of a window" from the window's):

    inner  [L, C]     positions [reach, length - reach) of the stretch, the same for every window that holds them
    left   [n, E, C]  positions [margin, reach) of each window
    right  [n, E, C]  positions [width - reach, width - margin) of each window

`reach` grows with every convolution. Positions of a window outside [margin, width - margin) are not kept, because
nothing that is wanted later depends on them. All this is exact: only the order of summation may differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from sptx_core.engine.kernels import Convolution, ToomCook


@dataclass(frozen=True, eq=False)
class Shared:
    """Features of n windows; see above."""

    inner: Tensor
    left: Tensor
    right: Tensor
    reach: int
    margin: int
    width: int
    stride: int
    threads: int = 1
    """That may work on them, where PyTorch does not choose."""

    @classmethod
    def begin(cls, inner: Tensor, windows: int, width: int, stride: int, threads: int = 1) -> Shared:
        """Features before any convolution: the same for all windows everywhere."""
        none = inner.new_empty(windows, 0, inner.shape[-1])
        return cls(inner, none, none, 0, 0, width, stride, threads)

    def map(self, function: Callable[[Tensor], Tensor]) -> Shared:
        """Apply a function that treats each position by itself."""
        return replace(self, inner=function(self.inner), left=function(self.left), right=function(self.right))

    def zip(self, function: Callable[[Tensor, Tensor], Tensor], other: Shared) -> Shared:
        """The same for two features of equal reach and margin."""
        assert (self.reach, self.margin) == (other.reach, other.margin)
        return replace(
            self,
            inner=function(self.inner, other.inner),
            left=function(self.left, other.left),
            right=function(self.right, other.right),
        )

    def grow(self, reach: int, margin: int) -> Shared:
        """The same features with longer ends, copied from `inner`, and perhaps less kept of them."""
        start = max(margin, self.reach)
        kept = max(0, self.reach - margin)
        left = torch.cat((self.left[:, self.left.shape[1] - kept :], self.slices(start - self.reach, reach - start)), 1)
        from_right = self.width - reach - self.reach
        right = torch.cat((self.slices(from_right, reach - start), self.right[:, :kept]), 1)
        trim = reach - self.reach
        inner = self.inner[trim : len(self.inner) - trim]
        return replace(self, inner=inner, left=left, right=right, reach=reach, margin=margin)

    def slices(self, first: int, length: int) -> Tensor:
        """Rows [first, first + length) of each window's part of `inner`: a view [n, length, C]."""
        channels = self.inner.shape[1]
        size = (len(self.left), length, channels)
        offset = self.inner.storage_offset() + first * channels
        return self.inner.as_strided(size, (self.stride * channels, channels, 1), offset)

    def convolve(self, convolution: Convolution | ToomCook, margin: int) -> Shared:
        """Convolve each window as if it lay alone between zeros; of the ends, keep positions from `margin` on."""
        radius = convolution.radius
        reach = self.reach + radius
        inner = convolution(self.inner[None])[0]
        if margin == reach:
            none = inner.new_empty(len(self.left), 0, inner.shape[1])
            return replace(self, inner=inner, left=none, right=none, reach=reach, margin=margin)
        around = self.grow(self.reach + 2 * radius, max(0, margin - radius))
        zeros = max(0, radius - margin)
        left = convolution(F.pad(around.left, (0, 0, zeros, 0)))
        right = convolution(F.pad(around.right, (0, 0, 0, zeros)))
        return replace(self, inner=inner, left=left, right=right, reach=reach, margin=margin)


def margins(radii: Sequence[int], wanted: int) -> list[int]:
    """What to keep after each convolution, for positions from `wanted` on to come out of the last one.

    The margin never exceeds the reach: then a window has no ends of its own.
    """
    kept = []
    reach = sum(radii)
    for radius in reversed(radii):
        kept.append(min(wanted, reach))
        wanted = max(0, wanted - radius)
        reach -= radius
    return kept[::-1]
