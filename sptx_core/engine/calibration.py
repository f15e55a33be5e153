"""Choosing how to predict, once, before the first result is kept.

The same bytes come out only for the same path, micro-batch and threads on one kind of hardware, so these are chosen
here and then stored and reused. On a CPU the other paths take a window a thread, and the reference is fastest with a
micro-batch of one (larger ones leave the caches). On a GPU the sizes in `GPU_BATCHES` that fit its memory are timed on
the longest run of windows, and the fastest is taken; a larger one must be faster by `GAIN` to be worth its memory.
"""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass

import numpy as np
import torch

from sptx_core.alphabet import N_CODE
from sptx_core.engine.fast import GPU_RUN
from sptx_core.engine.native import library
from sptx_core.engine.predictor import PRECISIONS, Predictor
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec

CPU_BATCH = 1
GPU_BATCHES = (2, 4, 8, 16, 32, 64)  # windows
GAIN = 1.02


@dataclass(frozen=True)
class Calibration:
    """What was chosen, and for which hardware."""

    hardware: str
    """What `hardware` says of the device."""
    path: str
    """The engine path that "auto" stood for."""
    batch: int
    """Windows in a micro-batch."""


def calibrate(
    model: SpTransformerModel,
    spec: WindowSpec,
    *,
    precision: str = "float32",
    device: str = "cpu",
    path: str = "auto",
    batch: int | None = None,
) -> Calibration:
    """Settle the path and the micro-batch (or check the one given) by predicting windows of N on the device.

    Raises:
        InputError: the settings cannot work together.
        torch.OutOfMemoryError: not even one window (or the batch given) fits.

    """
    on_cpu = torch.device(device).type == "cpu"
    best: tuple[float, Calibration] | None = None
    for size in (batch,) if batch else (CPU_BATCH,) if on_cpu else GPU_BATCHES:
        try:
            predictor = Predictor(model, spec, precision=precision, device=device, batch=size, path=path)
            seconds = _trial(predictor, size if on_cpu else GPU_RUN, turns=1 if on_cpu else 2)
        except torch.OutOfMemoryError:
            if best is None:
                raise
            break
        if best is None or seconds * GAIN < best[0]:
            best = seconds, Calibration(hardware(device), predictor.path, size)
    assert best is not None
    return best[1]


def _trial(predictor: Predictor, windows: int, turns: int) -> float:
    """Seconds that `windows` windows of N take, in the last of so many turns: the first one warms up."""
    first, end = predictor.spec.input_span(0, windows - 1)
    codes = np.full(end - first, N_CODE, dtype=np.uint8)
    for _ in range(turns):
        began = time.perf_counter()
        predictor.predict([codes])
    return time.perf_counter() - began


def hardware(device: str) -> str:
    """What computes: the GPU's name, or architecture, PyTorch's vector instructions and precisions of the library."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    processor = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    compiled = [name for name, dtype in PRECISIONS.items() if library.usable(dtype)]
    return f"{processor}, native {' and '.join(compiled)}" if compiled else processor
