"""Residual blocks and skips of the encoders by PyTorch's operators, for `sptx_core.engine.encoding`.

In and out: `SharedFeatures` in the precision of the residual stream, positions before channels. The ends of windows
are copied together with what lies beside them before each convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from sptx_core.engine.changes import ChangedFeatures, zero_outside
from sptx_core.engine.encoding import StretchEncoder
from sptx_core.engine.features import SharedFeatures
from sptx_core.engine.folding import FoldedBlock
from sptx_core.engine.torch.operators import Convolution, Projection, activate_, fastest_convolution
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec


def torch_encoder(model: SpTransformerModel, spec: WindowSpec, dtype: torch.dtype, wide: torch.dtype) -> StretchEncoder:
    """The encoder of the path `shared`.

    Parameters
    ----------
    model : SpTransformerModel
        The network in float64, from which weights are folded.
    spec : WindowSpec
        How the windows lie.
    dtype : torch.dtype
        Precision of the operands of products.
    wide : torch.dtype
        Precision of the residual stream.
    """
    return StretchEncoder(
        model,
        spec,
        wide,
        block=lambda folded: TorchBlock(folded, dtype, wide),
        skip=lambda weight: TorchSkip(weight, dtype),
    )


class TorchBlock:
    """A residual block."""

    def __init__(self, folded: FoldedBlock, dtype: torch.dtype, wide: torch.dtype) -> None:
        self.scale, self.shift = folded.scale.to(wide), folded.shift.to(wide)
        self.margin1, self.margin2, self.dtype = folded.margin1, folded.margin2, dtype
        dilation, self.leak = folded.dilation, folded.leak
        self.conv1 = fastest_convolution(folded.weight1, folded.bias1, dilation, dtype, relu=True, leak=self.leak)
        self.conv2 = fastest_convolution(folded.weight2, folded.bias2, dilation, dtype, relu=False)

    def __call__(self, x: SharedFeatures) -> SharedFeatures:
        """Features after the block."""
        y = convolve_windows(x.map(self._activate), self.conv1, self.margin1)
        y = convolve_windows(y, self.conv2, self.margin2)
        return x.grow(y.reach, y.margin).zip(torch.add, y)

    def traced(self, x: SharedFeatures) -> tuple[SharedFeatures, SharedFeatures]:
        """Features after the block, and between its convolutions."""
        middle = convolve_windows(x.map(self._activate), self.conv1, self.margin1)
        y = convolve_windows(middle, self.conv2, self.margin2)
        return x.grow(y.reach, y.margin).zip(torch.add, y), middle

    def changed(self, changed: ChangedFeatures, x: SharedFeatures, middle: SharedFeatures) -> ChangedFeatures:
        """Features of changed windows after the block; `Block` of `sptx_core.engine.encoding` has the contract."""
        return convolve_changed(changed, x, middle, self.margin2, self._activate, self.conv1, self.conv2)

    def _activate(self, x: Tensor) -> Tensor:
        return activate_(torch.addcmul(self.shift, x, self.scale), self.leak).to(self.dtype)


class TorchSkip:
    """A linear map of features, added to the fused features in place."""

    def __init__(self, weight: Tensor, dtype: torch.dtype) -> None:
        self.projection = Projection(weight, None, dtype)

    def __call__(self, fused: SharedFeatures, x: SharedFeatures, margin: int) -> SharedFeatures:
        """Fused features with those of `x`, at the reach of `x` and this margin."""
        return fused.grow(x.reach, margin).zip(self.add_rows, x.grow(x.reach, margin))

    def add_rows(self, fused: Tensor, x: Tensor, threads: int = 1) -> Tensor:
        """Fused features [..., hidden] with those of x [..., C], in place."""
        del threads  # PyTorch has its own setting
        return fused.add_(self.projection(x))


def convolve_changed(
    changed: ChangedFeatures,
    x: SharedFeatures,
    middle: SharedFeatures,
    margin: int,
    activate: Callable[[Tensor], Tensor],
    conv1: Convolution,
    conv2: Convolution,
) -> ChangedFeatures:
    """Changed windows after a residual block, x + conv2(conv1(activate(x))).

    Parameters
    ----------
    changed : ChangedFeatures
        Changed windows before the block.
    x, middle : SharedFeatures
        The windows as they are: before the block, and what `conv2` takes.
    margin : int
        Margin to keep after the block.
    activate : callable
        [N, length, C] -> what `conv1` takes, each position by itself.
    conv1, conv2 : Convolution
        The convolutions, of one radius; what follows the first is part of it.
    """
    radius = conv1.radius
    first1, length1 = changed.group.span(middle.reach, middle.margin)
    first2, length2 = changed.group.span(x.reach + 2 * radius, margin)
    around = changed.within(x, first1 - radius, length1 + 2 * radius)
    y = conv1(zero_outside(activate(around), first1 - radius, x.width))
    y = conv2(changed.after(y, first1).within(middle, first2 - radius, length2 + 2 * radius))
    start = int(first2[0] - first1[0]) + radius
    return changed.after(around[:, start : start + length2] + y, first2)


def convolve_windows(x: SharedFeatures, convolution: Convolution, margin: int) -> SharedFeatures:
    """Convolve each window as if it lay alone between zeros; of its ends, keep the positions from `margin` on."""
    radius = convolution.radius
    reach = x.reach + radius
    inner = convolution(x.inner[None])[0]
    if margin == reach:
        empty = inner.new_empty(len(x.left), 0, inner.shape[1])
        left, right = empty, empty
    else:
        around = x.grow(x.reach + 2 * radius, max(0, margin - radius))
        zeros = max(0, radius - margin)
        left = convolution(F.pad(around.left, (0, 0, zeros, 0)))
        right = convolution(F.pad(around.right, (0, 0, 0, zeros)))
    return replace(x, inner=inner, left=left, right=right, reach=reach, margin=margin)
