"""The driver: a job in, its output complete in storage, or an account of what is missing.

`run_job` takes up the run that storage holds (or begins it), asks storage which units are missing, has them computed,
and asks storage again: what is done is what storage holds, not what was answered. The manifest is made of what actors
measured as they committed; no part is read back but those that nobody measured. What was damaged beside the parts is
written again, a unit that has lost a part is computed again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.batch import actors, cluster
from pipeline.batch.actors import SecondCrew
from pipeline.batch.cluster import Cluster, Pool
from pipeline.batch.crews import Second, choose_second, two_assignments
from pipeline.batch.history import History
from pipeline.batch.job import Assignment, Job, Say
from pipeline.batch.layout import FAILURES, MANIFEST, RECEIPTS, STRIKES, Part, held
from pipeline.batch.manifest import Manifest, make_manifest, read_manifest
from pipeline.batch.measures import MeasureBook, Measures, agreed, measure_parts, saved_measures
from pipeline.batch.patience import PatientStore, Watch
from pipeline.batch.progress import Progress
from pipeline.batch.readback import Workbench
from pipeline.batch.record import RunRecord, create_or_resume, fingerprint, read_record, require_same_run
from pipeline.batch.repair import restore_record, restore_side_files, side_digests
from pipeline.batch.storage import StorageError, Store
from pipeline.batch.strikes import SECOND_MARK
from pipeline.batch.tally import Tally
from pipeline.batch.worker import Receipt, UnitWorker
from pipeline.settings import ray_address
from sptx_core.errors import InputError, UnfinishedError
from sptx_core.files import writing
from sptx_core.version import shadowed
from sptx_core.words import counted


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Counts are of units: the shards of `pipeline.run`. `computed` counts those that this run computed, `missing` those
    that are neither done nor failed, and `failed` maps each failed unit to its error. `size` is that of the whole job
    (bases of `pipeline.run`), and `bytes` is the size of the parts of its first table that storage holds.
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
    UnfinishedError
        Storage failed after the run had begun, and waiting for it was of no use or lasted too long. Or Ray cannot go
        on, or workers die as they start. The same job goes on where it was.

    """
    if job.settings.output is None:
        raise InputError("setting `output` is required (--output): where to put the results")
    if note := shadowed():
        say(note)
    store = PatientStore(job.settings.output, patience=job.settings.storage_patience, proven=False, notice=say)
    stored = read_record(store, job.format_version)
    require_same_run(store, stored, job.fields)
    store.ensure_writable()
    try:
        return _run(job, store, stored, say, progress=progress)
    except StorageError as error:
        raise UnfinishedError(
            f"{error}; the run has ended early: what it has committed stays, and the same command goes on"
        ) from error


def _run(job: Job, store: Store, stored: RunRecord | None, say: Say, *, progress: bool) -> Outcome:
    """Compute what a store lacks that can be written and holds no other run."""
    store.sweep()
    digest = fingerprint(job.fields)
    before = after = held(store, job.tables, digest, job.parts_named)
    some = next(iter(before.done.values()), (None,))[0]
    if stored is None and some is not None:
        stored = restore_record(store, job, some, say)
    manifest, files = None, {}
    if stored is not None:
        manifest = _stored_manifest(store, say)
        files = restore_side_files(store, job, stored, manifest.side_files if manifest else {}, some, say)
    failed: dict[int, str] = {}
    heard: dict[int, Measures] = {}
    if stored is None or len(before.done) < job.units:
        if before.lacking:
            example = store.uri(next(iter(before.lacking.values()))[0])
            one, many = f"{job.called} has lost a part and is", f"{job.called}s have lost a part and are"
            say(f"{counted(len(before.lacking), one, many)} computed again, such as {example}")
        missing = [unit for unit in range(job.units) if unit not in before.done]
        if manifest is not None:
            _take_back(store, manifest.measures(job.tables), before.done)
            manifest = None
        failed, heard = _compute(job, store, missing, say, progress=progress)
        # Hours later: what is done is what storage holds now, whatever was answered meanwhile.
        after = held(store, job.tables, digest, job.parts_named)
    if len(after.done) == job.units:
        _complete(job, store, after.done, manifest, heard, files or side_digests(store, job), say)
    failed = {unit: error for unit, error in failed.items() if unit not in after.done}
    return Outcome(
        units=job.units,
        done=len(after.done),
        computed=len(after.done) - len(before.done),
        failed=failed,
        missing=job.units - len(after.done) - len(failed),
        size=job.size,
        bytes=sum(parts[0].bytes for parts in after.done.values()),
    )


def _take_back(store: Store, lines: Mapping[int, Measures], done: Collection[int]) -> None:
    """Remove the manifest of a run that is no longer complete; its lines of units that are done become measures."""
    book = MeasureBook(Store(store.root))
    book.heard.update((unit, measures) for unit, measures in lines.items() if unit in done)
    book.close()
    store.delete(MANIFEST)


def _stored_manifest(store: Store, say: Say) -> Manifest | None:
    """The manifest that storage holds, None where it must be written."""
    try:
        return read_manifest(store)
    except StorageError:
        raise
    except InputError as error:
        say(f"{error}; it is written again")
        return None


