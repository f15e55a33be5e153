"""The compiled library: whether it can be used here, and its functions for PyTorch's tensors.

It is compiled from `cpp/` when the package is installed, where there is a C++ compiler for x86-64 Linux (`setup.py`).
`usable` says whether it is there and this processor has the instructions; without it the path `shared` does the same
work by PyTorch's own operators. Weights for it come from `weights.py`.

Tensors are contiguous and on the CPU, else a call raises ValueError; their shapes, dtypes and addresses are not
checked: `fits` checks the network's sizes once. A bucket is 64 positions; local heads attend to their own bucket and
the two beside it, Sinkhorn heads to their own and one that they choose. Calls release the interpreter's lock and may be
made from any thread; they report the operations that they perform to `flops.performed`.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sptx_core.config import SpTransformerConfig
from sptx_core.engine.flops import performed
from sptx_core.engine.native.modes import Mode as Mode
from sptx_core.engine.native.sources import checksum, sources
from sptx_core.engine.native.weights import PANEL as PANEL
from sptx_core.engine.native.weights import POINTER, POINTS
from sptx_core.engine.native.weights import TAPS as TAPS
from sptx_core.engine.native.weights import ConvolutionArguments as ConvolutionArguments
from sptx_core.engine.native.weights import LayerArguments as LayerArguments
from sptx_core.engine.native.weights import panels as panels

FOLDER = Path(__file__).parent
BUCKET = 64  # positions, as in cpp/modes.h
MAX_HEADS, MAX_THREADS = 32, 64  # of a call, as in cpp/arguments.h
MEANS, EVERYTHING, SINKHORN_KEYS = 1, 2, 4  # what `project` computes: Products in cpp/arguments.h
FLOAT32, BFLOAT16, MATRIX_UNITS = 1, 2, 4  # what a processor can do: Feature in cpp/native.cpp
# Columns of a table of sequences, one a row: the fields of Sequence in cpp/arguments.h.
GIVEN, POSITIONS, ADDED, ADDED_POSITIONS, RESULT, LENGTH, COLUMNS = 0, 3, 6, 8, 10, 11, 12
Numbers = npt.NDArray[np.int64]


class Loaded(NamedTuple):
    """A library that was loaded, or the reason why there is none."""

    library: ctypes.CDLL | None
    reason: str
    """The end of a sentence about the library; empty where it was loaded."""


def load(folder: Path) -> Loaded:
    """Load the library that was compiled from the sources beside it.

    Parameters
    ----------
    folder : Path
        The folder with `_native*.so` and the sources in `cpp/`. Where there are no sources, they are not compared.

    """
    reason = "is not compiled: install sptx on x86-64 Linux where there is a C++ compiler"
    for path in folder.glob("_native*.so"):
        try:
            found = ctypes.CDLL(str(path))
            found.sptx_source.restype = ctypes.c_uint
            if not sources(folder / "cpp") or found.sptx_source() == checksum(folder / "cpp"):
                return Loaded(found, "")
            reason = "was compiled from other sources: install sptx again"
        except (OSError, AttributeError) as error:
            reason = f"cannot be loaded ({error}): install sptx again"
    return Loaded(None, reason)


@cache
def loaded() -> Loaded:
    """Load the library of this package, once."""
    return load(FOLDER)


def library() -> ctypes.CDLL | None:
    """Return the library, or None where it is not compiled from the sources beside it."""
    return loaded().library


@cache
def features() -> int:
    """Return what this processor can do of the library, as a sum of FLOAT32, BFLOAT16 and MATRIX_UNITS."""
    found = library()
    return 0 if found is None else int(found.sptx_features())


def fastest_mode(dtype: torch.dtype) -> Mode:
    """Return the fastest mode of this processor for torch.float32 or torch.bfloat16."""
    if features() & MATRIX_UNITS:
        return Mode.MATRIX_FLOAT32 if dtype == torch.float32 else Mode.MATRIX_BFLOAT16
    return Mode.FLOAT32 if dtype == torch.float32 else Mode.BFLOAT16


def missing(dtype: torch.dtype) -> str:
    """Say why the library cannot compute in a precision here.

    Parameters
    ----------
    dtype : torch.dtype
        torch.float32 or torch.bfloat16.

    Returns
    -------
    str
        The end of a sentence about the library; empty where it can.

    """
    if library() is None:
        return loaded().reason
    wanted = {torch.float32: FLOAT32, torch.bfloat16: BFLOAT16}[dtype]
    if features() & wanted:
        return ""
    return f"needs {'AVX-512' if wanted == FLOAT32 else 'avx512_bf16'}, which this processor does not have"


def usable(dtype: torch.dtype) -> bool:
    """Return whether the library can compute in a precision here."""
    return dtype in (torch.float32, torch.bfloat16) and not missing(dtype)


def fits(config: SpTransformerConfig) -> bool:
    """Return whether a network has the sizes that the library is made for."""
    if any(encoder.channels % PANEL for encoder in config.encoders):
        return False
    if not config.layers:
        return True
    multiples = config.hidden_size, config.feed_forward_size
    heads = config.heads < MAX_HEADS and config.hidden_size == PANEL * config.heads
    return heads and config.bucket_size == BUCKET and all(size % PANEL == 0 for size in multiples)


def whole_panels(channels: int) -> int:
    """Return the least multiple of a panel's columns that holds so many channels."""
    return -(-channels // PANEL) * PANEL


def new_head_blocks(heads: int, local_heads: int, buckets: int, mode: Mode) -> Tensor:
    """Allocate memory for queries, keys and values of buckets, laid out as in cpp/layers/head_blocks.h.

    Returns
    -------
    Tensor [buckets, 4 * heads - local_heads, mode.words(BUCKET * PANEL)]
        32-bit words, uninitialised.

    """
    return torch.empty(buckets, 4 * heads - local_heads, mode.words(BUCKET * PANEL))


def project(mode: Mode, layer: LayerArguments, x: Tensor, blocks: Tensor, means: Tensor, products: int) -> None:
    """Compute a layer's norm and what follows it, of all buckets.

    Parameters
    ----------
    mode : Mode
        The mode that the layer's weights are laid out for.
    layer : LayerArguments
        Weights and sizes.
    x : Tensor, float32 [buckets * BUCKET, hidden]
        The residual stream, in any shape of this memory.
    blocks : Tensor [buckets, head blocks, words]
        From `new_head_blocks`; queries, keys and values are written where `products` has EVERYTHING.
    means : Tensor, float32 [buckets, hidden]
        The means of normed positions are written where `products` has MEANS.
    products : int
        A sum of MEANS and EVERYTHING.

    """
    _project(mode, layer, x, blocks, means, None, None, products)


def project_some(
    mode: Mode, layer: LayerArguments, x: Tensor, blocks: Tensor, buckets: Tensor, wanted: Tensor | None = None
) -> None:
    """Compute a layer's norm and projections of some buckets.

    Parameters
    ----------
    mode, layer, x, blocks
        As for `project`.
    buckets : Tensor, int32 [n]
        The buckets, counted through all windows.
    wanted : Tensor, int32 [n], or None
        With it only keys of Sinkhorn heads are computed: for each bucket those heads whose bit is set.

    """
    _project(mode, layer, x, blocks, None, buckets, wanted, EVERYTHING if wanted is None else SINKHORN_KEYS)


def _project(
    mode: Mode,
    layer: LayerArguments,
    x: Tensor,
    blocks: Tensor,
    means: Tensor | None,
    buckets: Tensor | None,
    wanted: Tensor | None,
    products: int,
) -> None:
    count = len(blocks) if buckets is None else len(buckets)
    values = (x, buckets, wanted, count, products, blocks, means)
    _call("sptx_project", mode, ctypes.byref(layer), *values)
    heads = 3 * layer.heads * count if products & EVERYTHING else 0
    if wanted is not None:
        heads = sum(bits.bit_count() for bits in wanted.tolist())
    performed(2 * BUCKET * layer.hidden * PANEL * heads)


def choose(
    layer: LayerArguments, means: Tensor, first: int, count: int, gaps: list[Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Choose the bucket that each Sinkhorn head of a bucket attends to, among those of its window.

    Parameters
    ----------
    layer : LayerArguments
        Weights and sizes.
    means : Tensor, float32 [B, buckets, hidden]
        From `project`, of B windows.
    first, count : int
        Choices are made for buckets [first, first + count) of each window.
    gaps : list, optional
        Gets float32 [B]: of each window the smallest difference between the two best fits of a bucket, infinity where
        there is no second.

    Returns
    -------
    chosen : Tensor, int32 [B * count, Sinkhorn heads]
        The buckets chosen, counted through all windows.
    probability : Tensor, float32 [B * count, Sinkhorn heads]
        Their probabilities.

    """
    windows, buckets, _ = means.shape
    heads = layer.heads - layer.local_heads
    chosen, probability = torch.empty(windows * count, heads, dtype=torch.int32), torch.empty(windows * count, heads)
    smallest = None if gaps is None else torch.full((windows,), torch.inf)
    _call("sptx_choose", ctypes.byref(layer), means, windows, buckets, first, count, chosen, probability, smallest)
    if gaps is not None and smallest is not None:
        gaps.append(smallest * math.log(2))  # the library has scores for powers of 2
    per_head = layer.hidden * PANEL * (buckets + count) + PANEL * buckets * count
    performed(2 * windows * heads * per_head)
    return chosen, probability


def attend(
    mode: Mode,
    layer: LayerArguments,
    x: Tensor,
    blocks: Tensor,
    first: int,
    in_window: int,
    chosen: Tensor,
    probability: Tensor,
) -> None:
    """Add attention and feed-forward to buckets [first, first + n) of the residual stream, in place.

    Parameters
    ----------
    mode, layer, x, blocks
        As for `project`.
    first : int
        The first bucket, counted through all windows.
    in_window : int
        Buckets of a window.
    chosen, probability : Tensor, int32 and float32 [n, Sinkhorn heads]
        From `choose`.

    """
    values = (first, len(chosen), in_window, chosen, probability)
    _call("sptx_attend", mode, ctypes.byref(layer), x, blocks, *values)
    # Keys that a query meets, summed over heads; fewer at the ends of a window, which is neglected.
    keys = BUCKET * (3 * layer.local_heads + 2 * (layer.heads - layer.local_heads))
    linear = layer.hidden * (layer.hidden + 2 * layer.inner)
    performed(2 * len(chosen) * BUCKET * (linear + 2 * keys * PANEL))


def convolve(
    mode: Mode, convolutions: Sequence[ConvolutionArguments], sequences: Sequence[Numbers], threads: int
) -> None:
    """Convolve sequences, by several convolutions one after the other.

    Parameters
    ----------
    mode : Mode
        The mode that the weights are laid out for.
    convolutions : sequence of n ConvolutionArguments
        The convolutions.
    sequences : sequence of n int64 arrays [rows, COLUMNS]
        For each convolution the sequences that it convolves: addresses and numbers of positions, in the columns above.
        Row i of one array is done after row i of the array before it, by the same thread, so that it can read what that
        one wrote, and rows of one thread can share memory for it.
    threads : int
        Row i is done by thread i % threads, of at most MAX_THREADS.

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


def _call(name: str, *values: object) -> None:
    found = library()
    assert found is not None
    getattr(found, name)(*map(_argument, values))


def _argument(value: object) -> object:
    """Return a value as ctypes takes it: of a tensor its address, of None a null pointer."""
    if isinstance(value, Tensor):
        if not value.is_contiguous() or value.device.type != "cpu":
            raise ValueError("the library takes contiguous tensors on the CPU")
        return POINTER(value.data_ptr())
    return POINTER() if value is None else value
