"""The few operations that cost time, in the layouts that were fastest (docs/performance.md).

Positions come before channels everywhere: [N, L, C] or [L, C], contiguous. Weights are prepared once, in the precision
of the arithmetic; accumulation is in float32 (or float64).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class Convolution:
    """Dilated convolution without padding: [N, L + (kernel - 1) * dilation, C] -> [N, L, C].

    The positions form the height of an image of width 1 in channels_last layout, whose dilated convolution is faster
    on CPUs than one along the width or in one dimension.

    Args:
        weight: [C out, C in, kernel].
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
        """[N, L + (kernel - 1) * dilation, C in] -> [N, L, C out]."""
        image = x.transpose(1, 2).unsqueeze(3)  # [N, C, L + 2 * radius, 1]
        y = F.conv2d(image, self.weight, self.bias, dilation=(self.dilation, 1))
        y = y.squeeze(3).transpose(1, 2)
        return y.relu_() if self.relu else y


class OnGrid(Convolution):
    """The same as a convolution that is not dilated, for GPUs.

    Positions form an image in whose columns those of one phase (position modulo dilation) lie: nothing moves, but
    cuDNN has fast kernels for it. For a dilated one in bfloat16 it takes 140 ms where this takes 0.16.
    """

    def __call__(self, x: Tensor) -> Tensor:
        """[N, L + (kernel - 1) * dilation, C in] -> [N, L, C out]."""
        batch, length, channels = x.shape
        if missing := -length % self.dilation:
            x = F.pad(x, (0, 0, 0, missing))
        image = x.view(batch, -1, self.dilation, channels).permute(0, 3, 1, 2)
        y = F.conv2d(image, self.weight, self.bias).permute(0, 2, 3, 1).flatten(1, 2)
        y = y[:, : length - 2 * self.radius]
        return y.relu_() if self.relu else y


