"""Codes of stretches in, scores of their windows out.

In: stretches of consecutive windows, uint8 codes (A C G T N = 0..4) 5' to 3', of length (n - 1) * stride + core +
2 * context (`sptx_core.windows`). Out: probabilities, float32 [n, core, channels], still by window and 5' to 3'; the
channels are those of `sptx_core.channels`. For a fixed batch, path and number of threads (which the caller sets by
`torch.set_num_threads`) the same stretches give the same bytes on one kind of hardware.

Errors: `InputError` for settings that cannot work; `ArithmeticError` for output that is not finite.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sptx_core import channels
from sptx_core.alphabet import Codes
from sptx_core.engine import gpu
from sptx_core.engine.arithmetic import exact_arithmetic
from sptx_core.engine.fast import SharedPath, fits
from sptx_core.engine.native import library
from sptx_core.engine.reference import ReferencePath
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec

Scores = npt.NDArray[np.float32]
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
GPU_QUEUE = 2  # micro-batches that a GPU has been given while the caller waits for one
PATHS = ("auto", "reference", "shared", "native", "triton")


class Predictor:
    """A loaded network made ready for prediction; the network given is left as it is.

    Args:
        model: the network, on any device.
        spec: how the windows lie; its context must be the network's.
        precision: "float32" or "bfloat16".
        device: "cpu", "cuda" or "cuda:<index>".
        batch: windows in a micro-batch; on a CPU the shared path takes one a thread instead.
        path: one of `PATHS`; "auto" leaves `triton` out, which only `calibrate` may find to be the faster one.

    Raises:
        InputError: the settings cannot work together.

    """

    def __init__(
        self,
        model: SpTransformerModel,
        spec: WindowSpec,
        *,
        precision: str = "float32",
        device: str = "cpu",
        batch: int,
        path: str = "auto",
    ) -> None:
        _check(model, spec, precision, device, batch, path)
        self.spec = spec
        self.device = torch.device(device)
        self.path = _settle(model, spec, precision, device, path)
        self.channels = len(channels.SPLICE) + model.config.tissues
        self._queued = GPU_QUEUE if self.device.type == "cuda" else 0
        ready = copy.deepcopy(model).to(device=device).eval()
        with torch.inference_mode(), exact_arithmetic(device):
            self._path: ReferencePath | SharedPath = (
                ReferencePath(ready, spec, batch)
                if self.path == "reference"
                else SharedPath(
                    ready,
                    spec,
                    PRECISIONS[precision],
                    None if self.device.type == "cpu" else batch,
                    path=self.path,
                )
            )

    @classmethod
    def planned(cls, model, spec, *, path, **more):
        if path == "triton":
            first, end = spec.input_span(0, 0)
            try:
                predictor = cls(model, spec, path=path, **more)
                predictor.predict([np.full(end - first, 4, dtype=np.uint8)])
            except Exception as error:
                if is_device_lost(error):
                    raise
                return cls(model, spec, path="shared", **more)
            return predictor
        return cls(model, spec, path="auto" if path == "native" else path, **more)

    def predict(self, stretches: Sequence[Codes]) -> list[Scores]:
        """Scores of the windows of each stretch, [n, core, channels], 5' to 3'.

        Raises:
            ValueError: a stretch is not a whole number of windows.
            ArithmeticError: the network's output is not finite.

        """
        (found,) = self.stream([stretches])
        if isinstance(found, ArithmeticError):
            raise found
        return found

    @torch.inference_mode()
    def stream(self, jobs: Iterable[Sequence[Codes] | None]) -> Iterator[list[Scores] | ArithmeticError]:
        """What `predict` returns or raises for each of the jobs, in their order, as they are done.

        Paths that can (`shared` and `triton` on a GPU, `native` on several threads) begin a job before the one before
        it is done, so that the device never waits. `jobs` is asked for the next one then, and may answer that there is
        none yet, by None; when there is nothing else to do it is asked again at once, and should wait a little before
        it answers. Scores do not depend on other jobs.
        """
        for some in (jobs,) if self._path.ahead else ([job] for job in jobs if job is not None):
            begun: deque[_Job] = deque()
            for found in self._exactly(self._delivered(self._path.logits(self._noted(some, begun)))):
                while begun[0].complete():  # of no windows
                    yield begun.popleft().outcome()
                begun[0].take(found.numpy())
                if begun[0].complete():
                    yield begun.popleft().outcome()
            for job in begun:
                yield job.outcome()

    def _noted(self, jobs: Iterable[Sequence[Codes] | None], begun: deque[_Job]) -> Iterator[Sequence[Codes] | None]:
        """The jobs, each added to those begun."""
        for job in jobs:
            if job is not None:
                begun.append(_Job([self.spec.count(len(stretch)) for stretch in job], (self.spec.core, self.channels)))
            yield job

    def _exactly(self, scores: Iterator[Tensor]) -> Iterator[Tensor]:
        """The same, each computed in `exact_arithmetic`, which does not outlast it."""
        while True:
            with exact_arithmetic(self.device):
                found = next(scores, None)
            if found is None:
                return
            yield found

    def _delivered(self, batches: Iterable[Tensor | None]) -> Iterator[Tensor]:
        """Scores of logits, on the host; a GPU computes the next ones while the caller works on some."""
        under_way: deque[Callable[[], Tensor]] = deque()
        for batch in batches:
            if batch is not None:
                under_way.append(self._on_host(channels.scores(batch)))
            while len(under_way) > (0 if batch is None else self._queued):
                yield under_way.popleft()()
        for wait in under_way:
            yield wait()

    def _on_host(self, scores: Tensor) -> Callable[[], Tensor]:
        """What waits for these scores and gives them in the host's memory, into which they are copied when they are."""
        if self.device.type != "cuda":
            return lambda: scores
        host = torch.empty(scores.shape, dtype=scores.dtype, pin_memory=True)
        host.copy_(scores, non_blocking=True)
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]  # of PyTorch
        copied.record()

        def waited() -> Tensor:
            copied.synchronize()
            return host

        return waited


