"""Convolutions, linear maps and attention by PyTorch's operators, in the layouts that were fastest.

Positions come before channels everywhere: [N, L, C] or [L, C], contiguous. Weights are prepared once, in the precision
of the arithmetic; sums are in float32 (float64 for float64). docs/performance.md has the measurements.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_PIECE_BYTES = 3 * 2**20  # of input that Toom-Cook takes at once, so that five times as much stays in the cache
# Taps times channels from which Toom-Cook is faster on a CPU; below, its transforms cost more than its products save.
MIN_TOOM_COOK = {torch.float32: 11 * 64, torch.float64: 11 * 64, torch.bfloat16: 21 * 64}
PACKED_ROWS = 256  # rows for which oneDNN lays a weight out; a product may have any number of rows


class Convolution(Protocol):
    """A dilated convolution without padding, prepared for one precision and one device."""

    radius: int
    """Positions on either side that an output depends on."""

    def __call__(self, x: Tensor) -> Tensor:
        """[N, L + 2 * radius, C in] -> [N, L, C out]."""


def activate_(x: Tensor, leak: float) -> Tensor:
    """ReLU of x in place; where it leaks, x * leak stays of negative values."""
    return F.leaky_relu_(x, leak) if leak else x.relu_()


def fastest_convolution(
    weight: Tensor, bias: Tensor, dilation: int, dtype: torch.dtype, *, relu: bool, leak: float = 0.0
) -> Convolution:
    """The fastest kind of convolution for a size, a precision and the device of the weight.

    Parameters
    ----------
    weight : Tensor
        [C out, C in, kernel], kernel odd.
    bias : Tensor
        [C out].
    dilation : int
        Positions between taps.
    dtype : torch.dtype
        Precision of the operands.
    relu : bool
        Whether a ReLU follows.
    leak : float
        What the ReLU leaves of negative values.
    """
    if weight.device.type != "cpu":
        return GridConvolution(weight, bias, dilation, dtype, relu=relu, leak=leak)
    large = weight.shape[2] * min(weight.shape[:2]) >= MIN_TOOM_COOK[dtype]
    kind = ToomCookConvolution if large else DilatedConvolution
    return kind(weight, bias, dilation, dtype, relu=relu, leak=leak)


class _ImageConvolution:
    """What one convolution of an image needs; parameters as for `fastest_convolution`."""

    def __init__(
        self, weight: Tensor, bias: Tensor, dilation: int, dtype: torch.dtype, *, relu: bool, leak: float = 0.0
    ) -> None:
        self.weight, self.bias = _image_weight(weight, dtype), bias.to(dtype)
        self.dilation, self.relu, self.leak = dilation, relu, leak
        self.radius = weight.shape[2] // 2 * dilation


class DilatedConvolution(_ImageConvolution):
    """One dilated convolution of PyTorch; parameters as for `fastest_convolution`.

    The positions are the height of an image of width 1 in channels_last layout: oneDNN's dilated convolution of it is
    faster on CPUs than one along the width or in one dimension.
    """

    def __call__(self, x: Tensor) -> Tensor:
        """[N, L + 2 * radius, C in] -> [N, L, C out]."""
        image = x.transpose(1, 2).unsqueeze(3)  # [N, C, L + 2 * radius, 1]
        y = F.conv2d(image, self.weight, self.bias, dilation=(self.dilation, 1))
        y = y.squeeze(3).transpose(1, 2)
        return activate_(y, self.leak) if self.relu else y


class GridConvolution(_ImageConvolution):
    """A convolution that is not dilated, over an image, for GPUs; parameters as for `fastest_convolution`.

    Each column of the image holds the positions of one phase (position modulo dilation). Nothing moves in memory, but
    cuDNN has fast kernels for it: in bfloat16 0.16 ms, where its dilated convolution takes 140 ms.
    """

    def __call__(self, x: Tensor) -> Tensor:
        """[N, L + 2 * radius, C in] -> [N, L, C out]."""
        batch, length, channels = x.shape
        if missing := -length % self.dilation:
            x = F.pad(x, (0, 0, 0, missing))
        image = x.view(batch, -1, self.dilation, channels).permute(0, 3, 1, 2)
        y = F.conv2d(image, self.weight, self.bias).permute(0, 2, 3, 1).flatten(1, 2)
        y = y[:, : length - 2 * self.radius]
        return activate_(y, self.leak) if self.relu else y


class ToomCookConvolution:
    """A convolution with 5 products in place of 9, for long kernels; parameters as for `fastest_convolution`.

    Positions of one phase (position modulo dilation) are taken three at a time, and so are taps: three outputs of
    three taps are a product of polynomials, which is known from its values at five points (0, 1, -1, 2, infinity;
    Toom 1963, Cook 1966; Winograd 1980 for filters). Sums over input channels and over groups of taps commute with
    that, so five convolutions over every third position, with a third of the taps, do the work of the whole. In
    float32 its rounding error is about 1.6 times that of the direct sum. Long inputs go in pieces, so that what lies
    between two steps stays in the cache.
    """

    # Values of a group of three taps at the points, divided by the products of the points' differences.
    TAPS = ((1 / 2, 0, 0), (-1 / 2, -1 / 2, -1 / 2), (-1 / 6, 1 / 6, -1 / 6), (1 / 6, 1 / 3, 2 / 3), (0, 0, 1))

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        dilation: int,
        dtype: torch.dtype,
        *,
        relu: bool,
        leak: float = 0.0,
        max_piece_bytes: int = MAX_PIECE_BYTES,
    ) -> None:
        self.kernel = weight.shape[2]
        values = self.values(weight)
        self.groups = values.shape[3]
        # The value at 1 enters each output once, so the bias travels with it.
        self.parts = [
            DilatedConvolution(value, bias if point == 1 else torch.zeros_like(bias), dilation, dtype, relu=False)
            for point, value in enumerate(values)
        ]
        self.dilation, self.relu, self.leak, self.channels = dilation, relu, leak, len(bias)
        self.radius = self.kernel // 2 * dilation
        self.max_piece_bytes = max_piece_bytes

    @classmethod
    def values(cls, weight: Tensor) -> Tensor:
        """Each group of three taps of a weight [C out, C in, kernel] at each point: [5, C out, C in, groups]."""
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
        positions = self.max_piece_bytes // (x.shape[2] * x.element_size())  # of a piece
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
            activate_(out, self.leak)


def _image_weight(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Weight [C out, C in, kernel] for an image whose height are the positions: [C out, C in, kernel, 1]."""
    return weight.to(dtype)[..., None].contiguous(memory_format=torch.channels_last)


