"""The few operations that cost time, in the layouts that were fastest (docs/performance.md).

Positions come before channels everywhere: [N, L, C] or [L, C], contiguous. Weights are prepared once, in the precision
of the arithmetic; accumulation is in float32 (or float64).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class Convolution:
    """Dilated convolution without padding: [N, L + 2 * radius, C] -> [N, L, C].

    The positions form the height of an image of width 1 in channels_last layout, whose dilated convolution is faster
    on CPUs than one along the width or in one dimension.

    Args:
        weight: [C out, C in, kernel], kernel odd.
        bias: [C out].
        dilation: positions between taps.
        dtype: precision of the operands.
        relu: whether a ReLU follows.

    """

    def __init__(self, weight: Tensor, bias: Tensor, dilation: int, dtype: torch.dtype, *, relu: bool) -> None:
        self.weight = weight.to(dtype)[..., None].contiguous(memory_format=torch.channels_last)
        self.bias = bias.to(dtype)
        self.dilation = dilation
        self.radius = weight.shape[2] // 2 * dilation
        self.relu = relu

    def __call__(self, x: Tensor) -> Tensor:
        """[N, L + 2 * radius, C in] -> [N, L, C out]."""
        image = x.transpose(1, 2).unsqueeze(3)  # [N, C, L + 2 * radius, 1]
        y = F.conv2d(image, self.weight, self.bias, dilation=(self.dilation, 1))
        y = y.squeeze(3).transpose(1, 2)
        return y.relu_() if self.relu else y


class Projection:
    """Linear map of channels: [..., C in] -> [..., C out], in the precision of its weight.

    Args:
        weight: [C out, C in].
        bias: [C out] or None.
        dtype: precision of the operands.

    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        self.weight = weight.T.to(dtype).contiguous()
        self.bias = None if bias is None else bias.to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """[..., C in], which is cast -> [..., C out]."""
        rows = x.reshape(-1, x.shape[-1]).to(self.weight.dtype)
        y = rows @ self.weight if self.bias is None else torch.addmm(self.bias, rows, self.weight)
        return y.view(*x.shape[:-1], y.shape[-1])
