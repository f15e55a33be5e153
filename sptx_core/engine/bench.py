"""How fast and how exact each engine path is on this machine: `sptx bench`, or `python -m sptx_core.engine.bench`.

Needs PyTorch, NumPy, safetensors and lazy-loader. The network is that of a checkpoint, or has the published sizes and
weights made here from a seed, with norm statistics and biases away from their defaults, so that no part of it is idle.
Windows have 1,000 predicted bases unless another core is given. The reference is the
plain network in float32 at batch 1. All paths run in turn, several times over, on the same windows of one stretch, and
ratios are medians over these turns, so that a busy machine disturbs both sides alike.

Reported for each path and precision: windows/s; ratio to the reference; FLOP/s by the published count (what the plain
network performs for a window) and as performed; largest and median difference of scores from the reference, and the
largest of logits, over windows whose Sinkhorn heads chose the same buckets (over all windows where there is none, as is
usual in bfloat16); windows with another choice; peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sptx_core import channels
from sptx_core.alphabet import Codes
from sptx_core.config import SpTransformerConfig
from sptx_core.engine.calibration import CPU_BATCH, calibrate, hardware
from sptx_core.engine.flops import count_flops
from sptx_core.engine.machine import exact_arithmetic
from sptx_core.engine.paths import ENGINE_PATHS, PATHS, PRECISIONS
from sptx_core.engine.predictor import Predictor
from sptx_core.errors import InputError
from sptx_core.files import reading, replacing, writing
from sptx_core.model import SpTransformerModel
from sptx_core.windows import TRAINED_CORE, WindowSpec
from sptx_core.words import counted

REFERENCE = ("reference", "float32")
DEFAULT_RUNS = (REFERENCE, ("auto", "float32"), ("auto", "bfloat16"))
REFERENCE_WINDOWS = 2  # windows that the reference computes in a turn


@dataclass(frozen=True)
class BenchRow:
    """One path in one precision. Differences are None for the reference."""

    path: str
    precision: str
    batch: int
    """Windows in a micro-batch."""
    windows_per_second: float
    ratio: float
    """Throughput over that of the reference; median over the turns."""
    published_flops: float
    """FLOP/s by the published count."""
    performed_flops: float
    """FLOP/s as performed."""
    largest_score_difference: float | None
    median_score_difference: float | None
    largest_logit_difference: float | None
    other_choices: int | None
    """Windows in which a Sinkhorn head chose another bucket than in the reference."""
    peak_bytes: int
    """Peak memory: of the process on a CPU, allocated on a GPU."""


@dataclass(frozen=True)
class MachineReport:
    """What was measured, and on what."""

    machine: str
    threads: int
    """Of the CPU."""
    torch: str
    """Version of PyTorch."""

    @property
    def measured_on(self) -> str:
        """The machine in words."""
        return f"{self.machine}, {platform.system()}, {counted(self.threads, 'thread')}, PyTorch {self.torch}"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report as JSON; `InputError` where that cannot be."""
        with writing(path), replacing(Path(path)) as target:
            target.write_text(json.dumps(asdict(self), indent=2) + "\n")


@dataclass(frozen=True)
class BenchReport(MachineReport):
    """All rows and what they were measured on."""

    windows: int
    """Windows that a path predicts in a turn."""
    repeats: int
    """Turns."""
    rows: tuple[BenchRow, ...]
    core: int = TRAINED_CORE
    """Predicted bases of a window."""

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> BenchReport:
        """Read a report that `save` wrote.

        Raises
        ------
        InputError
            There is no such file, or it holds something else.
        """
        with reading(path):
            content = Path(path).read_bytes()
        try:
            values = json.loads(content)
            return cls(**{**values, "rows": tuple(BenchRow(**row) for row in values["rows"])})
        except (ValueError, TypeError, KeyError) as error:
            sentence = f"{os.fspath(path)} is no report of `sptx bench --save` without --variants and --cores"
            raise InputError(sentence) from error


