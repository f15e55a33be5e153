"""The worker alone: what it does with shards that fail, that killed their process, and with storage that fails."""

from __future__ import annotations

import gc
import json
import pickle
import subprocess
import sys
import time
import weakref
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from pipeline import inference
from pipeline.genome import Genome
from pipeline.inference import ShardWorker, WorkOrder, _Job, failure_name
from pipeline.record import Execution
from pipeline.settings import Flanks
from pipeline.shards import Piece, Shard
from pipeline.storage import Store
from pipeline.table import committed
from sptx_core.channels import CHANNELS
from sptx_core.checkpoint import checkpoint_digest
from sptx_core.config import ResidualStage, SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.engine import Predictor
from sptx_core.engine.bench import seeded_model
from sptx_core.engine.native import library
from sptx_core.errors import InputError
from sptx_core.windows import WindowSpec

FINGERPRINT = "ab" * 32
SHARD = Shard(7, "chr1", "-", (Piece(0, 6_000, 7_500, 0, 0, ""),), 2)


@pytest.fixture
def order(example: Any, tmp_path: Path) -> WorkOrder:
    return WorkOrder(
        fasta=str(example.genome),
        checkpoint=str(example.checkpoint),
        checkpoint_digest=checkpoint_digest(example.checkpoint),
        root=str(tmp_path / "table"),
        fingerprint=FINGERPRINT,
        spec=WindowSpec(context=400),
        flanks=Flanks.GENOMIC,
        channels=CHANNELS,
        exact=False,
        sites_threshold=0.01,
        execution=Execution("cpu", "another processor", "reference", "float32", 1, 1),
        lengths=Genome(str(example.genome)).lengths,
        max_attempts=3,
    )


def test_a_shard_is_committed_and_leaves_no_strike(order: WorkOrder) -> None:
    store = Store(order.root)
    receipt = ShardWorker(order)(SHARD.to_row())
    assert (receipt["shard"], receipt["rows"], receipt["error"]) == (7, 1_500, "")
    assert receipt["hardware"] != "another processor"  # what really computed it, not what the plan expected
    assert list(committed(store, FINGERPRINT)) == [7]
    assert not store.list("strikes/")


def test_a_worker_that_cannot_have_the_plans_kernels_says_what_it_took(order: WorkOrder) -> None:
    if torch.cuda.is_available():
        pytest.skip("the kernels can be had here")
    execution = replace(order.execution, engine="triton")
    assert ShardWorker(replace(order, execution=execution))(SHARD.to_row())["error"] == ""
    (part,) = committed(Store(order.root), FINGERPRINT).values()
    kept = pq.read_schema(Path(order.root, part.path)).metadata
    assert next(json.loads(value)["engine"] for name, value in kept.items() if name.endswith(b"execution")) == "shared"


class Held(SimpleQueue):
    """A queue that the device finds empty until so many jobs wait, so that what follows does not hang on chance."""

    def __init__(self, jobs: int) -> None:
        self.jobs, self.most = jobs, 0
        self.given: list[_Job] = []

    def get(self, block: bool = True, timeout: float | None = None) -> _Job:
        if not self.given and self.qsize() < self.jobs:
            time.sleep(0.01)
            raise Empty
        self.given.append(super().get(block, timeout))
        self.most = max(self.most, sum(not job.scores.done() for job in self.given))  # begun at once
        return self.given[-1]


@pytest.mark.skipif(not library.usable(torch.float32), reason="only the engine's library begins a shard ahead")
def test_shards_that_overlap_are_those_that_do_not(order: WorkOrder, tmp_path: Path) -> None:
    stages = (ResidualStage(1, 11, 1), ResidualStage(1, 11, 4))
    encoder = SpTransformerFeatureEncoderConfig(32, stages)
    sizes = {"hidden_size": 64, "layers": 2, "heads": 2, "local_heads": 1, "feed_forward_size": 64}
    config = SpTransformerConfig(context=100, max_seq_len=1_024, encoders=(encoder,), input_path_channels=8, **sizes)
    seeded_model(config, 0).save_pretrained(tmp_path / "network")
    shards = [
        replace(SHARD, index=i, pieces=(Piece(0, first, first + 2_500, 0, 0, ""),))
        for i, first in enumerate((0, 2_500, 5_000))
    ]
    order = replace(
        order,
        checkpoint=str(tmp_path / "network"),
        checkpoint_digest=checkpoint_digest(tmp_path / "network"),
        spec=WindowSpec(context=100),
        execution=replace(order.execution, engine="native", threads=2),
    )
    tables, overlaps = [], []
    for together in (1, 3):
        worker = ShardWorker(replace(order, root=str(tmp_path / f"table{together}")))
        assert worker.execution.engine == "native"
        worker._jobs = held = Held(together)
        with ThreadPoolExecutor(together) as calls:
            receipts = list(calls.map(lambda shard, worker=worker: worker(shard.to_row()), shards))
        assert [receipt["error"] for receipt in receipts] == ["", "", ""]
        parts = committed(Store(worker.order.root), FINGERPRINT).values()
        tables.append({part.path: Path(worker.order.root, part.path).read_bytes() for part in parts})
        overlaps.append(held.most)
    assert overlaps[0] == 1
    assert overlaps[1] > 1
    assert tables[0] == tables[1]
    assert len(tables[0]) == 3


