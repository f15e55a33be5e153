"""What the pipeline adds to the engine: the same shards by the engine alone and by Ray's actor, in turn.

    python benchmarks/pipeline_against_engine.py --fasta G.fa.gz --gtf A.gtf.gz --checkpoint C.ckpt --genes DOCK8 \
        --windows-per-shard 32 --shards 4 --turns 2

The engine predicts the stretches of the shards, already read, and begins a shard while the one before it ends. The
pipeline reads, predicts, stitches, encodes and writes them on an embedded Ray and reports to the driver; its time runs
from when its actor is given the first shard to when the last part is committed. CPU only.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pipeline.batch import cluster as topology
from pipeline.batch.record import Execution
from pipeline.batch.storage import Store
from pipeline.tracks.parts import committed
from pipeline.tracks.plan import fingerprint
from pipeline.tracks.run import Job, prepare, table_fields
from pipeline.tracks.settings import RunConfig
from pipeline.tracks.shards import Shard, shard_stretches
from pipeline.tracks.worker import ShardWorker, WorkOrder
from sptx_core.engine import PRECISIONS, Predictor, calibrate, hardware

BEGAN = "began"


def work_order(job: Job, fields: dict[str, object], root: str, threads: int) -> WorkOrder:
    """What `sptx run` would hand its actors."""
    precision = job.config.precision
    settled = calibrate(job.model, job.plan.spec, precision=precision)
    return WorkOrder(
        fasta=job.config.fasta,
        checkpoint=job.config.checkpoint,
        checkpoint_digest=str(fields["checkpoint"]),
        root=root,
        fingerprint=fingerprint(fields),
        spec=job.plan.spec,
        flanks=job.config.flanks,
        channels=job.channels,
        exact=False,
        sites_threshold=job.config.sites_threshold,
        execution=Execution("cpu", hardware("cpu"), settled.path, precision, settled.batch, threads),
        lengths=job.lengths,
        max_attempts=2,
    )


def engine_rate(job: Job, order: WorkOrder, shards: list[Shard]) -> float:
    """Windows/s of the engine alone."""
    reader, execution = ShardWorker(order), order.execution
    predictor = Predictor(
        job.model, order.spec, precision=execution.precision, batch=execution.batch, path=execution.engine
    )
    jobs = [
        [reader._read(shard, stretch) for stretch in shard_stretches(shard, order.spec, order.flanks)]
        for shard in shards
    ]
    began = time.perf_counter()
    for found in predictor.stream(jobs):
        if isinstance(found, ArithmeticError):
            raise found
    return sum(shard.windows for shard in shards) / (time.perf_counter() - began)


def pipeline_rate(order: WorkOrder, shards: list[Shard]) -> float:
    """Windows/s of the whole pipeline, from its first shard's beginning to its last commit.

    By the times of files: receipts reach the driver in bunches.
    """
    with topology.session(None, object_store_mb=200, use_gpus=False):
        pool = topology.Pool(1, order.execution.threads, 0.0)
        for receipt in topology.execute(shards, order, pool, embedded=True, worker=Observed):
            if receipt.error:
                raise SystemExit(receipt.error)
    parts = committed(Store(order.root), order.fingerprint).values()
    began, *ended = (Path(order.root, name).stat().st_mtime for name in (BEGAN, *(part.path for part in parts)))
    return sum(shard.windows for shard in shards) / (max(ended) - began)


class Observed(ShardWorker):
    """A worker that writes a file when it is given its first shard."""

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Work on a shard."""
        if not self.store.exists(BEGAN):
            self.store.write_atomic(BEGAN, b"")
        return super().__call__(row)


def main() -> None:
    """Measure both in turn and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--fasta", "--gtf", "--checkpoint"):
        parser.add_argument(name, type=lambda path: str(Path(path).absolute()), required=True)
    parser.add_argument("--genes", default="")
    parser.add_argument("--windows-per-shard", type=int, default=32)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--turns", type=int, default=2)
    settings = parser.parse_args()
    config = RunConfig(
        fasta=settings.fasta,
        gtf=settings.gtf,
        checkpoint=settings.checkpoint,
        genes=tuple(name for name in settings.genes.split(",") if name),
        windows_per_shard=settings.windows_per_shard,
        precision=settings.precision,
    )
    job = prepare(config, print)
    fields = table_fields(job)
    shards = list(job.plan.iter_shards())[: settings.shards]
    threads = os.cpu_count() or 1
    torch.set_num_threads(threads)
    ratios = []
    for turn in range(settings.turns):
        with tempfile.TemporaryDirectory() as folder:
            order = work_order(job, fields, folder, threads)
            engine, pipeline = engine_rate(job, order, shards), pipeline_rate(order, shards)
        ratios.append(pipeline / engine)
        print(f"turn {turn + 1}: engine {engine:.3f}, pipeline {pipeline:.3f} windows/s, {ratios[-1]:.3f}", flush=True)
    print(f"machine: {platform.processor() or platform.machine()}, {threads} cores; {len(shards)} shards")
    print(f"pipeline over engine: {statistics.median(ratios):.3f} (median of {len(ratios)} turns)")


if __name__ == "__main__":
    main()
