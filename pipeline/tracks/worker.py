"""The worker: one shard of coordinates in, its part of the table committed, a receipt out. No Ray here.

A worker is made once a process and called from several threads: reading the genome and writing the part of one
shard overlap with the network on another, which runs in a single thread of its own (the device takes shards one after
the other, and CPU thread counts stay with the thread that set them). A shard is begun before the one before it is done
where the engine can (`Predictor.stream`), so that the device never waits.

Errors never leave `__call__`: a shard is tried `max_attempts` times, then its error is recorded in storage and in
the receipt. A shard that kills the process cannot report: it leaves a strike in storage, placed before the device takes
it and removed when it is committed or has failed, and is given up after `max_attempts` strikes. Shards that wait for
the device have theirs already, since it would wait for storage otherwise, so one that kills the process leaves strikes
of its neighbours too, but only once: a shard that has failed or been struck before is computed alone, which means that
no other has a strike as long as it has. An error that poisons the CUDA context ends the process on purpose.
"""

from __future__ import annotations

import json
import os
import threading
import time
import traceback
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.batch.record import Execution
from pipeline.batch.storage import Store
from pipeline.inputs.genome import Genome
from pipeline.inputs.uris import local_checkpoint
from pipeline.settings import Flanks
from pipeline.tracks.parts import ShardKey, ShardRows, commit_shard
from pipeline.tracks.schema import TrackSchema
from pipeline.tracks.shards import Shard, Stretch, axis_span, shard_stretches
from sptx_core.alphabet import N_CODE, reverse_complement
from sptx_core.checkpoint import checkpoint_digest
from sptx_core.engine import Predictor, hardware
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec, stitch

Codes = NDArray[np.uint8]
Scores = NDArray[np.float32]
ASKED_AGAIN_SECONDS = 0.05  # that the device waits for a job before it looks after those it has


@dataclass(frozen=True)
class WorkOrder:
    """What every worker of a run needs to know; travels once to each."""

    fasta: str
    checkpoint: str
    checkpoint_digest: str
    root: str
    fingerprint: str
    spec: WindowSpec
    flanks: Flanks
    channels: tuple[str, ...]
    exact: bool
    sites_threshold: float
    execution: Execution
    lengths: Mapping[str, int]
    max_attempts: int


class Receipt(NamedTuple):
    """What the driver learns of a shard; `error` is empty when it was committed. `hardware` is what computed it."""

    shard: int
    rows: int
    bytes: int
    hardware: str
    error: str = ""


@dataclass(eq=False)
class _Job:
    """Stretches to be predicted, and the strike that says so."""

    codes: list[Codes]
    strike: str
    alone: bool
    """Whether no other may have a strike while it has."""
    placed: bool = False
    """Whether the strike is there before the device takes it."""
    scores: Future[list[Scores]] = field(default_factory=Future)

    def end(self, found: list[Scores] | Exception) -> None:
        """With what was found."""
        if isinstance(found, Exception):
            self.scores.set_exception(found)
        else:
            self.scores.set_result(found)