def run_bench(
    *,
    runs: Sequence[tuple[str, str]] = DEFAULT_RUNS,
    device: str = "cpu",
    batch: int | None = None,
    windows: int = 8,
    repeats: int = 3,
    config: SpTransformerConfig | None = None,
    model: SpTransformerModel | None = None,
    spec: WindowSpec | None = None,
    seed: int = 0,
) -> BenchReport:
    """Measure paths side by side.

    Parameters
    ----------
    runs : sequence of (str, str)
        Paths and precisions; the reference is added when it is not among them.
    device : str
        "cpu" or "cuda".
    batch : int, optional
        Micro-batch of every path but the reference, which runs at 1, in windows; by default the fastest on a GPU, 1 on
        a CPU.
    windows : int
        Consecutive windows that each path predicts in a turn.
    repeats : int
        Turns.
    config : SpTransformerConfig, optional
        Sizes of the network, the published ones by default.
    model : SpTransformerModel, optional
        The network itself, in place of one of these sizes and of weights from the seed.
    spec : WindowSpec, optional
        How the windows lie, as trained by default.
    seed : int
        Of weights and sequence.

    Raises
    ------
    InputError
        A setting cannot work.
    """
    if windows < 1 or repeats < 1:
        raise InputError(
            f"{counted(windows, 'window')} in {counted(repeats, 'turn')} measure nothing: choose at least one of each."
        )
    model = model or seeded_model(config or SpTransformerConfig(), seed)
    spec = spec or WindowSpec(context=model.sizes.context)
    first, end = spec.input_span(0, windows - 1)
    stretch = np.random.default_rng(seed).integers(0, 4, end - first, dtype=np.uint8)
    sides = [
        _Side(model, spec, path, precision, device, 1 if (path, precision) == REFERENCE else batch, stretch)
        for path, precision in dict.fromkeys((REFERENCE, *runs))
    ]
    times: list[list[float]] = [[side.turn() for side in sides] for _ in range(repeats)]
    expected = sides[0].outcome(model)
    published = sides[0].flops
    rows = tuple(
        side.row(model, expected, [turn[i] for turn in times], [turn[0] for turn in times], published)
        for i, side in enumerate(sides)
    )
    machine, threads = machine_name(device), torch.get_num_threads()
    return BenchReport(machine, threads, torch.__version__, windows, repeats, rows, spec.core)


def seeded_model(config: SpTransformerConfig, seed: int) -> SpTransformerModel:
    """A network whose every tensor is a function of the seed and its name.

    Weights are normal with variance gain / fan-in; the gain of residual convolutions is small enough to keep their
    sum in range, that of the others large enough to make softmax and norms work.
    """
    model = SpTransformerModel(config).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(tuple(tensor.shape))
            match name.rsplit(".", 1)[-1]:
                case "running_mean" | "bias":
                    values = 0.15 * noise
                case "running_var":
                    values = np.exp(0.4 * noise)
                case "weight" if tensor.ndim == 1:
                    values = 1 + 0.15 * noise
                case "weight":
                    gain = 0.3 if ".blocks." in name else 2.0
                    values = noise * np.sqrt(gain / np.prod(tensor.shape[1:]))
                case _:  # position embeddings
                    values = 0.5 * noise
            tensor.copy_(torch.from_numpy(values))
    return model


class Outcome:
    """Logits [n, core, channels] and chosen buckets [n, layers, heads, buckets] of the compared windows, in order."""

    def __init__(self, logits: Tensor, choices: Tensor) -> None:
        self.logits, self.choices = logits.double().cpu(), choices.cpu()
        self.scores = channels.scores(self.logits)

    def differences(self, expected: Outcome) -> tuple[float, float, float, int]:
        """Largest and median difference of scores, largest of logits, and windows with another choice.

        Differences are over windows whose Sinkhorn heads chose the same buckets, over all windows where none did.
        """
        needed = self.choices >= 0
        other = ((self.choices != expected.choices) & needed).flatten(1).any(1)
        kept = other if other.all() else ~other
        scores, logits = ((getattr(self, what) - getattr(expected, what)).abs()[kept] for what in ("scores", "logits"))
        return scores.max().item(), scores.median().item(), logits.max().item(), int(other.sum())


class _Side:
    """One path in one precision."""

    def __init__(
        self,
        model: SpTransformerModel,
        spec: WindowSpec,
        path: str,
        precision: str,
        device: str,
        batch: int | None,
        stretch: Codes,
    ) -> None:
        if batch is None and torch.device(device).type == "cpu":
            batch = CPU_BATCH
        elif batch is None:
            settled = calibrate(model, spec, precision=precision, device=device, path=path)
            path, batch = settled.path, settled.batch
        self.precision, self.batch, self.device, self.spec = precision, batch, device, spec
        self.predictor = Predictor(model, spec, precision=precision, device=device, batch=batch, path=path)
        self.path = self.predictor.path
        windows = spec.count(len(stretch))
        self.windows = min(windows, REFERENCE_WINDOWS) if (self.path, precision) == REFERENCE else windows
        self.stretch = stretch[: spec.input_span(0, self.windows - 1)[1] + spec.context]
        self.flops = self._flops_per_window()
        self.peak_bytes = 0

    def turn(self) -> float:
        """Seconds per window."""
        reset_peak(self.device)
        start = time.perf_counter()
        self.predictor.predict([self.stretch])
        seconds = time.perf_counter() - start
        self.peak_bytes = max(self.peak_bytes, peak_memory(self.device))
        return seconds / self.windows

    def _flops_per_window(self) -> float:
        """Counted in one prediction, which also warms the path up."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # only the thread that counts is counted
        try:
            with count_flops() as count:
                self.predictor.predict([self.stretch])
        finally:
            torch.set_num_threads(threads)
        return count.total / self.windows

    @torch.inference_mode()
    def outcome(self, model: SpTransformerModel) -> Outcome:
        """Logits and choices of the windows that the reference computes in a turn."""
        with exact_arithmetic(self.device):
            return self._outcome(model)

    def _outcome(self, model: SpTransformerModel) -> Outcome:
        end = self.spec.input_span(0, min(self.windows, REFERENCE_WINDOWS) - 1)[1] + self.spec.context
        stretch = self.stretch[:end]
        path = ENGINE_PATHS[self.path].make(model.to(self.device), self.spec, PRECISIONS[self.precision], None)
        return Outcome(*path.recorded(stretch))

    def row(
        self,
        model: SpTransformerModel,
        expected: Outcome,
        seconds: Sequence[float],
        reference: Sequence[float],
        published: float,
    ) -> BenchRow:
        """What was measured, and the differences from the reference."""
        rate = 1 / statistics.median(seconds)
        ratio = statistics.median(r / s for r, s in zip(reference, seconds, strict=True))
        difference: tuple[float | None, float | None, float | None, int | None] = (None, None, None, None)
        if (self.path, self.precision) != REFERENCE:
            difference = self.outcome(model).differences(expected)
        speeds = (rate, ratio, rate * published, rate * self.flops)
        return BenchRow(self.path, self.precision, self.batch, *speeds, *difference, self.peak_bytes)


def machine_name(device: str) -> str:
    """What computes, and on a CPU also its model and how many cores there are."""
    name, cpuinfo = hardware(device), Path("/proc/cpuinfo")
    if torch.device(device).type == "cuda":
        return name
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return ", ".join(filter(None, (name, model, counted(os.cpu_count() or 1, "core"))))


def reset_peak(device: str) -> None:
    """Begin to measure the peak memory anew."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif platform.system() == "Linux":
        Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark of resident memory


