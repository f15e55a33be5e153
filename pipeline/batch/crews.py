"""A second crew of a run: actors on CPUs, on those nodes of a mixed cluster that have no GPU.

Both crews get the same units, the second one from the last one on (`pipeline.batch.actors`), and share their claims
(`pipeline.batch.claims`). The record of the run says how the first crew computes; a part says itself how it was.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import NamedTuple

from pipeline.batch import actors, cluster
from pipeline.batch.claims import FIRST, SECOND, Claims, Crew
from pipeline.batch.cluster import Cluster, Pool
from pipeline.batch.job import Assignment, Job, Say
from pipeline.batch.record import Execution


class Second(NamedTuple):
    """The second crew of a run: its actors, and how they compute."""

    pool: Pool
    execution: Execution


def choose_second(job: Job, joined: Cluster, pool: Pool, say: Say) -> Second | None:
    """The crew that the settings ask for, if the cluster is mixed."""
    workers = job.settings.cpu_workers
    if not workers:
        return None
    chosen = cluster.choose_second_pool(joined, pool, workers)
    if chosen is None:
        why = "each node with CPUs has a GPU" if pool.gpus else "no worker holds a GPU, so that all compute on CPUs"
        say(f"--cpu-workers {workers} is not used: {why}")
        return None
    on_cpus = copy(job)  # engine, micro-batch and threads that were asked for are those of the GPUs
    settings = job.settings.model_copy(update={"engine": "auto", "batch": None, "threads": None})
    object.__setattr__(on_cpus, "settings", settings)  # a job may be frozen; this is nobody else's
    return Second(chosen, on_cpus.choose_execution(chosen, None, say))


def two_assignments(job: Job, assignment: Assignment, second: Second) -> tuple[Assignment, Assignment]:
    """The assignments of both crews, which share their claims."""
    desk = actors.desk(Claims())
    return (
        replace(assignment, crew=Crew(FIRST, desk)),
        replace(assignment, crew=Crew(SECOND, desk), make_worker=job.make_worker(second.execution)),
    )
