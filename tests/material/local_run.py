"""A job computed in this process, without Ray: what a run leaves in storage, in a fraction of its time.

`compute(job)` does what the driver and one actor do, in the driver's order: record, units, manifest. `compute_tracks`
does it for the settings of `sptx run`. For tests of what is in a table; that Ray, kills and other processes change
nothing of it is tested with the real thing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.batch.cluster import Pool
from pipeline.batch.job import Assignment, Job
from pipeline.batch.layout import MANIFEST, held
from pipeline.batch.manifest import make_manifest
from pipeline.batch.measures import from_text
from pipeline.batch.record import RunRecord, create_or_resume
from pipeline.batch.repair import side_digests
from pipeline.batch.storage import Store
from pipeline.batch.worker import Receipt, UnitWorker
from pipeline.tracks.prepare import prepare
from pipeline.tracks.reader import Tracks, open_tracks
from pipeline.tracks.settings import RunConfig

THREADS = 2


def say(_: str) -> None:
    """Print nothing."""


def compute(job: Job) -> list[Receipt]:
    """Compute the whole job into its output; the receipts in the order of units."""
    store = Store(job.settings.output or "")
    execution = job.choose_execution(Pool(1, job.settings.threads or THREADS, 0.0), None, say)
    record = RunRecord(job.format_version, job.fields, execution, job.about(), job.units, job.size)
    create_or_resume(store, record, job.settings.to_yaml(), job.side_files)
    worker = UnitWorker(Assignment(job.make_worker(execution), store.root, record.fingerprint, job.tables, 1))
    receipts = [Receipt(**worker(unit.to_row())) for unit in job.iter_units(list(range(job.units)))]
    assert not [receipt.error for receipt in receipts if receipt.error]
    done = held(store, job.tables, record.fingerprint, job.parts_named).done
    measures = {receipt.unit: from_text(receipt.measures) or () for receipt in receipts}
    manifest = make_manifest(job.tables, done, measures, job.manifest_columns, side_digests(store, job))
    store.write_atomic(MANIFEST, manifest.to_parquet())
    return receipts


def compute_tracks(example: Any, output: Path | str, **settings: Any) -> Tracks:
    """The table of `example`'s inputs (genome, annotation, checkpoint) at `output`, with these settings."""
    inputs = {"fasta": str(example.genome), "gtf": str(example.annotation), "checkpoint": str(example.checkpoint)}
    compute(prepare(RunConfig.load(None, {**inputs, "output": str(output), **settings}), say))
    return open_tracks(output)
