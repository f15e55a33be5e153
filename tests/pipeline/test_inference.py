"""The worker alone: what it does with shards that fail, that killed their process, and with storage that fails."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.genome import Genome
from pipeline.inference import ShardWorker, WorkOrder, failure_name
from pipeline.record import Execution
from pipeline.settings import Flanks
from pipeline.shards import Piece, Shard
from pipeline.storage import Store
from pipeline.table import committed
from sptx_core.channels import CHANNELS
from sptx_core.checkpoint import checkpoint_digest
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
