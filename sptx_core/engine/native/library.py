"""The compiled library `native.cpp`: whether it can be used here, and its functions for PyTorch's tensors.

It is compiled when the package is installed, where there is a C++ compiler for x86-64 (`setup.py`). `usable` says
whether it is there and this processor has the instructions; without it the path `shared` does the same work by
PyTorch's own operators. All tensors are contiguous and on the CPU; sizes are checked once, in `fits`, and when weights
are laid out. Calls release the interpreter's lock.
"""

from __future__ import annotations

import ctypes
import math
import zlib
from collections.abc import Sequence
from enum import IntEnum
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from sptx_core.config import SpTransformerConfig
from sptx_core.engine.flops import performed

PANEL, BUCKET = 32, 64  # as in native.cpp; a panel is also the size of a head
MEANS, EVERYTHING, FAR_KEYS = 1, 2, 4
FLOAT32, BFLOAT16, MATRIX_UNITS = 1, 2, 4  # bits of sptx_features
POINTS = (0, 1, -1, 1 / 2, -1 / 2, 3)  # of Toom-Cook, and infinity
TAPS = 4  # of a group
MOST_THREADS, MOST_HEADS = 64, 32  # of a call, and bits of a word that says which are wanted
# Columns of a table of sequences, one a row: the fields of `Sequence` in native.cpp.
GIVEN, POSITIONS, ADDED, ADDED_POSITIONS, RESULT, LENGTH, COLUMNS = 0, 3, 6, 8, 10, 11, 12
Numbers = npt.NDArray[np.int64]
POINTER = ctypes.c_void_p


class Mode(IntEnum):
    """How products are computed, as in native.cpp: precision, by vectors or by the matrix units.

    Only those that `features` names can be used, and only after it was called.
    """

    FLOAT32 = 0
    BFLOAT16 = 1
    MATRIX_FLOAT32 = 2
    MATRIX_BFLOAT16 = 3

    @classmethod
    def of(cls, dtype: torch.dtype) -> Mode:
        """The fastest here for a precision."""
        if features() & MATRIX_UNITS:
            return cls.MATRIX_FLOAT32 if dtype == torch.float32 else cls.MATRIX_BFLOAT16
        return cls.FLOAT32 if dtype == torch.float32 else cls.BFLOAT16

    @property
    def parts(self) -> int:
        """Of how many bfloat16 an operand is the sum; 0 where it is a float32."""
        return (0, 1, 3, 1)[self]

    def words(self, elements: int) -> int:
        """32-bit words that operands take, of a multiple of 32 of them."""
        return elements // 2 * self.parts if self.parts else elements


class _Norm(ctypes.Structure):
    _fields_ = (("weight", POINTER), ("bias", POINTER), ("epsilon", ctypes.c_float))


class LayerArguments(ctypes.Structure):
    """`Layer` of native.cpp."""

    _fields_ = (
        ("attention_norm", _Norm),
        ("feed_forward_norm", _Norm),
        *((name, POINTER) for name in ("project", "output", "expand", "contract", "mean_query", "mean_key")),
        *((name, POINTER) for name in ("output_bias", "expand_bias", "contract_bias")),
        *((name, ctypes.c_int) for name in ("hidden", "heads", "near", "inner")),
    )

    kept: Sequence[Tensor | None]
    """The memory that it points to."""

    @classmethod
    def of(
        cls,
        norms: Sequence[tuple[Tensor, Tensor, float]],
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        sizes: Sequence[int],
    ) -> LayerArguments:
        """Two norms (weight, bias, epsilon), six weights from `panels`, three biases and four sizes."""
        kept = [_float(values) for weight, bias, _ in norms for values in (weight, bias)]
        added = [_float(bias) for bias in biases]
        arguments = cls(
            *(_Norm(_at(kept[2 * i]), _at(kept[2 * i + 1]), norm[2]) for i, norm in enumerate(norms)),
            *map(_at, (*weights, *added)),
            *sizes,
        )
        arguments.kept = (*kept, *weights, *added)
        return arguments


