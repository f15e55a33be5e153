"""The tracks job of `rehearsal.py`: all of it but the network, whose place `PlausibleScores` takes.

The scores follow from the sequence alone, at the speed of memory: near zero at most bases, and like a site's at some of
the bases beside AG and GT. They are those of no organism.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.batch.cluster import Pool
from pipeline.batch.job import Say, Worker
from pipeline.batch.layout import Part
from pipeline.batch.record import Execution
from pipeline.batch.units import Unit
from pipeline.tracks.job import TracksJob
from pipeline.tracks.worker import Scores, Task, TracksWorker, WorkOrder
from sptx_core import channels
from sptx_core.alphabet import BASES, Codes
from sptx_core.engine import hardware
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec

MER = 8
SITES = 4_096  # rows of scores of sites that are told apart
ONE_IN = 64  # bases beside AG or GT that are sites: one acceptor and one donor in 1,024 bases
SHARE_IN_USE = 0.2  # of the other bases have usage above 0: the bytes a base are then those of a trained network
CHUNK = 1 << 15  # bases whose scores are gathered at a time, so that they stay in the cache
A, _, G, T, _ = range(len(BASES))


class PlausibleScores:
    """A predictor, as far as a worker uses it, that looks its scores up by the eight bases around each base."""

    path = "rehearsal"

    def __init__(self, spec: WindowSpec) -> None:
        if spec.overlap:
            raise ValueError("the rehearsal's windows do not overlap")
        self.spec = spec
        random = np.random.default_rng(0)
        some = random.random((4**MER, 1)) < SHARE_IN_USE
        low = random.beta(0.5, 60, (4**MER, len(channels.TISSUES))) * some
        self.background = score_rows(random.normal(-10.5, 1.2, (4**MER, 2)), low)
        strength, quiet = random.normal(-1, 4, SITES), np.full(SITES, -9.0)
        usage = random.beta(2, 2, (SITES, len(channels.TISSUES))) / (1 + np.exp(-strength))[:, None]
        self.acceptors = score_rows(np.stack([strength, quiet], 1), usage)
        self.donors = score_rows(np.stack([quiet, strength], 1), usage)

    def stream(self, jobs: Iterator[Sequence[Codes] | None]) -> Iterator[list[Scores]]:
        """Scores of each job, as `Predictor.stream` gives them."""
        for job in jobs:
            if job is not None:
                yield [self.scores(codes).reshape(-1, self.spec.core, len(channels.CHANNELS)) for codes in job]

    def scores(self, codes: Codes) -> Scores:
        """Scores [bases, channels] of a stretch less its flanks, 5' to 3'."""
        first, end = self.spec.context, len(codes) - self.spec.context
        mers = mers_of(codes)
        around = mers[first - MER // 2 : end - MER // 2]
        found = np.empty((end - first, self.background.shape[1]), np.float32)
        for start in range(0, len(around), CHUNK):
            some = slice(start, start + CHUNK)
            np.take(self.background, around[some], axis=0, out=found[some], mode="clip")  # "raise" would buffer
        before = mers[first - MER : end - MER].astype(np.uint32)
        mixed = (before << np.uint32(16) | mers[first:end]) * np.uint32(2_654_435_761)
        chosen = mixed >> np.uint32(16) < (1 << 16) // ONE_IN
        for (left, base, right, other), table in (((-2, A, -1, G), self.acceptors), ((1, G, 2, T), self.donors)):
            motif = (codes[first + left : end + left] == base) & (codes[first + right : end + right] == other)
            at = np.flatnonzero(chosen & motif)
            found[at] = table[mixed[at] >> np.uint32(8) & np.uint32(SITES - 1)]
        return found


def score_rows(logits: npt.NDArray[Any], usage: npt.NDArray[Any]) -> Scores:
    """Rows [n, channels] of scores from logits of acceptor and donor [n, 2], that of no site being 0, and usage."""
    splice = np.exp(np.column_stack([np.zeros(len(logits)), logits]))
    return np.column_stack([splice / splice.sum(1, keepdims=True), usage]).astype(np.float32)


def mers_of(codes: Codes) -> npt.NDArray[np.uint16]:
    """The `MER` bases from each base on as a number, with N as A."""
    mers = np.pad(codes & 3, (0, MER)).astype(np.uint16)
    for width in (1, 2, 4):
        mers[:-width] |= mers[width:] << np.uint16(2 * width)
    return mers[: len(codes)]


class RehearsedWorker(TracksWorker):
    """A worker of the tracks job without a network, which writes down the processor time of its steps."""

    def __init__(self, order: WorkOrder, notes: str) -> None:
        super().__init__(order)
        self.notes = Path(notes, f"{os.getpid()}.jsonl")

    def make_predictor(self, model: SpTransformerModel) -> Any:
        """The look-up in the network's place."""
        del model
        return PlausibleScores(self.order.spec.windows)

    def read(self, unit: Unit) -> Task:
        """The shard's sequence."""
        return self._timed("read", unit, super().read, unit)

    def compute(self, inputs: Iterator[Task | None]) -> Iterator[Any]:
        """Scores of each shard's stretches."""
        began = time.thread_time()
        for outputs in super().compute(inputs):
            self._note("compute", 0, time.thread_time() - began)
            yield outputs
            began = time.thread_time()

    def encode(self, unit: Unit, inputs: Task, outputs: list[Scores]) -> dict[str, bytes]:
        """Both parts of the shard."""
        return self._timed("stitch and encode", unit, super().encode, unit, inputs, outputs)

    def _timed(self, step: str, unit: Unit, work: Callable[..., Any], *arguments: Any) -> Any:
        began = time.thread_time()
        result = work(*arguments)
        self._note(step, unit.size, time.thread_time() - began)
        return result

    def _note(self, step: str, rows: int, seconds: float) -> None:
        with self.notes.open("a") as file:
            file.write(json.dumps([step, rows, seconds]) + "\n")


class RehearsedJob(TracksJob):
    """The tracks job with workers that have no network."""

    notes: str
    listed: float | None = None
    """When the manifest was begun, in seconds since the epoch."""

    @classmethod
    def of(cls, job: TracksJob, notes: Path) -> RehearsedJob:
        """The same job, rehearsed; workers put their notes into a folder."""
        made = cls(**{field.name: getattr(job, field.name) for field in dataclasses.fields(job)})
        made.notes = str(notes)
        notes.mkdir(exist_ok=True)
        return made

    def make_worker(self, execution: Execution) -> Callable[[], Worker]:
        """What makes a worker in an actor."""
        return partial(RehearsedWorker, self.work_order(execution), self.notes)

    def manifest_columns(self, part: Part) -> Mapping[str, Any]:
        """Contig and strand of a shard."""
        if self.listed is None:
            self.listed = time.time()
        return super().manifest_columns(part)

    def choose_execution(self, pool: Pool, stored: Execution | None, say: Say) -> Execution:
        """Nothing is measured: there is one way."""
        del say
        return stored or Execution("cpu", hardware("cpu"), PlausibleScores.path, "float32", 1, pool.threads)