class ToomCook:
    """The same convolution with 5 products where `Convolution` takes 9, for long kernels of many channels.

    Positions of one phase (position modulo dilation) are taken three at a time, and so are taps: three outputs of
    three taps are a product of polynomials, which is known from its values at five points (0, 1, -1, 2, infinity;
    Toom 1963, Cook 1966; Winograd 1980 for filters). Sums over input channels and over groups of taps commute with
    that, so five convolutions over every third position, with a third of the taps, do the work of the whole. In
    float32 its rounding error is about 1.6 times that of the direct sum. Long inputs go in pieces, so that what lies
    between two steps stays in the cache.

    Arguments as of `Convolution`.
    """

    # Values of a group of three taps at the points, divided by the products of the points' differences.
    TAPS = ((1 / 2, 0, 0), (-1 / 2, -1 / 2, -1 / 2), (-1 / 6, 1 / 6, -1 / 6), (1 / 6, 1 / 3, 2 / 3), (0, 0, 1))

    def __init__(self, weight: Tensor, bias: Tensor, dilation: int, dtype: torch.dtype, *, relu: bool) -> None:
        self.kernel = weight.shape[2]
        values = self.values(weight)
        self.groups = values.shape[3]
        # The value at 1 enters each output once, so the bias travels with it.
        self.parts = [
            Convolution(value, bias if point == 1 else torch.zeros_like(bias), dilation, dtype, relu=False)
            for point, value in enumerate(values)
        ]
        self.dilation, self.relu, self.channels = dilation, relu, len(bias)
        self.radius = self.kernel // 2 * dilation

    @classmethod
    def values(cls, weight: Tensor) -> Tensor:
        """Of a weight [C out, C in, kernel]: each group of three taps at each point, [5, C out, C in, groups]."""
        groups = -(-weight.shape[2] // 3)
        taps = torch.unflatten(F.pad(weight, (0, 3 * groups - weight.shape[2])), 2, (groups, 3))
        return torch.einsum("oigt,pt->poig", taps, weight.new_tensor(cls.TAPS))

    def __call__(self, x: Tensor) -> Tensor:
        """[N, L + 2 * radius, C in] -> [N, L, C out]."""
        batch, length, _ = x.shape
        length -= (self.kernel - 1) * self.dilation
        tile = 3 * self.dilation
        tiles = -(-length // tile)
        y = x.new_empty(batch, tiles * tile, self.channels)
        positions = PIECE // (x.shape[2] * x.element_size())  # of a piece
        step = max(1, positions // tile) * tile
        together = max(1, positions // (tiles * tile))
        for out, given in zip(torch.split(y, together), torch.split(x, together), strict=True):
            for first in range(0, tiles * tile, step):
                piece = out[:, first : first + step]
                self._convolve(given[:, first : first + piece.shape[1] + self.groups * tile], piece)
        return y[:, :length]

    def _convolve(self, x: Tensor, out: Tensor) -> None:
        """Convolve x [N, ., C in], which goes on with zeros where it is too short, to `out` [N, whole tiles, C out]."""
        batch, _, channels = x.shape
        tile = 3 * self.dilation
        tiles = out.shape[1] // tile
        x = F.pad(x, (0, 0, 0, tile * (tiles + self.groups) - x.shape[1]))
        x = x.view(batch, tiles + self.groups, 3, -1)
        x0, x1, x2 = x[:, :-1].unbind(2)
        x3, x4 = x[:, 1:, 0], x[:, 1:, 1]
        v = x.new_empty(5, *x0.shape)
        torch.sub(x3, x1, out=v[3])
        torch.add(v[3], x0 - x2, alpha=2, out=v[0])
        torch.sub(v[3], x1 + x2, out=v[1])
        torch.add(v[3], x1 - x2, alpha=3, out=v[2])
        torch.sub(x4 - x2, v[3], alpha=2, out=v[4])

        products = [part(y.view(batch, -1, channels)) for part, y in zip(self.parts, v, strict=True)]
        m0, m1, m2, m3, m4 = (y.reshape(batch, tiles, -1) for y in products)
        y = out.view(batch, tiles, 3, -1)
        both = m1 + m2
        torch.add(m0.add_(both), m3, out=y[:, :, 0])
        torch.add(m1.sub_(m2), m3, alpha=2, out=y[:, :, 1])
        torch.add(both.add_(m4), m3, alpha=4, out=y[:, :, 2])
        if self.relu:
            out.relu_()


PIECE = 3 * 2**20  # bytes of input that ToomCook takes at once; what it makes of them is five times as much
# Taps times channels from which ToomCook is faster on a CPU (docs/performance.md); below, its transforms cost too much.
TOOM_COOK = {torch.float32: 11 * 64, torch.float64: 11 * 64, torch.bfloat16: 21 * 64}


def convolution(
    weight: Tensor, bias: Tensor, dilation: int, dtype: torch.dtype, *, relu: bool
) -> Convolution | ToomCook:
    """The fastest for these sizes, this precision and this device."""
    large = weight.shape[2] * min(weight.shape[:2]) >= TOOM_COOK[dtype]
    kind = OnGrid if weight.device.type != "cpu" else ToomCook if large else Convolution
    return kind(weight, bias, dilation, dtype, relu=relu)


class Projection:
    """Linear map of channels: [..., C in] -> [..., C out], in the precision of its weight.

    On a CPU the weight is laid out for oneDNN once, instead of at every call. PyTorch has the operators for its
    compiler and calls them private: where they are missing, the plain one does the same work.

    Args:
        weight: [C out, C in].
        bias: [C out] or None.
        dtype: precision of the operands.

    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        self.weight = weight.to(dtype).contiguous()
        self.bias = None if bias is None else bias.to(dtype)
        self.packed = can_pack(self.weight)
        if self.packed:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight, PACKED_ROWS)

    def __call__(self, x: Tensor) -> Tensor:
        """[..., C in], which is cast -> [..., C out]."""
        rows = x.reshape(-1, x.shape[-1]).to(self.weight.dtype)
        y: Tensor = (
            torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, "none", [], "")
            if self.packed
            else F.linear(rows, self.weight, self.bias)
        )
        return y.view(*x.shape[:-1], y.shape[-1])


PACKED_ROWS = 256  # that the layout is made for; any number may follow


def can_pack(weight: Tensor) -> bool:
    """Whether PyTorch has oneDNN's linear map with a prepared weight, for this device and precision."""
    there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # of PyTorch
    if weight.device.type != "cpu" or not there or not weight.numel():
        return False
    names = ("_reorder_linear_weight", "_linear_pointwise", "_is_mkldnn_bf16_supported")
    if not all(hasattr(torch.ops.mkldnn, name) for name in names):
        return False
    bfloat16: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return weight.dtype == torch.float32 or (weight.dtype == torch.bfloat16 and bfloat16)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention of query [N, H, q, D], scaled already, to key and value [N, H, k, D]: [N, H, q, D].

    PyTorch's fused kernel goes through bfloat16 on a CPU in blocks of 32 queries, which cost more than they save: two
    products of everything and a softmax, which sums in float32, take three fifths of its time.
    """
    if query.dtype != torch.bfloat16 or query.device.type != "cpu":
        return F.scaled_dot_product_attention(query, key, value, scale=1.0)
    queries, keys, values = (x.reshape(-1, *x.shape[2:]) for x in (query, key, value))
    return torch.bmm(torch.bmm(queries, keys.mT).softmax(-1), values).view(query.shape)
