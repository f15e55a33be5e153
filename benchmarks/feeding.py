"""Whether a GPU would have to wait for the pipeline: the whole of it, with a device that only waits.

    python benchmarks/feeding.py --rates 1100,2000 --shards 16 --put-ms 50

Everything but the device is the real thing: Ray's actor, its threads, reading, stitching, encoding, writing. The device
is a clock: a micro-batch is done a fixed time after it was begun and the one before it was done, and its scores are
made beforehand. Beginning one keeps the thread busy as launching its kernels would. Storage takes `--put-ms` longer to
write an object, as an object store would. Printed are the share of the time from its first micro-batch to its last that
the device works, and the processor time of the actor without that of launching.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.batch import actors, cluster
from pipeline.batch.job import Assignment
from pipeline.batch.record import Execution
from pipeline.batch.storage import Store
from pipeline.batch.worker import UnitWorker
from pipeline.tracks.layout import TABLES
from pipeline.tracks.settings import Flanks, TableSpec
from pipeline.tracks.shards import Piece, Shard
from pipeline.tracks.worker import TracksWorker, WorkOrder
from sptx_core import channels
from sptx_core.alphabet import Codes
from sptx_core.engine.streaming import GPU_QUEUE, ScoreStream
from sptx_core.windows import WindowSpec

SPEC = WindowSpec()
BATCH = 16  # windows
MADE = 256  # windows of scores, given out again and again
FINGERPRINT = "0" * 64
MEASURED = "measured.json"


class Clock:
    """An engine path that computes nothing: `rate` windows/s, `launching` seconds of a thread for each window."""

    overlaps_jobs = True

    def __init__(self, rate: float, launching: float) -> None:
        self.rate, self.launching = rate, launching
        self.first = self.free = self.worked = 0.0  # when it began, when it will be done, seconds that it works
        self.windows = 0

    def logits(self, jobs: Iterable[Sequence[Codes] | None]) -> Iterator[Tensor | None]:
        """For each micro-batch, in place of its logits, when it will be done and how many windows it has."""
        for job in jobs:
            if job is None:
                yield None
                continue
            windows = sum(SPEC.count(len(stretch)) for stretch in job)
            for first in range(0, windows, BATCH):
                began = time.perf_counter()
                while time.perf_counter() < began + self.launching * BATCH:
                    pass
                now = time.perf_counter()
                self.first = self.first or now
                self.free = max(self.free, now) + BATCH / self.rate
                self.worked += BATCH / self.rate
                self.windows += BATCH
                yield torch.tensor([self.free, min(BATCH, windows - first)], dtype=torch.float64)


class WaitingPredictor:
    """A predictor, as far as a worker uses it, whose device is a clock."""

    path = "clock"

    def __init__(self, clock: Clock) -> None:
        random = np.random.default_rng(0)
        splice = random.beta(0.02, 20, (MADE * SPEC.core, 2))
        usage = random.beta(0.3, 6, (MADE * SPEC.core, len(channels.TISSUES)))
        scores = np.concatenate((1 - splice.sum(1, keepdims=True).clip(0, 1), splice, usage), 1).astype(np.float32)
        self.scores = torch.from_numpy(scores.reshape(MADE, SPEC.core, -1))
        self.stream = ScoreStream(
            clock,
            SPEC,
            channels=len(channels.CHANNELS),
            device=torch.device("cpu"),
            queued=GPU_QUEUE,
            deliver=self.deliver,
        )

    def deliver(self, batch: Tensor) -> Callable[[], Tensor]:
        """Wait until the clock says that a micro-batch is done, and give some of the scores made beforehand."""
        done, windows = batch.tolist()

        def wait() -> Tensor:
            time.sleep(max(0.0, done - time.perf_counter()))
            first = int(done * 1e6) % (MADE - BATCH)
            return self.scores[first : first + int(windows)]

        return wait


class DistantStore(Store):
    """Storage that takes so much longer to write an object."""

    seconds = 0.0

    def write_atomic(self, name: str, content: bytes) -> None:
        """Write an object after a while."""
        time.sleep(self.seconds)
        super().write_atomic(name, content)


class ClockWorker(TracksWorker):
    """A worker of the tracks job whose device is a clock."""

    def __init__(self, order: WorkOrder, clock: Clock) -> None:
        super().__init__(order)
        self.clock = clock

    def open(self) -> None:
        """Make the device ready."""
        self.predictor = WaitingPredictor(self.clock)  # type: ignore[assignment]  # as far as a worker uses it


class MeasuredUnitWorker(UnitWorker):
    """An actor that writes down how busy its device was, after each unit."""

    def __init__(self, order: WorkOrder, root: str, rate: float, launching: float, put_seconds: float) -> None:
        self.clock = Clock(rate, launching)
        super().__init__(Assignment(lambda: ClockWorker(order, self.clock), root, FINGERPRINT, TABLES, 2))
        self.store = DistantStore(root)
        self.store.seconds = put_seconds
        self.began = time.process_time()

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Work on a unit."""
        receipt = super().__call__(row)
        clock = self.clock
        busy = clock.worked / (clock.free - clock.first)
        spent = (time.process_time() - self.began) / clock.windows - clock.launching
        Store(self.store.root).write_atomic(MEASURED, json.dumps([busy, spent]).encode())
        return receipt


