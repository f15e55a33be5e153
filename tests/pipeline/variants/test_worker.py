"""A worker of the variants job: what it shares, what it does with a shard without work, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from material.variant_runs import CONTEXT, Line, Place, StubJob, StubWorker, stub_scores

from pipeline.batch.job import Assignment
from pipeline.batch.storage import Store
from pipeline.batch.worker import Receipt, UnitWorker
from pipeline.variants.worker import Task, VariantsWorker
from sptx_core.alphabet import encode, reverse_complement
from sptx_core.channels import TISSUES
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel

BREAKS = Line("chr1", 501, "G", "C")


def worker_of(job: StubJob, kind: type[VariantsWorker] = StubWorker) -> VariantsWorker:
    return kind(job.work_order(job.choose_execution()))


def tasks(job: StubJob) -> list[Task]:
    worker = worker_of(job)
    return [worker.read(unit) for unit in job.iter_units(list(range(job.units)))]


def windows(task: Task) -> tuple[int, int]:
    """How many windows of the reference and of alternatives are predicted."""
    return sum(len(one.references) for one in task.families), sum(len(one.alternatives) for one in task.families)


def test_what_alleles_share_is_predicted_once(place: Place) -> None:
    one_place = [BREAKS, BREAKS._replace(alt="A,T"), Line("chr1", 500, "TG", "TA"), Line("1", 501, "G", "C")]
    first, second = tasks(place.job(one_place))
    assert windows(second) == (1, 3)  # A, written twice, and C and T, before one reference
    assert windows(first) == (1, 1)  # the other name of the contig is a shard of its own
    (twins,) = tasks(place.job([Line("chr1", 2301, "G", "C")]))
    assert windows(twins) == (1, 1)  # two genes of one strand
    (apart,) = tasks(place.job([Line("chr1", 2301, "G", "C")], flanks="gene"))
    assert windows(apart) == (2, 2)  # N lies elsewhere for each


def test_what_changes_nothing_is_not_predicted(place: Place) -> None:
    (task,) = tasks(place.job([Line("chr1", 501, "G", "G"), Line("chr1", 501, "G", "*")]))
    assert windows(task) == (0, 0)


def test_shards_without_work_are_answered_in_turn(place: Place) -> None:
    nothing = [Line("chr2", pos, place.sequences["chr2"][pos - 1], "*") for pos in (1, 5)]
    job = place.job([*nothing, BREAKS, Line("chr7", 1, "A", "C")])
    assert job.units == 3
    worker = worker_of(job)
    worker.open()
    units = list(job.iter_units([0, 1, 2]))
    given = [worker.read(unit) for unit in units]
    outputs = list(worker.compute(iter([given[0], None, *given[1:], None])))
    parts = [worker.encode(*some)["variants"] for some in zip(units, given, outputs, strict=True)]
    rows = [pq.read_table(pa.BufferReader(part)).to_pylist() for part in parts]
    assert [[row["status"] for row in some] for some in rows] == [
        *(["scored"], ["spanning_deletion"] * 2, ["unknown_contig"]),
    ]


class Breaking(StubWorker):
    """Scores of windows with this base are no numbers."""

    @staticmethod
    def scores(codes: Any) -> Any:
        return stub_scores(codes) * np.float32("nan" if (codes == 2).sum() > 8 else 1)


def test_scores_that_are_no_numbers_fail_their_shard_alone(place: Place, tmp_path: Path) -> None:
    at = place.sequences["chr2"]
    lines = [Line("chr2", 50, at[49], "C"), Line("chr2", 150, at[149], "GGGGGGGGG"), Line("chr2", 250, at[249], "C")]
    job = place.job(lines, alleles_per_shard=1, distance=5)
    make = lambda: worker_of(job, Breaking)  # noqa: E731  # as an actor makes it
    worker = UnitWorker(Assignment(make, str(tmp_path), "ab" * 32, job.tables, 2))
    receipts = [Receipt(**worker(unit.to_row())) for unit in job.iter_units([0, 1, 2])]
    assert ["not finite" in one.error for one in receipts] == [False, True, False]
    assert len(Store(tmp_path).list("variants/")) == 2
    assert len(Store(tmp_path).list("failures/")) == 1


def test_a_part_says_which_shard_it_is_and_what_computed_it(place: Place) -> None:
    job = place.job([BREAKS], sites=True)
    worker = worker_of(job)
    worker.open()
    (unit,) = job.iter_units([0])
    task = worker.read(unit)
    parts = worker.encode(unit, task, next(iter(worker.compute(iter([task])))))
    assert parts.keys() == {"variants", "sites"}
    for part in parts.values():
        told = pq.read_metadata(pa.BufferReader(part)).metadata
        assert told[b"sptx.shard"] == b"0"
        assert told[b"sptx.fingerprint"].decode() == worker.order.fingerprint
        assert json.loads(told[b"sptx.execution"])["engine"] == "stub"


def test_a_genome_or_network_that_is_not_the_plans_is_refused(place: Place) -> None:
    order = worker_of(place.job([BREAKS])).order
    with pytest.raises(InputError, match="is not the genome of the plan: chr1 differs"):
        StubWorker(replace(order, lengths={"chr1": 5}))
    other = VariantsWorker(replace(order, checkpoint_digest="0" * 64))
    with pytest.raises(InputError, match="is not the checkpoint of the plan"):
        other.open()


@pytest.mark.parametrize(
    ("settings", "context", "own"),
    [
        ({}, 4000, True),
        ({}, 8, False),
        ({"distance": 99}, 4000, False),
        ({"flanks": "gene"}, 4000, False),
        ({"windows": "grid", "core": 201}, 4000, False),
        ({"precision": "bfloat16"}, 4000, False),
    ],
)
def test_the_authors_constants_hold_for_their_geometry_alone(
    place: Place, settings: dict[str, Any], context: int, own: bool
) -> None:
    order = worker_of(place.job([BREAKS], **settings)).order
    assert replace(order, geometry=replace(order.geometry, context=context)).authors_own is own


def test_the_network_itself_is_asked_for_both_sequences(place: Place, tmp_path: Path) -> None:
    at = place.sequences["chr1"]
    lines = [Line("chr1", 501, "G", "C"), Line("chr1", 3002, "C", "G")]
    job = place.job(lines, sites=True, output=str(tmp_path / "scores"))
    execution = replace(job.choose_execution(), engine="reference")
    worker = VariantsWorker(job.work_order(execution))
    worker.open()
    (unit,) = job.iter_units([0])
    task = worker.read(unit)
    (outputs,) = worker.compute(iter([task]))
    parts = worker.encode(unit, task, outputs)
    sites = pl.from_arrow(pq.read_table(pa.BufferReader(parts["sites"])))
    names = ["acceptor", "donor", *TISSUES]
    model = SpTransformerModel.from_pretrained(place.inputs["checkpoint"])

    def predicted(sequence: str, strand: str) -> Any:
        codes = encode(sequence)
        codes = reverse_complement(codes) if strand == "-" else codes
        with torch.inference_mode():
            scores = model(torch.from_numpy(codes.copy())[None], flanked=True).scores()[0, :, 1:].numpy()
        return scores[::-1] if strand == "-" else scores

    for record, (line, strand) in enumerate(zip(lines, "+-", strict=True)):
        low = line.pos - 1 - 100 - CONTEXT
        window = at[low : low + 201 + 2 * CONTEXT]
        middle = 100 + CONTEXT
        changed = window[:middle] + line.alt + window[middle + 1 :]
        found = sites.filter(pl.col("record") == record, pl.col("strand") == strand)
        for sequence, text in (("ref", window), ("alt", changed)):
            stored = found.select([f"{sequence}_{name}" for name in names]).to_numpy()
            assert np.abs(stored - predicted(text, strand)).max() < 2e-5
