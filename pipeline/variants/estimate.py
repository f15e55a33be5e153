"""What a run will cost: alleles, windows, FLOPs by the published count, hours at a measured rate.

Windows are counted after equal ones are taken together: reference windows that alternatives share, and alleles that
occur twice. FLOPs are those of the published network on so many windows, without any saving of the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from pipeline.tracks.estimate import format_hours, window_flops
from pipeline.variants.alleles import Status
from pipeline.variants.entries import allele_of
from pipeline.variants.geometry import Change, Frame
from pipeline.variants.job import VariantsJob
from pipeline.variants.scoring import Look
from pipeline.variants.settings import Beyond
from sptx_core.engine.bench import BenchReport, format_rate
from sptx_core.errors import InputError
from sptx_core.windows import WindowSpec
from sptx_core.words import counted


@dataclass(frozen=True)
class Estimate:
    """Cost of a plan; `str` of it is a summary in words."""

    alleles: int
    statuses: Mapping[str, int]
    shards: int
    reference_windows: int
    alternative_windows: int
    window_flops: int
    """FLOPs of the published network on one window."""
    flops: int
    rate: str = ""
    """At which rate, and for how long the engine works."""
    hours: float | None = None

    @property
    def windows(self) -> int:
        """Windows in all."""
        return self.reference_windows + self.alternative_windows

    def __str__(self) -> str:
        """A few lines."""
        listed = ", ".join(f"{count:,} {status}" for status, count in self.statuses.items())
        lines = [
            f"{counted(self.alleles, 'allele')} ({listed}), {counted(self.shards, 'shard')}",
            f"{counted(self.windows, 'window')}: {self.reference_windows:,} of the reference, "
            f"{self.alternative_windows:,} of alternatives",
            f"{self.window_flops / 1e9:,.1f} GFLOP a window as published, {self.flops / 1e15:,.3f} PFLOP in all",
        ]
        return "\n".join([*lines, *([self.rate] if self.rate else [])])

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain values, ready for JSON."""
        return {**asdict(self), "windows": self.windows}


def estimate(job: VariantsJob, report: BenchReport | None = None) -> Estimate:
    """Count what `job` would do; with a report of `sptx bench` how long it takes.

    Raises
    ------
    InputError
        The report has no rate for the job's precision.

    """
    references, alternatives = _windows(job)
    flops = window_flops(job.network.model, WindowSpec(core=job.geometry.core, context=job.geometry.context))
    windows = references + alternatives
    rate, hours = _duration(job, report, windows) if report else ("", None)
    return Estimate(
        alleles=job.size,
        statuses=job.plan.statuses,
        shards=job.units,
        reference_windows=references,
        alternative_windows=alternatives,
        window_flops=flops,
        flops=flops * windows,
        rate=rate,
        hours=hours,
    )


def _windows(job: VariantsJob) -> tuple[int, int]:
    """Different windows of the reference and of alternatives."""
    by_gene = job.settings.flanks is Beyond.GENE
    strands = dict(job.plan.genes.select("gene", "strand").iter_rows())
    scored = job.plan.entries.filter(pl.col("status") == Status.SCORED.value)
    references: set[tuple[Any, ...]] = set()
    looks: set[tuple[Any, ...]] = set()
    alternatives = 0
    for entry in scored.iter_rows(named=True):
        sights = [(strands[gene], gene if by_gene else None) for gene in entry["genes"]]
        for sight in dict.fromkeys(sights if not entry["both_strands"] else [("+", None), ("-", None)]):
            allele = allele_of(entry)
            key = (entry["contig"], sight, allele)
            if key in looks or allele.ref == allele.alt:
                continue
            looks.add(key)
            for window in Look.at(Change.of(allele, sight[0]), job.geometry).windows:
                if window.frame is Frame.REFERENCE:
                    references.add((entry["contig"], sight, window.first))
                else:
                    alternatives += 1
    return len(references), alternatives


def _duration(job: VariantsJob, report: BenchReport, windows: int) -> tuple[str, float]:
    precision = job.settings.precision.value
    rows = [row for row in report.rows if row.precision == precision and job.settings.engine in ("auto", row.path)]
    if not rows:
        measured = ", ".join(f"{row.path} in {row.precision}" for row in report.rows)
        path = job.settings.engine
        raise InputError(f"the report has no rate of engine path {path} in {precision}; it has {measured}")
    best = max(rows, key=lambda row: row.windows_per_second)
    hours = windows / best.windows_per_second / 3600
    rate = f"{format_rate(best.windows_per_second)} windows/s measured on {report.machine} ({best.path}, {precision})"
    return f"{rate}, without what alleles share: {format_hours(hours)}", hours
