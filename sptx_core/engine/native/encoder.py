"""Residual blocks and skips of the encoders by the compiled library, for `sptx_core.engine.encoding`.

In and out: `SharedFeatures` in float32 on a CPU. There are fewer passes than in `sptx_core.engine.torch.encoder`: a
convolution applies the norm and ReLU before it as it reads, and the ReLU after it or the residual as it writes. Each
end of a window is read where it lies: what is kept of it, the inside of the stretch beyond, zeros outside the window.
Both convolutions of a block follow one another on each end, so that what is between them stays in the cache.

The library reads a table of sequences, int64 with a row for each one and the columns of `library`: addresses in bytes,
counts in positions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sptx_core.engine.changes import ChangedFeatures, around_spans, outside
from sptx_core.engine.encoding import StretchEncoder
from sptx_core.engine.features import SharedFeatures
from sptx_core.engine.folding import FoldedBlock
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
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec


def native_encoder(model: SpTransformerModel, spec: WindowSpec, dtype: torch.dtype) -> StretchEncoder:
    """The encoder of the path `native`.

    Parameters
    ----------
    model : SpTransformerModel
        The network in float64, from which weights are folded.
    spec : WindowSpec
        How the windows lie.
    dtype : torch.dtype
        Precision of the operands of products, float32 or bfloat16.
    """
    mode = library.fastest_mode(dtype)
    return StretchEncoder(
        model,
        spec,
        torch.float32,
        block=lambda folded: NativeBlock(folded, mode),
        skip=lambda weight: NativeSkip(weight, mode),
        divides_work=True,
        filled_up=library.whole_panels,
    )


class NativeSkip:
    """A linear map of features, added to the fused features."""

    def __init__(self, weight: Tensor, mode: Mode) -> None:
        self.arguments, self.mode = ConvolutionArguments.of_positions(weight, mode), mode

    def __call__(self, fused: SharedFeatures, x: SharedFeatures, margin: int) -> SharedFeatures:
        """Fused features with those of `x`, at the reach of `x` and this margin."""
        windows = len(x.left)
        inner = _convolve_inner(self.mode, self.arguments, x.inner, fused.inner, 0, x.threads)
        left, right = (inner.new_empty(windows, x.reach - margin, inner.shape[1]) for _ in range(2))
        if margin < x.reach:
            table = np.zeros((2, windows, COLUMNS), dtype=np.int64)
            for side, (rows, result) in enumerate(zip(table, (left, right), strict=True)):
                WindowEnds.of(x, side).read_by(rows, x.reach, margin)
                WindowEnds.of(fused, side).added_by(rows, x.reach, margin)
                rows[:, RESULT], rows[:, LENGTH] = _row_addresses(result), result.shape[1]
            library.convolve(self.mode, [self.arguments], [table.reshape(-1, COLUMNS)], x.threads)
        return replace(x, inner=inner, left=left, right=right, margin=margin)

    def add_rows(self, fused: Tensor, x: Tensor, threads: int = 1) -> Tensor:
        """Fused features [N, length, hidden] with those of x [N, length, C], in place."""
        table = np.zeros((len(x), COLUMNS), dtype=np.int64)
        table[:, GIVEN], table[:, POSITIONS] = _row_addresses(x), x.shape[1]
        table[:, RESULT], table[:, LENGTH] = _row_addresses(fused), fused.shape[1]
        table[:, ADDED], table[:, ADDED_POSITIONS] = table[:, RESULT], table[:, LENGTH]
        library.convolve(self.mode, [self.arguments], [table], threads)
        return fused


class NativeBlock:
    """A residual block."""

    def __init__(self, folded: FoldedBlock, mode: Mode) -> None:
        norm = folded.scale, folded.shift
        dilation, self.radius = folded.dilation, folded.radius
        self.conv1 = ConvolutionArguments.of(
            folded.weight1, folded.bias1, norm, dilation=dilation, relu=True, leak=folded.leak, mode=mode
        )
        self.conv2 = ConvolutionArguments.of(
            folded.weight2, folded.bias2, None, dilation=dilation, relu=False, mode=mode
        )
        self.margin1, self.margin2, self.mode = folded.margin1, folded.margin2, mode

    def __call__(self, x: SharedFeatures) -> SharedFeatures:
        """Features after the block. Those between its convolutions are not kept for the ends of windows.

        Each thread writes those of one end after the other into the same memory.
        """
        return self._through(x, min(x.threads, 2 * len(x.left), library.MAX_THREADS))[0]

    def traced(self, x: SharedFeatures) -> tuple[SharedFeatures, SharedFeatures]:
        """Features after the block, and between its convolutions."""
        y, middle, between = self._through(x, 2 * len(x.left))
        left, right = between.view(2, len(x.left), *between.shape[1:])
        reach = x.reach + self.radius
        return y, replace(x, inner=middle, left=left, right=right, reach=reach, margin=self.margin1)

    def changed(self, changed: ChangedFeatures, x: SharedFeatures, middle: SharedFeatures) -> ChangedFeatures:
        """Features of changed windows after the block; `Block` of `sptx_core.engine.encoding` has the contract.

        Both convolutions of a window follow one another. What the second reads around the span lies ready beside it.
        """
        group, radius = changed.group, self.radius
        first1, length1 = group.span(middle.reach, middle.margin)
        first2, length2 = group.span(x.reach + 2 * radius, self.margin2)
        start1, start2 = first1 - radius, first2 - radius
        given = changed.within(x, start1, length1 + 2 * radius)
        between = around_spans(middle, group, first1, length1, start2, length2 + 2 * radius)
        result = given.new_empty(len(given), length2, given.shape[2])
        tables = [_read_inside(rows, start, x.width) for rows, start in ((given, start1), (between, start2))]
        (first, second), row = tables, given.shape[2] * given.element_size()
        first[:, RESULT], first[:, LENGTH] = _row_addresses(between) + row * (first1 - start2), length1
        second[:, RESULT], second[:, LENGTH] = _row_addresses(result), length2
        second[:, ADDED], second[:, ADDED_POSITIONS] = _row_addresses(given) + row * (first2 - start1), length2
        library.convolve(self.mode, [self.conv1, self.conv2], tables, x.threads)
        return changed.after(result, first2)

    def _through(self, x: SharedFeatures, places: int) -> tuple[SharedFeatures, Tensor, Tensor]:
        """Features after the block; between its convolutions, of the inside and, in so many places, of the ends."""
        middle = _convolve_inner(self.mode, self.conv1, x.inner, None, self.radius, x.threads)
        inner = _convolve_inner(self.mode, self.conv2, middle, x.inner, self.radius, x.threads)
        reach, windows, channels = x.reach + 2 * self.radius, len(x.left), x.inner.shape[1]
        left, right = (inner.new_empty(windows, reach - self.margin2, channels) for _ in range(2))
        between = middle.new_empty(places, x.reach + self.radius - self.margin1, channels)
        if self.margin2 < reach:
            self._convolve_ends(x, middle, between, (left, right))
        y = replace(x, inner=inner, left=left, right=right, reach=reach, margin=self.margin2)
        return y, middle, between

    def _convolve_ends(
        self, x: SharedFeatures, middle: Tensor, between: Tensor, results: tuple[Tensor, Tensor]
    ) -> None:
        """Both convolutions of each end of each window.

        `middle` has what lies between the two for the inside of the stretch; that of end i goes to `between` [places,
        ., C], at place i modulo their number.
        """
        windows, reach = len(x.left), x.reach + self.radius
        threads = min(x.threads, 2 * windows, library.MAX_THREADS)
        addresses = _row_addresses(between)[np.arange(2 * windows) % len(between)]
        first, second = np.zeros((2, 2 * windows, COLUMNS), dtype=np.int64)
        for side, result in enumerate(results):
            some = slice(side * windows, (side + 1) * windows)
            before = WindowEnds.of(x, side)
            after = WindowEnds(middle, addresses[some], reach, self.margin1, x.width, x.offsets, side)
            before.read_by(first[some], reach + self.radius, self.margin1 - self.radius)
            after.read_by(second[some], reach + 2 * self.radius, self.margin2 - self.radius)
            before.added_by(second[some], reach + self.radius, self.margin2)
            first[some, RESULT], first[some, LENGTH] = addresses[some], between.shape[1]
            second[some, RESULT], second[some, LENGTH] = _row_addresses(result), result.shape[1]
        library.convolve(self.mode, [self.conv1, self.conv2], [first, second], threads)


@dataclass(frozen=True, eq=False)
class WindowEnds:
    """Where one end of each window lies in memory: the positions that are kept, and the inside of the stretch beyond.

    Positions count from the end of the window inwards, as those of `SharedFeatures`.
    """

    inner: Tensor
    """[L, C], the inside of the stretch."""
    kept: Numbers
    """[n], addresses of the kept positions of each window, [margin, reach)."""
    reach: int
    margin: int
    width: int
    offsets: Numbers
    """[n], where each window begins in the stretch."""
    side: int
    """0 for left ends, 1 for right ends."""

    @classmethod
    def of(cls, x: SharedFeatures, side: int) -> WindowEnds:
        """The ends of features on one side."""
        return cls(x.inner, _row_addresses((x.left, x.right)[side]), x.reach, x.margin, x.width, x.offsets, side)

    def read_by(self, sequences: Numbers, reach: int, margin: int) -> None:
        """Let sequences [n, columns] read positions [margin, reach); those below 0 are zeros outside the window."""
        addresses, counts = self._parts(reach, max(0, margin))
        outside, zeros = [np.zeros_like(self.kept)], [max(0, -margin)]
        parts = (outside + addresses, zeros + counts) if self.side == 0 else (addresses + outside, counts + zeros)
        for i, (address, count) in enumerate(zip(*parts, strict=True)):
            sequences[:, GIVEN + i], sequences[:, POSITIONS + i] = address, count

    def added_by(self, sequences: Numbers, reach: int, margin: int) -> None:
        """Let sequences [n, columns] add positions [margin, reach) to their results."""
        for i, (address, count) in enumerate(zip(*self._parts(reach, margin), strict=True)):
            sequences[:, ADDED + i], sequences[:, ADDED_POSITIONS + i] = address, count

    def _parts(self, reach: int, margin: int) -> tuple[list[Numbers], list[int]]:
        """Addresses and counts of positions [margin, reach): two parts, 5' to 3'."""
        row = self.inner.shape[1] * self.inner.element_size()  # bytes
        kept, start = max(0, self.reach - margin), max(margin, self.reach)
        first = start - self.reach if self.side == 0 else self.width - reach - self.reach
        inside = self.inner.data_ptr() + row * (first + self.offsets)
        if self.side == 0:
            return [self.kept + row * (self.reach - kept - self.margin), inside], [kept, reach - start]
        return [inside, self.kept], [reach - start, kept]


def _convolve_inner(
    mode: Mode, convolution: ConvolutionArguments, x: Tensor, added: Tensor | None, radius: int, threads: int
) -> Tensor:
    """Convolve x [L + 2 * radius, C in] -> [L, C out] and add the middle of `added`; each thread takes one piece.

    Pieces are whole tiles of the convolution, and each reads x to its end from where the piece begins, so that the
    result is the same to the last bit for any number of threads.
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


def _read_inside(x: Tensor, first: Numbers, width: int) -> Numbers:
    """Sequences [N, columns] that read x [N, length, C], positions from `first` on; zeros where a window has none."""
    table = np.zeros((len(x), COLUMNS), dtype=np.int64)
    before, beyond = outside(first, x.shape[1], width)
    table[:, POSITIONS] = before
    table[:, GIVEN + 1] = _row_addresses(x) + before * x.shape[2] * x.element_size()
    table[:, POSITIONS + 1] = x.shape[1] - before - beyond
    return table


def _row_addresses(x: Tensor) -> Numbers:
    """Addresses of x[0], x[1], ..."""
    return x.data_ptr() + x.stride(0) * x.element_size() * np.arange(len(x))
