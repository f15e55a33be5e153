"""What the pipeline adds to the engine: the same shards by the engine alone and by Ray's actor, in turn.

    python benchmarks/pipeline_against_engine.py --fasta G.fa.gz --gtf A.gtf.gz --checkpoint C.ckpt --genes DOCK8 \
        --windows-per-shard 32 --shards 4 --turns 2

The engine predicts the stretches of the shards, already read, and begins a shard while the one before it ends. The
pipeline reads, predicts, stitches, encodes and writes them on an embedded Ray and reports to the driver; its time runs
from when its actor is given the first shard to when the last part is committed. `--device cuda` computes on a GPU;
`--from-first-shard` takes both times from when the first shard is done, so that loading kernels is no part of them.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pipeline.batch import actors, cluster
from pipeline.batch.job import Assignment
from pipeline.batch.layout import committed
from pipeline.batch.record import Execution
from pipeline.batch.storage import Store
from pipeline.batch.worker import UnitWorker
from pipeline.tracks.job import TracksJob
from pipeline.tracks.layout import TABLES, TRACKS
from pipeline.tracks.prepare import prepare
from pipeline.tracks.settings import Flanks, RunConfig
from pipeline.tracks.shards import Shard
from pipeline.tracks.worker import TracksWorker, WorkOrder
from sptx_core.engine import PRECISIONS, Predictor, calibrate, hardware

BEGAN = "began"


def work_order(job: TracksJob, device: str, threads: int) -> WorkOrder:
    """What `sptx run` would hand its actors."""
    precision = job.settings.precision.value
    chosen = calibrate(job.network.model, job.spec.windows, precision=precision, device=device)
    return job.work_order(Execution(device, hardware(device), chosen.path, precision, chosen.batch, threads))


def engine_rate(job: TracksJob, order: WorkOrder, shards: list[Shard], *, from_first: bool) -> float:
    """Windows/s of the engine alone."""
    reader, execution = TracksWorker(order), order.execution
    predictor = Predictor(
        job.network.model,
        order.spec.windows,
        precision=execution.precision,
        device=execution.device,
        batch=execution.batch,
        path=execution.engine,
    )
    inputs = [reader.read(shard.to_unit()).codes for shard in shards]
    times = [time.perf_counter()]
    for found in predictor.stream(inputs):
        if isinstance(found, ArithmeticError):
            raise found
        times.append(time.perf_counter())
    return rate(shards, times, from_first=from_first)


def rate(shards: list[Shard], times: list[float], *, from_first: bool) -> float:
    """Windows/s, from the times when the work began and when each shard was done."""
    counted = shards[1:] if from_first else shards
    return sum(shard.windows for shard in counted) / (times[-1] - times[from_first])


def pipeline_rate(order: WorkOrder, shards: list[Shard], root: str, *, from_first: bool) -> float:
    """Windows/s of the whole pipeline, from its first shard's beginning to its last commit.

    By the times of files: receipts reach the driver in bunches.
    """
    assignment = Assignment(partial(TracksWorker, order), root, order.fingerprint, TABLES, 2)
    rows = [shard.to_unit().to_row() for shard in shards]
    on_gpu = order.execution.device == "cuda"
    with cluster.session(None, object_store_mb=200, use_gpus=on_gpu):
        pool = cluster.Pool(1, order.execution.threads, float(on_gpu))
        for row in actors.execute(rows, partial(ObservedUnitWorker, assignment), pool, embedded=True):
            if row["error"]:
                raise SystemExit(row["error"])
    parts = committed(Store(root), TRACKS, order.fingerprint).values()
    began, *ended = (Path(root, name).stat().st_mtime for name in (BEGAN, *(part.name for part in parts)))
    return rate(shards, [began, *sorted(ended)], from_first=from_first)


class ObservedUnitWorker(UnitWorker):
    """An actor that writes a file when it is given its first shard."""

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Work on a shard."""
        if not self.store.exists(BEGAN):
            self.store.write_atomic(BEGAN, b"")
        return super().__call__(row)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both in turn and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--fasta", "--gtf", "--checkpoint"):
        parser.add_argument(name, type=lambda path: str(Path(path).absolute()), required=True)
    parser.add_argument("--genes", default="")
    parser.add_argument("--windows-per-shard", type=int, default=32)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--flanks", choices=[str(x) for x in Flanks], default="genomic")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--from-first-shard", action="store_true", help="of two shards or more")
    settings = parser.parse_args(arguments)
    config = RunConfig(
        fasta=settings.fasta,
        gtf=settings.gtf,
        checkpoint=settings.checkpoint,
        genes=tuple(name for name in settings.genes.split(",") if name),
        windows_per_shard=settings.windows_per_shard,
        precision=settings.precision,
        flanks=settings.flanks,
    )
    job = prepare(config, print)
    shards = list(job.plan.iter_shards())[: settings.shards]
    threads = os.cpu_count() or 1
    torch.set_num_threads(threads)
    ratios = []
    for turn in range(settings.turns):
        with tempfile.TemporaryDirectory() as folder:
            order = work_order(job, settings.device, threads)
            engine = engine_rate(job, order, shards, from_first=settings.from_first_shard)
            pipeline = pipeline_rate(order, shards, folder, from_first=settings.from_first_shard)
        ratios.append(pipeline / engine)
        print(f"turn {turn + 1}: engine {engine:.3f}, pipeline {pipeline:.3f} windows/s, {ratios[-1]:.3f}", flush=True)
    print(f"machine: {platform.processor() or platform.machine()}, {threads} cores; {len(shards)} shards")
    print(f"pipeline over engine: {statistics.median(ratios):.3f} (median of {len(ratios)} turns)")


if __name__ == "__main__":
    main()
