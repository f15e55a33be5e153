"""How fast and how exact changes of sequence are predicted on this machine: `sptx bench --variants`.

Needs what `sptx_core.engine.bench` needs, whose network it takes. An allele is a SNV; its reference and its alternative
are wanted. Kinds of work:

- `lone`: each allele has a window of its own, centred on it (core 201);
- `three`: three alternatives at each position, a window for each position;
- `centred`: the same at consecutive positions, as for a whole gene;
- `grid`: the same, but all in one window (core 1,000), whose reference scores are known already.

Every kind is computed as families (`Predictor.stream_families`), and compared with two ways that share nothing: the
plain network in float32, called for the reference and for the alternative at batch 1, and the engine, given both
windows one by one (centred, core 201). All run in turn, several times over; ratios are medians over these turns,
of wall time and, to the single windows, of processor time too, for a machine that other work shares.

Differences of logits and scores are from the plain network on the same changed windows, over those windows whose
Sinkhorn heads chose the same buckets (over all windows where there is none, as is usual in bfloat16).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from sptx_core.alphabet import Codes
from sptx_core.config import SpTransformerConfig
from sptx_core.engine.bench import (
    REFERENCE,
    MachineReport,
    Outcome,
    format_rate,
    format_table,
    machine_name,
    peak_memory,
    reset_peak,
    seeded_model,
)
from sptx_core.engine.calibration import calibrate
from sptx_core.engine.families import Alternative, Family
from sptx_core.engine.flops import count_flops
from sptx_core.engine.machine import exact_arithmetic
from sptx_core.engine.paths import ENGINE_PATHS, PRECISIONS
from sptx_core.engine.predictor import Predictor
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel
from sptx_core.windows import TRAINED_CORE, WindowSpec
from sptx_core.words import counted

CENTRED_CORE = 201  # bases: 100 on either side of a SNV, as the authors score variants
ALTERNATIVES = 3  # SNVs of a position
MAX_ALONE = 12  # alleles in a turn of what shares nothing between alleles
PLAIN, SINGLE = "plain, twice", "single windows"


@dataclass(frozen=True)
class VariantRow:
    """One kind of work in one precision. Differences are None where they are not measured."""

    work: str
    path: str
    precision: str
    alleles_per_second: float
    ratio_to_plain: float
    """Speed over that of the plain network, called twice; median over the turns."""
    ratio_to_single: float | None
    """Speed over that of the same path and precision on single windows; None for the plain network."""
    processor_ratio_to_single: float | None
    """The same in processor time of this process, which other work on the machine disturbs less; None on a GPU."""
    flops_per_allele: float
    """Operations of products, as performed."""
    largest_score_difference: float | None
    largest_logit_difference: float | None
    compared: int
    """Windows that were compared."""
    other_choices: int | None
    """Compared windows in which a Sinkhorn head chose another bucket than in the plain network."""
    peak_bytes: int
    """Peak memory: of the process on a CPU, allocated on a GPU."""


@dataclass(frozen=True)
class VariantReport(MachineReport):
    """All rows and what they were measured on."""

    alleles: int
    """Alleles of each kind in a turn."""
    repeats: int
    """Turns."""
    rows: tuple[VariantRow, ...]


def run_variant_bench(
    *,
    precisions: Sequence[str] = tuple(PRECISIONS),
    path: str = "auto",
    device: str = "cpu",
    batch: int | None = None,
    alleles: int = 24,
    repeats: int = 3,
    config: SpTransformerConfig | None = None,
    model: SpTransformerModel | None = None,
    cores: tuple[int, int] = (CENTRED_CORE, TRAINED_CORE),
    seed: int = 0,
) -> VariantReport:
    """Measure all kinds of work side by side.

    Parameters
    ----------
    precisions : sequence of str
        Of the engine; the plain network computes in float32.
    path : str
        The engine path.
    device : str
        "cpu" or "cuda".
    batch : int, optional
        Micro-batch of the engine in windows; by default the fastest on a GPU, 1 on a CPU.
    alleles : int
        Alleles of each kind in a turn, at least three; a multiple of three is computed, and at most `MAX_ALONE` of
        what shares nothing.
    repeats : int
        Turns.
    config : SpTransformerConfig, optional
        Sizes of the network, the published ones by default.
    model : SpTransformerModel, optional
        The network itself, in place of one of these sizes and of weights from the seed.
    cores : (int, int)
        Predicted bases of a centred window and of a window of the grid.
    seed : int
        Of weights and sequence.

    Raises
    ------
    InputError
        A setting cannot work.
    """
    if alleles < ALTERNATIVES or repeats < 1:
        raise InputError(
            f"{counted(alleles, 'allele')} in {counted(repeats, 'turn')}: choose at least {ALTERNATIVES} in at least "
            "one."
        )
    positions = alleles // ALTERNATIVES
    model = model or seeded_model(config or SpTransformerConfig(), seed)
    centred, grid = (WindowSpec(core, model.sizes.context) for core in cores)
    codes = np.random.default_rng(seed).integers(0, 4, grid.width + alleles, dtype=np.uint8)
    kinds = _kinds(codes, centred, grid, positions)
    windows = [window for family in kinds[0].families for window in _windows(family, centred)]
    plain = Predictor(model, centred, device=device, batch=1, path="reference")
    sides = [_Side(PLAIN, plain, "float32", 1, lambda: plain.predict(windows[:2]))]
    for precision in precisions:
        sides += _sides(model, kinds, windows, precision, path, device, batch)
    for side in sides:
        side.count()  # which also warms it up
    times = [[side.turn() for side in sides] for _ in range(repeats)]
    expected = {kind.name: _outcome(model, kind, *REFERENCE, device) for kind in kinds}
    rows = tuple(_row(i, sides, times, model, expected, device) for i in range(len(sides)))
    machine, computed = machine_name(device), positions * ALTERNATIVES
    return VariantReport(machine, torch.get_num_threads(), torch.__version__, computed, repeats, rows)


@dataclass(frozen=True, eq=False)
class _Kind:
    """A kind of work."""

    name: str
    spec: WindowSpec
    families: list[Family]

    @property
    def alleles(self) -> int:
        return sum(len(family.alternatives) for family in self.families)

    def compared(self) -> Family:
        """The first position of the first family, whose windows the plain network computes for comparison."""
        first = self.families[0]
        return Family(first.codes, first.references[:1], first.alternatives[:ALTERNATIVES])


def _kinds(codes: Codes, centred: WindowSpec, grid: WindowSpec, positions: int) -> list[_Kind]:
    """All kinds, with about the same alleles in each."""
    snvs = range(positions * ALTERNATIVES)
    middle = grid.width // 2
    on_grid = [snv for i in range(positions) for snv in _snvs(codes, 0, middle + i, ALTERNATIVES)]
    return [
        _Kind("lone", centred, [_centred(codes, centred, range(i, i + 1), 1) for i in snvs[:MAX_ALONE]]),
        _Kind("three", centred, [_centred(codes, centred, range(i, i + 1), ALTERNATIVES) for i in range(positions)]),
        _Kind("centred", centred, [_centred(codes, centred, range(positions), ALTERNATIVES)]),
        _Kind("grid", grid, [Family(codes[: grid.width], (), on_grid)]),
    ]


def _centred(codes: Codes, spec: WindowSpec, offsets: range, alternatives: int) -> Family:
    """Windows at some offsets of `codes`, each as it is and with so many SNVs of its middle."""
    stretch = codes[offsets[0] : offsets[-1] + spec.width]
    own = range(len(offsets))
    middle = spec.width // 2
    return Family(stretch, own, [snv for i in own for snv in _snvs(stretch, i, i + middle, alternatives)])


def _snvs(codes: Codes, offset: int, position: int, count: int) -> list[Alternative]:
    """The first so many SNVs of a base of `codes`, in a window at `offset`."""
    bases = [(codes[position] + i) % len("ACGT") for i in range(1, count + 1)]
    return [Alternative(offset, position - offset, np.array([base], dtype=np.uint8)) for base in bases]


def _windows(family: Family, spec: WindowSpec) -> list[Codes]:
    """The window of each alternative of a family as it is, and changed."""
    windows = []
    for offset, start, bases in family.alternatives:
        reference = family.codes[offset : offset + spec.width]
        changed = reference.copy()
        changed[start : start + len(bases)] = bases
        windows += [reference, changed]
    return windows


class _Seconds(NamedTuple):
    """Of an allele."""

    wall: float
    processor: float
    """Of all threads of this process."""


@dataclass(eq=False)
class _Side:
    """A way of computing that is timed."""

    name: str
    predictor: Predictor
    precision: str
    alleles: int
    predict: Callable[[], object]
    kind: _Kind | None = None
    peak_bytes: int = 0
    flops: int = 0
    """Of a turn."""

    def count(self) -> None:
        """Count the operations of a turn."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # only the thread that counts is counted
        try:
            with count_flops() as count:
                self.predict()
        finally:
            torch.set_num_threads(threads)
        self.flops = count.total

    def turn(self) -> _Seconds:
        """Seconds an allele."""
        reset_peak(str(self.predictor.device))
        start, started = time.perf_counter(), time.process_time()
        self.predict()
        wall, processor = time.perf_counter() - start, time.process_time() - started
        self.peak_bytes = max(self.peak_bytes, peak_memory(str(self.predictor.device)))
        return _Seconds(wall / self.alleles, processor / self.alleles)


