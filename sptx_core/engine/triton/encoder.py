"""Residual blocks and skips of the encoders as Triton kernels, for `sptx_core.engine.encoding`.

In and out: `SharedFeatures` in float32 on a GPU. There are fewer passes than in `sptx_core.engine.torch.encoder`: a
convolution takes the ReLU after it, or the residual, along as it writes, and reads each end of a window where it lies.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sptx_core.engine.changes import ChangedFeatures
from sptx_core.engine.encoding import StretchEncoder
from sptx_core.engine.features import SharedFeatures
from sptx_core.engine.folding import FoldedBlock
from sptx_core.engine.torch.encoder import convolve_changed
from sptx_core.engine.triton import MIN_PRODUCT
from sptx_core.engine.triton.activation import activate_features
from sptx_core.engine.triton.convolution import PreparedConvolution, convolve_features
from sptx_core.engine.triton.window_placement import place_on_gpu
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec


def triton_encoder(model: SpTransformerModel, spec: WindowSpec, dtype: torch.dtype) -> StretchEncoder:
    """The encoder of the path `triton`.

    Parameters
    ----------
    model : SpTransformerModel
        The network in float64, from which weights are folded.
    spec : WindowSpec
        How the windows lie.
    dtype : torch.dtype
        Precision of products: float32, bfloat16, or float16 in the interpreter.
    """
    return StretchEncoder(
        model,
        spec,
        torch.float32,
        block=lambda folded: TritonBlock(folded, dtype),
        skip=lambda weight: TritonSkip(weight, dtype),
        place=place_on_gpu,
        evenly=True,
        filled_up=lambda channels: max(2 * MIN_PRODUCT, 1 << (channels - 1).bit_length()),
    )


class TritonBlock:
    """A residual block."""

    def __init__(self, folded: FoldedBlock, dtype: torch.dtype) -> None:
        dilation = folded.dilation
        self.scale, self.shift = folded.scale.float(), folded.shift.float()
        self.conv1 = PreparedConvolution.of(folded.weight1, folded.bias1, dtype, dilation=dilation, after="relu")
        self.conv2 = PreparedConvolution.of(folded.weight2, folded.bias2, dtype, dilation=dilation)
        self.margin1, self.margin2, self.dtype = folded.margin1, folded.margin2, dtype

    def __call__(self, x: SharedFeatures) -> SharedFeatures:
        """Features after the block."""
        return self.traced(x)[0]

    def traced(self, x: SharedFeatures) -> tuple[SharedFeatures, SharedFeatures]:
        """Features after the block, and between its convolutions as operands."""
        y = activate_features(x, self.scale, self.shift, self.dtype)
        middle = convolve_features(self.conv1, y, self.margin1, dtype=self.dtype)
        return convolve_features(self.conv2, middle, self.margin2, x), middle

    def changed(self, changed: ChangedFeatures, x: SharedFeatures, middle: SharedFeatures) -> ChangedFeatures:
        """Features of changed windows after the block; `Block` of `sptx_core.engine.encoding` has the contract."""
        conv1, conv2 = RowConvolution(self.conv1, self.dtype), RowConvolution(self.conv2, None)
        return convolve_changed(changed, x, middle, self.margin2, self._activate, conv1, conv2)

    def _activate(self, x: Tensor) -> Tensor:
        """[N, length, C] -> operands [N, length, .]."""
        rows = SharedFeatures.begin(x.flatten(0, 1), 0, 0, 0)
        return torch.unflatten(activate_features(rows, self.scale, self.shift, self.dtype).inner, 0, x.shape[:2])


class RowConvolution:
    """A convolution of sequences that lie one after the other, as if they were one; what mixes two is not kept.

    Parameters
    ----------
    convolution : PreparedConvolution
        What to convolve with.
    dtype : torch.dtype or None
        The result becomes operands of products in this precision; None: it is float32.
    """

    def __init__(self, convolution: PreparedConvolution, dtype: torch.dtype | None) -> None:
        self.convolution, self.dtype, self.radius = convolution, dtype, convolution.radius

    def __call__(self, x: Tensor) -> Tensor:
        """Operands [N, length + 2 * radius, .] -> [N, length, .]."""
        count, length, _ = x.shape
        rows = SharedFeatures.begin(x.flatten(0, 1), 0, 0, 0)
        y = convolve_features(self.convolution, rows, self.radius, dtype=self.dtype).inner
        wide = y.shape[1]
        return y.as_strided((count, length - 2 * self.radius, wide), (length * wide, wide, 1))


class TritonSkip:
    """A linear map of features, added to the fused features."""

    def __init__(self, weight: Tensor, dtype: torch.dtype) -> None:
        self.linear = PreparedConvolution.of(weight[..., None], None, dtype)

    def __call__(self, fused: SharedFeatures, x: SharedFeatures, margin: int) -> SharedFeatures:
        """Fused features with those of `x`, at the reach of `x` and this margin."""
        return convolve_features(self.linear, x, margin, fused)

    def add_rows(self, fused: Tensor, x: Tensor, threads: int = 1) -> Tensor:
        """Fused features [N, length, hidden] with those of x [N, length, C]."""
        del threads  # of a CPU
        more, rows = (SharedFeatures.begin(part.flatten(0, 1), 0, 0, 0) for part in (fused, x))
        return convolve_features(self.linear, rows, 0, more).inner.view(fused.shape)
