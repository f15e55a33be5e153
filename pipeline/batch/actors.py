"""Rows sent to a pool of actors by Ray Data, and what is done when actors die or nodes come and go.

`execute` is one fused, threaded actor stage of Ray Data with one block a row: a row is never split, and nothing larger
than a row passes through the object store. Ray repairs its own faults: the rows of a dead actor or node are computed
again. A row whose answer is lost on the way does not come back; the caller finds it missing, because it asks storage,
not Ray, what is done.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from pipeline.batch import head_watch
from pipeline.batch.births import LOOK_SECONDS, START_SECONDS, ActorLife, Births, Deaths, StepWatch, cause_of_death
from pipeline.batch.cluster import Pool, alive_nodes, refusal_in, sentence_of, told
from sptx_core.errors import UnfinishedError

CALLS_PER_ACTOR = 3  # one unit on the device, one begun ahead, one being read or written
FIRST_STARTS_SECONDS = 120.0  # within which what an actor raises as it starts concerns all of them, and ends the run
TASKS_IN_FLIGHT = 6  # at least 1.75 x CALLS_PER_ACTOR, or an autoscaling pool never grows


def execute(
    rows: Sequence[dict[str, Any]],
    make_call: Callable[[], Callable[[dict[str, Any]], dict[str, Any]]],
    pool: Pool,
    *,
    embedded: bool,
    excuses: Callable[[], int] = lambda: 0,
) -> Iterator[dict[str, Any]]:
    """Have `rows` worked on by the actors of `pool`; yield their answers as they come, in any order.

    On a joined cluster actors come and go with its nodes: as many as `pool` says to begin with, later as many as there
    is room for, if it is elastic. An actor that dies is started again, until `pipeline.batch.births` says that it is no
    use.

    Parameters
    ----------
    rows
        Plain columns each.
    make_call
        Called once in each actor; what it returns is called with one row after another, from `CALLS_PER_ACTOR`
        threads, and gives a row of plain columns.
    pool
        How many actors, and what each holds.
    embedded
        Whether the session started its own Ray.
    excuses
        Counts deaths of actors that are known to have been the row's fault.

    Raises
    ------
    InputError
        The one that `make_call` raised in an actor.
    UnfinishedError
        Actors die as they start, or Ray itself cannot go on.

    """
    if not rows:
        return
    import ray
    from ray.data import DataContext
    from ray.data.exceptions import ExecutionTimeoutError

    births, nodes = Births(_pool_actors, excuses), _NodeCount()

    def check() -> None:
        births.check()
        if not embedded:
            nodes.check()

    context = DataContext.get_current()
    others = context.custom_execution_callback_classes
    context.custom_execution_callback_classes = [*others, StepWatch(check)]  # type: ignore[list-item]
    # Embedded, threads are bounded by the actor itself; a reservation could only starve the pool.
    num_cpus = 0 if embedded or pool.gpus else math.ceil(pool.threads)
    answers = ray.data.from_items(list(rows), override_num_blocks=len(rows)).map(
        _Actor,  # type: ignore[arg-type]  # Ray makes the instance whose call maps a row
        fn_constructor_args=(make_call, time.time() + FIRST_STARTS_SECONDS),
        compute=_strategy(pool, len(rows)),
        num_cpus=num_cpus,
        num_gpus=pool.gpus,
    )
    try:
        for answer in answers.iter_rows():
            births.answered()
            yield answer
    except Deaths as deaths:
        raise _stillborn(deaths, make_call, pool) from None
    except (ray.exceptions.RayError, ExecutionTimeoutError) as error:
        raise told(error) from error
    finally:
        context.custom_execution_callback_classes = others


def _strategy(pool: Pool, rows: int) -> Any:
    """Ray Data's description of the pool."""
    from ray.data import ActorPoolStrategy

    first = min(pool.workers, rows)
    # With a lower minimum Ray Data would end actors that are still starting, whenever it does not know for a moment
    # what the cluster has. Those of a lost node wait for another one, or for the room that others leave in the end.
    sizes = {"min_size": first, "max_size": rows if pool.elastic else first}  # what the nodes have bounds it as well
    return ActorPoolStrategy(
        **sizes,
        max_tasks_in_flight_per_actor=TASKS_IN_FLIGHT,
        max_concurrent_calls_per_actor=CALLS_PER_ACTOR,
        enable_true_multi_threading=True,
    )


def _pool_actors() -> list[ActorLife]:
    """The actors of this driver's pools, those that have ended among them."""
    import ray
    from ray._private.state import actors

    job = ray.JobID(bytes.fromhex(ray.get_runtime_context().get_job_id()))
    return [
        ActorLife(int(actor["NumRestarts"]), actor["Address"]["NodeID"], actor["State"] != "DEAD")
        for actor in actors(job_id=job).values()
        if actor["ActorClassName"].startswith("MapWorker")
    ]


def _stillborn(deaths: Deaths, make_call: Callable[[], Any], pool: Pool) -> Exception:
    """What to raise when actors have died too often: the cause, as one more start on the same node shows it."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    where = {node["NodeID"]: node["NodeManagerAddress"] for node in alive_nodes()}
    start = ray.cloudpickle.dumps(make_call)  # type: ignore[no-untyped-call]
    watched = ray.remote(num_gpus=pool.gpus, num_cpus=0, max_retries=0)(lambda: cause_of_death(start))
    if deaths.node in where:
        watched = watched.options(scheduling_strategy=NodeAffinitySchedulingStrategy(deaths.node, soft=False))
    try:
        cause = ray.get(watched.remote(), timeout=START_SECONDS + 10)
    except ray.exceptions.RayError as error:
        cause = f"it failed: {sentence_of(error)}"
    refused = refusal_in(cause)
    if refused:
        return refused
    cause = cause or "it went well, so what ends them is their first work, before it reaches the device"
    return UnfinishedError(
        f"workers die as they start: {deaths.count} deaths without a result in between, the last on "
        f"{where.get(deaths.node, 'an unknown node')}; of one more start, which was watched: {cause}. "
        "What is committed is kept; mend the cause, and the same command goes on"
    )


class _NodeCount:
    """Tells Ray Data of nodes that have come or gone; by itself it looks for them every 20 s only."""

    def __init__(self) -> None:
        self._nodes, self._looked = _node_ids(), time.monotonic()

    def check(self) -> None:
        """Look, if it is time."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        nodes = _node_ids()
        if nodes != self._nodes:
            self._nodes = nodes
            with suppress(ImportError, AttributeError):  # no public interface of Ray Data; without it, it looks later
                from ray.data._internal.cluster_autoscaler import get_or_create_autoscaling_coordinator

                coordinator = get_or_create_autoscaling_coordinator()  # type: ignore[no-untyped-call]
                coordinator.get_reserved_resources.remote("", recompute=True)


class _Actor:
    """Ray Data makes actors from classes alone."""

    def __init__(self, make_call: Callable[[], Callable[[dict[str, Any]], dict[str, Any]]], late: float) -> None:
        import ray

        head = ray.get_runtime_context().gcs_address
        head_watch.start(head, None, head_watch.end_process, head_watch.WORKER_PATIENCE, threading.Event())
        try:
            self._call = make_call()
        except Exception:
            if time.time() < late and not ray.get_runtime_context().was_current_actor_reconstructed:
                raise
            # An actor of a node that joins late must not end the run, which goes on elsewhere. And of an actor that has
            # been at work Ray Data would not notice that it could not be started again: it would wait for its rows for
            # ever. A process that ends is started again, and counted.
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return self._call(row)


def _node_ids() -> set[str]:
    return {node["NodeID"] for node in alive_nodes()}
