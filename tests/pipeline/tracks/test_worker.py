"""A worker of the tracks job: what it commits, by which engine, and what it refuses."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.batch.device import Request
from pipeline.batch.job import Assignment
from pipeline.batch.layout import committed
from pipeline.batch.record import Execution
from pipeline.batch.storage import Store
from pipeline.batch.worker import UnitWorker
from pipeline.inputs.genome import Genome
from pipeline.tracks.layout import TABLES, TRACKS
from pipeline.tracks.settings import Flanks, TableSpec
from pipeline.tracks.shards import Piece, Shard
from pipeline.tracks.worker import TracksWorker, WorkOrder
from sptx_core.channels import CHANNELS
from sptx_core.checkpoint import checkpoint_digest
from sptx_core.config import ResidualStage, SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.engine.bench import seeded_model
from sptx_core.engine.native import library
from sptx_core.errors import InputError
from sptx_core.windows import WindowSpec

FINGERPRINT = "ab" * 32
SHARD = Shard(7, "chr1", "-", (Piece(0, 6_000, 7_500, 0, 0, ""),), 2)
SPEC = TableSpec(CHANNELS, Flanks.GENOMIC, exact=False, sites_threshold=0.01, windows=WindowSpec(context=400))


@pytest.fixture
def order(example: Any) -> WorkOrder:
    return WorkOrder(
        fasta=str(example.genome),
        checkpoint=str(example.checkpoint),
        checkpoint_digest=checkpoint_digest(example.checkpoint),
        fingerprint=FINGERPRINT,
        spec=SPEC,
        execution=Execution("cpu", "another processor", "reference", "float32", 1, 1),
        lengths=Genome(str(example.genome)).lengths,
    )


def actor(order: WorkOrder, root: Path, **options: Any) -> UnitWorker:
    return UnitWorker(Assignment(lambda: TracksWorker(order), str(root), FINGERPRINT, TABLES, 3), **options)


def test_a_shard_is_committed_with_what_really_computed_it(order: WorkOrder, tmp_path: Path) -> None:
    receipt = actor(order, tmp_path)(SHARD.to_unit().to_row())
    assert (receipt["unit"], receipt["size"], receipt["error"]) == (7, 1_500, "")
    assert receipt["hardware"] != "another processor"
    (part,) = committed(Store(tmp_path), TRACKS, FINGERPRINT).values()
    assert executed(tmp_path / part.name) == {
        "device": "cpu",
        "hardware": receipt["hardware"],
        "engine": "reference",
        "precision": "float32",
        "batch": 1,
        "threads": 1,
    }


def executed(part: Path) -> dict[str, Any]:
    metadata = pq.read_schema(part).metadata
    return next(json.loads(value) for name, value in metadata.items() if name.endswith(b"execution"))


def test_a_worker_that_cannot_have_the_plans_kernels_says_what_it_took(order: WorkOrder, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("the kernels can be had here")
    planned = replace(order, execution=replace(order.execution, engine="triton"))
    assert actor(planned, tmp_path)(SHARD.to_unit().to_row())["error"] == ""
    (part,) = committed(Store(tmp_path), TRACKS, FINGERPRINT).values()
    assert executed(tmp_path / part.name)["engine"] == "shared"


def test_another_predictor_can_take_the_place_of_the_engine(order: WorkOrder, tmp_path: Path) -> None:
    class Silent:
        path = "silent"

        def stream(self, jobs: Any) -> Any:
            quiet = np.eye(1, len(CHANNELS), dtype=np.float32)  # no_splice alone
            yield from ([np.tile(quiet, (1, 1_000, 1)).repeat(2, 0)] for job in jobs if job is not None)

    class Rehearsing(TracksWorker):
        def make_predictor(self, model: Any) -> Any:
            assert model.config.context == 400
            return Silent()

    worker = UnitWorker(Assignment(lambda: Rehearsing(order), str(tmp_path), FINGERPRINT, TABLES, 3))
    assert worker(SHARD.to_unit().to_row())["error"] == ""
    (part,) = committed(Store(tmp_path), TRACKS, FINGERPRINT).values()
    assert executed(tmp_path / part.name)["engine"] == "silent"
    assert pq.read_table(tmp_path / part.name)["no_splice"].unique().to_pylist() == [1.0]


def test_a_shard_that_does_not_fit_the_genome_is_an_error_of_its_own(order: WorkOrder, tmp_path: Path) -> None:
    worker = actor(order, tmp_path)
    assert "chr9" in worker(replace(SHARD, chrom="chr9").to_unit().to_row())["error"]
    assert worker(SHARD.to_unit().to_row())["error"] == ""


def test_another_genome_or_checkpoint_than_the_plans_is_refused(order: WorkOrder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not the checkpoint of the plan"):
        actor(replace(order, checkpoint_digest="0" * 64), tmp_path)
    with pytest.raises(InputError, match="not the genome of the plan"):
        actor(replace(order, lengths={"chr1": 5}), tmp_path)


def test_only_a_lost_gpu_is_fatal(order: WorkOrder) -> None:
    worker = TracksWorker(order)
    assert worker.is_fatal(RuntimeError("CUDA error: an illegal memory access was encountered"))
    assert not worker.is_fatal(RuntimeError("out of memory"))


class Held(SimpleQueue):
    """A queue that the device finds empty until so many shards wait, so that what follows does not hang on chance."""

    def __init__(self, requests: int) -> None:
        self.requests, self.most = requests, 0
        self.given: list[Request] = []

    def get(self, block: bool = True, timeout: float | None = None) -> Request:
        if not self.given and self.qsize() < self.requests:
            time.sleep(0.01)
            raise Empty
        self.given.append(super().get(block, timeout))
        self.most = max(self.most, sum(not request.outputs.done() for request in self.given))  # begun at once
        return self.given[-1]


@pytest.mark.slow
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
        spec=replace(SPEC, windows=WindowSpec(context=100)),
        execution=replace(order.execution, engine="native", threads=2),
    )
    tables, overlaps = [], []
    for together in (1, 3):
        root, held = tmp_path / f"table{together}", Held(together)
        worker = actor(order, root, waiting=held)
        assert worker.worker.execution.engine == "native"
        with ThreadPoolExecutor(together) as calls:
            receipts = list(calls.map(lambda shard, worker=worker: worker(shard.to_unit().to_row()), shards))
        assert [receipt["error"] for receipt in receipts] == ["", "", ""]
        parts = committed(Store(root), TRACKS, FINGERPRINT).values()
        tables.append({part.name: (root / part.name).read_bytes() for part in parts})
        overlaps.append(held.most)
    assert overlaps[0] == 1
    assert overlaps[1] > 1
    assert tables[0] == tables[1]
    assert len(tables[0]) == 3
