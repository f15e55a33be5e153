"""Dilated convolutions of windows and linear maps of rows: `convolve_features` and `multiply_rows`.

One kernel does both: a linear map is a convolution of one tap. It takes the ReLU or GELU after it, or a residual, along
as it writes, and reads each end of a window where it lies: what is kept of it, the inside of the stretch beyond, zeros
outside the window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
import triton
import triton.language as tl
from torch import Tensor

from sptx_core.engine.features import SharedFeatures
from sptx_core.engine.flops import performed
from sptx_core.engine.triton.activation import gelu, relu, split_rows
from sptx_core.engine.triton.operands import PRODUCT, SCALE, Tile, new_operands, store_operands

# For a Hopper GPU, within 227 KB of shared memory; True for pairs. docs/engine-notes.md has the tiles that were tried.
TILES = {False: Tile(128, 128, 64, 8, 3), True: Tile(128, 128, 32, 8, 3)}
MAX_ELEMENTS = 1 << 30  # of a product's rows at once, so that their places fit 32 bits
PAIR_WEIGHT_BITS = 14  # the largest weight of a map in pairs is scaled to at most 2 ** 14, within float16
# Numbers that differ from launch to launch; for each kind of them a kernel would be compiled anew.
NOT_SPECIALIZED = [
    *("reach", "margin", "added_reach", "added_margin"),
    *("length", "ends", "first", "stride", "width", "dilation"),
]

After = Literal["nothing", "relu", "gelu"]


@dataclass(frozen=True, eq=False)
class PreparedConvolution:
    """A dilated convolution, or with one tap a linear map, prepared for products in one precision."""

    weight: Tensor
    """Operands [taps, C out, C in]."""
    bias: Tensor | None
    """float32 [C out]."""
    dilation: int
    """Positions between taps."""
    after: After
    """What follows."""
    unscale: float
    """Factor of the sums of products of pairs."""
    inputs: int
    """C in."""

    @classmethod
    def of(
        cls,
        weight: Tensor,
        bias: Tensor | None,
        dtype: torch.dtype,
        *,
        dilation: int = 1,
        after: After = "nothing",
    ) -> PreparedConvolution:
        """Prepare a weight [C out, C in, taps] and a bias [C out] for products in `dtype`."""
        ready = weight.permute(2, 0, 1)
        scale = 1.0
        if dtype == torch.float32:
            largest = torch.cat((ready.abs().flatten(), ready.new_full((1,), 1e-30))).amax().clamp(max=1e30)
            factor = 2 ** (PAIR_WEIGHT_BITS - largest.log2().ceil())
            ready = (ready * factor).double()
            high = ready.half()
            ready = torch.cat((high, (ready - high).half()), 2)
            scale = float(factor) * SCALE.value if factor.device.type != "meta" else 1.0
        else:
            ready = ready.to(dtype)
        bias = None if bias is None else bias.float()
        return cls(ready.contiguous(), bias, dilation, after, 1 / scale, weight.shape[1])

    @property
    def takes_pairs(self) -> bool:
        """Whether operands are pairs."""
        return self.weight.shape[2] > self.inputs

    @property
    def radius(self) -> int:
        """Positions on either side that a result depends on."""
        return len(self.weight) // 2 * self.dilation


def convolve_features(
    convolution: PreparedConvolution,
    x: SharedFeatures,
    margin: int,
    added: SharedFeatures | None = None,
    dtype: torch.dtype | None = None,
) -> SharedFeatures:
    """Convolve each window as if it lay alone between zeros.

    Parameters
    ----------
    convolution : PreparedConvolution
        What to convolve with.
    x : SharedFeatures
        Operands, or float32.
    margin : int
        Of the ends of windows, positions from here on are kept.
    added : SharedFeatures, optional
        float32, added to the result; may reach less far than it.
    dtype : torch.dtype, optional
        The result becomes operands of products in this precision; by default it is float32.

    Raises
    ------
    ValueError
        The ends depend on positions that `x` does not keep.
    """
    outputs, reach, windows = convolution.weight.shape[1], x.reach + convolution.radius, len(x.left)
    length, ends = len(x.inner) - 2 * convolution.radius, windows * (reach - margin)
    if x.margin > 0 and margin < x.margin + convolution.radius:
        raise ValueError(f"ends from {margin} on depend on positions before {x.margin}, which are not kept")
    rows = length + 2 * ends
    out = (
        x.inner.new_empty(rows, outputs, dtype=torch.float32)
        if dtype is None
        else new_operands([rows], outputs, dtype, x.inner.device)
    )
    _launch(convolution, x, out, length, ends, margin, added)
    return split_rows(replace(x, reach=reach, margin=margin), out, length)


def multiply_rows(rows: Tensor, linear: PreparedConvolution, out: Tensor, added: Tensor | None = None) -> Tensor:
    """Take rows through a linear map.

    Parameters
    ----------
    rows : Tensor
        Operands [n, C in].
    linear : PreparedConvolution
        A convolution of one tap.
    out : Tensor
        Filled and returned: [n, C out], float32 or operands.
    added : Tensor, optional
        float32 [n, C out], added to the result; may be `out`.
    """
    step = max(1, MAX_ELEMENTS // max(rows.shape[1], out.shape[1]))
    for some in (slice(first, first + step) for first in range(0, len(rows), step)):
        x, more = (None if part is None else SharedFeatures.begin(part[some], 0, 0, 0) for part in (rows, added))
        assert x is not None
        _launch(linear, x, out[some], len(x.inner), 0, 0, more)
    return out


def _launch(
    convolution: PreparedConvolution,
    x: SharedFeatures,
    out: Tensor,
    length: int,
    ends: int,
    margin: int,
    added: SharedFeatures | None,
) -> None:
    """Fill `out` with `length` positions of the inside of the stretch and `ends` of left and of right ends."""
    taps, outputs, _ = convolution.weight.shape
    inputs, bias = convolution.inputs, convolution.bias
    performed(2 * (length + 2 * ends) * outputs * taps * inputs)
    tile = TILES[convolution.takes_pairs]
    columns, depth = math.gcd(tile.columns, outputs), min(tile.depth, inputs)
    more = x if added is None else added
    for inside, tiles in ((True, triton.cdiv(length, tile.rows)), (False, 2 * triton.cdiv(ends, tile.rows))):
        if not (tiles and outputs):
            continue
        convolve_kernel[(tiles * (outputs // columns),)](
            *(x.inner, x.left, x.right, x.reach, x.margin),
            *(more.inner, more.left, more.right, more.reach, more.margin),
            convolution.weight,
            out if bias is None else bias,
            convolution.unscale,
            out,
            *(length, ends, margin, x.stride, x.width, convolution.dilation),
            TAPS=taps,
            INPUTS=inputs,
            OUTPUTS=outputs,
            INSIDE=inside,
            ADDED=added is not None,
            BIAS=bias is not None,
            AFTER=convolution.after,
            PAIRS=convolution.takes_pairs,
            TO_PAIRS=out.shape[1] > outputs,
            ROWS=tile.rows,
            COLUMNS=columns,
            DEPTH=depth,
            num_warps=max(4, tile.warps * columns // tile.columns),
            num_stages=tile.stages,
        )


@triton.jit(do_not_specialize=NOT_SPECIALIZED)
def convolve_kernel(
    inner,  # operands, or float32 that is to be split into pairs: [., INPUTS]
    left,  # the same, [windows, reach - margin, INPUTS]
    right,  # the same, [windows, reach - margin, INPUTS]
    reach,  # positions, of the input
    margin,  # positions, of the input
    added_inner,  # float32 [., OUTPUTS]
    added_left,  # float32 [windows, added_reach - added_margin, OUTPUTS]
    added_right,  # float32 [windows, added_reach - added_margin, OUTPUTS]
    added_reach,  # positions
    added_margin,  # positions
    weight,  # operands [TAPS, OUTPUTS, INPUTS]
    bias,  # float32 [OUTPUTS]
    unscale,  # float32, factor of sums of products of pairs
    out,  # out: float32 or operands [length + 2 * ends, OUTPUTS], the inside of the stretch, left ends, right ends
    length,  # positions of the result inside the stretch
    ends,  # positions of the result in the left ends of all windows, and in the right ends
    first,  # margin of the result, positions
    stride,  # positions between the starts of windows
    width,  # positions of a window
    dilation,  # positions between taps
    TAPS: tl.constexpr,
    INPUTS: tl.constexpr,  # channels
    OUTPUTS: tl.constexpr,  # channels
    INSIDE: tl.constexpr,  # whether this launch computes the inside of the stretch, or the ends of windows
    ADDED: tl.constexpr,  # whether `added_...` is added
    BIAS: tl.constexpr,  # whether there is a bias
    AFTER: tl.constexpr,  # "nothing", "relu" or "gelu"
    PAIRS: tl.constexpr,  # whether products are of pairs
    TO_PAIRS: tl.constexpr,  # whether the result is stored as pairs
    ROWS: tl.constexpr,  # positions of a block
    COLUMNS: tl.constexpr,  # output channels of a block
    DEPTH: tl.constexpr,  # input channels in a step
):
    """A block computes ROWS positions of COLUMNS channels, in steps over taps and input channels."""
    PARTS: tl.constexpr = OUTPUTS // COLUMNS
    SPLIT: tl.constexpr = PAIRS and inner.dtype.element_ty == tl.float32  # pairs are made here, not before
    WIDTH: tl.constexpr = 2 * INPUTS if PAIRS and not SPLIT else INPUTS  # elements of a row of the input
    PART: tl.constexpr = 2 * INPUTS if PAIRS else INPUTS  # elements of a row of the weight
    STEPS: tl.constexpr = INPUTS // DEPTH
    tile = tl.program_id(0) // PARTS
    column = tl.program_id(0) % PARTS * COLUMNS + tl.arange(0, COLUMNS)
    depth = tl.arange(0, DEPTH)
    parts = weight + column[None, :] * PART + depth[:, None]
    radius = TAPS // 2 * dilation
    total = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    # Rows past the last one read what the last one does and are not stored.
    if INSIDE:
        to = tile * ROWS + tl.arange(0, ROWS)
        mask = to < length
        row = tl.minimum(to, length - 1)
        plus = added_inner + (row + (reach + radius - added_reach)) * OUTPUTS
        for step in range(TAPS * STEPS):
            tap, channel = step // STEPS, step % STEPS * DEPTH
            rows = (inner + (row + tap * dilation) * WIDTH)[:, None] + (channel + depth)
            some = tl.load(rows)
            rest = tl.load(rows + INPUTS) if WIDTH > INPUTS else some
            total = add_products(total, some, rest, parts + (tap * OUTPUTS * PART + channel), INPUTS, PAIRS, SPLIT)
    else:
        each = reach + radius - first  # positions of the result at one end of one window
        side_tiles = tl.cdiv(ends, ROWS)
        at_right = tile >= side_tiles
        to = (tile - tl.where(at_right, side_tiles, 0)) * ROWS + tl.arange(0, ROWS)
        mask = to < ends
        row = tl.minimum(to, ends - 1)
        to += length + tl.where(at_right, ends, 0)
        window = (row // each).to(tl.int64)
        position = tl.where(at_right, width - reach - radius, first) + row % each
        in_kept, in_inner, start, held = find_position_0(
            inner, left, right, reach, margin, window, stride, width, at_right, WIDTH
        )
        for step in range(TAPS * STEPS):
            tap, channel = step // STEPS, step % STEPS * DEPTH
            read = position - radius + tap * dilation
            rows = tl.where(is_within(read, start, held), in_kept, in_inner) + read * WIDTH
            rows = rows[:, None] + (channel + depth)
            inside = is_within(read, 0, width)[:, None]
            some = tl.load(rows, mask=inside, other=0.0)
            rest = tl.load(rows + INPUTS, mask=inside, other=0.0) if WIDTH > INPUTS else some
            total = add_products(total, some, rest, parts + (tap * OUTPUTS * PART + channel), INPUTS, PAIRS, SPLIT)
        in_kept, in_inner, start, held = find_position_0(
            added_inner, added_left, added_right, added_reach, added_margin, window, stride, width, at_right, OUTPUTS
        )
        plus = tl.where(is_within(position, start, held), in_kept, in_inner) + position * OUTPUTS
    if PAIRS:
        total *= unscale
    if BIAS:
        total += tl.load(bias + column)
    if AFTER == "relu":
        total = relu(total)
    if AFTER == "gelu":
        total = gelu(total)
    if ADDED:
        total += tl.load(plus[:, None] + column, mask=mask[:, None], other=0.0)
    store_operands(out, to.to(tl.int64)[:, None], column[None, :], total, mask[:, None], OUTPUTS, TO_PAIRS)


@triton.jit
def add_products(
    total,  # float32 [ROWS, COLUMNS]
    some,  # [ROWS, DEPTH], operands, of pairs the first halves, or float32 that is to be split
    rest,  # [ROWS, DEPTH], of pairs the second halves
    parts,  # pointers [DEPTH, COLUMNS] to the weight's operands, of pairs the first halves
    INPUTS: tl.constexpr,  # elements from a first half to its second half
    PAIRS: tl.constexpr,
    SPLIT: tl.constexpr,  # whether to split
):
    """Add the products of one step to the sums."""
    if SPLIT:
        some *= SCALE
        rest = (some - some.to(tl.float16).to(tl.float32)).to(tl.float16)
    part = tl.load(parts)
    some = some.to(part.dtype)
    total = tl.dot(some, part, total, input_precision=PRODUCT)
    if PAIRS:
        total = tl.dot(rest, part, total)
        total = tl.dot(some, tl.load(parts + INPUTS), total)
    return total


@triton.jit
def find_position_0(
    inner,
    left,
    right,
    reach,
    margin,
    window,  # int64 [ROWS]
    stride,
    width,
    at_right,  # whether right ends are wanted, or left ones
    CHANNELS: tl.constexpr,  # elements of a row
):
    """Where position 0 of windows would lie, among the kept positions of an end and inside the stretch.

    Returns pointers for both, and the first kept position and their number.
    """
    start, held = tl.where(at_right, width - reach, margin), reach - margin
    kept = tl.where(at_right, right, left)
    return kept + (window * held - start) * CHANNELS, inner + (window * stride - reach) * CHANNELS, start, held


@triton.jit
def is_within(position, start, count):
    """Whether start <= position < start + count, by one comparison: a negative number is large without its sign."""
    return (position - start).to(tl.uint32) < count.to(tl.uint32)
