"""The costly steps on a GPU: what each kernel of `sptx_core.engine.gpu.kernels` computes, and how it is cut into tiles.

Rows are positions, channels lie beside one another. Products take operands in the precision asked for and accumulate in
float32. Operands of float32 are stored as pairs of float16, [..., 2 C] for C channels, whose products have its error.
With `TRITON_INTERPRET=1` all of this runs on CPU tensors, for tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import triton
from torch import Tensor

from sptx_core.engine.flops import performed
from sptx_core.engine.gpu import kernels
from sptx_core.engine.shared import Shared


@dataclass(frozen=True)
class Tile:
    """How a kernel cuts its work: rows and columns of a product, depth of a step, warps, steps loaded ahead."""

    rows: int
    columns: int
    depth: int
    warps: int
    stages: int


# For a Hopper GPU, within 227 KB of shared memory (docs/performance.md says which others were tried).
FINISH = Tile(128, 0, 64, 8, 2)
CONVOLVE = {False: Tile(128, 128, 64, 8, 3), True: Tile(128, 128, 32, 8, 3)}  # True for pairs
ATTEND_WARPS = 4
CHOOSE_DEPTH = 32
ACTIVATE_ROWS = 32
PLACE_ROWS = 16
MOST_NUMBERS = 1 << 30  # in rows of a product at once, whose places then fit 32 bits


def operands(rows: Sequence[int], channels: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A new tensor [rows..., channels] for operands of products in `dtype`; of pairs, [rows..., 2 * channels]."""
    if dtype == torch.float32:
        return torch.empty(*rows, 2 * channels, dtype=torch.float16, device=device)
    return torch.empty(*rows, channels, dtype=dtype, device=device)


Norm = tuple[Tensor, Tensor, float]  # scale and shift [hidden], epsilon


