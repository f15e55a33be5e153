"""What a plan will cost: windows, FLOPs by the published count, size of the table, hours at a measured rate.

FLOPs are counted by PyTorch (two per multiply-add of convolutions and matrix products) while the plain network
predicts one window of N: as published, without any saving of the engine. Bytes per base are those measured on real
positions with simulated usage of a trained network; what a table takes depends on how many of its values differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.tracks.job import TracksJob
from sptx_core.alphabet import N_CODE
from sptx_core.engine.bench import BenchReport, format_rate
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec

BYTES_PER_BASE = 6.1  # dictionary-encoded steps, zstd-1; docs/table.md
BYTES_PER_BASE_EXACT = 54.9  # unrounded float32, byte-stream-split; docs/table.md


@dataclass(frozen=True)
class Estimate:
    """Cost of a plan: a row a contig and strand, and a summary in words."""

    by_contig: pl.DataFrame
    text: str


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
    text = (
        f"{len(plan.transcripts):,} transcripts, {len(plan.loci):,} loci, {plan.bases:,} bases, "
        f"{plan.windows:,} windows, {int(by_contig['shards'].sum()):,} shards\n"
        f"{flops / 1e9:,.1f} GFLOP a window as published, {flops * plan.windows / 1e15:,.3f} PFLOP in all\n"
        f"about {plan.bases * per_base / 1e6:,.1f} MB as Parquet ({per_base} bytes per base)"
    )
    return Estimate(by_contig, text)


def duration(job: TracksJob, report: BenchReport, devices: Sequence[int]) -> str:
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
    shares = [f"{count:,} like it: {_hours(hours / count)}" for count in devices if count > 1]
    return (
        f"{format_rate(best.windows_per_second)} windows/s measured on {report.machine} ({best.path}, {precision}): "
        + "; ".join([_hours(hours), *shares])
    )


def _hours(hours: float) -> str:
    return f"{hours:,.1f} hours" if hours >= 1 else f"{hours * 60:,.1f} minutes"
