"""The residual encoders by the compiled library: `sptx_core.engine.encoding`, with fewer passes.

A convolution is one call for the stretch's inside and all ends of windows. It reads each end where it lies (what is kept
of it, the inside beyond, zeros beyond the window), with the norm and ReLU before it, and writes its result with the
ReLU after it or the residual added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sptx_core.engine.encoding import Encoder, Pair, Stack, folded
from sptx_core.engine.kernels import ToomCook
from sptx_core.engine.native import library
from sptx_core.engine.native.library import ConvolutionArguments
from sptx_core.engine.shared import Shared
from sptx_core.model import FeatureEncoder, ResidualBlock, SpTransformerModel
from sptx_core.windows import WindowSpec


class NativeEncoder(Encoder):
    """As `Encoder`."""

    def __init__(self, model: SpTransformerModel, spec: WindowSpec, dtype: torch.dtype) -> None:
        super().__init__(model, spec, dtype, torch.float32)

    def _stack(
        self, encoder: FeatureEncoder, fusion: Tensor, margin: int, dtype: torch.dtype, wide: torch.dtype
    ) -> Stack:
        return NativeStack(encoder, fusion, margin, dtype, wide)


class NativeStack(Stack):
    """As `Stack`."""

    def _block(
        self, block: ResidualBlock, middle: int, margin: int, dtype: torch.dtype, wide: torch.dtype
    ) -> Callable[[Shared], Shared]:
        return NativeBlock(block, middle, margin, dtype)

    def _skip(self, weight: Tensor, dtype: torch.dtype) -> Callable[[Tensor, Tensor], Tensor]:
        panels = library.panels(weight, dtype)

        def add(fused: Tensor, x: Tensor) -> Tensor:
            library.add_linear(x, panels, fused)
            return fused

        return add


class NativeBlock:
    """As `Block`."""

    def __init__(self, block: ResidualBlock, middle: int, margin: int, dtype: torch.dtype) -> None:
        norm, first, second = folded(block)
        dilation = block.conv1.dilation[0]
        self.conv1 = NativeConvolution(first, norm, dilation, dtype, relu=True)
        self.conv2 = NativeConvolution(second, None, dilation, dtype, relu=False)
        self.middle, self.margin = middle, margin

    def __call__(self, x: Shared) -> Shared:
        """Features after the block."""
        return self.conv2(self.conv1(x, self.middle), self.margin, x)


class NativeConvolution:
    """A dilated convolution with what precedes and follows it, of features in float32.

    Args:
        folded: weight [C out, C in, kernel] and bias [C out].
        norm: scale and shift [C in] of a norm before it, which a ReLU follows; None for neither.
        dilation: positions between taps.
        dtype: precision of the operands.
        relu: whether a ReLU follows.

    """

    def __init__(self, folded: Pair, norm: Pair | None, dilation: int, dtype: torch.dtype, *, relu: bool) -> None:
        weight, bias = folded
        values = ToomCook.values(weight).permute(0, 3, 1, 2)  # [points, groups, C out, C in]
        panels = library.panels(values, dtype).transpose(1, 2).contiguous()
        self.arguments = ConvolutionArguments.of(panels, bias, norm, values.shape[1], dilation, relu)
        self.radius, self.channels = weight.shape[2] // 2 * dilation, len(bias)
        self.bfloat16 = dtype == torch.bfloat16

    def __call__(self, x: Shared, margin: int, added: Shared | None = None) -> Shared:
        """Convolve each window as if it lay alone between zeros; of the ends, keep positions from `margin` on.

        `added`, with the same channels and a smaller reach and margin, is added to the result.
        """
        reach, windows = x.reach + self.radius, len(x.left)
        inner = x.inner.new_empty(len(x.inner) - 2 * self.radius, self.channels)
        left, right = (inner.new_empty(windows, reach - margin, self.channels) for _ in range(2))
        sequences = np.zeros((1 + 2 * windows if margin < reach else 1, COLUMNS), dtype=np.int64)
        inside = sequences[:1]
        _put(inside, GIVEN, [x.inner.data_ptr()])
        _put(inside, POSITIONS, [len(x.inner)])
        _put(inside, RESULT, [inner.data_ptr(), len(inner)])
        if added is not None:
            _put(inside, ADDED, [added.inner[reach - added.reach :].data_ptr()])
            _put(inside, ADDED_POSITIONS, [len(inner)])
        zeros, first = max(0, self.radius - margin), max(0, margin - self.radius)
        for side, result in enumerate((left, right) if margin < reach else ()):
            end = sequences[1 + side * windows : 1 + (side + 1) * windows]
            addresses, counts = _end(x, reach + self.radius, first, side)
            # Zeros lie outside the window: before its left end, after its right one.
            _put(end, GIVEN, [0, *addresses] if side == 0 else [*addresses, 0])
            _put(end, POSITIONS, [zeros, *counts] if side == 0 else [*counts, zeros])
            _put(end, RESULT, [_rows(result), reach - margin])
            if added is not None:
                addresses, counts = _end(added, reach, margin, side)
                _put(end, ADDED, addresses)
                _put(end, ADDED_POSITIONS, counts)
        library.convolve(self.arguments, self.bfloat16, sequences)
        return replace(x, inner=inner, left=left, right=right, reach=reach, margin=margin)


# Columns of a table of sequences, one a row: the fields of `Sequence` in native.cpp.
GIVEN, POSITIONS, ADDED, ADDED_POSITIONS, RESULT, LENGTH, COLUMNS = 0, 3, 6, 8, 10, 11, 12
Numbers = npt.NDArray[np.int64]


def _end(x: Shared, reach: int, margin: int, side: int) -> tuple[list[Numbers], list[int]]:
    """Where each window's end lies, positions [margin, reach) from the left (0) or right (1): addresses and counts.

    Part of it is kept in `x.left` or `x.right`, the rest is the stretch's.
    """
    row = x.inner.shape[1] * x.inner.element_size()
    kept, start = max(0, x.reach - margin), max(margin, x.reach)
    shared = reach - start
    first = start - x.reach if side == 0 else x.width - reach - x.reach
    inside = x.inner.data_ptr() + row * (first + x.stride * np.arange(len(x.left)))
    if side == 0:
        return [_rows(x.left[:, x.left.shape[1] - kept :]), inside], [kept, shared]
    return [inside, _rows(x.right)], [shared, kept]


def _rows(x: Tensor) -> Numbers:
    """Addresses of x[0], x[1], ..."""
    return x.data_ptr() + x.stride(0) * x.element_size() * np.arange(len(x))


def _put(sequences: Numbers, column: int, values: Sequence[Numbers | int]) -> None:
    for i, value in enumerate(values):
        sequences[:, column + i] = value
