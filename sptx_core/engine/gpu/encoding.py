"""The residual encoders by Triton's kernels: `sptx_core.engine.encoding`, with fewer passes.

A convolution takes the ReLU after it or the residual along as it writes, and reads each end of a window where it lies:
what is kept of it, the stretch's inside beyond, zeros outside the window. Nothing is copied together before it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sptx_core.engine.encoding import Encoder, folded
from sptx_core.engine.gpu.operations import Convolution, activate, convolve, place
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
        return convolve(skip, x, margin, fused)

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
        y = activate(x, self.scale, self.shift, self.dtype)
        y = convolve(self.first, y, self.middle, dtype=self.dtype)
        return convolve(self.second, y, self.margin, x)
