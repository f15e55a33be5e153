"""Residual blocks and skips of the encoders by PyTorch's operators, for `sptx_core.engine.encoding`.

In and out: `SharedFeatures` in the precision of the residual stream, positions before channels. The ends of windows
are copied together with what lies beside them before each convolution.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sptx_core.engine.encoding import FoldedBlock, StretchEncoder
from sptx_core.engine.features import SharedFeatures
from sptx_core.engine.torch.operators import Convolution, Projection, fastest_convolution
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
        self.conv1 = fastest_convolution(folded.weight1, folded.bias1, folded.dilation, dtype, relu=True)
        self.conv2 = fastest_convolution(folded.weight2, folded.bias2, folded.dilation, dtype, relu=False)

    def __call__(self, x: SharedFeatures) -> SharedFeatures:
        """Features after the block."""
        y = convolve_windows(x.map(self._activate), self.conv1, self.margin1)
        y = convolve_windows(y, self.conv2, self.margin2)
        return x.grow(y.reach, y.margin).zip(torch.add, y)

    def _activate(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift, x, self.scale).relu_().to(self.dtype)


class TorchSkip:
    """A linear map of features, added to the fused features in place."""

    def __init__(self, weight: Tensor, dtype: torch.dtype) -> None:
        self.projection = Projection(weight, None, dtype)

    def __call__(self, fused: SharedFeatures, x: SharedFeatures, margin: int) -> SharedFeatures:
        """Fused features with those of `x`, at the reach of `x` and this margin."""
        grown = fused.grow(x.reach, margin)
        return grown.zip(lambda y, part: y.add_(self.projection(part)), x.grow(x.reach, margin))


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
    return SharedFeatures(inner, left, right, reach, margin, x.width, x.stride, x.threads)
