"""Run a training that has been prepared: `sptx finetune` after its inputs are checked.

In: a `TrainingJob` (`pipeline.finetuning.training_job`). Out: files below the output, and the report.

    training.json     what defines the training: settings, and digests of the inputs; a hub id with its commit
    states/           the newest two saved states (`pipeline.finetuning.states`)
    history.json      metrics of every validation so far
    model/            network of the best validation: model.safetensors and config.json, a checkpoint like any other
    report.json       metrics of the best validation and of the test contigs; written last

The training is done by the workers of a Ray Train group. Run again, it goes on after the newest state; where there is
a report it only returns that.

Errors: `InputError` for an output that holds another training or other files, for workers that do not fit, and for a
loss that is no longer finite.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import torch

from pipeline.batch import cluster
from pipeline.batch.storage import Store
from pipeline.batch.training import train
from pipeline.finetuning.loop import Training, TrainingOrder, Worker
from pipeline.finetuning.training_job import TrainingJob
from pipeline.finetuning.training_report import REPORT_FILE, write_result
from pipeline.settings import ray_address
from sptx_core.errors import InputError
from sptx_core.files import reading, writing
from sptx_core.version import shadowed
from sptx_core.words import counted

TRAINING_FILE = "training.json"

Say = Callable[[str], None]


def run(job: TrainingJob, say: Say) -> dict[str, Any]:
    """Train from the start or from the newest saved state.

    Parameters
    ----------
    job : TrainingJob
        The training.
    say : callable
        Called with lines of progress for a person.

    Returns
    -------
    dict
        Content of report.json (`pipeline.finetuning.training_report`).

    Raises
    ------
    InputError
        See the module.

    """
    if note := shadowed():
        say(note)
    store = Store(job.order.root)
    revisions = {"checkpoint_revision": job.checkpoint_revision, "encoders_revision": job.encoders_revision}
    create_or_resume(store, job.fields, {name: pinned for name, pinned in revisions.items() if pinned})
    if store.exists(REPORT_FILE):
        say(f"finished before: {store.uri(REPORT_FILE)}; give another --output to train again")
    else:
        _train(job, store, say)
    return _read_json(store, REPORT_FILE)


def create_or_resume(store: Store, fields: dict[str, Any], noted: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Begin a training in an empty output, or check that the output holds the same training.

    Parameters
    ----------
    store : Store
        The output.
    fields : dict
        What defines the training, as JSON values.
    noted : mapping
        What is recorded besides and may differ when the training is resumed.

    Raises
    ------
    InputError
        The output cannot be written, or holds other files or a training with other fields, which are named.

    """
    store.ensure_writable()
    if not store.exists(TRAINING_FILE):
        other = next(iter(store.list()), None)
        if other is not None:
            raise InputError(f"{store.root} holds other files ({other}): choose an empty folder for --output")
        with writing(store.uri(TRAINING_FILE)):
            store.write_atomic(TRAINING_FILE, (json.dumps({**fields, **noted}, indent=1) + "\n").encode())
        return
    before = _read_json(store, TRAINING_FILE)
    now = json.loads(json.dumps(fields))  # as it would be read back: tuples become lists
    changed = [name for name in now["settings"] if now["settings"][name] != before.get("settings", {}).get(name)]
    changed += [name for name in now if name != "settings" and now[name] != before.get(name)]
    if changed:
        raise InputError(
            f"{store.root} holds another training, which differs in {', '.join(changed)}: "
            "give its settings to go on with it, or another --output"
        )


def _read_json(store: Store, name: str) -> dict[str, Any]:
    """What the output holds under a name; `InputError` where that is no record of a training."""
    with reading(store.uri(name)):
        content = json.loads(store.read_bytes(name))
    if not isinstance(content, dict):
        raise InputError(f"{store.uri(name)} is not the record of a training; give another --output")
    return content


def train_worker(order: TrainingOrder, rank: int, world_size: int, device: torch.device, say: Say) -> None:
    """Do the work of one worker; the worker of rank 0 writes the result.

    Parameters
    ----------
    order : TrainingOrder
        Settings and examples.
    rank, world_size : int
        Rank of the worker, and the number of workers; of more than one, the process group is initialized.
    device : torch.device
        What it computes on.
    say : callable
        Called with lines of progress, by rank 0 only.

    Raises
    ------
    InputError
        The loss is no longer finite.

    """
    training = Training(order, Worker(rank, world_size, device), say)
    trained = training.run()
    if rank == 0:
        write_result(training, trained)


def _train(job: TrainingJob, store: Store, say: Say) -> None:
    """Have the workers of a Ray Train group do the training."""
    config = job.order.config
    address, use_gpus = ray_address(config.address), config.gpus_per_worker != 0
    with cluster.session(address, object_store_mb=config.object_store_mb, use_gpus=use_gpus) as joined:
        pool = cluster.choose_pool(joined, config.workers, config.threads, config.gpus_per_worker)
        room = int(joined.gpus / pool.gpus) if pool.gpus else int(joined.cpus)
        if pool.workers > room:  # Ray would wait for the missing resources for ever
            raise InputError(f"--workers {pool.workers} do not fit: there is room for {room}")
        if joined.nodes > 1 and store.is_local:
            raise InputError(
                f"a cluster of {joined.nodes} nodes needs an --output that all of them reach, such as s3://; "
                f"{config.output} is a folder of one"
            )
        device = "GPU" if pool.gpus else f"CPU, {counted(pool.threads, 'thread')}"
        say(f"{job.parameters:,} parameters, {pool.workers} x {device}, {config.precision.value}")
        say(f"Ray's own messages go to {joined.log}, kept if something fails")
        train(partial(train_worker, job.order), pool, max_failures=config.max_failures, say=say)
