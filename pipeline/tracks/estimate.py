"""What a plan will cost: windows, FLOPs by the published count, size of the table, hours at a measured rate.

FLOPs are counted by PyTorch (two per multiply-add of convolutions and matrix products) while the plain network
predicts one window of N: as published, without any saving of the engine. Bytes per base are those measured on real
positions with simulated usage of a trained network; what a table takes depends on how many of its values differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import polars as pl
import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.tracks.job import TracksJob
from sptx_core.alphabet import N_CODE
from sptx_core.engine.bench import BenchReport, format_rate
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec
from sptx_core.words import counted

BYTES_PER_BASE = 6.1  # dictionary-encoded steps, zstd-1; docs/table.md
BYTES_PER_BASE_EXACT = 54.9  # unrounded float32, byte-stream-split; docs/table.md


@dataclass(frozen=True)
class Estimate:
    """How much a run would compute; `str()` of it is a summary in words."""

    transcripts: int
    loci: int
    bases: int
    """Of the table, counted on each strand."""
    windows: int
    shards: int
    window_flops: int
    """FLOPs of the published network on one window."""
    flops: int
    """FLOPs of all windows."""
    bytes: float
    """Of the tracks as Parquet, about."""
    bytes_per_base: float
    by_contig: pl.DataFrame
    """A row for each contig and strand: chrom, strand, loci, bases, windows, shards, MB."""

    def __str__(self) -> str:
        """Three lines."""
        return (
            f"{counted(self.transcripts, 'transcript')}, {counted(self.loci, 'locus', 'loci')}, "
            f"{counted(self.bases, 'base')}, {counted(self.windows, 'window')}, {counted(self.shards, 'shard')}\n"
            f"{self.window_flops / 1e9:,.1f} GFLOP a window as published, {self.flops / 1e15:,.3f} PFLOP in all\n"
            f"about {self.bytes / 1e6:,.1f} MB as Parquet ({self.bytes_per_base} bytes per base)"
        )

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain values, ready for JSON."""
        figures = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**figures, "by_contig": self.by_contig.to_dicts()}


def window_flops(model: SpTransformerModel, spec: WindowSpec) -> int:
    """FLOPs of the published network on one window, flanks included."""
    with torch.inference_mode():
        codes = torch.full((1, spec.width), N_CODE, dtype=torch.uint8)
        with FlopCounterMode(display=False) as counter:
            model(codes, flanked=True)
    return int(counter.get_total_flops())


def estimate(job: TracksJob) -> Estimate:
    """Count what `job` would do."""
    plan = job.plan
    per_base = BYTES_PER_BASE_EXACT if job.spec.exact else BYTES_PER_BASE
    loci = plan.loci.group_by("chrom", "strand").agg(pl.len().alias("loci"))
    by_contig = (
        plan.shards.group_by("chrom", "strand", maintain_order=True)
        .agg(pl.col("rows").sum().alias("bases"), pl.col("windows").sum(), pl.len().alias("shards"))
        .join(loci, on=["chrom", "strand"], maintain_order="left")
        .select("chrom", "strand", "loci", "bases", "windows", "shards")
        .with_columns((pl.col("bases") * per_base / 1e6).round(1).alias("MB"))
    )
    flops = window_flops(job.network.model, job.spec.windows)
    return Estimate(
        transcripts=len(plan.transcripts),
        loci=len(plan.loci),
        bases=plan.bases,
        windows=plan.windows,
        shards=int(by_contig["shards"].sum()),
        window_flops=flops,
        flops=flops * plan.windows,
        bytes=plan.bases * per_base,
        bytes_per_base=per_base,
        by_contig=by_contig,
    )


@dataclass(frozen=True)
class Duration:
    """How long the engine works at a measured rate; `str` of it is a line."""

    machine: str
    path: str
    precision: str
    windows_per_second: float
    hours: dict[int, float]
    """Number of such devices -> hours, from 1 on."""

    def __str__(self) -> str:
        """The rate, then the time on one device and on several."""
        alone, *shared = self.hours.items()
        shares = [f"{count:,} like it: {format_hours(hours)}" for count, hours in shared]
        measured = f"{format_rate(self.windows_per_second)} windows/s measured on {self.machine}"
        return f"{measured} ({self.path}, {self.precision}): " + "; ".join([format_hours(alone[1]), *shares])

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain values, ready for JSON."""
        return asdict(self)


def duration(job: TracksJob, report: BenchReport, devices: Sequence[int]) -> Duration:
    """Hours of the engine's work at the rate that `report` measured, on it and on as many like it as `devices` says.

    Start-up is not counted, and several devices are taken to share the work evenly; docs/performance.md has both.
    Raises `InputError` when the report has no rate for the plan's precision, and for a number of devices below 1.
    """
    precision, path = job.settings.precision.value, job.settings.engine
    rows = [row for row in report.rows if row.precision == precision and path in ("auto", row.path)]
    if not rows:
        measured = ", ".join(f"{row.path} in {row.precision}" for row in report.rows)
        raise InputError(f"the report has no rate of engine path {path} in {precision}; it has {measured}")
    if any(count < 1 for count in devices):
        raise InputError(f"--devices {', '.join(map(str, devices))}: each number must be at least 1")
    best = max(rows, key=lambda row: row.windows_per_second)
    hours = job.plan.windows / best.windows_per_second / 3600
    return Duration(
        report.machine,
        best.path,
        precision,
        best.windows_per_second,
        {count: hours / count for count in dict.fromkeys([1, *devices])},
    )


def format_hours(hours: float) -> str:
    """Hours, or minutes, as text."""
    return f"{hours:,.1f} hours" if hours >= 1 else f"{hours * 60:,.1f} minutes"
