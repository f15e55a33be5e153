"""Choosing how to predict, once, before the first result is kept.

The same bytes come out only for the same path, micro-batch and threads on one kind of hardware, so these are chosen
here and then stored and reused. On a CPU nothing is compared: "auto" is the first path that can be used, the reference
is fastest with a micro-batch of one (larger ones leave the caches), and the other paths take a window a thread. On a
GPU the micro-batches in `GPU_BATCHES` that fit its memory are timed on the longest run of windows; a larger one must be
faster by `MIN_SPEEDUP` to be worth its memory. There "auto" stands for the faster of `shared` and `triton`, the latter
only where its scores are those of `shared` to within limits: its kernels are new to every kind of GPU that no test has
seen.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch

from sptx_core.alphabet import N_CODE, Codes
from sptx_core.engine.machine import require_device
from sptx_core.engine.native import library
from sptx_core.engine.paths import AUTO, ENGINE_PATHS, PRECISIONS, PathRequest
from sptx_core.engine.predictor import Predictor
from sptx_core.engine.scheduling import GPU_RUN
from sptx_core.engine.streaming import Scores
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec

CPU_BATCH = 1  # windows
GPU_BATCHES = (2, 4, 8, 16, 32, 64)  # windows
GPU_TRIAL = (GPU_RUN, 5)  # windows of two stretches: a whole run, and some that fill neither a run nor a micro-batch
GPU_TURNS = 2  # the first warms the kernels up, the last is timed
MIN_SPEEDUP = 1.02
# Limits on the differences of `triton` from the exact scores, at quantiles. A window that chooses another bucket, at a
# tie, appears in the largest difference only. Float32 on an H100 differs by 1.1e-6 in the median and 9e-6 at most.
MAX_DIFFERENCES = {0.5: 4e-6, 0.99: 2e-5, 1.0: 0.05}
MAX_DIFFERENCE_RATIO = 1.5  # to the differences of `shared` in the same precision; the larger limit of both holds
MAX_NOTE = 300  # characters of an error


@dataclass(frozen=True)
class Calibration:
    """What was chosen, and for which hardware."""

    hardware: str
    """What `hardware` says of the device."""
    path: str
    """The engine path; never "auto"."""
    batch: int
    """Windows in a micro-batch."""
    note: str = ""
    """Why a path was left out that could have been the faster one."""


class Trial(NamedTuple):
    """A timed prediction."""

    seconds: float
    path: str
    """The engine path; never "auto"."""
    scores: Scores
    """[windows, core, channels] of all stretches."""


Measure = Callable[[str, str, int], Trial]
"""(path, precision, batch) -> a trial; raises `torch.OutOfMemoryError` where the memory is too small."""


class Choice(NamedTuple):
    """A path and a micro-batch, and why another path was left out."""

    path: str
    batch: int
    note: str


def calibrate(
    model: SpTransformerModel,
    spec: WindowSpec,
    *,
    precision: str = "float32",
    device: str = "cpu",
    path: str = AUTO,
    batch: int | None = None,
) -> Calibration:
    """Choose the path and the micro-batch, or check those given, by predicting random windows on the device.

    Parameters
    ----------
    model : SpTransformerModel
        The network.
    spec : WindowSpec
        How the windows lie.
    precision, device, path
        As for `Predictor`.
    batch : int, optional
        Windows in a micro-batch, where it is not to be chosen.

    Raises
    ------
    InputError
        The settings cannot work together.
    torch.OutOfMemoryError
        Not even one window (or the batch given) fits.
    """

    def build(path: str, precision: str, batch: int) -> Predictor:
        return Predictor(model, spec, precision=precision, device=device, batch=batch, path=path)

    if torch.device(device).type == "cpu":
        predictor = build(path, precision, batch or CPU_BATCH)
        time_prediction(predictor, random_stretches(spec, [batch or CPU_BATCH]), turns=1)
        return Calibration(hardware(device), predictor.path, batch or CPU_BATCH)

    def measure(path: str, precision: str, batch: int) -> Trial:
        predictor = build(path, precision, batch)
        seconds, scores = time_prediction(predictor, random_stretches(spec, GPU_TRIAL), turns=GPU_TURNS)
        return Trial(seconds, predictor.path, scores)

    choice = choose_on_gpu(
        measure,
        path=path,
        precision=precision,
        batches=(batch,) if batch else GPU_BATCHES,
        has_triton=not ENGINE_PATHS["triton"].reasons_against(PathRequest(model.sizes, spec, device, precision)),
        device=device,
    )
    return Calibration(hardware(device), *choice)


def choose_on_gpu(
    measure: Measure, *, path: str, precision: str, batches: Sequence[int], has_triton: bool, device: str
) -> Choice:
    """Choose the fastest path and micro-batch by trials.

    Parameters
    ----------
    measure : callable
        Makes a trial.
    path : str
        One of `PATHS`; only for "auto" paths are compared.
    precision : str
        Of products.
    batches : sequence of int
        Micro-batches to try, smallest first, in windows.
    has_triton : bool
        Whether nothing is known against `triton` here.
    device : str
        The GPU.

    Raises
    ------
    torch.OutOfMemoryError
        Not even the smallest micro-batch fits.
    """
    batch, best = _fastest(measure, path, precision, batches)
    if path != AUTO or best.path != "shared" or not has_triton:
        return Choice(best.path, batch, "")
    try:
        own_batch, own = _fastest(measure, "triton", precision, batches)
    except Exception as error:  # a kernel that cannot be compiled or run here must not stop the run
        require_device(error, device)
        sentence = " ".join(f"{type(error).__name__}: {error}".split())
        return Choice(best.path, batch, f"engine path triton is left out: {sentence[:MAX_NOTE]}")
    exact = best if precision == "float32" else _fastest(measure, "shared", "float32", batches[:1])[1]
    note = _excess(own.scores, best.scores, exact.scores)
    if not note and own.seconds * MIN_SPEEDUP < best.seconds:
        return Choice(own.path, own_batch, "")
    return Choice(best.path, batch, note)


def _fastest(measure: Measure, path: str, precision: str, batches: Iterable[int]) -> tuple[int, Trial]:
    """The fastest micro-batch, and its trial; a larger one must be faster by `MIN_SPEEDUP`."""
    best: tuple[int, Trial] | None = None
    for batch in batches:
        try:
            trial = measure(path, precision, batch)
        except torch.OutOfMemoryError:
            if best is None:
                raise
            break
        if best is None or trial.seconds * MIN_SPEEDUP < best[1].seconds:
            best = batch, trial
    assert best is not None
    return best


def _excess(own: Scores, shared: Scores, exact: Scores) -> str:
    """By how much scores of `triton` differ too far from the exact ones; empty where they do not."""
    for quantile, limit in MAX_DIFFERENCES.items():
        found, usual = (float(np.quantile(np.abs(scores - exact), quantile)) for scores in (own, shared))
        if not found <= max(limit, MAX_DIFFERENCE_RATIO * usual):
            return (
                f"engine path triton is left out: quantile {quantile} of its differences from the exact scores is "
                f"{found:.1e}, that of shared {usual:.1e}"
            )
    return ""


class Predicts(Protocol):
    """What is timed: a `Predictor`."""

    def predict(self, stretches: Sequence[Codes]) -> list[Scores]:
        """Scores of each stretch."""


def random_stretches(spec: WindowSpec, windows: Iterable[int]) -> list[Codes]:
    """Stretches of so many windows each, of random codes, the same at each call."""
    generator = np.random.default_rng(0)
    spans = [spec.input_span(0, count - 1) for count in windows]
    return [generator.integers(0, N_CODE + 1, end - first, dtype=np.uint8) for first, end in spans]


def time_prediction(predictor: Predicts, stretches: Sequence[Codes], *, turns: int) -> tuple[float, Scores]:
    """Predict several times over: the seconds of the last time, and the scores of all stretches together."""
    for _ in range(turns):
        began = time.perf_counter()
        scores = predictor.predict(stretches)
    return time.perf_counter() - began, np.concatenate(scores)


def hardware(device: str) -> str:
    """The name of what computes, by which a resumed run knows that it gets the same bytes.

    A GPU's own name; of a CPU the architecture, PyTorch's vector instructions, and the precisions and units that the
    compiled library computes with here.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    processor = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    compiled = [name for name, dtype in PRECISIONS.items() if library.usable(dtype)]
    units = " by AMX" if library.features() & library.MATRIX_UNITS else ""
    return f"{processor}, native {' and '.join(compiled)}{units}" if compiled else processor