class ConvolutionArguments(ctypes.Structure):
    """`Convolution` of native.cpp."""

    _fields_ = (
        *((name, POINTER) for name in ("weight", "last", "bias", "scale", "shift")),
        *((name, ctypes.c_int) for name in ("inputs", "outputs", "groups", "dilation", "relu")),
    )

    kept: Sequence[Tensor | None]
    """The memory that it points to."""

    @classmethod
    def of_positions(cls, weight: Tensor, mode: Mode) -> ConvolutionArguments:
        """A linear map of each position: weight [C out, C in]."""
        return cls._of([panels(weight, mode), None, None, None, None], (*weight.shape[::-1], 0, 1, False))

    @classmethod
    def of(
        cls,
        weight: Tensor,
        bias: Tensor,
        norm: tuple[Tensor, Tensor] | None,
        *,
        dilation: int,
        relu: bool,
        mode: Mode,
    ) -> ConvolutionArguments:
        """A convolution: weight [C out, C in, kernel], bias, scale and shift of a norm and ReLU before it.

        Taps go in groups; one that is left over goes alone.
        """
        outputs, inputs, kernel = weight.shape
        alone = kernel % TAPS == 1 and kernel > 1
        grouped = at_points(weight[..., : kernel - alone])  # [points, groups, C out, C in]
        tensors = [
            panels(grouped, mode).transpose(1, 2).contiguous(),
            panels(weight[..., -1], mode) if alone else None,
            *map(_float, (bias, *(norm or ()))),
        ]
        return cls._of([*tensors, None, None][:5], (inputs, outputs, grouped.shape[1], dilation, relu))

    @classmethod
    def _of(cls, tensors: Sequence[Tensor | None], sizes: Sequence[int]) -> ConvolutionArguments:
        arguments = cls(*(None if tensor is None else _at(tensor) for tensor in tensors), *sizes)
        arguments.kept = tensors
        return arguments


@cache
def _loaded() -> tuple[ctypes.CDLL | None, str]:
    """The library, or why there is none."""
    folder = Path(__file__).parent
    reason = "is not compiled: install sptx on x86-64 Linux where there is a C++ compiler"
    for path in folder.glob("_native*.so"):
        try:
            found = ctypes.CDLL(str(path))
            source = folder / "native.cpp"
            if not source.exists() or found.sptx_source() & 0xFFFFFFFF == zlib.crc32(source.read_bytes()):
                return found, ""
            reason = "was compiled from another native.cpp: install sptx again"
        except (OSError, AttributeError) as error:
            reason = f"cannot be loaded ({error}): install sptx again"
    return None, reason


def library() -> ctypes.CDLL | None:
    """The library, or None where it is not compiled from the source beside it."""
    return _loaded()[0]


@cache
def features() -> int:
    """What this processor can do of it: a sum of FLOAT32, BFLOAT16 and MATRIX_UNITS."""
    found = library()
    return 0 if found is None else int(found.sptx_features())


def missing(dtype: torch.dtype) -> str:
    """Why products in this precision cannot be had from the library, as the end of a sentence; empty where they can."""
    if library() is None:
        return _loaded()[1]
    wanted = {torch.float32: FLOAT32, torch.bfloat16: BFLOAT16}[dtype]
    if features() & wanted:
        return ""
    return f"needs {'AVX-512' if wanted == FLOAT32 else 'avx512_bf16'}, which this processor does not have"


def usable(dtype: torch.dtype) -> bool:
    """Whether products in this precision can be had from the library."""
    return dtype in (torch.float32, torch.bfloat16) and not missing(dtype)


def fits(config: SpTransformerConfig) -> bool:
    """Whether the network has the sizes that the library is made for."""
    multiples = (config.hidden_size, config.feed_forward_size, *(encoder.channels for encoder in config.encoders))
    heads = config.heads < MOST_HEADS and config.hidden_size == PANEL * config.heads
    return heads and config.bucket_size == BUCKET and all(size % PANEL == 0 for size in multiples)


