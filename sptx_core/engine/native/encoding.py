"""The residual encoders by the compiled library: `sptx_core.engine.encoding`, with fewer passes.

A convolution takes the norm and ReLU before it along as it reads, and the ReLU after it or the residual as it writes.
Each end of a window is read where it lies: what is kept of it, the stretch's inside beyond, zeros outside the window.
Both convolutions of a block follow one another on each end, so that what is between them stays in the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sptx_core.engine.encoding import Encoder, folded
from sptx_core.engine.native import library
from sptx_core.engine.native.library import (
    ADDED,
    ADDED_POSITIONS,
    COLUMNS,
    GIVEN,
    LENGTH,
    POSITIONS,
    RESULT,
    ConvolutionArguments,
    Mode,
    Numbers,
)
from sptx_core.engine.shared import Shared
from sptx_core.model import ResidualBlock, SpTransformerModel
from sptx_core.windows import WindowSpec


class NativeEncoder(Encoder):
    """As `Encoder`."""

    def __init__(self, model: SpTransformerModel, spec: WindowSpec, dtype: torch.dtype) -> None:
        self.mode = Mode.of(dtype)
        super().__init__(model, spec, dtype, torch.float32)

    def _block(self, block: ResidualBlock, middle: int, margin: int, dtype: torch.dtype) -> Callable[[Shared], Shared]:
        return NativeBlock(block, middle, margin, Mode.of(dtype))

    def _skip(self, weight: Tensor, dtype: torch.dtype) -> ConvolutionArguments:
        return ConvolutionArguments.of_positions(weight, Mode.of(dtype))

    def _add(self, fused: Shared, skip: ConvolutionArguments, x: Shared, margin: int) -> Shared:
        windows = len(x.left)
        inner = _inside(self.mode, skip, x.inner, fused.inner, 0, x.threads)
        left, right = (inner.new_empty(windows, x.reach - margin, inner.shape[1]) for _ in range(2))
        if margin < x.reach:
            table = np.zeros((2, windows, COLUMNS), dtype=np.int64)
            for side, (some, result) in enumerate(zip(table, (left, right), strict=True)):
                Ends.of(x, side).given_to(some, x.reach, margin)
                Ends.of(fused, side).added_to(some, x.reach, margin)
                some[:, RESULT], some[:, LENGTH] = _rows(result), result.shape[1]
            library.convolve(self.mode, [skip], [table.reshape(-1, COLUMNS)], x.threads)
        return replace(x, inner=inner, left=left, right=right, margin=margin)


class NativeBlock:
    """As `Block`."""

    def __init__(self, block: ResidualBlock, middle: int, margin: int, mode: Mode) -> None:
        norm, first, second = folded(block)
        dilation = block.conv1.dilation[0]
        self.first = ConvolutionArguments.of(*first, norm, dilation=dilation, relu=True, mode=mode)
        self.second = ConvolutionArguments.of(*second, None, dilation=dilation, relu=False, mode=mode)
        self.radius = block.conv1.kernel_size[0] // 2 * dilation
        self.middle, self.margin, self.mode = middle, margin, mode

    def __call__(self, x: Shared) -> Shared:
        """Features after the block."""
        middle = _inside(self.mode, self.first, x.inner, None, self.radius, x.threads)
        inner = _inside(self.mode, self.second, middle, x.inner, self.radius, x.threads)
        reach, windows, channels = x.reach + 2 * self.radius, len(x.left), x.inner.shape[1]
        left, right = (inner.new_empty(windows, reach - self.margin, channels) for _ in range(2))
        if self.margin < reach:
            self._ends(x, middle, (left, right))
        return replace(x, inner=inner, left=left, right=right, reach=reach, margin=self.margin)

    def _ends(self, x: Shared, middle: Tensor, results: tuple[Tensor, Tensor]) -> None:
        """Both convolutions of each end of each window, whose features between them are not kept."""
        windows, channels, reach = len(x.left), middle.shape[1], x.reach + self.radius
        threads = min(x.threads, 2 * windows, library.MOST_THREADS)
        between = middle.new_empty(threads, reach - self.middle, channels)
        of_rows = _rows(between)[np.arange(2 * windows) % threads]
        first, second = np.zeros((2, 2 * windows, COLUMNS), dtype=np.int64)
        for side, result in enumerate(results):
            some = slice(side * windows, (side + 1) * windows)
            before = Ends.of(x, side)
            after = Ends(middle, of_rows[some], reach, self.middle, x.width, x.stride, side)
            before.given_to(first[some], reach + self.radius, self.middle - self.radius)
            after.given_to(second[some], reach + 2 * self.radius, self.margin - self.radius)
            before.added_to(second[some], reach + self.radius, self.margin)
            first[some, RESULT], first[some, LENGTH] = of_rows[some], between.shape[1]
            second[some, RESULT], second[some, LENGTH] = _rows(result), result.shape[1]
        library.convolve(self.mode, [self.first, self.second], [first, second], threads)


@dataclass(frozen=True, eq=False)
class Ends:
    """Where one end of each window lies: what is kept of it, and the stretch's inside beyond, as of `Shared`."""

    inner: Tensor
    kept: Numbers
    """Addresses of the positions that are kept, [margin, reach) from the left or from the right."""
    reach: int
    margin: int
    width: int
    stride: int
    side: int
    """0 left, 1 right."""

    @classmethod
    def of(cls, x: Shared, side: int) -> Ends:
        """Those of features."""
        return cls(x.inner, _rows((x.left, x.right)[side]), x.reach, x.margin, x.width, x.stride, side)

    def given_to(self, sequences: Numbers, reach: int, margin: int) -> None:
        """Let sequences read positions [margin, reach); those below 0 lie outside the window and are zeros."""
        addresses, counts = self._parts(reach, max(0, margin))
        outside, zeros = [np.zeros_like(self.kept)], [max(0, -margin)]
        parts = (outside + addresses, zeros + counts) if self.side == 0 else (addresses + outside, counts + zeros)
        for i, (address, count) in enumerate(zip(*parts, strict=True)):
            sequences[:, GIVEN + i], sequences[:, POSITIONS + i] = address, count

    def added_to(self, sequences: Numbers, reach: int, margin: int) -> None:
        """Let positions [margin, reach) be added to what sequences give."""
        for i, (address, count) in enumerate(zip(*self._parts(reach, margin), strict=True)):
            sequences[:, ADDED + i], sequences[:, ADDED_POSITIONS + i] = address, count

    def _parts(self, reach: int, margin: int) -> tuple[list[Numbers], list[int]]:
        """Addresses and counts of positions [margin, reach): two parts, 5' to 3'."""
        row = self.inner.shape[1] * self.inner.element_size()
        kept, start = max(0, self.reach - margin), max(margin, self.reach)
        first = start - self.reach if self.side == 0 else self.width - reach - self.reach
        inside = self.inner.data_ptr() + row * (first + self.stride * np.arange(len(self.kept)))
        if self.side == 0:
            return [self.kept + row * (self.reach - kept - self.margin), inside], [kept, reach - start]
        return [inside, self.kept], [reach - start, kept]


