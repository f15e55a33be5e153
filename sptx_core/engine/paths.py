"""The one table of engine paths: what each is, the reasons against it here, and how it is made.

`ENGINE_PATHS` has an `EnginePath` for each name. Its reasons are sentences about a `PathRequest` (this network, these
windows, this device, this precision), without their subject and full stop, as "runs on CPUs only, not on cuda"; there
are none where the path can be used. "auto" is no entry: `resolve` finds the entry that it stands for.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from types import MappingProxyType

import torch

from sptx_core.config import SpTransformerConfig
from sptx_core.engine import triton as kernels
from sptx_core.engine.encoding import StretchEncoder
from sptx_core.engine.geometry import reach_of
from sptx_core.engine.members import transformer_of
from sptx_core.engine.native import library
from sptx_core.engine.native.encoder import native_encoder
from sptx_core.engine.native.layers import NativeTransformer
from sptx_core.engine.reference import ReferencePath
from sptx_core.engine.scheduling import StretchPath, Transformer
from sptx_core.engine.torch.encoder import torch_encoder
from sptx_core.engine.torch.layers import CPU_ROWS, TorchTransformer
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
AUTO = "auto"
AUTO_ORDER = ("native", "shared", "reference")  # "auto" is the first of these that has no reasons against it


@dataclass(frozen=True)
class PathRequest:
    """What a path is asked to compute, and where."""

    config: SpTransformerConfig
    spec: WindowSpec
    device: str
    """"cpu", "cuda" or "cuda:<index>"."""
    precision: str
    """One of `PRECISIONS`."""

    @property
    def device_type(self) -> str:
        """The device without its index: "cpu" or "cuda"."""
        return torch.device(self.device).type


@dataclass(frozen=True)
class EnginePath:
    """An entry of the table."""

    name: str
    summary: str
    """What it is, in a few words."""
    reasons: Callable[[PathRequest], Iterator[str]]
    make: Callable[[SpTransformerModel, WindowSpec, torch.dtype, int | None], ReferencePath | StretchPath]
    """(model, spec, dtype, batch) -> the path, ready to compute on the device of the model. `dtype` is the precision of
    the operands of products; `batch` is the windows of a micro-batch, None for one window a thread."""
    alternative: str | None = None
    """The nearest path to use where there are reasons against this one."""

    def reasons_against(self, request: PathRequest) -> list[str]:
        """Why the path cannot do what is asked; empty where it can."""
        return list(self.reasons(request))


def resolve(name: str, request: PathRequest) -> EnginePath:
    """The entry that a name stands for.

    Parameters
    ----------
    name : str
        One of `PATHS`. "auto" stands for the first of `AUTO_ORDER` that can be used; it leaves `triton` out, which only
        `calibrate` may find to be the faster one.
    request : PathRequest
        What is asked.

    Raises
    ------
    InputError
        The path cannot be used; the message lists the reasons.
    """
    if name not in PATHS:
        raise InputError(f"engine path {name!r} is unknown: choose one of {', '.join(PATHS)}.")
    refused = []
    for entry in (ENGINE_PATHS[candidate] for candidate in (AUTO_ORDER if name == AUTO else (name,))):
        reasons = entry.reasons_against(request)
        if not reasons:
            return entry
        refused.append(f"engine path {entry.name!r} {'; it '.join(reasons)}")
    nearest = None if name == AUTO else _nearest(ENGINE_PATHS[name], request)
    raise InputError("; ".join(refused) + (f": use {nearest!r}." if nearest else "."))


def _nearest(entry: EnginePath, request: PathRequest) -> str | None:
    """The name of the nearest other path that can do what is asked."""
    while entry.alternative:
        entry = ENGINE_PATHS[entry.alternative]
        if not entry.reasons_against(request):
            return entry.name
    return None


def _against_reference(request: PathRequest) -> Iterator[str]:
    if request.precision != "float32":
        yield f"computes in float32 only, not in {request.precision}"


def _against_shared(request: PathRequest) -> Iterator[str]:
    reach = max(map(reach_of, request.config.encoders))
    if 2 * reach >= request.spec.width:
        yield (
            f"needs windows wider than twice the {reach:,} bases that the encoders reach, and these have "
            f"{request.spec.width:,}"
        )


def _against_native(request: PathRequest) -> Iterator[str]:
    yield from _against_shared(request)
    if request.device_type != "cpu":
        yield f"runs on CPUs only, not on {request.device}"
    if not library.fits(request.config):
        yield (
            f"needs fewer than 32 heads of {library.PANEL} channels each, buckets of {library.BUCKET} positions, and "
            f"encoders and a feed-forward of channels in multiples of {library.PANEL}"
            if request.config.layers
            else f"needs encoders of channels in multiples of {library.PANEL}"
        )
    if missing := library.missing(PRECISIONS[request.precision]):
        yield missing


def _against_triton(request: PathRequest) -> Iterator[str]:
    yield from _against_shared(request)
    yield from kernels.size_reasons(request.config)
    if request.device_type != "cuda":
        yield f"runs on GPUs only, not on {request.device}"
        return
    if not torch.cuda.is_available():
        yield "needs a GPU, and PyTorch finds none here"
        return
    if find_spec("triton") is None:
        yield "needs Triton, which PyTorch for GPUs brings along on Linux"
    properties = torch.cuda.get_device_properties(request.device)
    shared_memory = getattr(properties, "shared_memory_per_block_optin", 0)
    if torch.version.cuda is None or shared_memory < kernels.SHARED_MEMORY:
        yield (
            f"needs an NVIDIA GPU with {kernels.SHARED_MEMORY // 1024} KB of shared memory for a block, as Hopper has; "
            f"{properties.name} has {shared_memory // 1024} KB"
        )


def _make_reference(
    model: SpTransformerModel, spec: WindowSpec, dtype: torch.dtype, batch: int | None
) -> ReferencePath:
    del dtype  # it computes in the precision of the network
    return ReferencePath(model, spec, batch or 1)


def _make_shared(model: SpTransformerModel, spec: WindowSpec, dtype: torch.dtype, batch: int | None) -> StretchPath:
    exact, wide = _in_float64(model), torch.promote_types(dtype, torch.float32)
    rows = CPU_ROWS if batch is None else None
    transformer = transformer_of(exact, lambda network: TorchTransformer(network, spec, dtype, wide, rows))
    return _stretch_path(exact, torch_encoder(exact, spec, dtype, wide), transformer, spec, batch)


def _make_native(model: SpTransformerModel, spec: WindowSpec, dtype: torch.dtype, batch: int | None) -> StretchPath:
    exact = _in_float64(model)
    transformer = transformer_of(exact, lambda network: NativeTransformer(network, spec, dtype))
    return _stretch_path(exact, native_encoder(exact, spec, dtype), transformer, spec, batch)


def _make_triton(model: SpTransformerModel, spec: WindowSpec, dtype: torch.dtype, batch: int | None) -> StretchPath:
    from sptx_core.engine.triton.encoder import triton_encoder  # late: Triton is not installed everywhere
    from sptx_core.engine.triton.layers import TritonTransformer

    exact = _in_float64(model)
    transformer = transformer_of(exact, lambda network: TritonTransformer(network, spec, dtype))
    return _stretch_path(exact, triton_encoder(exact, spec, dtype), transformer, spec, batch)


def _stretch_path(
    model: SpTransformerModel, encoder: StretchEncoder, transformer: Transformer, spec: WindowSpec, batch: int | None
) -> StretchPath:
    return StretchPath(encoder, transformer, spec, batch=batch, attends=model.sizes.layers > 0)


def _in_float64(model: SpTransformerModel) -> SpTransformerModel:
    """A copy from which weights are folded and rounded once."""
    return copy.deepcopy(model).double()


ENGINE_PATHS = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            EnginePath(
                "reference", "the plain network, in micro-batches of windows", _against_reference, _make_reference
            ),
            EnginePath(
                "shared",
                "each base encoded once for all windows that share it, by PyTorch's operators",
                _against_shared,
                _make_shared,
                "reference",
            ),
            EnginePath(
                "native", "shared, its costly parts compiled for AVX-512", _against_native, _make_native, "shared"
            ),
            EnginePath(
                "triton", "shared, its costly parts as Triton kernels for GPUs", _against_triton, _make_triton, "shared"
            ),
        )
    }
)
PATHS = (AUTO, *ENGINE_PATHS)


def describe_paths(device: str) -> dict[str, str]:
    """Name of each path -> the precisions in which it computes the published network on `device`, or why in none."""
    described: dict[str, str] = {}
    for name, path in ENGINE_PATHS.items():
        requests = {p: PathRequest(SpTransformerConfig(), WindowSpec(), device, p) for p in PRECISIONS}
        reasons = {precision: path.reasons_against(request) for precision, request in requests.items()}
        usable = [precision for precision, against in reasons.items() if not against]
        first_reason = next((against[0] for against in reasons.values() if against), "")
        described[name] = ", ".join(usable) or f"not usable: {first_reason}"
    return described