class Projection:
    """Linear map of channels: [..., C in] -> [..., C out], in the precision of its weight.

    On a CPU the weight is laid out for oneDNN once, instead of at every call. PyTorch has the operators for its
    compiler and calls them private: where they are missing, the public one does the same work.

    Parameters
    ----------
    weight : Tensor
        [C out, C in].
    bias : Tensor or None
        [C out].
    dtype : torch.dtype
        Precision of the operands.
    packed : bool, optional
        Whether to lay the weight out; by default wherever that is possible.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, *, packed: bool | None = None) -> None:
        self.weight = weight.to(dtype).contiguous()
        self.bias = None if bias is None else bias.to(dtype)
        self.packed = can_pack(self.weight) if packed is None else packed
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


def can_pack(weight: Tensor) -> bool:
    """Whether PyTorch has oneDNN's linear map with a prepared weight, for this device and precision."""
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # of PyTorch
    if weight.device.type != "cpu" or not available or not weight.numel():
        return False
    names = ("_reorder_linear_weight", "_linear_pointwise", "_is_mkldnn_bf16_supported")
    if not all(hasattr(torch.ops.mkldnn, name) for name in names):
        return False
    bfloat16: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return weight.dtype == torch.float32 or (weight.dtype == torch.bfloat16 and bfloat16)


def softmax_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention: [N, H, q, D].

    In bfloat16 on a CPU by two products of everything and a softmax, which sums in float32: PyTorch's fused kernel
    goes through blocks of 32 queries there and takes five thirds of the time.

    Parameters
    ----------
    query : Tensor
        [N, H, q, D], scaled already.
    key, value : Tensor
        [N, H, k, D].
    """
    if query.dtype != torch.bfloat16 or query.device.type != "cpu":
        return F.scaled_dot_product_attention(query, key, value, scale=1.0)
    queries, keys, values = (x.reshape(-1, *x.shape[2:]) for x in (query, key, value))
    return torch.bmm(torch.bmm(queries, keys.mT).softmax(-1), values).view(query.shape)