def normalise(x: Tensor, norm: Norm, bucket: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Norm of rows x [n, hidden], float32, as operands in `dtype`, and its means over each `bucket` rows, float32."""
    rows, hidden = x.shape
    scale, shift, eps = norm
    normed = operands([rows], hidden, dtype, x.device)
    means = x.new_empty(rows // bucket, hidden)
    kernels.normalise[(triton.cdiv(rows, bucket),)](
        x, scale, shift, eps, normed, means, rows,
        HIDDEN=hidden, ROWS=bucket, BUCKET=bucket, PAIRS=dtype == torch.float32, num_warps=8,
    )  # fmt: skip
    return normed, means


def choose(
    means: Tensor, query: Tensor, key: Tensor, scale: float, size: int, first: int, asked: int
) -> tuple[Tensor, Tensor]:
    """Which bucket each bucket looks at, for each far head: the one whose mean key fits its mean query best.

    Args:
        means: float32 [windows, buckets, hidden], of what is projected.
        query: float32 [far heads * D, hidden].
        key: the same for keys.
        scale: of products of both.
        size: D, channels of a head.
        first: the first bucket of each window that is asked for.
        asked: how many are.

    Returns:
        int64 and float32 [windows * asked, far heads]: the bucket, numbered through all windows, and its share of the
        softmax over those of the window.

    """
    windows, buckets, hidden = means.shape
    far = len(query) // size
    performed(2 * windows * buckets * len(query) * (2 * hidden + buckets))
    chosen = means.new_empty(windows * asked, far, dtype=torch.int64)
    probability = means.new_empty(windows * asked, far)
    if far:
        kernels.choose[(windows, far)](
            means, query, key, scale, chosen, probability, buckets, first, asked,
            HIDDEN=hidden, WIDTH=size, FAR=far, BUCKETS=max(16, triton.next_power_of_2(buckets)),
            DEPTH=min(CHOOSE_DEPTH, hidden), num_warps=8,
        )  # fmt: skip
    return chosen, probability


def attend(
    qkv: Tensor,
    far: Tensor,
    chosen: Tensor,
    probability: Tensor,
    *,
    heads: int,
    size: int,
    windows: int,
    first: int,
) -> Tensor:
    """Both kinds of attention for some buckets of each window: operands [asked * size, hidden] in the dtype of `qkv`.

    Args:
        qkv: queries, scaled by D ** -0.5 / ln 2, keys and values of consecutive buckets of each window,
            [windows * buckets * size, 3 * hidden]; the buckets that are asked for and their neighbours are among them.
        far: keys of the far heads of all buckets [., far heads * D], which may be a view of columns.
        chosen: int64 [asked, far heads], the bucket chosen, numbered as in `far`, by those of all windows asked for.
        probability: float32 [asked, far heads], of that choice.
        heads: of both kinds; the first ones are local and need no choice.
        size: positions of a bucket.
        windows: how many there are.
        first: which bucket of those in `qkv` is the first of a window that is asked for.

    """
    hidden = qkv.shape[1] // 3
    asked, far_heads = chosen.shape
    performed(4 * asked * size * size * (hidden // heads) * (3 * heads - far_heads))  # local heads see three buckets
    out = operands([asked * size], hidden, qkv.dtype, qkv.device)
    for local, count in ((True, heads - far_heads), (False, far_heads)):
        if count:
            kernels.attend[(asked, count)](
                qkv, far, chosen, probability, out,
                len(qkv) // size // windows, first, asked // windows,
                LOCAL=local, FAR_STRIDE=far.stride(0), PAIRS=qkv.dtype == torch.float32,
                HEADS=heads, NEAR=heads - far_heads, SIZE=size, WIDTH=hidden // heads, num_warps=ATTEND_WARPS,
            )  # fmt: skip
    return out


def activate(x: Shared, scale: Tensor, shift: Tensor, dtype: torch.dtype) -> Shared:
    """relu(x * scale + shift) of features x, float32, as operands in `dtype`."""
    windows, kept, channels = x.left.shape
    length, ends = len(x.inner), windows * kept
    rows = x.inner
    if ends:
        size = rows.element_size() * channels
        if [part.data_ptr() - rows.data_ptr() for part in (x.left, x.right)] != [size * length, size * (length + ends)]:
            raise ValueError("ends do not lie after what is inside, as `convolve` puts them")
        rows = rows.as_strided((length + 2 * ends, channels), (channels, 1))
    out = operands([len(rows)], channels, dtype, rows.device)
    kernels.activate[(triton.cdiv(len(rows), ACTIVATE_ROWS),)](
        rows, scale, shift, out, len(rows),
        CHANNELS=channels, ROWS=ACTIVATE_ROWS, PAIRS=dtype == torch.float32, num_warps=4,
    )  # fmt: skip
    return _parts(x, out, length)


def _parts(like: Shared, rows: Tensor, length: int) -> Shared:
    """`length` rows inside, then left and then right ends."""
    left, right = torch.unflatten(rows[length:], 0, (2, len(like.left), like.reach - like.margin))
    return replace(like, inner=rows[:length], left=left, right=right)


def place(fused: Shared, first: int, begin: int, position: Tensor, padded: Tensor, x: Tensor) -> None:
    """Positions `begin`, `begin` + 1, ... of windows `first`, `first` + 1, ... of `fused` -> x [n, S, hidden].

    To those that are held, `position` [S, hidden] is added; `padded` stands for those outside the window. All float32.
    """
    windows, size, hidden = x.shape
    kernels.place[(triton.cdiv(size, PLACE_ROWS), windows)](
        fused.inner, fused.left, fused.right, position, padded, x,
        first, fused.stride, fused.width, fused.reach, fused.margin, begin, size,
        HIDDEN=hidden, ROWS=PLACE_ROWS, num_warps=4,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Convolution:
    """A dilated convolution, or with one tap a linear map, made ready."""

    weight: Tensor
    """Operands [taps, C out, C in]."""
    bias: Tensor | None
    """float32 [C out]."""
    dilation: int
    after: Literal["nothing", "relu", "gelu"]
    unscale: float
    """What sums of products of pairs are multiplied with."""
    inputs: int

    @classmethod
    def of(
        cls,
        weight: Tensor,
        bias: Tensor | None,
        dtype: torch.dtype,
        *,
        dilation: int = 1,
        after: Literal["nothing", "relu", "gelu"] = "nothing",
    ) -> Convolution:
        """Of a weight [C out, C in, taps], for products in `dtype`."""
        ready = weight.permute(2, 0, 1)
        scale = 1.0
        if dtype == torch.float32:
            largest = torch.cat((ready.abs().flatten(), ready.new_full((1,), 1e-30))).amax().clamp(max=1e30)
            factor = 2 ** (14 - largest.log2().ceil())  # the largest is 2 ** 14 at most
            ready = (ready * factor).double()
            high = ready.half()
            ready = torch.cat((high, (ready - high).half()), 2)
            scale = float(factor) * kernels.SCALE.value if factor.device.type != "meta" else 1.0
        else:
            ready = ready.to(dtype)
        bias = None if bias is None else bias.float()
        return cls(ready.contiguous(), bias, dilation, after, 1 / scale, weight.shape[1])

    @property
    def pairs(self) -> bool:
        """Whether operands are pairs."""
        return self.weight.shape[2] > self.inputs

    @property
    def radius(self) -> int:
        """Positions to either side that a result depends on."""
        return len(self.weight) // 2 * self.dilation


def convolve(
    convolution: Convolution, x: Shared, margin: int, added: Shared | None = None, dtype: torch.dtype | None = None
) -> Shared:
    """`x`, operands or float32, through a convolution: operands in `dtype`, or float32.

    Each window is convolved as if it lay alone between zeros; of its ends, positions from `margin` on are kept.
    `added`, in float32, which may reach less far, is added. Raises `ValueError` for ends of which too little is known.
    """
    outputs, reach, windows = convolution.weight.shape[1], x.reach + convolution.radius, len(x.left)
    length, ends = len(x.inner) - 2 * convolution.radius, windows * (reach - margin)
    if x.margin > 0 and margin < x.margin + convolution.radius:
        raise ValueError(f"ends from {margin} on depend on positions before {x.margin}, which are not kept")
    rows = length + 2 * ends
    out = (
        x.inner.new_empty(rows, outputs, dtype=torch.float32)
        if dtype is None
        else operands([rows], outputs, dtype, x.inner.device)
    )
    _launch(convolution, x, out, length, ends, margin, added)
    return _parts(replace(x, reach=reach, margin=margin), out, length)


def multiply(rows: Tensor, linear: Convolution, out: Tensor, added: Tensor | None = None) -> Tensor:
    """Rows of operands [n, C in] through a linear map into `out` [n, C out], with `added`, which may be `out`."""
    most = max(1, MOST_NUMBERS // max(rows.shape[1], out.shape[1]))
    for some in (slice(first, first + most) for first in range(0, len(rows), most)):
        x, more = (None if part is None else Shared.begin(part[some], 0, 0, 0) for part in (rows, added))
        assert x is not None
        _launch(linear, x, out[some], len(x.inner), 0, 0, more)
    return out


def _launch(
    convolution: Convolution, x: Shared, out: Tensor, length: int, ends: int, margin: int, added: Shared | None
) -> None:
    """Fill `out` with `length` positions of what is inside and `ends` of left and of right ends."""
    taps, outputs, _ = convolution.weight.shape
    inputs, bias = convolution.inputs, convolution.bias
    performed(2 * (length + 2 * ends) * outputs * taps * inputs)
    tile = CONVOLVE[convolution.pairs]
    columns, depth = math.gcd(tile.columns, outputs), min(tile.depth, inputs)
    more = x if added is None else added
    for inside, tiles in ((True, triton.cdiv(length, tile.rows)), (False, 2 * triton.cdiv(ends, tile.rows))):
        if not (tiles and outputs):
            continue
        kernels.convolve[(tiles * (outputs // columns),)](
            x.inner, x.left, x.right, x.reach, x.margin, more.inner, more.left, more.right, more.reach, more.margin,
            convolution.weight, out if bias is None else bias, convolution.unscale, out,
            length, ends, margin, x.stride, x.width, convolution.dilation,
            TAPS=taps, INPUTS=inputs, OUTPUTS=outputs, INSIDE=inside, ADDED=added is not None,
            BIAS=bias is not None, AFTER=convolution.after, PAIRS=convolution.pairs, TO_PAIRS=out.shape[1] > outputs,
            ROWS=tile.rows, COLUMNS=columns, DEPTH=depth,
            num_warps=max(4, tile.warps * columns // tile.columns), num_stages=tile.stages,
        )  # fmt: skip


class FeedForward:
    """What follows attention in a layer: its output map, then norm, expansion, GELU and contraction.

    Args:
        output: weight and bias of the linear map after attention.
        norm: scale, shift and epsilon.
        expand: weight and bias of the first linear map of the feed-forward.
        contract: of the second one.
        dtype: precision of products. In float32 each of these steps is a kernel, otherwise one does them all.

    """

    def __init__(
        self,
        output: tuple[Tensor, Tensor],
        norm: Norm,
        expand: tuple[Tensor, Tensor],
        contract: tuple[Tensor, Tensor],
        dtype: torch.dtype,
    ) -> None:
        self.norm, self.dtype = norm, dtype
        self.output = Convolution.of(output[0][..., None], output[1], dtype)
        self.expand = Convolution.of(expand[0][..., None], expand[1], dtype, after="gelu")
        self.contract = Convolution.of(contract[0][..., None], contract[1], dtype)

    def __call__(self, x: Tensor, attended: Tensor, following: Norm | None, bucket: int) -> tuple[Tensor, Tensor]:
        """Add attention, through its output map, and then the feed-forward to rows x [n, hidden], float32, in place.

        Returns what `normalise` makes of the result by the norm `following`; nothing of use where there is none.
        """
        if not self.output.pairs:
            return self._at_once(x, attended, following, bucket)
        multiply(attended, self.output, x, x)
        normed, means = normalise(x, self.norm, bucket, self.dtype)
        wide = operands(x.shape[:1], self.contract.inputs, self.dtype, x.device)
        multiply(multiply(normed, self.expand, wide), self.contract, x, x)
        return (normed, means) if following is None else normalise(x, following, bucket, self.dtype)

    def _at_once(self, x: Tensor, attended: Tensor, following: Norm | None, bucket: int) -> tuple[Tensor, Tensor]:
        (rows, hidden), inner = x.shape, self.contract.inputs
        performed(2 * rows * hidden * (hidden + 2 * inner))
        normed, means = x.new_empty(rows, hidden, dtype=self.dtype), x.new_empty(rows // bucket, hidden)
        kernels.finish[(triton.cdiv(rows, FINISH.rows),)](
            x, attended, self.output.weight, self.output.bias, *self.norm, normed,
            self.expand.weight, self.expand.bias, self.contract.weight, self.contract.bias,
            *(following or self.norm), means, rows,
            HIDDEN=hidden, INNER=inner, ROWS=FINISH.rows, DEPTH=min(FINISH.depth, hidden), BUCKET=bucket,
            NEXT=following is not None, num_warps=FINISH.warps, num_stages=FINISH.stages,
        )  # fmt: skip
        return normed, means