def peak_memory(device: str) -> int:
    """Peak memory since `reset_peak`, in bytes: of the process on a CPU, allocated on a GPU."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if platform.system() == "Linux":
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    import resource  # late: absent on Windows, which has no cheap equivalent

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def format_rate(rate: float) -> str:
    """Three digits or more, never with an exponent where there are windows/s: 0.758, 10.8, 1,480."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def format_report(report: BenchReport, earlier: BenchReport | None = None) -> str:
    """The report as a table for a terminal; with `earlier`, its ratios beside the new ones."""
    before = {(row.path, row.precision): row.ratio for row in earlier.rows} if earlier else {}
    head = ["path", "precision", "batch", "windows/s", "ratio", "published", "performed", "largest", "median"]
    head += ["logits", "other", "memory"] + (["earlier ratio"] if earlier else [])
    lines = [head]
    for row in report.rows:
        cells = [row.path, row.precision, str(row.batch), format_rate(row.windows_per_second), f"{row.ratio:.2f}"]
        cells += [f"{flops / 1e9:,.0f} GF/s" for flops in (row.published_flops, row.performed_flops)]
        found = (row.largest_score_difference, row.median_score_difference, row.largest_logit_difference)
        cells += ["-" if x is None else f"{x:.1e}" for x in found]
        cells += ["-" if row.other_choices is None else str(row.other_choices), f"{row.peak_bytes / 2**20:,.0f} MiB"]
        if earlier:
            ratio = before.get((row.path, row.precision))
            cells.append("-" if ratio is None else f"{ratio:.2f}")
        lines.append(cells)
    where = (
        f"{report.measured_on}; {counted(report.windows, 'consecutive window')} of "
        f"{counted(report.core, 'base')}, median of {counted(report.repeats, 'turn')}; the first row is the reference"
    )
    return f"{where}\n{format_table(lines)}"


def format_table(lines: Sequence[Sequence[str]]) -> str:
    """Rows of cells as columns, the first two flush left."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m sptx_core.engine.bench`."""
    parser = argparse.ArgumentParser(prog="python -m sptx_core.engine.bench", description="Measure the engine's paths.")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--paths", nargs="+", default=["reference", "auto"], choices=PATHS)
    parser.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=list(PRECISIONS))
    parser.add_argument("--batch", type=int, help="micro-batch of every path but the reference [fastest]")
    parser.add_argument("--windows", type=int, default=8, help="consecutive windows in a turn")
    parser.add_argument("--repeats", type=int, default=3, help="turns")
    parser.add_argument("--threads", type=int, help="threads of the CPU [all]")
    parser.add_argument("--save", type=Path, help="write the report as JSON")
    parser.add_argument("--compare", type=Path, help="show the ratios of an earlier --save beside the new ones")
    settings = parser.parse_args(arguments)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    try:
        earlier = BenchReport.load(settings.compare) if settings.compare else None
        report = run_bench(
            runs=pairs(settings.paths, settings.precisions),
            device=settings.device,
            batch=settings.batch,
            windows=settings.windows,
            repeats=settings.repeats,
        )
    except InputError as error:
        parser.exit(2, f"{error}\n")
    if settings.save:
        report.save(settings.save)
    print(format_report(report, earlier))


def pairs(paths: Sequence[str], precisions: Sequence[str]) -> list[tuple[str, str]]:
    """Every path in every precision that it has: the reference computes in float32 only."""
    return [(a, b) for a in paths for b in precisions if a != "reference" or b == "float32"]


if __name__ == "__main__":
    main()