def panels(weight: Tensor, mode: Mode) -> Tensor:
    """A linear map's weight [..., C out, C in] as right side of products: [..., panels, words, PANEL, in a word]."""
    *outer, outputs, inputs = weight.shape
    values = weight.float()
    if not mode.parts:
        return values.reshape(*outer, outputs // PANEL, PANEL, inputs).transpose(-2, -1).contiguous()
    parts = []
    for _ in range(mode.parts):
        parts.append(values.bfloat16())
        values = values - parts[-1]
    steps = torch.stack(parts).reshape(mode.parts, *outer, outputs // PANEL, PANEL, inputs // 32, 16, 2)
    steps = steps.movedim(0, -3).movedim(-5, -2)  # [..., panels, steps, parts, 16, PANEL, 2]
    return steps.reshape(*outer, outputs // PANEL, -1, PANEL, 2).contiguous()


def at_points(weight: Tensor) -> Tensor:
    """Of a convolution's weight [C out, C in, kernel]: each group of taps at each point, [7, groups, C out, C in].

    Divided by the differences of the point from the others, by which the other side's values are not.
    """
    groups = -(-weight.shape[2] // TAPS)
    taps = torch.unflatten(F.pad(weight, (0, TAPS * groups - weight.shape[2])), 2, (groups, TAPS))
    powers = [
        [point**i / math.prod(point - other for other in POINTS if other != point) for i in range(TAPS)]
        for point in POINTS
    ]
    return torch.einsum("oigt,pt->pgoi", taps, weight.new_tensor([*powers, [0, 0, 0, 1]]))


def new_tiles(heads: int, near: int, buckets: int, mode: Mode) -> Tensor:
    """Memory for what buckets become before attention."""
    return torch.empty(buckets, 4 * heads - near, mode.words(BUCKET * PANEL))


def project(mode: Mode, layer: LayerArguments, x: Tensor, tiles: Tensor, means: Tensor, what: int) -> None:
    """Norm and means, and with EVERYTHING projections, of rows x [buckets * BUCKET, hidden]."""
    _project(mode, layer, x, tiles, means, None, None, what)


def project_some(
    mode: Mode, layer: LayerArguments, x: Tensor, tiles: Tensor, buckets: Tensor, wanted: Tensor | None = None
) -> None:
    """Norm and projections of the buckets listed (int32); with `wanted` (int32) of the keys of far heads with a bit."""
    _project(mode, layer, x, tiles, None, buckets, wanted, EVERYTHING if wanted is None else FAR_KEYS)


def _project(
    mode: Mode,
    layer: LayerArguments,
    x: Tensor,
    tiles: Tensor,
    means: Tensor | None,
    buckets: Tensor | None,
    wanted: Tensor | None,
    what: int,
) -> None:
    count = len(tiles) if buckets is None else len(buckets)
    _call(
        "sptx_project",
        mode,
        ctypes.byref(layer),
        x,
        buckets,
        wanted,
        count,
        what,
        tiles,
        means,
    )
    heads = 3 * layer.heads * count if what & EVERYTHING else 0
    if wanted is not None:
        heads = sum(bits.bit_count() for bits in wanted.tolist())
    performed(2 * BUCKET * layer.hidden * PANEL * heads)


def choose(layer: LayerArguments, means: Tensor, first: int, count: int) -> tuple[Tensor, Tensor]:
    """Which bucket, among all of means [B, buckets, hidden], `count` of each window look at, and its probability.

    Returns int32 and float32 [B * count, far heads].
    """
    windows, buckets, _ = means.shape
    far = layer.heads - layer.near
    chosen, probability = torch.empty(windows * count, far, dtype=torch.int32), torch.empty(windows * count, far)
    _call("sptx_choose", ctypes.byref(layer), means, windows, buckets, first, count, chosen, probability)
    per_head = layer.hidden * PANEL * (buckets + count) + PANEL * buckets * count
    performed(2 * windows * far * per_head)
    return chosen, probability


def attend(
    mode: Mode,
    layer: LayerArguments,
    x: Tensor,
    tiles: Tensor,
    first: int,
    in_window: int,
    bucket: Tensor,
    probability: Tensor,
) -> None:
    """Add attention and feed-forward to the rows of buckets from `first` on, in place.

    bucket (int32, among all of x), probability (float32): [buckets, far heads].
    """
    values = (first, len(bucket), in_window, bucket, probability)
    _call("sptx_attend", mode, ctypes.byref(layer), x, tiles, *values)
    seen = BUCKET * (3 * layer.near + 2 * (layer.heads - layer.near))  # keys, over all heads; at a window's end fewer
    linear = layer.hidden * (layer.hidden + 2 * layer.inner)
    performed(2 * len(bucket) * BUCKET * (linear + 2 * seen * PANEL))


def convolve(
    mode: Mode, convolutions: Sequence[ConvolutionArguments], sequences: Sequence[Numbers], threads: int
) -> None:
    """Convolve sequences, one a row, with the columns above; row i by thread i % threads.

    Of several convolutions, each with as many sequences, a row's are done one after the other, so that a later one can
    read what an earlier one wrote, and rows of one thread can share memory for that.
    """
    pointers = (POINTER * len(convolutions))(*map(ctypes.addressof, convolutions))
    table = np.concatenate(sequences)
    values = (POINTER(table.ctypes.data), len(convolutions), len(sequences[0]), threads)
    _call("sptx_convolve", mode, pointers, *values)
    for convolution, some in zip(convolutions, sequences, strict=True):
        products = int(some[:, LENGTH].sum())
        if convolution.groups:
            whole, left = np.divmod(some[:, LENGTH], TAPS * convolution.dilation)
            rows = whole * convolution.dilation + np.minimum(left, convolution.dilation)
            products = int(rows.sum()) * (len(POINTS) + 1) * convolution.groups
            products += int(rows.sum()) * TAPS * bool(convolution.last)
        performed(2 * products * convolution.inputs * convolution.outputs)


def _float(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float32).contiguous()


def _at(tensor: Tensor) -> int:
    return tensor.data_ptr()


def _call(name: str, *values: object) -> None:
    found = library()
    assert found is not None
    getattr(found, name)(*map(_argument, values))


def _argument(value: object) -> object:
    if isinstance(value, Tensor):
        if not value.is_contiguous() or value.device.type != "cpu":
            raise ValueError("the library takes contiguous tensors on the CPU")
        return POINTER(value.data_ptr())
    return POINTER() if value is None else value