def test_a_shard_that_raises_does_not_take_its_neighbours_with_it(order: WorkOrder, monkeypatch: Any) -> None:
    """One whose prediction raises fails in every stream that it is in; the others are done in one of their own."""

    def stream(self: Predictor, jobs: Any) -> Any:
        begun = []
        for job in jobs:  # two at a time, where they are given so
            if job is not None:
                begun.append(job)
            if len(begun) == 2 or (job is None and begun):
                if any(codes is poisoned for codes in begun):
                    raise RuntimeError("poison")
                for codes in begun:
                    yield self.predict(codes)
                begun = []

    monkeypatch.setattr(Predictor, "stream", stream)
    monkeypatch.setattr(Predictor, "predict", lambda _, codes: codes)
    worker = ShardWorker(order)
    good, poisoned, after = ([np.zeros(i, np.uint8)] for i in range(3))
    jobs = [_Job(codes, f"strikes/{i}", False) for i, codes in enumerate((good, poisoned, after))]
    for job in jobs:
        worker._queue(job)
    assert str(jobs[1].scores.exception(10)) == "poison"
    for job in jobs:
        job.scores.exception(10)
        worker._leave(job)
    again = [_Job(job.codes, job.strike, True) for job in jobs]
    for job in again:
        worker._queue(job)
    for job in again:
        assert (job.scores.exception(10) is None) == (job is not again[1])
        worker._leave(job)


def test_a_shard_that_failed_before_is_begun_alone(order: WorkOrder, monkeypatch: Any) -> None:
    """From its strike to its commit no other has one: neither those before it nor those after it."""
    monkeypatch.setattr(inference, "ASKED_AGAIN_SECONDS", 0.001)
    monkeypatch.setattr(ShardWorker, "_serve", lambda _, ready: ready.set_result(None))  # without its device
    worker = ShardWorker(order)
    jobs = [_Job([np.array([i])], f"strikes/{i}", alone=i == 2) for i in range(5)]

    def strikes() -> list[int]:
        return [int(name[-1]) for name in worker.store.list("strikes/")]

    for job in jobs[:4]:
        worker._queue(job)
    assert strikes() == [0, 1]
    taken: deque[_Job] = deque()
    given = worker._taken(taken)

    def begun() -> int | None:
        codes = next(given)
        return None if codes is None else int(codes[0][0])

    assert [begun(), begun(), begun()] == [0, 1, None]  # 2 waits for both
    assert [job.strike for job in taken] == ["strikes/0", "strikes/1"]
    taken.clear()
    assert begun() is None  # also as they are committed
    worker._leave(jobs[0])
    assert begun() is None
    worker._leave(jobs[1])
    assert [begun(), begun()] == [2, None]  # and 3 for it
    worker._queue(jobs[4])
    assert strikes() == [2]
    taken.clear()
    assert begun() is None
    worker._leave(jobs[2])
    assert [begun(), begun()] == [3, 4]
    assert strikes() == [3, 4]
    for job in jobs[3:]:
        worker._leave(job)
    assert not strikes()
    assert (worker._begun, worker._lonely) == ([], 0)


def test_a_failed_try_keeps_nothing_in_memory(order: WorkOrder, monkeypatch: Any) -> None:
    """The next one may need it."""
    kept: list[weakref.ref[Any]] = []

    class Large:
        pass

    def stream(self: Predictor, jobs: Any) -> Any:
        for job in jobs:
            if job is not None:
                large = Large()
                assert all(reference() is None for reference in kept)
                kept.append(weakref.ref(large))
                raise RuntimeError("enough")
            yield from ()

    monkeypatch.setattr(Predictor, "stream", stream)
    gc.disable()
    try:
        assert "enough" in ShardWorker(order)(SHARD.to_row())["error"]
    finally:
        gc.enable()
    assert len(kept) == order.max_attempts
    assert all(reference() is None for reference in kept)


