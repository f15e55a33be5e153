"""What a run can write again: its record, its settings and the job's files beside the parts, when they were damaged.

`restore_record` is for a run whose run.json is gone though parts of it are there; `restore_side_files` for every other
file beside the parts, and for a run.json that was edited. A file is left as it is when the
manifest has its checksum, or, where there is none yet, when it can be this job's (`Job.agrees`). So a sound file stays
even if today's annotation would fill it otherwise. All that is written again is told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace

import yaml

from pipeline.batch.job import Job, Say
from pipeline.batch.layout import RUN_FILE, SETTINGS_FILE, Part
from pipeline.batch.record import Execution, RunRecord
from pipeline.batch.storage import Store
from sptx_core.files import reading, writing


def recorded_names(job: Job) -> tuple[str, ...]:
    """The files beside the parts whose checksums the manifest has: not settings.yaml, which names its own place."""
    return (RUN_FILE, *job.side_names)


def digest(content: bytes) -> str:
    """SHA-256 as the manifest has it."""
    return hashlib.sha256(content).hexdigest()


def restore_record(store: Store, job: Job, some: Part, say: Say) -> RunRecord | None:
    """Write the record of a run that has lost it, as `some` of its parts says; None where the part does not say it."""
    execution = job.execution_of(store.read_bytes(some.name))
    if execution is None:
        return None
    record = RunRecord(job.format_version, job.fields, execution, job.about(), job.units, job.size)
    with writing(store.uri(RUN_FILE)):  # this file alone: the others may be sound
        store.write_atomic(RUN_FILE, record.to_json())
    say(f"{store.uri(RUN_FILE)} was missing beside parts of this run; written again")
    return record


def restore_side_files(
    store: Store, job: Job, stored: RunRecord, recorded: Mapping[str, str], some: Part | None, say: Say
) -> dict[str, str]:
    """Write again what is missing or damaged beside the parts.

    Parameters
    ----------
    store
        The root of the run.
    job
        The job that the run is of.
    stored
        The record in storage.
    recorded
        Name -> SHA-256 of the files that the manifest knows.
    some
        A part of the run, if there is one, which tells how the run is executed.
    say
        Hears which files were written again.

    Returns
    -------
    dict
        Name -> SHA-256 of every file of `recorded_names` as it is now.

    """
    derive: dict[str, Callable[[], bytes]] = {
        RUN_FILE: lambda: _record(store, job, stored, recorded.get(RUN_FILE), some).to_json(),
        SETTINGS_FILE: lambda: job.settings.to_yaml().encode(),
    }
    digests, written = {}, []
    for name in (*recorded_names(job), SETTINGS_FILE):
        content = _read(store, name)
        if content is None or not _is_sound(name, content, job, stored, recorded.get(name)):
            content = derive[name]() if name in derive else job.side_files()[name]
            with writing(store.uri(name)):
                store.write_atomic(name, content)
            written.append(name)
        digests[name] = digest(content)
    del digests[SETTINGS_FILE]
    if written:
        say(f"missing or damaged in {store.uri()}, and written again: {', '.join(written)}")
    return digests


def side_digests(store: Store, job: Job) -> dict[str, str]:
    """Name -> SHA-256 of each file of `recorded_names`, as storage holds it; `InputError` where one is missing."""
    digests = {}
    for name in recorded_names(job):
        with reading(store.uri(name)):
            digests[name] = digest(store.read_bytes(name))
    return digests


def _read(store: Store, name: str) -> bytes | None:
    try:
        return store.read_bytes(name)
    except FileNotFoundError:
        return None


def _is_sound(name: str, content: bytes, job: Job, stored: RunRecord, recorded: str | None) -> bool:
    if recorded is not None:
        return digest(content) == recorded
    if name == SETTINGS_FILE:
        return _are_settings(content, job) and job.agrees(name, content)
    if name == RUN_FILE and (stored.units, stored.size) != (job.units, job.size):
        return False
    return job.agrees(name, content)


def _are_settings(content: bytes, job: Job) -> bool:
    try:
        type(job.settings).model_validate(yaml.safe_load(content))
    except (ValueError, RecursionError, yaml.YAMLError):
        return False
    return True


def _record(store: Store, job: Job, stored: RunRecord, recorded: str | None, some: Part | None) -> RunRecord:
    """The record as it was: that of the job, executed as the stored one says or, if that was edited, as a part says."""
    executions: list[Execution] = [stored.execution]
    if some is not None and recorded is not None:
        told = job.execution_of(store.read_bytes(some.name))
        executions += [told] if told else []
    record = RunRecord(job.format_version, job.fields, stored.execution, job.about(), job.units, job.size)
    candidates = [replace(record, execution=execution) for execution in executions]
    return next((one for one in candidates if digest(one.to_json()) == recorded), candidates[-1])