class ShardWorker:
    """Computes and commits shards; see the module's contract."""

    def __init__(self, order: WorkOrder) -> None:
        self.order = order
        self.store = Store(order.root)
        self.genome = Genome(order.fasta)
        for chrom, length in order.lengths.items():
            if self.genome.lengths.get(chrom) != length:
                raise InputError(f"{order.fasta} on this node is not the genome of the plan: {chrom} differs")
        self.schema = TrackSchema.make(order.channels, flanks=order.flanks.value, exact=order.exact)
        # A cluster may mix hardware: a part says what really computed it.
        self.execution = replace(order.execution, hardware=hardware(order.execution.device))
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._next: _Job | None = None  # taken from there, but not to be begun yet
        self._queueing, self._lock = threading.Lock(), threading.Lock()
        self._begun: list[_Job] = []  # by the device, and not committed yet
        self._lonely = 0  # jobs that are to be alone, from when they are queued to when they end
        ready: Future[None] = Future()
        threading.Thread(target=self._serve, args=(ready,), name="device", daemon=True).start()
        ready.result()

    def _serve(self, ready: Future[None]) -> None:
        """What the device's thread does, until its process ends: predict what is asked for."""
        try:
            torch.set_num_threads(self.order.execution.threads)
            predictor = self._load()
        except Exception as error:  # its sentence is for whoever makes the worker
            ready.set_exception(error)
            return
        ready.set_result(None)
        while True:
            taken: deque[_Job] = deque()
            try:
                for found in predictor.stream(self._taken(taken)):
                    taken.popleft().end(found)
                    del found  # which is large, and not this thread's any more
            except Exception as error:  # whichever shard it was: all that had been begun are tried again
                traceback.clear_frames(error.__traceback__)  # whose tensors would take the memory of the next try
                while taken:
                    taken.popleft().end(error)

    def _taken(self, taken: deque[_Job]) -> Iterator[list[Codes] | None]:
        """The codes of one job after another, which is added to those taken; None when there is none to be begun yet.

        The caller takes away those that are done.
        """
        while True:
            try:
                job = self._next or self._jobs.get(timeout=ASKED_AGAIN_SECONDS)
            except Empty:
                yield None
                continue
            with self._lock:
                self._next = job if self._begun and (job.alone or self._begun[-1].alone) else None
                if self._next is None:
                    self._begun.append(job)
            if self._next is not None:
                if not taken:
                    time.sleep(ASKED_AGAIN_SECONDS)  # the one before it is being committed
                yield None
                continue
            try:
                if not job.placed:
                    self.store.put_atomic(job.strike, b"")
            except Exception as error:  # storage's fault, and this shard's alone
                job.end(error)
            else:
                taken.append(job)
                yield job.codes
            del job  # which its thread may be done with long before there is another

    def _queue(self, job: _Job) -> None:
        """Give it to the device, with its strike, unless it or one before it is to be alone."""
        with self._queueing:  # storage may be slow, but the device never waits for this lock
            with self._lock:
                self._lonely += job.alone
                job.placed = not self._lonely
            if job.placed:
                self.store.put_atomic(job.strike, b"")
            self._jobs.put(job)

    def _leave(self, job: _Job) -> None:
        """It has ended, in one way or the other."""
        try:
            self.store.delete(job.strike)
        finally:
            with self._lock:
                self._lonely -= job.alone
                if job in self._begun:
                    self._begun.remove(job)

    def _load(self) -> Predictor:
        order = self.order
        checkpoint = local_checkpoint(order.checkpoint)
        model = SpTransformerModel.from_pretrained(checkpoint)
        if checkpoint_digest(checkpoint) != order.checkpoint_digest:
            raise InputError(f"{order.checkpoint} on this node is not the checkpoint of the plan")
        execution = self.execution
        ready = partial(
            Predictor,
            model,
            order.spec,
            precision=execution.precision,
            device=execution.device,
            batch=execution.batch,
        )
        if execution.engine == "triton":
            predictor = self._with_kernels(ready)
        else:
            path = "auto" if execution.engine == "native" else execution.engine  # compiled where it can be
            predictor = ready(path=path)
        self.execution = replace(execution, engine=predictor.path)
        return predictor

    def _with_kernels(self, ready: Callable[..., Predictor]) -> Predictor:
        """On path `triton` where its kernels can be compiled and run, which is tried, else on `shared`."""
        first, end = self.order.spec.input_span(0, 0)
        try:
            predictor = ready(path="triton")
            predictor.predict([np.full(end - first, N_CODE, dtype=np.uint8)])
        except Exception as error:  # no compiler on this node, another Triton, another GPU
            if _poisons_device(error):
                raise
            return ready(path="shared")
        return predictor

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Work on the shard that `row` describes (see `Shard.to_row`) and return its receipt as a row."""
        shard = Shard.from_row(row)
        try:
            return self._try(shard)._asdict()
        except Exception as error:  # storage itself fails: what cannot be recorded there is still told
            return self._refusal(shard, _sentence(error))._asdict()

    def _try(self, shard: Shard) -> Receipt:
        strikes = len(self.store.list(f"strikes/{shard.index:06d}-"))
        if strikes >= self.order.max_attempts:
            return self._give_up(shard, f"the process died {strikes} times while computing it", "", strikes)
        for attempt in range(1, self.order.max_attempts + 1):
            try:
                return self._compute(shard, alone=strikes > 0 or attempt > 1 or self.order.max_attempts == 1)
            except Exception as error:  # a bad shard must not stop the run: it becomes a recorded failure
                if attempt == self.order.max_attempts:
                    return self._give_up(shard, _sentence(error), traceback.format_exc(), attempt)
        raise AssertionError("max_attempts is at least 1")

    def _compute(self, shard: Shard, *, alone: bool) -> Receipt:
        stretches = shard_stretches(shard, self.order.spec, self.order.flanks)
        codes = [self._read(shard, stretch) for stretch in stretches]
        job = _Job(codes, f"strikes/{shard.index:06d}-{uuid.uuid4().hex[:8]}", alone)
        try:
            self._queue(job)
            values = job.scores.result()
            key = ShardKey(shard.index, shard.chrom, shard.strand, shard.first + 1, shard.last + 1)
            receipt = commit_shard(
                self.store,
                key,
                self._rows(shard, stretches, values),
                self.schema,
                fingerprint=self.order.fingerprint,
                sites_threshold=self.order.sites_threshold,
                provenance={"execution": json.dumps(asdict(self.execution), sort_keys=True)},
            )
        except Exception as error:
            if _poisons_device(error):
                os._exit(1)  # the strike stays, as for any death of the process
            raise
        finally:
            self._leave(job)
            del job  # its error would keep it, and be kept by it
        self.store.delete(failure_name(shard.index))
        return Receipt(shard.index, receipt.rows, receipt.bytes + receipt.sites_bytes, self.execution.hardware)

    def _read(self, shard: Shard, stretch: Stretch) -> Codes:
        """Codes of the stretch with its flanks, in transcription order."""
        low, high = self.order.spec.input_span(stretch.k_first, stretch.k_last)
        if self.order.flanks is Flanks.GENOMIC:
            codes = self.genome.fetch(shard.chrom, low, high)
            return reverse_complement(codes) if shard.strand == "-" else codes
        piece = stretch.pieces[0]
        codes = np.full(high - low, N_CODE, dtype=np.uint8)
        span = piece.origin_end - piece.origin_start
        first, end = max(low, 0), min(high, span)
        if shard.strand == "-":
            text = self.genome.fetch(shard.chrom, piece.origin_end - end, piece.origin_end - first)
            text = reverse_complement(text)
        else:
            text = self.genome.fetch(shard.chrom, piece.origin_start + first, piece.origin_start + end)
        codes[first - low : end - low] = text
        return codes

    def _rows(self, shard: Shard, stretches: list[Stretch], values: list[Scores]) -> ShardRows:
        spec, genomic, minus = self.order.spec, self.order.flanks is Flanks.GENOMIC, shard.strand == "-"
        scores, ids = [], []
        for stretch, predicted in zip(stretches, values, strict=True):
            for piece in stretch.pieces:
                first, end = axis_span(piece, minus=minus, flanks=self.order.flanks)
                part = stitch(
                    predicted,
                    spec,
                    stretch.k_first,
                    first,
                    end,
                    reverse=genomic and minus,
                    five_prime_low=not (genomic and minus),
                )
                scores.append(part if genomic or not minus else part[::-1])
                ids.append((piece.transcript_id, piece.end - piece.start))
        pieces = [piece for stretch in stretches for piece in stretch.pieces]
        return ShardRows(
            pos=np.concatenate([np.arange(p.start + 1, p.end + 1, dtype=np.int32) for p in pieces]),
            ref=np.concatenate([self.genome.fetch(shard.chrom, p.start, p.end) for p in pieces]),
            scores=np.concatenate(scores),
            transcript_id=None if genomic else np.repeat([i for i, _ in ids], [n for _, n in ids]),
        )

    def _give_up(self, shard: Shard, error: str, cause: str, attempts: int) -> Receipt:
        body = {"shard": shard.index, "error": error, "cause": cause, "attempts": attempts}
        self.store.put_atomic(failure_name(shard.index), (json.dumps(body, indent=1) + "\n").encode())
        return self._refusal(shard, error)

    def _refusal(self, shard: Shard, error: str) -> Receipt:
        return Receipt(shard.index, 0, 0, self.execution.hardware, error)


def failure_name(shard: int) -> str:
    """Where the failure of a shard is recorded."""
    return f"failures/{shard:06d}.json"


def _poisons_device(error: Exception) -> bool:
    """Whether the process can no longer use its GPU (every later call would fail too)."""
    told = ("CUDA error", "Triton Error [CUDA]")
    return isinstance(error, RuntimeError) and any(text in str(error) for text in told)


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
