"""What the choice of core costs and changes on this machine: `sptx bench --cores`.

A window predicts its core in the middle of the `max_seq_len` bases that attention sees. Smaller cores throw more of
that work away, larger ones leave the bases at their ends with less to attend to on one side. Cores are measured on the
same bases: cost is time and operations a base, and scores are compared with those of the smallest core, whose bases all
see the most on both sides. Scores also move with the mere place of windows; so the smallest core is computed a second
time with windows that begin half a core earlier, and its differences are what the others have to be held against.

A base is a site here where the smallest core gives it max(acceptor, donor) of `SITE` or more. Differences of splice are
of acceptor and donor scores, those of usage of all tissues, at sites only: elsewhere usage means nothing.

In: a network, and stretches of codes with `margin_of` more bases on both sides. Without a network that was trained the
differences say nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sptx_core import channels
from sptx_core.alphabet import Codes
from sptx_core.engine.bench import MachineReport, format_table, machine_name, peak_memory, reset_peak
from sptx_core.engine.calibration import CPU_BATCH, calibrate
from sptx_core.engine.flops import count_flops
from sptx_core.engine.paths import AUTO
from sptx_core.engine.predictor import Predictor
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec
from sptx_core.words import counted

SITE = 0.1
COUNTED_WINDOWS = 3  # whose operations are counted: one with neighbours on both sides among them
_SPLICE = slice(1, len(channels.SPLICE))  # acceptor and donor
Scores = NDArray[np.float32]
Times = NDArray[np.float64]  # [turns, 2]: seconds a base on the clock, and of processors


@dataclass(frozen=True)
class Difference:
    """Absolute differences of scores from those of the smallest core: the largest, and the mean."""

    largest: float
    mean: float


@dataclass(frozen=True)
class CoreRow:
    """One core in one precision. Differences are None for the smallest core, and where there is nothing to compare."""

    core: int
    shift: int
    """Bases by which the windows begin earlier than in the other rows."""
    path: str
    precision: str
    bases_per_second: float
    ratio: float
    """Speed over that of the smallest core; median over the turns."""
    processor_ratio: float | None
    """The same in processor time of this process, which other work on the machine disturbs less; None on a GPU."""
    flops_per_base: float
    """Operations of products, as performed, in a run of `COUNTED_WINDOWS` windows."""
    peak_bytes: int
    """Peak memory: of the process on a CPU, allocated on a GPU."""
    at_sites: Difference | None
    """Of acceptor and donor scores at sites."""
    elsewhere: Difference | None
    """Of acceptor and donor scores at all other bases."""
    usage: Difference | None
    """Of the usage of all tissues at sites."""
    crossed: int | None
    """Bases whose max(acceptor, donor) lies on the other side of `SITE`."""


@dataclass(frozen=True)
class CoreReport(MachineReport):
    """All rows and what they were measured on."""

    bases: int
    """Strand-specific bases that each row predicts in a turn."""
    sites: int
    """Bases with max(acceptor, donor) of `SITE` or more, by the smallest core in the first precision."""
    repeats: int
    """Turns."""
    rows: tuple[CoreRow, ...]


def margin_of(context: int, cores: Sequence[int]) -> int:
    """Bases that a stretch for `run_core_bench` has before the first and behind the last base that is compared."""
    return context + max(cores)


def run_core_bench(
    model: SpTransformerModel,
    stretches: Sequence[Codes],
    cores: Sequence[int],
    *,
    trained: bool,
    precisions: Sequence[str] = ("float32",),
    path: str = AUTO,
    device: str = "cpu",
    batch: int | None = None,
    repeats: int = 3,
) -> CoreReport:
    """Measure cores side by side.

    Parameters
    ----------
    model : SpTransformerModel
        The network.
    stretches : sequence of Codes
        Each uint8, 5' to 3', with `margin_of` bases on both sides that are not compared.
    cores : sequence of int
        Predicted bases of a window, each at most the network's max_seq_len.
    trained : bool
        Whether network and bases are real, so that differences of scores mean something.
    precisions : sequence of str
        "float32", "bfloat16" or both; cores are compared within a precision.
    path : str
        The engine path.
    device : str
        "cpu" or "cuda".
    batch : int, optional
        Windows in a micro-batch; by default the fastest on a GPU, 1 on a CPU.
    repeats : int
        Turns.

    Raises
    ------
    InputError
        A setting cannot work.
    """
    cores = sorted(set(cores))
    _require_valid(model, stretches, cores, repeats)
    layouts = [(cores[0], 0), (cores[0], cores[0] // 2), *((core, 0) for core in cores[1:])]
    margin = margin_of(model.sizes.context, cores)
    rows, sites = list[CoreRow](), 0
    for precision in precisions:
        sides = [_Side(model, stretches, margin, layout, path, precision, device, batch) for layout in layouts]
        found = [side.scores() for side in sides]
        times = [[side.turn() for side in sides] for _ in range(repeats)]
        if not rows:
            sites = int(_is_site(found[0]).sum())
        for at, side in enumerate(sides):
            own, first = (np.array([turn[index] for turn in times]) for index in (at, 0))
            expected = found[0] if trained and at else None
            rows.append(side.row(own, first, found[at], expected))
    bases = len(found[0])
    threads = torch.get_num_threads()
    return CoreReport(machine_name(device), threads, torch.__version__, bases, sites, repeats, tuple(rows))


def _require_valid(model: SpTransformerModel, stretches: Sequence[Codes], cores: Sequence[int], repeats: int) -> None:
    """Check what cannot work whatever the path."""
    most = model.sizes.max_seq_len
    if not cores or cores[0] < 1 or cores[-1] > most:
        raise InputError(f"cores {', '.join(map(str, cores))}: this network predicts 1 to {most:,} bases at once.")
    if repeats < 1:
        raise InputError(f"{counted(repeats, 'turn')} measure nothing: choose at least 1.")
    margin = margin_of(model.sizes.context, cores)
    if any(len(stretch) <= 2 * margin for stretch in stretches):
        raise InputError(f"a stretch must have more than the {margin:,} bases on both sides that are not compared.")


class _Side:
    """Windows of one core that cover the compared bases of all stretches, in one precision."""

    def __init__(
        self,
        model: SpTransformerModel,
        stretches: Sequence[Codes],
        margin: int,
        layout: tuple[int, int],
        path: str,
        precision: str,
        device: str,
        batch: int | None,
    ) -> None:
        self.core, self.shift = layout
        self.precision, self.device, self.on_cpu = precision, device, torch.device(device).type == "cpu"
        self.spec = spec = WindowSpec(core=self.core, context=model.sizes.context)
        if batch is None and self.on_cpu:
            batch = CPU_BATCH
        elif batch is None:
            settled = calibrate(model, spec, precision=precision, device=device, path=path)
            path, batch = settled.path, settled.batch
        self.predictor = Predictor(model, spec, precision=precision, device=device, batch=batch, path=path)
        self.bases = [len(stretch) - 2 * margin for stretch in stretches]
        first = margin - self.shift
        self.stretches = []
        for stretch, bases in zip(stretches, self.bases, strict=True):
            end = first + -(-(bases + self.shift) // self.core) * self.core  # of the last window's core
            self.stretches.append(stretch[first - spec.context : end + spec.context])
        self.peak_bytes = 0

    def scores(self) -> Scores:
        """Scores of the compared bases of all stretches one after another, [bases, channels]; warms the path up."""
        predicted = self.predictor.predict(self.stretches)
        rows = (scores.reshape(-1, scores.shape[2])[self.shift :] for scores in predicted)
        return np.concatenate([row[:bases] for row, bases in zip(rows, self.bases, strict=True)])

    def turn(self) -> tuple[float, float]:
        """Seconds a base: on the clock, and of processors."""
        reset_peak(self.device)
        start, begun = time.perf_counter(), time.process_time()
        self.predictor.predict(self.stretches)
        spent = time.perf_counter() - start, time.process_time() - begun
        self.peak_bytes = max(self.peak_bytes, peak_memory(self.device))
        return spent[0] / sum(self.bases), spent[1] / sum(self.bases)

    def row(self, seconds: Times, smallest: Times, scores: Scores, expected: Scores | None) -> CoreRow:
        """What was measured in all turns, and the differences from the smallest core."""
        rate = 1 / float(np.median(seconds[:, 0]))
        ratio, by_processor = np.median(smallest / seconds, axis=0).tolist()
        speeds = rate, ratio, by_processor if self.on_cpu else None
        measured = self.predictor.path, self.precision, *speeds, self._flops_per_base(), self.peak_bytes
        compared = (None, None, None, None) if expected is None else _differences(scores, expected)
        return CoreRow(self.core, self.shift, *measured, *compared)

    def _flops_per_base(self) -> float:
        """Counted in one prediction of `COUNTED_WINDOWS` windows, or of all if these are fewer."""
        windows = min(COUNTED_WINDOWS, self.spec.count(len(self.stretches[0])))
        stretch = self.stretches[0][: self.spec.input_span(0, windows - 1)[1] + self.spec.context]
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # only the thread that counts is counted
        try:
            with count_flops() as count:
                self.predictor.predict([stretch])
        finally:
            torch.set_num_threads(threads)
        return count.total / (windows * self.core)


def _is_site(scores: Scores) -> NDArray[np.bool_]:
    """Which bases are sites, [bases]."""
    sites: NDArray[np.bool_] = scores[:, _SPLICE].max(1) >= SITE
    return sites


def _differences(
    scores: Scores, expected: Scores
) -> tuple[Difference | None, Difference | None, Difference | None, int]:
    """At sites, elsewhere, of usage at sites, and how many bases have crossed the bound of a site."""
    sites = _is_site(expected)
    apart = np.abs(scores.astype(np.float64) - expected)
    kinds = apart[sites, _SPLICE], apart[~sites, _SPLICE], apart[sites, len(channels.SPLICE) :]
    at_sites, elsewhere, usage = (Difference(float(x.max()), float(x.mean())) if x.size else None for x in kinds)
    return at_sites, elsewhere, usage, int((sites != _is_site(scores)).sum())


def format_cores(report: CoreReport) -> str:
    """The report as a table for a terminal."""
    lines = [["core", "precision", "path", "bases/s", "ratio", "by processor", "MFLOP a base", "memory"]]
    lines[0] += ["at sites: largest", "mean", "elsewhere: largest", "mean", "usage: largest", "mean", "crossed"]
    for row in report.rows:
        name = f"{row.core:,}" + (f", shifted by {row.shift:,}" if row.shift else "")
        cells = [name, row.precision, row.path, f"{row.bases_per_second:,.0f}", f"{row.ratio:.2f}"]
        cells += ["-" if row.processor_ratio is None else f"{row.processor_ratio:.2f}"]
        cells += [f"{row.flops_per_base / 1e6:,.1f}", f"{row.peak_bytes / 2**20:,.0f} MiB"]
        for found in (row.at_sites, row.elsewhere, row.usage):
            cells += ["-", "-"] if found is None else [f"{found.largest:.1e}", f"{found.mean:.1e}"]
        lines.append([*cells, "-" if row.crossed is None else f"{row.crossed:,}"])
    where = (
        f"{report.measured_on}; {counted(report.bases, 'base')}, {report.sites:,} of them sites, median of "
        f"{counted(report.repeats, 'turn')}; differences from the smallest core"
    )
    return f"{where}\n{format_table(lines)}"