@pytest.mark.parametrize(("max_attempts", "struck", "alone"), [(3, False, False), (3, True, True), (1, False, True)])
def test_a_shard_is_struck_before_the_device_takes_it(
    order: WorkOrder, monkeypatch: Any, max_attempts: int, struck: bool, alone: bool
) -> None:
    """As it is queued, so that the device need not wait, unless it is to be computed alone."""
    if struck:
        Store(order.root).put_atomic("strikes/000007-before", b"")
    queued: SimpleQueue[tuple[bool, int]] = SimpleQueue()
    begun: SimpleQueue[int] = SimpleQueue()

    def strikes() -> int:
        return len(Store(order.root).list("strikes/")) - struck

    class Watched(SimpleQueue):
        def put(self, job: _Job) -> None:
            queued.put((job.alone, strikes()))
            super().put(job)

    def stream(self: Predictor, jobs: Any) -> Any:
        for job in jobs:
            if job is not None:
                begun.put(strikes())
                raise RuntimeError("enough")
            yield from ()

    monkeypatch.setattr(Predictor, "stream", stream)
    worker = ShardWorker(replace(order, max_attempts=max_attempts))
    worker._jobs = Watched()
    assert "enough" in worker(SHARD.to_row())["error"]
    assert queued.get() == (alone, int(not alone))
    assert begun.get() == 1  # at its first try
    assert strikes() == 0


LIFE = """
import os, pickle, sys, time
from concurrent.futures import ThreadPoolExecutor
from pipeline import inference
from sptx_core.engine import Predictor

order, shards = pickle.load(sys.stdin.buffer)
commit = inference.commit_shard

def stream(self, jobs):  # a job ahead, as on a GPU
    begun = []
    for job in jobs:
        if job is not None:
            time.sleep(0.1)
            if len(job[0]) == 2_800:  # the one of two windows
                os._exit(1)
            begun.append(self.predict(job))
        if begun and (job is None or len(begun) == 2):
            yield begun.pop(0)

def slow(*arguments, **more):
    time.sleep(0.5)
    return commit(*arguments, **more)

predict = Predictor.stream
Predictor.predict = lambda self, job: next(iter(predict(self, [job])))
Predictor.stream, inference.commit_shard = stream, slow
worker = inference.ShardWorker(order)
with ThreadPoolExecutor(3) as calls:
    list(calls.map(worker, [shard.to_row() for shard in shards]))
"""


def test_a_shard_that_kills_its_process_is_given_up_and_no_other(order: WorkOrder) -> None:
    """Nor those that are committed, wait or are read meanwhile."""
    max_attempts = 2  # the fewest that allow for one strike without guilt
    order, store = replace(order, max_attempts=max_attempts), Store(order.root)
    pieces = {i: (1_000 * i, 1_000 * i + (2_000 if i == 1 else 1_000)) for i in range(5)}  # the second one kills
    shards = [replace(SHARD, index=i, pieces=(Piece(0, *span, 0, 0, ""),)) for i, span in pieces.items()]
    lives = 0
    while todo := [s for s in shards if s.index not in committed(store, FINGERPRINT) and not _failed(store, s)]:
        lives += 1
        assert lives <= max_attempts + 1
        subprocess.run([sys.executable, "-c", LIFE], input=pickle.dumps((order, todo)), check=False, timeout=120)
    assert lives == max_attempts + 1
    assert [shard.index for shard in shards if _failed(store, shard)] == [1]
    struck = Counter(name.split("-")[0] for name in store.list("strikes/"))
    assert struck.pop("strikes/000001") == max_attempts
    assert struck  # or there was nothing to see
    assert max(struck.values()) == 1


def _failed(store: Store, shard: Shard) -> bool:
    return store.exists(failure_name(shard.index))


def test_a_shard_whose_process_died_three_times_is_given_up(order: WorkOrder) -> None:
    store = Store(order.root)
    for strike in ("a", "b", "c"):
        store.put_atomic(f"strikes/000007-{strike}", b"")
    receipt = ShardWorker(order)(SHARD.to_row())
    assert "died 3 times" in receipt["error"]
    assert json.loads(store.read_bytes(failure_name(7)))["error"] == receipt["error"]
    assert not committed(store, FINGERPRINT)


def test_a_shard_that_raises_is_recorded_with_its_cause_and_without_strikes(order: WorkOrder) -> None:
    store = Store(order.root)
    beyond = Shard(7, "chr9", "-", SHARD.pieces, 2)  # the genome has no such contig
    receipt = ShardWorker(order)(beyond.to_row())
    recorded = json.loads(store.read_bytes(failure_name(7)))
    assert "chr9" in receipt["error"]
    assert recorded["attempts"] == 3
    assert "Traceback" in recorded["cause"]
    assert not store.list("strikes/")


def test_a_failure_that_cannot_be_recorded_still_gives_a_receipt(order: WorkOrder) -> None:
    Path(order.root).parent.mkdir(exist_ok=True)
    worker = ShardWorker(order)
    Path(order.root).write_text("a file where the table should be")
    receipt = worker(SHARD.to_row())
    assert receipt["rows"] == 0
    assert "Error" in receipt["error"]


def test_another_genome_or_checkpoint_than_the_plans_is_refused(order: WorkOrder) -> None:
    with pytest.raises(InputError, match="not the checkpoint of the plan"):
        ShardWorker(replace(order, checkpoint_digest="0" * 64))
    with pytest.raises(InputError, match="not the genome of the plan"):
        ShardWorker(replace(order, lengths={"chr1": 5}))
