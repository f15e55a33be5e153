"""ReLU and GELU for kernels, and the norm and ReLU before a residual block's first convolution: `activate_features`."""

from __future__ import annotations

from dataclasses import replace

import torch
import triton
import triton.language as tl
from torch import Tensor

from sptx_core.engine.features import SharedFeatures
from sptx_core.engine.triton.operands import new_operands, store_operands

ROWS = 32  # of a block
WARPS = 4


def activate_features(x: SharedFeatures, scale: Tensor, shift: Tensor, dtype: torch.dtype) -> SharedFeatures:
    """relu(x * scale + shift), as operands.

    Parameters
    ----------
    x : SharedFeatures
        float32, C channels. The left and then the right ends lie in memory after the inside of the stretch, as
        `convolve_features` puts them, so that one launch does all.
    scale, shift : Tensor
        float32 [C].
    dtype : torch.dtype
        Precision of the products that the result is an operand of.

    Raises
    ------
    ValueError
        The ends lie elsewhere.
    """
    windows, kept, channels = x.left.shape
    length, ends = len(x.inner), windows * kept
    rows = x.inner
    if ends:
        size = rows.element_size() * channels
        if [part.data_ptr() - rows.data_ptr() for part in (x.left, x.right)] != [size * length, size * (length + ends)]:
            raise ValueError("ends do not lie after what is inside, as `convolve_features` puts them")
        rows = rows.as_strided((length + 2 * ends, channels), (channels, 1))
    out = new_operands([len(rows)], channels, dtype, rows.device)
    activate_kernel[(triton.cdiv(len(rows), ROWS),)](
        rows,
        scale,
        shift,
        out,
        len(rows),
        CHANNELS=channels,
        ROWS=ROWS,
        PAIRS=dtype == torch.float32,
        num_warps=WARPS,
    )
    return split_rows(x, out, length)


def split_rows(like: SharedFeatures, rows: Tensor, length: int) -> SharedFeatures:
    """Features from rows: `length` of the inside of the stretch, then the left and then the right ends of windows."""
    left, right = torch.unflatten(rows[length:], 0, (2, len(like.left), like.reach - like.margin))
    return replace(like, inner=rows[:length], left=left, right=right)


@triton.jit(do_not_specialize=["rows"])
def activate_kernel(
    x,  # float32 [rows, CHANNELS]
    scale,  # float32 [CHANNELS]
    shift,  # float32 [CHANNELS]
    out,  # out: operands [rows, CHANNELS]
    rows,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,  # of a block
    PAIRS: tl.constexpr,  # whether operands are pairs
):
    """A block computes ROWS rows."""
    channel = tl.arange(0, CHANNELS)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    mask = (row < rows)[:, None]
    at = row.to(tl.int64)[:, None]
    y = tl.load(x + at * CHANNELS + channel, mask=mask, other=0.0) * tl.load(scale + channel)
    store_operands(out, at, channel, relu(y + tl.load(shift + channel)), mask, CHANNELS, PAIRS)


@triton.jit
def relu(x):
    """max(x, 0), where NaN stays NaN; by default `tl.maximum` makes 0 of it, which would hide it."""
    return tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def gelu(x):
    """GELU, x Phi(x), as relu(x) - |x| Phi(-|x|), with a polynomial for log2 of the latter Phi.

    Fitted to |x| from 0 to 9 for the least largest error of the result, 7e-9, which is below the rounding of float32:
    with it, 2.5e-7 for any x, and 4.5e-7 by the error function. Beyond 9 its last term lets Phi vanish.
    """
    a = tl.abs(x)
    power = -1.6904031e-06 * a + 2.5083329e-05
    power = power * a - 1.1446281e-04
    power = power * a - 3.2334172e-04
    power = power * a + 7.3333834e-03
    power = power * a - 5.2714199e-02
    power = power * a - 4.5911545e-01
    power = power * a - 1.1511233e00
    power = power * a - 9.9999887e-01
    return tl.maximum(x, 0.0) - a * tl.exp2(power)