def measure(settings: argparse.Namespace, rate: float, folder: str) -> tuple[float, float]:
    """How busy the device was, and processor seconds of its actor a window."""
    bases = settings.windows_per_shard * SPEC.core
    shards = [
        Shard(i, "chr1", "+-"[i % 2], (Piece(i, i * bases, (i + 1) * bases, 0, 0, ""),), settings.windows_per_shard)
        for i in range(settings.shards)
    ]
    fasta = Path(folder, "genome.fa")
    if not fasta.exists():
        letters = np.frombuffer(b"ACGT", np.uint8)
        text = letters[np.random.default_rng(0).integers(0, 4, bases * settings.shards)].reshape(-1, 100)
        fasta.write_bytes(b">chr1\n" + np.pad(text, ((0, 0), (0, 1)), constant_values=ord("\n")).tobytes())
    root = str(Path(folder, f"tracks-{rate}"))
    order = WorkOrder(
        fasta=str(fasta),
        checkpoint="",
        checkpoint_digest="",
        fingerprint=FINGERPRINT,
        spec=TableSpec(channels.CHANNELS, Flanks.GENOMIC, exact=False, sites_threshold=0.01, windows=SPEC),
        execution=Execution("cpu", "clock", "clock", "float32", BATCH, 1),
        lengths={"chr1": bases * settings.shards},
    )
    make = partial(MeasuredUnitWorker, order, root, rate, settings.launching_us / 1e6, settings.put_ms / 1e3)
    rows = [shard.to_unit().to_row() for shard in shards]
    with cluster.session(None, object_store_mb=200, use_gpus=False):
        for row in actors.execute(rows, make, cluster.Pool(1, 1, 0.0), embedded=True):
            if row["error"]:
                raise SystemExit(row["error"])
    busy, spent = json.loads(Store(root).read_bytes(MEASURED))
    return busy, spent


def main() -> None:
    """Measure each rate and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", default="1100,2000", help="windows/s of the device")
    parser.add_argument("--windows-per-shard", type=int, default=2000)
    parser.add_argument("--shards", type=int, default=16)
    parser.add_argument("--put-ms", type=float, default=0, help="added to writing an object, milliseconds")
    parser.add_argument("--launching-us", type=float, default=250, help="of a thread for each window, microseconds")
    settings = parser.parse_args()
    print(f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        for rate in map(float, settings.rates.split(",")):
            busy, spent = measure(settings, rate, folder)
            print(
                f"device at {rate:,.0f} windows/s: busy {busy:.3f} of the time; "
                f"{1e3 * spent:.2f} processor milliseconds a window",
                flush=True,
            )


if __name__ == "__main__":
    main()
