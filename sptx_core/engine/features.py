"""Features of overlapping windows, each position computed once for all the windows that agree on it.

The network pads every window with zeros at every convolution. So the features of a window differ from those of the
long stretch that it was cut from, but only near the window's ends: at a position farther from both ends than the
convolutions so far reach, window and stretch have the same features. `SharedFeatures` therefore holds the features of
n windows of `width` positions, `stride` positions apart or beginning anywhere (`starts`), in three parts:

    inner  [L, C]     positions [reach, length - reach) of the stretch: the same for every window that holds them
    left   [n, E, C]  positions [margin, reach) of each window
    right  [n, E, C]  positions [width - reach, width - margin) of each window

Intervals are half-open. Positions of the stretch count from its first base, positions of a window from the window's
first base, both 5' to 3'. `reach` grows with every convolution. Positions of a window outside [margin, width - margin)
are not kept, because nothing that is computed later depends on them. All this is exact: only the order of summation
may differ from that of the network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class SharedFeatures:
    """Features of n windows in three parts; the module's docstring defines the parts."""

    inner: Tensor
    """[L, C], the stretch without its ends."""
    left: Tensor
    """[n, reach - margin, C], the left end of each window."""
    right: Tensor
    """[n, reach - margin, C], the right end of each window."""
    reach: int
    """Positions on either side that a feature depends on."""
    margin: int
    """Positions at each end of a window that are not kept; at most `reach`."""
    width: int
    """Positions of a window."""
    stride: int
    """Positions between the starts of neighbouring windows."""
    threads: int = 1
    """Threads that may work on the features; read by the compiled library only, PyTorch has its own setting."""
    starts: tuple[int, ...] | None = None
    """Where each window begins in the stretch; None where they are `stride` apart."""

    @property
    def offsets(self) -> npt.NDArray[np.int64]:
        """Where each window begins in the stretch: [n]."""
        return np.arange(len(self.left)) * self.stride if self.starts is None else np.array(self.starts)

    @classmethod
    def begin(cls, inner: Tensor, windows: int, width: int, stride: int, threads: int = 1) -> SharedFeatures:
        """Features before any convolution, which are the same for all windows everywhere.

        Parameters
        ----------
        inner : Tensor
            [(windows - 1) * stride + width, C].
        windows, width, stride, threads : int
            Number of windows, positions of a window, positions between their starts, threads.
        """
        empty = inner.new_empty(windows, 0, inner.shape[-1])
        return cls(inner, empty, empty, 0, 0, width, stride, threads)

    def map(self, function: Callable[[Tensor], Tensor]) -> SharedFeatures:
        """Apply a function that treats each position by itself: [..., C] -> [..., C']."""
        return replace(self, inner=function(self.inner), left=function(self.left), right=function(self.right))

    def zip(self, function: Callable[[Tensor, Tensor], Tensor], other: SharedFeatures) -> SharedFeatures:
        """Apply a function of two features at each position; both have the same reach and margin."""
        assert (self.reach, self.margin) == (other.reach, other.margin)
        return replace(
            self,
            inner=function(self.inner, other.inner),
            left=function(self.left, other.left),
            right=function(self.right, other.right),
        )

    def grow(self, reach: int, margin: int) -> SharedFeatures:
        """The same features with longer ends, copied from `inner`, and possibly a larger margin.

        Parameters
        ----------
        reach : int
            The new reach, at least the present one.
        margin : int
            The new margin, at least the present one.
        """
        start = max(margin, self.reach)
        kept = max(0, self.reach - margin)
        left = torch.cat((self.left[:, self.left.shape[1] - kept :], self.slices(start - self.reach, reach - start)), 1)
        from_right = self.width - reach - self.reach
        right = torch.cat((self.slices(from_right, reach - start), self.right[:, :kept]), 1)
        trim = reach - self.reach
        inner = self.inner[trim : len(self.inner) - trim]
        return replace(self, inner=inner, left=left, right=right, reach=reach, margin=margin)

    def slices(self, first: int, length: int) -> Tensor:
        """Rows [first, first + length) of each window's part of `inner`: [n, length, C], a view but for `starts`."""
        if self.starts is not None:
            return torch.stack([self.inner[start + first : start + first + length] for start in self.starts])
        channels = self.inner.shape[1]
        size = (len(self.left), length, channels)
        offset = self.inner.storage_offset() + first * channels
        return self.inner.as_strided(size, (self.stride * channels, channels, 1), offset)

    def copy(self, window: int, first: int, out: Tensor) -> None:
        """Fill `out` [length, C] with positions [first, first + length) of a window; it stays where none are kept."""
        start = self.stride * window if self.starts is None else self.starts[window]
        inner = self.inner[start : start + self.width - 2 * self.reach]
        parts = (self.margin, self.left[window]), (self.reach, inner), (self.width - self.reach, self.right[window])
        for begin, part in parts:
            low, high = max(first, begin), min(first + len(out), begin + len(part))
            if low < high:
                out[low - first : high - first] = part[low - begin : high - begin]
