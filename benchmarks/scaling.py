"""How the Ray stage scales: actors that only wait as long as a GPU would compute, on logical GPUs of one machine.

    python benchmarks/scaling.py --gpus 1,8,32,64 --rate 1100 --windows-per-shard 2000

Everything but the engine and the files is the real thing: the plan's rows, the pool, its dispatch and the receipts.
Efficiency is windows done over windows that so many GPUs do in that time, from the moment when every actor has
delivered until fewer shards are left than there are actors: start-up and the last shards are shown apart. With
`--commit` it also times what a shard's parts cost to encode and write, which tells the cores that a GPU needs.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import tempfile
import threading
import time
from functools import partial
from typing import Any

import numpy as np

CORE = 1000  # bases of a window
MIB = 1024 * 1024


class Waiter:
    """An actor whose device does nothing for as long as a shard would take: one shard at a time, as a GPU."""

    def __init__(self, windows_per_second: float) -> None:
        self.rate, self.device = windows_per_second, threading.Lock()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """The receipt of a shard that nobody computed; `hardware` tells the process."""
        with self.device:
            time.sleep(row["windows"] / self.rate)
        return {
            "unit": row["index"],
            "size": row["windows"] * CORE,
            "bytes": 0,
            "hardware": str(os.getpid()),
            "error": "",
        }


def measure(gpus: int, rate: float, windows: int, shards_per_gpu: int) -> dict[str, float]:
    """One simulated run on `gpus` logical GPUs."""
    from ray.cluster_utils import Cluster

    from pipeline.batch import actors, cluster
    from pipeline.tracks.shards import Piece, Shard

    count = gpus * shards_per_gpu
    bases = windows * CORE
    shards = [Shard(i, "chr1", "+", (Piece(i, i * bases, (i + 1) * bases, 0, 0, ""),), windows) for i in range(count)]
    head = {"num_cpus": 2 * gpus, "num_gpus": gpus, "object_store_memory": 200 * MIB, "include_dashboard": False}
    nodes = Cluster(initialize_head=True, head_node_args=head)
    try:
        with cluster.session(nodes.address, object_store_mb=200, use_gpus=True) as joined:
            pool = cluster.choose_pool(joined, None, None, 1.0)
            began = time.perf_counter()
            receipts = actors.execute(
                [shard.to_unit().to_row() for shard in shards], partial(Waiter, rate), pool, embedded=False
            )
            arrivals = [(time.perf_counter() - began, receipt["hardware"]) for receipt in receipts]
    finally:
        nodes.shutdown()
    firsts = {worker: moment for moment, worker in reversed(arrivals)}
    first = max(arrivals.index((moment, worker)) for worker, moment in firsts.items())
    last = max(first + 1, count - gpus)
    start, end = arrivals[first][0], arrivals[last][0]
    ideal = windows * shards_per_gpu / rate
    return {
        "actors": len(firsts),
        "start-up s": start - windows / rate,
        "shards/s": (last - first) / (end - start),
        "efficiency": (last - first) * windows / ((end - start) * gpus * rate),
        "whole s": arrivals[-1][0],
        "ideal s": ideal,
    }


def commit_seconds(windows: int) -> tuple[float, int]:
    """Processor seconds and bytes of committing one shard whose scores are mostly near zero, as a trained network's."""
    from pipeline.batch.storage import Store
    from pipeline.tracks.layout import TABLES, ShardKey
    from pipeline.tracks.parts import ShardRows, encode_shard
    from pipeline.tracks.schema import TrackSchema
    from pipeline.tracks.settings import Flanks, TableSpec
    from sptx_core.channels import CHANNELS, TISSUES
    from sptx_core.windows import WindowSpec

    rows, fingerprint = windows * CORE, "0" * 64
    random = np.random.default_rng(0)
    splice = random.beta(0.02, 20, (rows, 2)).astype(np.float32)
    usage = random.beta(0.3, 6, (rows, len(TISSUES))).astype(np.float32)
    scores = np.concatenate((1 - splice.sum(1, keepdims=True).clip(0, 1), splice, usage), axis=1)
    shard = ShardRows(np.arange(1, rows + 1, dtype=np.int32), random.integers(0, 4, rows, dtype=np.uint8), scores)
    schema = TrackSchema(TableSpec(CHANNELS, Flanks.GENOMIC, False, 0.01, WindowSpec()))
    key = ShardKey(0, "chr1", "+", 1, rows)
    with tempfile.TemporaryDirectory() as folder:
        began = resource.getrusage(resource.RUSAGE_SELF)
        parts = encode_shard(key, shard, schema, fingerprint=fingerprint, provenance={})
        for table in TABLES:
            Store(folder).write_atomic(key.part_name(table, fingerprint), parts[table])
        ended = resource.getrusage(resource.RUSAGE_SELF)
    spent = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
    return spent, len(parts[TABLES[0]])


def main() -> None:
    """Measure each number of GPUs and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", default="1,8,32,64")
    parser.add_argument("--rate", type=float, default=1100, help="windows/s of a GPU")
    parser.add_argument("--windows-per-shard", type=int, default=2000)
    parser.add_argument("--shards-per-gpu", type=int, default=20)
    parser.add_argument("--commit", action="store_true", help="also time the encoding of a shard")
    settings = parser.parse_args()
    print(f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    for gpus in map(int, settings.gpus.split(",")):
        found = measure(gpus, settings.rate, settings.windows_per_shard, settings.shards_per_gpu)
        print(f"{gpus:3d} GPUs: " + ", ".join(f"{name} {value:,.3g}" for name, value in found.items()), flush=True)
    if settings.commit:
        seconds, size = commit_seconds(settings.windows_per_shard)
        needed = seconds * settings.rate / settings.windows_per_shard
        print(
            f"a shard of {settings.windows_per_shard:,} windows: {seconds:.2f} processor seconds to encode and write "
            f"{size:,} bytes; a GPU at {settings.rate:,.0f} windows/s keeps {needed:.2f} cores busy with it"
        )


if __name__ == "__main__":
    main()
