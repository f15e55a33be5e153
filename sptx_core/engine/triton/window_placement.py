"""The attention layers' input, put together from the fused features of a stretch: `place_on_gpu`."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from sptx_core.engine.encoding import PositionTable
from sptx_core.engine.features import SharedFeatures

ROWS = 16  # of a block
WARPS = 4


def place_on_gpu(fused: SharedFeatures, first: int, table: PositionTable, x: Tensor) -> None:
    """Fill x [n, S, hidden] with fused features and position embedding of windows `first`, `first` + 1, ...

    All tensors are float32 and contiguous. Where attended positions lie outside the window, `table.padding` is stored.
    """
    windows, size, hidden = x.shape
    place_kernel[(triton.cdiv(size, ROWS), windows)](
        fused.inner,
        fused.left,
        fused.right,
        table.position,
        table.padding,
        x,
        first,
        fused.stride,
        fused.width,
        fused.reach,
        fused.margin,
        table.span.first,
        size,
        HIDDEN=hidden,
        ROWS=ROWS,
        num_warps=WARPS,
    )


@triton.jit(do_not_specialize=["first", "stride", "width", "reach", "margin", "begin", "size"])
def place_kernel(
    inner,  # float32 [., HIDDEN]
    left,  # float32 [., reach - margin, HIDDEN]
    right,  # float32 [., reach - margin, HIDDEN]
    position,  # float32 [size, HIDDEN]
    padding,  # float32 [size, HIDDEN]
    out,  # out: float32 [windows, size, HIDDEN]
    first,  # window
    stride,  # positions between the starts of windows
    width,  # positions of a window
    reach,  # positions
    margin,  # positions
    begin,  # window position of attended position 0; may be negative
    size,  # attended positions
    HIDDEN: tl.constexpr,
    ROWS: tl.constexpr,  # attended positions of a block
):
    """A block computes ROWS attended positions of one window."""
    number = tl.program_id(1).to(tl.int64)
    window = first + number
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channel = tl.arange(0, HIDDEN)
    at = begin + row
    in_left = left + (window * (reach - margin) + at - margin) * HIDDEN
    in_right = right + (window * (reach - margin) + at - (width - reach)) * HIDDEN
    in_inner = inner + (window * stride + at - reach) * HIDDEN
    rows = tl.where(at < reach, in_left, tl.where(at < width - reach, in_inner, in_right))
    mask = row < size
    held = (at >= margin) & (at < width - margin)
    added = tl.where(held, position, padding) + row * HIDDEN
    y = tl.load(rows[:, None] + channel, mask=(mask & held)[:, None], other=0.0)
    y += tl.load(added[:, None] + channel, mask=mask[:, None], other=0.0)
    tl.store(out + (number * size + row)[:, None] * HIDDEN + channel, y, mask=mask[:, None])
