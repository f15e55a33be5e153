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
# Of scores between two paths. A bucket chosen otherwise, at a tie, is in the largest and not in the median.
MEDIAN = {"float32": 1e-5, "bfloat16": 2e-3}
LARGEST = 0.05

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
        _trial(predictor, size, turns=1)
        return Calibration(hardware(device), predictor.path, size)
    sizes = (batch,) if batch else GPU_BATCHES
    trial = _Trial(model, spec, precision, device)
    seconds, size, expected = trial.fastest(path, sizes)
    settled, note = trial.path, ""
    if path == "auto" and settled == "shared" and not gpu.missing(model.config, device):
        try:
            faster, its_size, found = trial.fastest("triton", sizes)
        except Exception as error:  # a kernel that cannot be compiled or run here must not stop the run
            note = f"engine path triton is left out: {' '.join(f'{type(error).__name__}: {error}'.split())[:300]}"
        else:
            note = _other(expected, found, precision)
            if not note and faster * GAIN < seconds:
                settled, size = "triton", its_size
    return Calibration(hardware(device), settled, size, note)


class _Trial:
    """Predictions of the longest run of windows on a GPU, with micro-batches of several sizes."""

    def __init__(self, model: SpTransformerModel, spec: WindowSpec, precision: str, device: str) -> None:
        self.model, self.spec, self.precision, self.device = model, spec, precision, device
        self.path = ""
        """That the last one took."""

    def fastest(self, path: str, sizes: tuple[int, ...]) -> tuple[float, int, Scores]:
        """Seconds, micro-batch and scores of the fastest."""
        best: tuple[float, int, Scores] | None = None
        for size in sizes:
            try:
                predictor = Predictor(
                    self.model, self.spec, precision=self.precision, device=self.device, batch=size, path=path
                )
                seconds, scores = _trial(predictor, GPU_RUN, turns=2)
            except torch.OutOfMemoryError:
                if best is None:
                    raise
                break
            self.path = predictor.path
            if best is None or seconds * GAIN < best[0]:
                best = seconds, size, scores
        assert best is not None
        return best


def _trial(predictor: Predictor, windows: int, turns: int) -> tuple[float, Scores]:
    """Seconds that windows take in the last of so many turns, of which the first one warms up; and their scores."""
    first, end = predictor.spec.input_span(0, windows - 1)
    codes = np.random.default_rng(0).integers(0, N_CODE, end - first, dtype=np.uint8)
    for _ in range(turns):
        began = time.perf_counter()
        (scores,) = predictor.predict([codes])
    return time.perf_counter() - began, scores


def _other(expected: Scores, found: Scores, precision: str) -> str:
    """How scores of `triton` differ too much from those of `shared`; empty where they do not."""
    difference = np.abs(found - expected)
    median, largest = float(np.median(difference)), float(difference.max())
    if median <= MEDIAN[precision] and largest <= LARGEST:
        return ""
    return f"engine path triton is left out: its scores differ by {largest:.1e} at most and {median:.1e} in the median"


def hardware(device: str) -> str:
    """What computes: the GPU's name, or architecture, PyTorch's vector instructions and precisions of the library."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    processor = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    compiled = [name for name, dtype in PRECISIONS.items() if library.usable(dtype)]
    return f"{processor}, native {' and '.join(compiled)}" if compiled else processor