def _sides(
    model: SpTransformerModel,
    kinds: list[_Kind],
    windows: list[Codes],
    precision: str,
    path: str,
    device: str,
    batch: int | None,
) -> list[_Side]:
    """Single windows, then every kind, in one precision."""
    centred = kinds[0].spec
    settled = calibrate(model, centred, precision=precision, device=device, path=path, batch=batch)

    def ready(spec: WindowSpec) -> Predictor:
        return Predictor(model, spec, precision=precision, device=device, batch=settled.batch, path=settled.path)

    predictors = {spec: ready(spec) for spec in dict.fromkeys(kind.spec for kind in kinds)}
    alone = predictors[centred]
    sides = [_Side(SINGLE, alone, precision, len(windows) // 2, lambda: alone.predict(windows))]
    for kind in kinds:
        of_kind = predictors[kind.spec]
        stream = partial(_predict_families, of_kind, kind.families)
        sides.append(_Side(kind.name, of_kind, precision, kind.alleles, stream, kind))
    return sides


def _predict_families(predictor: Predictor, families: list[Family]) -> None:
    for found in predictor.stream_families(families):
        assert not isinstance(found, ArithmeticError)


@torch.inference_mode()
def _outcome(model: SpTransformerModel, kind: _Kind, path: str, precision: str, device: str) -> Outcome:
    """Logits and choices of the windows that are compared."""
    with exact_arithmetic(device):
        made = ENGINE_PATHS[path].make(model.to(device), kind.spec, PRECISIONS[precision], None)
        return Outcome(*made.recorded_family(made.plan(kind.compared())))


def _row(
    number: int,
    sides: list[_Side],
    times: list[list[_Seconds]],
    model: SpTransformerModel,
    expected: dict[str, Outcome],
    device: str,
) -> VariantRow:
    """What was measured of a side, and its differences from the plain network."""
    side = sides[number]
    single = next((i for i, of in enumerate(sides) if (of.name, of.precision) == (SINGLE, side.precision)), None)
    to_plain = statistics.median(turn[0].wall / turn[number].wall for turn in times)
    to_single = processor = None
    if number and single is not None:
        to_single = statistics.median(turn[single].wall / turn[number].wall for turn in times)
    if to_single is not None and single is not None and side.predictor.device.type == "cpu":
        processor = statistics.median(turn[single].processor / turn[number].processor for turn in times)
    found = None if side.kind is None else _outcome(model, side.kind, side.predictor.path, side.precision, device)
    scores, _, logits, other = (None,) * 4 if found is None else found.differences(expected[side.name])
    rate = 1 / statistics.median(turn[number].wall for turn in times)
    compared = 0 if found is None else len(found.logits)
    speeds = (rate, to_plain, to_single, processor, side.flops / side.alleles)
    differences = (scores, logits, compared, other)
    return VariantRow(side.name, side.predictor.path, side.precision, *speeds, *differences, side.peak_bytes)


def format_variants(report: VariantReport) -> str:
    """The report as a table for a terminal."""
    head = ["work", "path", "precision", "alleles/s", "to plain", "to single", "by processor", "performed", "scores"]
    lines = [[*head, "logits", "other", "memory"]]
    for row in report.rows:
        found = (row.largest_score_difference, row.largest_logit_difference)
        lines.append(
            [
                *(row.work, row.path, row.precision, format_rate(row.alleles_per_second), f"{row.ratio_to_plain:.2f}"),
                *("-" if x is None else f"{x:.2f}" for x in (row.ratio_to_single, row.processor_ratio_to_single)),
                f"{row.flops_per_allele / 1e9:,.3g} GF",
                *("-" if x is None else f"{x:.1e}" for x in found),
                "-" if row.other_choices is None else f"{row.other_choices} of {row.compared}",
                f"{row.peak_bytes / 2**20:,.0f} MiB",
            ]
        )
    where = (
        f"{report.measured_on}; {counted(report.alleles, 'allele')} of each "
        f"kind, median of {counted(report.repeats, 'turn')}; the first row is the plain network, called for the "
        "reference and for the alternative"
    )
    return f"{where}\n{format_table(lines)}"
