"""Choosing how to predict, once, before the first result is kept.

The same bytes come out only for the same path, micro-batch and threads on one kind of hardware, so these are chosen
here and then stored and reused. On a CPU the other paths take a window a thread, and the reference is fastest with a
micro-batch of one (larger ones leave the caches). On a GPU the sizes in `GPU_BATCHES` that fit its memory are timed on
the longest run of windows, and the fastest is taken; a larger one must be faster by `GAIN` to be worth its memory.
There "auto" stands for whichever of `shared` and `triton` is the faster, the latter only where it gives the same scores
as the former: what no test has seen on that GPU is tried on it first.
"""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from sptx_core.alphabet import N_CODE
from sptx_core.engine import gpu
from sptx_core.engine.fast import GPU_RUN
from sptx_core.engine.native import library
from sptx_core.engine.predictor import PRECISIONS, Predictor
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec

CPU_BATCH = 1
GPU_BATCHES = (2, 4, 8, 16, 32, 64)  # windows
GAIN = 1.02
FEW = 5  # windows of a second stretch, which fill neither a run nor a micro-batch
# How far scores of `triton` may be from those of `shared` in float32, at quantiles: so far, or this much farther than
# `shared` in the same precision is. A bucket that is chosen otherwise, at a tie, is in the largest alone. Float32 on an
# H100 differs by 1.1e-6 in the median and by 9e-6 at most.
ALLOWED = {0.5: 4e-6, 0.99: 2e-5, 1.0: 0.05}
FARTHER = 1.5

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Calibration:
    """What was chosen, and for which hardware."""

    hardware: str
    """What `hardware` says of the device."""
    path: str
    """The engine path that "auto" stood for."""
    batch: int
    """Windows in a micro-batch."""
    note: str = ""
    """Why a path was left out that could have been the faster one."""


def calibrate(
    model: SpTransformerModel,
    spec: WindowSpec,
    *,
    precision: str = "float32",
    device: str = "cpu",
    path: str = "auto",
    batch: int | None = None,
) -> Calibration:
    """Settle the path and the micro-batch (or check those given) by predicting random windows on the device.

    Raises:
        InputError: the settings cannot work together.
        torch.OutOfMemoryError: not even one window (or the batch given) fits.

    """
    if torch.device(device).type == "cpu":
        size = batch or CPU_BATCH
        predictor = Predictor(model, spec, precision=precision, device=device, batch=size, path=path)
        _trial(predictor, (size,), turns=1)
        return Calibration(hardware(device), predictor.path, size)
    sizes = (batch,) if batch else GPU_BATCHES
    trials = _Trials(model, spec, device)
    best = trials.fastest(path, precision, sizes)
    note = ""
    if path == "auto" and best.path == "shared" and not gpu.missing(model.config, device):
        try:
            own = trials.fastest("triton", precision, sizes)
        except Exception as error:  # a kernel that cannot be compiled or run here must not stop the run
            _require_alive(device)
            note = f"engine path triton is left out: {' '.join(f'{type(error).__name__}: {error}'.split())[:300]}"
        else:
            exact = best if precision == "float32" else trials.fastest("shared", "float32", sizes[:1])
            note = _too_far(own.scores, best.scores, exact.scores)
            if not note and own.seconds * GAIN < best.seconds:
                best = own
    return Calibration(hardware(device), best.path, best.batch, note)


class _Outcome(NamedTuple):
    """What predicting took with a path and a micro-batch, and gave."""

    seconds: float
    path: str
    batch: int
    scores: Scores


class _Trials:
    """Predictions of the longest run of windows, and of a few more, on a GPU."""

    def __init__(self, model: SpTransformerModel, spec: WindowSpec, device: str) -> None:
        self.model, self.spec, self.device = model, spec, device

    def fastest(self, path: str, precision: str, sizes: tuple[int, ...]) -> _Outcome:
        """That of the fastest micro-batch."""
        best: _Outcome | None = None
        for size in sizes:
            try:
                predictor = Predictor(
                    self.model, self.spec, precision=precision, device=self.device, batch=size, path=path
                )
                seconds, scores = _trial(predictor, (GPU_RUN, FEW), turns=2)
            except torch.OutOfMemoryError:
                if best is None:
                    raise
                break
            if best is None or seconds * GAIN < best.seconds:
                best = _Outcome(seconds, predictor.path, size, scores)
        assert best is not None
        return best


def _trial(predictor: Predictor, windows: tuple[int, ...], turns: int) -> tuple[float, Scores]:
    """Seconds that stretches of so many windows take in the last turn, the first one being to warm up; their scores."""
    generator = np.random.default_rng(0)
    stretches = []
    for count in windows:
        first, end = predictor.spec.input_span(0, count - 1)
        stretches.append(generator.integers(0, N_CODE + 1, end - first, dtype=np.uint8))
    for _ in range(turns):
        began = time.perf_counter()
        scores = predictor.predict(stretches)
    return time.perf_counter() - began, np.concatenate(scores)


def _too_far(own: Scores, shared: Scores, exact: Scores) -> str:
    """How scores of `triton` are too far from the exact ones; empty where they are not."""
    for quantile, allowed in ALLOWED.items():
        found, usual = (float(np.quantile(np.abs(scores - exact), quantile)) for scores in (own, shared))
        if not found <= max(allowed, FARTHER * usual):
            return (
                f"engine path triton is left out: quantile {quantile} of its differences from the exact scores is "
                f"{found:.1e}, that of shared {usual:.1e}"
            )
    return ""


def _require_alive(device: str) -> None:
    """Raise what a GPU answers to everything after a kernel has gone wrong on it."""
    if torch.cuda.is_available():
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()


def hardware(device: str) -> str:
    """What computes: a GPU's name, or architecture, PyTorch's vector instructions and what the library computes by."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    processor = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    compiled = [name for name, dtype in PRECISIONS.items() if library.usable(dtype)]
    units = " by AMX" if library.features() & library.MATRIX_UNITS else ""
    return f"{processor}, native {' and '.join(compiled)}{units}" if compiled else processor
