"""The residual encoders by Triton's kernels: `sptx_core.engine.encoding`, with fewer passes.

A convolution takes the ReLU after it or the residual along as it writes, and reads each end of a window where it lies:
what is kept of it, the stretch's inside beyond, zeros outside the window. Nothing is copied together before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from sptx_core.engine.encoding import Encoder, folded
from sptx_core.engine.gpu.operations import Convolution, Source, activate, convolve, operands, place
from sptx_core.engine.shared import Shared
from sptx_core.model import ResidualBlock, SpTransformerModel
from sptx_core.windows import WindowSpec


class GpuEncoder(Encoder):
    """As `Encoder`."""

    def __init__(self, model: SpTransformerModel, spec: WindowSpec, dtype: torch.dtype) -> None:
        super().__init__(model, spec, dtype, torch.float32)

    def _block(self, block: ResidualBlock, middle: int, margin: int, dtype: torch.dtype) -> Callable[[Shared], Shared]:
        return GpuBlock(block, middle, margin, dtype)

    def _skip(self, weight: Tensor, dtype: torch.dtype) -> Convolution:
        return Convolution.of(weight[..., None], None, dtype)

    def _add(self, fused: Shared, skip: Convolution, x: Shared, margin: int) -> Shared:
        return convolved(x, skip, margin, fused)

    def put(self, fused: Shared, first: int, x: Tensor) -> None:
        """As of `Encoder`."""
        place(fused, first, self.first, self.position, self.padded, x)


class GpuBlock:
    """As `Block`."""

    def __init__(self, block: ResidualBlock, middle: int, margin: int, dtype: torch.dtype) -> None:
        (scale, shift), first, second = folded(block)
        dilation = block.conv1.dilation[0]
        self.scale, self.shift = scale.float(), shift.float()
        self.first = Convolution.of(*first, dtype, dilation=dilation, after="relu")
        self.second = Convolution.of(*second, dtype, dilation=dilation)
        self.middle, self.margin, self.dtype = middle, margin, dtype

    def __call__(self, x: Shared) -> Shared:
        """Features after the block."""
        y = x.map(lambda part: activate(part, self.scale, self.shift, self.dtype))
        y = convolved(y, self.first, self.middle, dtype=self.dtype)
        return convolved(y, self.second, self.margin, x)


def convolved(
    x: Shared, convolution: Convolution, margin: int, added: Shared | None = None, dtype: torch.dtype | None = None
) -> Shared:
    """`x`, operands or float32, through a convolution, its ends kept from `margin` on: operands in `dtype`, or float32.

    With `added`, in float32, which may reach less far.
    """
    reach, windows, outputs = x.reach + convolution.radius, len(x.left), convolution.weight.shape[1]
    length = len(x.inner) - 2 * convolution.radius
    left, right, inner = (
        torch.empty(*shape, outputs, device=x.inner.device)
        if dtype is None
        else operands(shape, outputs, dtype, x.inner.device)
        for shape in ((windows, reach - margin), (windows, reach - margin), (1, length))
    )
    firsts = (margin, x.width - reach, reach)
    widths = (x.width, x.width, length + 2 * reach)
    more = (None, None, None) if added is None else _sources(added)
    for source, result, first, width, other in zip(
        _sources(x), (left, right, inner), firsts, widths, more, strict=True
    ):
        convolve(convolution, source, result, first=first, stride=x.stride, width=width, added=other)
    return replace(x, inner=inner[0], left=left, right=right, reach=reach, margin=margin)


def _sources(x: Shared) -> tuple[Source, Source, Source]:
    """Where windows' left ends, their right ends and the whole stretch, as a window of its own, are read."""
    return (
        Source(x.inner, x.left, x.margin, x.reach),
        Source(x.inner, x.right, x.width - x.reach, x.reach),
        Source(x.inner, x.left[:, :0], 0, x.reach),
    )
