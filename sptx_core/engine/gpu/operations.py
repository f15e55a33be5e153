"""The costly steps on a GPU: what each kernel of `sptx_core.engine.gpu.kernels` computes, and how it is cut into tiles.

Rows are positions, channels lie beside one another. Products take operands in the dtype of the weights and accumulate
in float32; float32 itself goes through the tensor cores in three parts, with the error of float32. With
`TRITON_INTERPRET=1` all of this runs on CPU tensors, for tests.
"""

from __future__ import annotations

from dataclasses import dataclass

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


# By operands' bytes, for a Hopper GPU: within 227 KB of shared memory, and no more instructions than its tensor cores
# leave time for where they can be had, as `benchmarks/gpu_kernels.py` compiles them (docs/performance.md).
PROJECT = {2: Tile(128, 64, 0, 8, 2), 4: Tile(64, 32, 0, 4, 2)}
FINISH = {2: Tile(128, 0, 64, 8, 2), 4: Tile(64, 0, 32, 4, 1)}
CONVOLVE = {2: Tile(128, 128, 64, 8, 3), 4: Tile(128, 128, 32, 8, 3)}  # half the warps for half the columns
ATTEND_WARPS = 4
ACTIVATE_ROWS = 32
PLACE_ROWS = 16


def project(x: Tensor, norm: tuple[Tensor, Tensor, float], weight: Tensor, bucket: int) -> tuple[Tensor, Tensor]:
    """Norm of rows x [n, hidden], float32, through `weight` [out, hidden]: [n, out], in the weight's dtype.

    And the means of what is projected over each `bucket` rows: float32 [n / bucket, hidden].
    """
    rows, hidden = x.shape
    scale, shift, eps = norm
    out = torch.empty(rows, len(weight), dtype=weight.dtype, device=x.device)
    means = torch.empty(rows // bucket, hidden, device=x.device)
    performed(2 * rows * hidden * len(weight))
    tile = PROJECT[weight.element_size()]
    kernels.project[(triton.cdiv(rows, tile.rows),)](
        x, scale, shift, eps, weight, out, means, rows,
        HIDDEN=hidden, OUTPUTS=len(weight), ROWS=tile.rows, COLUMNS=min(tile.columns, hidden), BUCKET=bucket,
        num_warps=tile.warps, num_stages=tile.stages,
    )  # fmt: skip
    return out, means


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
    """Both kinds of attention for some buckets of each window: [asked * size, hidden].

    Args:
        qkv: queries, scaled by D ** -0.5 / ln 2, keys and values of consecutive buckets of each window,
            [windows * buckets * size, 3 * hidden]; the buckets that are asked for and their neighbours are among them.
        far: keys of the far heads of all buckets [., far heads * D], which may be a view of columns.
        chosen: int64 [asked, far heads], the bucket chosen, numbered as in `far`.
        probability: float32 [asked, far heads], of that choice.
        heads: of both kinds; the first ones are local and need no choice.
        size: positions of a bucket.
        windows: how many there are.
        first: which bucket of those in `qkv` is the first of a window that is asked for.

    """
    hidden = qkv.shape[1] // 3
    asked, far_heads = chosen.shape
    performed(4 * asked * size * size * (hidden // heads) * (3 * heads - far_heads))  # local heads see three buckets
    out = torch.empty(asked * size, hidden, dtype=qkv.dtype, device=qkv.device)
    for local, count in ((True, heads - far_heads), (False, far_heads)):
        if count:
            kernels.attend[(asked, count)](
                qkv, far, chosen.contiguous(), probability.contiguous(), out,
                len(qkv) // size // windows, first, asked // windows,
                LOCAL=local, FAR_STRIDE=far.stride(0),
                HEADS=heads, NEAR=heads - far_heads, SIZE=size, WIDTH=hidden // heads, num_warps=ATTEND_WARPS,
            )  # fmt: skip
    return out


@dataclass(frozen=True, eq=False)
class FeedForward:
    """What follows attention in a layer: its output map, then norm, expansion, GELU and contraction."""

    output: tuple[Tensor, Tensor]
    norm: tuple[Tensor, Tensor, float]
    expand: tuple[Tensor, Tensor]
    contract: tuple[Tensor, Tensor]


def finish(x: Tensor, attended: Tensor, parts: FeedForward) -> None:
    """Add attention, through its output map, and then the feed-forward to rows x [n, hidden], float32, in place."""
    rows, hidden = x.shape
    (output, output_bias), (scale, shift, eps) = parts.output, parts.norm
    (expand, expand_bias), (contract, contract_bias) = parts.expand, parts.contract
    performed(2 * rows * hidden * (hidden + 2 * len(expand)))
    tile = FINISH[expand.element_size()]
    normed = torch.empty(rows, hidden, dtype=expand.dtype, device=x.device)
    kernels.finish[(triton.cdiv(rows, tile.rows),)](
        x, attended, output, output_bias, scale, shift, eps, normed,
        expand, expand_bias, contract, contract_bias, rows,
        HIDDEN=hidden, INNER=len(expand), ROWS=tile.rows, DEPTH=min(tile.depth, hidden),
        num_warps=tile.warps, num_stages=tile.stages,
    )  # fmt: skip


def activate(x: Tensor, scale: Tensor, shift: Tensor, dtype: torch.dtype) -> Tensor:
    """relu(x * scale + shift) of x [..., C], float32, in `dtype`."""
    out = torch.empty(x.shape, dtype=dtype, device=x.device)
    rows, channels = x.numel() // x.shape[-1], x.shape[-1]
    if rows:
        kernels.activate[(triton.cdiv(rows, ACTIVATE_ROWS),)](
            x, scale, shift, out, rows, CHANNELS=channels, ROWS=ACTIVATE_ROWS, num_warps=4
        )
    return out


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
class Source:
    """Positions of windows, where they lie: those in `kept` [n, E, C], all others in `inner` [L, C].

    Positions count from the window's first; those from `start` on, E of them, are kept; position p of window n is
    otherwise row `stride * n + p - reach` of `inner`.
    """

    inner: Tensor
    kept: Tensor
    start: int
    reach: int


@dataclass(frozen=True, eq=False)
class Convolution:
    """A dilated convolution made ready: weight [taps, C out, C in] in the operands' dtype, bias [C out] in float32."""

    weight: Tensor
    bias: Tensor | None
    dilation: int
    relu: bool

    @classmethod
    def of(
        cls, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, *, dilation: int = 1, relu: bool = False
    ) -> Convolution:
        """Of a weight [C out, C in, taps]."""
        ready = weight.permute(2, 0, 1).to(dtype).contiguous()
        return cls(ready, None if bias is None else bias.float(), dilation, relu)

    @property
    def radius(self) -> int:
        """Positions to either side that a result depends on."""
        return len(self.weight) // 2 * self.dilation


def convolve(
    convolution: Convolution,
    x: Source,
    out: Tensor,
    *,
    first: int,
    stride: int,
    width: int,
    added: Source | None = None,
) -> None:
    """Convolve positions [first, first + length) of each window, between zeros, into `out` [n, length, C out].

    Positions below 0 and from `width` on are zeros. `added`, float32, is added to the result.
    """
    windows, length, outputs = out.shape
    taps, _, inputs = convolution.weight.shape
    if not (windows and length):
        return
    performed(2 * out.numel() * taps * inputs)
    tile = CONVOLVE[convolution.weight.element_size()]
    columns, depth = min(tile.columns, outputs), min(tile.depth, inputs)
    more = x if added is None else added
    bias = convolution.bias
    begin = first - convolution.radius
    ends = x.kept.shape[1] > 0 or begin < 0 or begin + length + 2 * convolution.radius > width
    kernels.convolve[(triton.cdiv(length, tile.rows), windows, triton.cdiv(outputs, columns))](
        x.inner, x.kept, x.start, x.reach, x.kept.shape[1],
        more.inner, more.kept, more.start, more.reach, more.kept.shape[1],
        convolution.weight, out if bias is None else bias, out,
        begin, first, length, stride, width, convolution.dilation,
        TAPS=taps, INPUTS=inputs, OUTPUTS=outputs,
        ENDS=ends, ADDED=added is not None, BIAS=bias is not None, RELU=convolution.relu,
        ROWS=tile.rows, COLUMNS=columns, DEPTH=depth,
        num_warps=max(4, tile.warps * columns // tile.columns), num_stages=tile.stages,
    )  # fmt: skip