def _inside(
    mode: Mode, convolution: ConvolutionArguments, x: Tensor, added: Tensor | None, radius: int, threads: int
) -> Tensor:
    """Convolve x [L + 2 * radius, C in] -> [L, C out], in a piece a thread, and add the middle of `added`.

    Pieces are whole tiles of the convolution and each sees all of x from where it begins, so that what comes out does
    not depend on how many there are, to the last bit.
    """
    length = len(x) - 2 * radius
    y = x.new_empty(length, convolution.outputs)
    tile = library.TAPS * convolution.dilation
    tiles = -(-length // tile)
    bounds = [min(length, tiles * i // threads * tile) for i in range(threads + 1)]
    pieces = np.zeros((threads, COLUMNS), dtype=np.int64)
    for piece, first, last in zip(pieces, bounds, bounds[1:], strict=False):
        size = last - first
        piece[GIVEN], piece[POSITIONS] = x[first:].data_ptr(), len(x) - first
        piece[RESULT], piece[LENGTH] = y[first:].data_ptr(), size
        if added is not None:
            piece[ADDED] = added[(len(added) - length) // 2 + first :].data_ptr()
            piece[ADDED_POSITIONS] = size
    library.convolve(mode, [convolution], [pieces], threads)
    return y


def _rows(x: Tensor) -> Numbers:
    """Addresses of x[0], x[1], ..."""
    return x.data_ptr() + x.stride(0) * x.element_size() * np.arange(len(x))