class _Job:
    """Stretches of so many windows each, and what is known of their scores."""

    def __init__(self, counts: list[int], shape: tuple[int, int]) -> None:
        self.counts, self.done, self.finite = counts, 0, True
        self.scores = np.empty((sum(counts), *shape), dtype=np.float32)

    def complete(self) -> bool:
        return self.done == len(self.scores)

    def take(self, scores: Scores) -> None:
        """Those of the next windows."""
        self.scores[self.done : self.done + len(scores)] = scores
        self.done += len(scores)
        self.finite = self.finite and bool(np.isfinite(scores).all())

    def outcome(self) -> list[Scores] | ArithmeticError:
        if not self.finite:
            return ArithmeticError("the network's output is not finite: checkpoint or precision is at fault")
        return np.split(self.scores, np.cumsum(self.counts)[:-1]) if self.counts else []


def _check(model: SpTransformerModel, spec: WindowSpec, precision: str, device: str, batch: int, path: str) -> None:
    config = model.config
    if spec.context != config.context:
        raise InputError(f"windows have {spec.context} flanking bases and the network reads {config.context}: use its.")
    if spec.core > config.max_seq_len:
        raise InputError(
            f"window core is {spec.core}: this network predicts {config.max_seq_len} bases at once at most."
        )
    for name, value, known in (("precision", precision, tuple(PRECISIONS)), ("engine path", path, PATHS)):
        if value not in known:
            raise InputError(f"{name} {value!r} is unknown: choose one of {', '.join(known)}.")
    if batch < 1:
        raise InputError(f"batch is {batch}: choose at least 1 window.")
    kind = torch.device(device).type
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {device!r} was asked for, but PyTorch finds no CUDA device here: use device 'cpu'.")


def _settle(model: SpTransformerModel, spec: WindowSpec, precision: str, device: str, path: str) -> str:
    """The path that `path` stands for."""
    shareable = fits(model, spec)
    native = _why_not_native(model, precision, device)
    if path in ("shared", "native", "triton") and not shareable:
        raise InputError(f"engine path {path!r} needs windows wider than the reach of the encoders: use 'reference'.")
    if path == "native" and native:
        raise InputError(f"engine path 'native' {native}: use 'shared'.")
    if path == "triton" and (why := gpu.missing(model.config, device)):
        raise InputError(f"engine path 'triton' {why}: use 'shared'.")
    if path == "auto":
        faster = not native and library.usable(PRECISIONS[precision])
        path = "reference" if not shareable else "native" if faster else "shared"
    if path == "reference" and precision != "float32":
        raise InputError(f"engine path 'reference' computes in float32 alone, not in {precision}.")
    return path


def _why_not_native(model: SpTransformerModel, precision: str, device: str) -> str:
    """Why the compiled library cannot be used, as the end of a sentence; empty where it can."""
    if torch.device(device).type != "cpu":
        return "is for the CPU alone"
    if not library.fits(model.config):
        return "needs fewer than 32 heads, of 32 channels each, buckets of 64 and channels in multiples of 32"
    return library.missing(PRECISIONS[precision])


def is_device_lost(error):
    told = ("CUDA error", "Triton Error [CUDA]")
    return isinstance(error, RuntimeError) and any(text in str(error) for text in told)
