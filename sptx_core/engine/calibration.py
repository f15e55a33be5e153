"""Choosing how to predict, once, before the first result is kept.

The same bytes come out only for the same path, micro-batch and threads on one kind of hardware, so these are chosen
here and then stored and reused. On a CPU a micro-batch of one window is the fastest measured (larger ones leave its
caches). On a GPU the largest power of two that fits its memory is taken, found by trial with the longest run of
windows: a batch that runs out of memory is halved.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass

import numpy as np
import torch

from sptx_core.alphabet import N_CODE
from sptx_core.engine.fast import GPU_RUN
from sptx_core.engine.predictor import Predictor
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec

CPU_BATCH = 1
LARGEST_GPU_BATCH = 64  # windows; beyond it a GPU is busy anyway


@dataclass(frozen=True)
class Calibration:
    """What was chosen, and for which hardware."""

    hardware: str
    """Name of the GPU, or the processor's architecture and PyTorch's vector instructions."""
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
    size = batch or (CPU_BATCH if torch.device(device).type == "cpu" else LARGEST_GPU_BATCH)
    while True:
        try:
            predictor = Predictor(model, spec, precision=precision, device=device, batch=size, path=path)
            first, end = spec.input_span(0, (size if predictor.device.type == "cpu" else max(size, GPU_RUN)) - 1)
            predictor.predict([np.full(end - first, N_CODE, dtype=np.uint8)])
        except torch.OutOfMemoryError:
            if batch or size == 1:
                raise
            size //= 2
        else:
            return Calibration(hardware(device), predictor.path, size)


def hardware(device: str) -> str:
    """What computes: the GPU's name, or the processor's architecture and PyTorch's vector instructions."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