def _complete(
    job: Job,
    store: Store,
    done: Mapping[int, tuple[Part, ...]],
    manifest: Manifest | None,
    heard: Mapping[int, Measures],
    side_files: Mapping[str, str],
    say: Say,
) -> None:
    """Write the manifest of a complete run, unless the one that is there says just this."""
    books = [book for book in (heard, *saved_measures(store)) if book]
    if manifest is not None:
        known_files = manifest.side_files in ({}, side_files)  # older versions record none
        if known_files and not books and manifest.lists(job.tables, done):
            return
        books.append(manifest.measures(job.tables))
    measures = agreed(books, done)
    unknown = {unit: parts for unit, parts in done.items() if unit not in measures}
    if unknown:
        say(f"reading {counted(len(unknown), job.called)} for the manifest")
        measures |= measure_parts(store, unknown, Workbench(job.settings.workers, job.settings.address))
    content = make_manifest(job.tables, done, measures, job.manifest_columns, side_files).to_parquet()
    with writing(store.uri(MANIFEST)):
        store.write_atomic(MANIFEST, content)
    _delete_all(store, STRIKES, FAILURES, RECEIPTS)


def _compute(
    job: Job, store: Store, missing: list[int], say: Say, *, progress: bool
) -> tuple[dict[int, str], dict[int, Measures]]:
    """Have the `missing` units computed; the errors of those that failed, and what was measured of the others."""
    settings = job.settings
    address, use_gpus = ray_address(settings.address), settings.gpus_per_worker != 0
    with cluster.session(address, object_store_mb=settings.object_store_mb, use_gpus=use_gpus) as joined:
        _check_nodes(job, store, joined)
        pool = cluster.choose_pool(joined, settings.workers, settings.threads, settings.gpus_per_worker)
        stored = read_record(store, job.format_version)  # again: another driver may have begun meanwhile
        execution = job.choose_execution(pool, stored.execution if stored else None, say)
        second = choose_second(job, joined, pool, say)
        record = RunRecord(job.format_version, job.fields, execution, job.about(), job.units, job.size)
        record, note = create_or_resume(store, record, settings.to_yaml(), job.side_files)
        if note:
            say(note)
        pool = _with_recorded_threads(job, joined, pool, record, say)
        _delete_all(store, STRIKES, FAILURES)  # every start tries all that is missing afresh
        say(_start_line(job, record, pool, len(missing)))
        if second:
            say(f"besides, from the last of them on: {second.pool.workers} x {second.execution}")
        say(f"Ray's own messages go to {joined.log}, kept if something fails")
        try:
            failed, heard = _collect(
                job, store, record, pool, second, missing, say, embedded=joined.embedded, progress=progress
            )
        except StorageError:  # told as bad input is, of which Ray's log says nothing
            joined.keep_log()
            raise
        if failed:
            joined.keep_log()
        return failed, heard


def _collect(
    job: Job,
    store: Store,
    record: RunRecord,
    pool: Pool,
    second: Second | None,
    missing: list[int],
    say: Say,
    *,
    embedded: bool,
    progress: bool,
) -> tuple[dict[int, str], dict[int, Measures]]:
    """Send the missing units out and hear their receipts: errors of those that failed, measures of the others."""
    units = list(job.iter_units(missing))
    assignment = Assignment(
        job.make_worker(record.execution),
        store.root,
        record.fingerprint,
        job.tables,
        job.settings.max_attempts,
        job.settings.storage_patience,
        proven=len(units) < job.units,
        begun=time.time(),
    )
    unwaiting = Store(store.root)
    book, history = MeasureBook(unwaiting), History(unwaiting, pool.workers, str(record.execution))
    found = job.size - sum(unit.size for unit in units)
    with (
        closing(book),
        closing(history),
        Progress(job.size, found, noun=job.counted, shown=progress) as line,
        Watch(unwaiting, line) as watch,
    ):
        tally = Tally({unit.index for unit in units}, {record.execution.hardware}, job.called, book, history, line, say)
        rows = [unit.to_row() for unit in units]
        other = None
        if second:
            assignment, assigned = two_assignments(job, assignment, second)
            struck = _strike_counter(unwaiting, second=True)
            other = SecondCrew(partial(UnitWorker, assigned), second.pool, struck, tally.complete, say)
        make_call = partial(UnitWorker, assignment)
        strikes = _strike_counter(unwaiting, second=False)
        for row in actors.execute(rows, make_call, pool, embedded=embedded, excuses=strikes, second=other):
            receipt = Receipt(**row)
            if receipt.no_storage:
                raise StorageError(receipt.error)
            watch.heard()
            tally.add(receipt)
    return tally.failed, book.heard


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
        f"{job.describe()}, {counted(job.units, job.called)} ({job.units - missing:,} done, {missing:,} to do) on "
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


def _strike_counter(store: Store, *, second: bool) -> Callable[[], int]:
    """What counts the strikes of a crew; while storage fails it gives the last number."""
    last = 0

    def count() -> int:
        nonlocal last
        with suppress(StorageError):
            last = sum((SECOND_MARK in name) == second for name in store.list(STRIKES))
        return last

    return count


def _delete_all(store: Store, *folders: str) -> None:
    for folder in folders:
        for name in store.list(folder):
            store.delete(name)
