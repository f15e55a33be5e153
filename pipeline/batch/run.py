"""The driver: a job in, its output complete in storage, or an account of what is missing.

`run_job` takes up the run that storage holds (or begins it), asks storage which units are missing, has them computed,
and asks storage again: what is done is what storage holds, not what was answered. Nothing is read back but what the
manifest needs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.batch import cluster
from pipeline.batch.cluster import Cluster, Pool
from pipeline.batch.job import Assignment, Job, Say
from pipeline.batch.layout import FAILURES, MANIFEST, STRIKES, committed
from pipeline.batch.manifest import write_manifest
from pipeline.batch.progress import Progress
from pipeline.batch.record import RunRecord, create_or_resume, fingerprint, read_record, require_same_run
from pipeline.batch.storage import Store
from pipeline.batch.worker import Receipt, UnitWorker
from pipeline.settings import ray_address
from sptx_core.errors import InputError
from sptx_core.version import shadowed


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    `failed` maps a unit to its error, `missing` counts units neither done nor failed, `computed` those of this run.
    `size` is that of the whole job; `bytes` counts the parts of its first table that storage holds.
    """

    units: int
    done: int
    computed: int
    failed: Mapping[int, str]
    missing: int
    size: int
    bytes: int

    @property
    def complete(self) -> bool:
        """Whether storage holds every unit of the job."""
        return self.done == self.units

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain values, ready for JSON."""
        return {"complete": self.complete, **asdict(self)}


def run_job(job: Job, say: Say, *, progress: bool = True) -> Outcome:
    """Compute what storage lacks of the job.

    Parameters
    ----------
    job : Job
        The checked job.
    say : callable
        Called with sentences for a person.
    progress : bool
        Whether to show the progress line, on standard error.

    Raises
    ------
    InputError
        No output is set, it cannot be written, it holds another run, or the job does not fit the cluster.

    """
    if job.settings.output is None:
        raise InputError("setting `output` is required (--output): where to put the results")
    if note := shadowed():
        say(note)
    store = Store(job.settings.output)
    stored = read_record(store, job.format_version)
    require_same_run(store, stored, job.fields)
    store.ensure_writable()
    receipts, digest = job.tables[0], fingerprint(job.fields)
    before = committed(store, receipts, digest, job.parts_named)
    failed: dict[int, str] = {}
    if stored is None or len(before) < job.units:
        failed = _compute(job, store, [unit for unit in range(job.units) if unit not in before], say, progress=progress)
    parts = committed(store, receipts, digest, job.parts_named)
    if len(parts) == job.units and (len(before) < len(parts) or not store.exists(MANIFEST)):
        write_manifest(store, digest, job.tables, parts.values(), job.manifest_columns)
        _delete_all(store, STRIKES)
    failed = {unit: error for unit, error in failed.items() if unit not in parts}
    return Outcome(
        units=job.units,
        done=len(parts),
        computed=len(parts) - len(before),
        failed=failed,
        missing=job.units - len(parts) - len(failed),
        size=job.size,
        bytes=sum(part.bytes for part in parts.values()),
    )


def _compute(job: Job, store: Store, missing: list[int], say: Say, *, progress: bool) -> dict[int, str]:
    """Have the `missing` units computed; the errors of those that failed."""
    settings = job.settings
    address, use_gpus = ray_address(settings.address), settings.gpus_per_worker != 0
    with cluster.session(address, object_store_mb=settings.object_store_mb, use_gpus=use_gpus) as joined:
        _check_nodes(job, store, joined)
        pool = cluster.choose_pool(joined, settings.workers, settings.threads, settings.gpus_per_worker)
        stored = read_record(store, job.format_version)  # again: another driver may have begun meanwhile
        execution = job.choose_execution(pool, stored.execution if stored else None, say)
        record = RunRecord(job.format_version, job.fields, execution, job.about(), job.units, job.size)
        record, note = create_or_resume(store, record, settings.to_yaml(), job.side_files)
        if note:
            say(note)
        pool = _with_recorded_threads(job, joined, pool, record, say)
        store.sweep()
        _delete_all(store, STRIKES, FAILURES)  # every start tries all that is missing afresh
        say(_start_line(job, record, pool, len(missing)))
        say(f"Ray's own messages go to {joined.log}, kept if something fails")
        failed = _collect(job, store, record, pool, missing, say, embedded=joined.embedded, progress=progress)
        if failed:
            joined.keep_log()
        return failed


def _collect(
    job: Job,
    store: Store,
    record: RunRecord,
    pool: Pool,
    missing: list[int],
    say: Say,
    *,
    embedded: bool,
    progress: bool,
) -> dict[int, str]:
    """Send the missing units out and hear their receipts; the errors of those that failed."""
    units = list(job.iter_units(missing))
    assignment = Assignment(
        job.make_worker(record.execution),
        store.root,
        record.fingerprint,
        job.tables,
        job.settings.max_attempts,
    )
    failed: dict[int, str] = {}
    hardware = {record.execution.hardware}
    found = job.size - sum(unit.size for unit in units)
    with Progress(job.size, found, counted=job.counted, shown=progress) as line:
        rows = [unit.to_row() for unit in units]
        for row in cluster.execute(rows, partial(UnitWorker, assignment), pool, embedded=embedded):
            receipt = Receipt(**row)
            if receipt.error:
                failed[receipt.unit] = receipt.error
            if receipt.hardware not in hardware:
                hardware.add(receipt.hardware)
                say(f"some {job.called} run on {receipt.hardware}: equal within a storage step, not byte for byte")
            line.advance(receipt.size, failures=len(failed))
    return failed


def _with_recorded_threads(job: Job, joined: Cluster, pool: Pool, record: RunRecord, say: Say) -> Pool:
    """The pool with the threads that the run began with; says which settings are not used because of them."""
    settings, execution = job.settings, record.execution
    for name, wanted in (("batch", settings.batch), ("threads", settings.threads)):
        if wanted not in (None, getattr(execution, name)):
            say(f"--{name} {wanted} is not used: the run began with {getattr(execution, name)}")
    if execution.threads == pool.threads:
        return pool
    return cluster.choose_pool(joined, settings.workers, execution.threads, settings.gpus_per_worker)


def _start_line(job: Job, record: RunRecord, pool: Pool, missing: int) -> str:
    return (
        f"{job.describe()}, {job.units:,} {job.called} ({job.units - missing:,} done, {missing:,} to do) on "
        f"{pool.workers} x {record.execution}"
    )


def _check_nodes(job: Job, store: Store, joined: Cluster) -> None:
    """On several nodes, refuse an output or inputs that each node would take for its own."""
    if joined.nodes < 2:
        return
    if store.is_local and not job.settings.shared_output:
        raise InputError(
            f"{store.root} is a local path and the cluster has {joined.nodes} nodes, each of which would write its "
            "own disk; give an object-storage URI, or --shared-output when all nodes mount the same path"
        )
    sizes = {path: _size(path) for path in job.local_inputs()}
    for differing in cluster.on_every_node(partial(_first_differing, sizes)):
        if differing:
            raise InputError(f"{differing} is not the same file on every node of the cluster; put it on shared storage")


def _first_differing(sizes: dict[str, int]) -> str:
    """The first path whose size here is not the one given; empty when all are."""
    return next((path for path, size in sizes.items() if _size(path) != size), "")


def _size(path: str) -> int:
    """Bytes of a readable file (0 for a folder), -1 where there is none."""
    if not os.access(path, os.R_OK):
        return -1
    return 0 if Path(path).is_dir() else Path(path).stat().st_size


def _delete_all(store: Store, *folders: str) -> None:
    for folder in folders:
        for name in store.list(folder):
            store.delete(name)
