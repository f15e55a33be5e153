"""Rows sent to a pool of actors by Ray Data, and what is done when actors die or nodes come and go.

`execute` is one fused, threaded actor stage of Ray Data with one block a row: a row is never split, and nothing larger
than a row passes through the object store. Ray repairs its own faults: the rows of a dead actor or node are computed
again. A row whose answer is lost on the way does not come back; the caller finds it missing, because it asks storage,
not Ray, what is done.

On a cluster of mixed nodes a second crew, on CPUs, works on the same rows from the last one on, in a second stage of
the same execution. The crews meet somewhere; the execution ends, whatever actors are still at, as soon as the caller
has heard enough.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from typing import Any, NamedTuple

from pipeline.batch import head_watch
from pipeline.batch.births import LOOK_SECONDS, START_SECONDS, ActorLife, Births, Deaths, StepWatch, cause_of_death
from pipeline.batch.claims import Desk
from pipeline.batch.cluster import Pool, alive_nodes, refusal_in, sentence_of, told
from sptx_core.errors import UnfinishedError

CALLS_PER_ACTOR = 3  # one unit on the device, one begun ahead, one being read or written
FIRST_STARTS_SECONDS = 120.0  # within which what an actor raises as it starts concerns all of them, and ends the run
TASKS_IN_FLIGHT = 6  # at least 1.75 x CALLS_PER_ACTOR, or an autoscaling pool never grows
BY_SECOND = "by_second_crew"  # a column of answers, while they are under way

MakeCall = Callable[[], Callable[[dict[str, Any]], dict[str, Any]]]


class SecondCrew(NamedTuple):
    """Actors on CPUs of nodes without a GPU, which are given the same rows as the first crew, from the last one on.

    `make_call` and `excuses` are as in `execute`. `enough` is asked after each answer of either crew whether the
    execution may end. `tell` is called with a sentence if the crew's actors die too often; the first crew goes on.
    """

    make_call: MakeCall
    pool: Pool
    excuses: Callable[[], int]
    enough: Callable[[], bool]
    tell: Callable[[str], None]


def execute(
    rows: Sequence[dict[str, Any]],
    make_call: MakeCall,
    pool: Pool,
    *,
    embedded: bool,
    excuses: Callable[[], int] = lambda: 0,
    second: SecondCrew | None = None,
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
    second
        A second crew for the same rows, whose answers come as well: up to two a row.

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

    watch = _Watch(excuses, second, embedded=embedded)
    context = DataContext.get_current()
    others = context.custom_execution_callback_classes
    context.custom_execution_callback_classes = [*others, StepWatch(watch.check)]  # type: ignore[list-item]
    answers = _answers(rows, make_call, pool, second, embedded=embedded)
    try:
        # Without a look ahead: `iter_rows` gives an answer only when the next one is there.
        batches = answers.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
        with closing(iter(batches)) as coming:
            for answer in (answer for batch in coming for answer in batch.to_pylist()):
                watch.answered(by_second=answer.pop(BY_SECOND))
                yield answer
                if second and second.enough():
                    break  # closing ends what actors are still at, which may take many minutes
    except Deaths as deaths:
        raise _stillborn(deaths, make_call, pool) from None
    except (ray.exceptions.RayError, ExecutionTimeoutError) as error:
        raise told(error) from error
    finally:
        context.custom_execution_callback_classes = others


def desk(served: Any) -> Desk:
    """What calls methods of `served` from any actor; it lives in an actor of its own on this node, while this does."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    keeper: Any = ray.remote(_Keeper)  # its calls bear with a network that is cut for a while
    return _Desk(keeper.options(num_cpus=0, max_task_retries=-1, scheduling_strategy=here).remote(served))


def _answers(
    rows: Sequence[dict[str, Any]], make_call: MakeCall, pool: Pool, second: SecondCrew | None, *, embedded: bool
) -> Any:
    """The answers of all crews as a dataset."""
    # Embedded, threads are bounded by the actor itself; a reservation could only starve the pool.
    num_cpus = 0 if embedded or pool.gpus else math.ceil(pool.threads)
    answers = _stage(_Actor, rows, make_call, pool, num_cpus=num_cpus, num_gpus=pool.gpus)
    if second is None:
        return answers
    held = {"num_cpus": second.pool.threads, "label_selector": _without_gpus()}
    return answers.union(_stage(_SecondActor, rows[::-1], second.make_call, second.pool, **held))


def _stage(actor: type, rows: Sequence[dict[str, Any]], make_call: MakeCall, pool: Pool, **held: Any) -> Any:
    """The answers of one crew as a dataset; `held` is what Ray reserves for each actor."""
    import ray

    return ray.data.from_items(list(rows), override_num_blocks=len(rows)).map(
        actor,  # Ray makes the instance whose call maps a row
        fn_constructor_args=(make_call, time.time() + FIRST_STARTS_SECONDS),
        compute=_strategy(pool, len(rows)),
        **held,
    )


def _strategy(pool: Pool, rows: int) -> Any:
    """Ray Data's description of the pool."""
    from ray.data import ActorPoolStrategy

    first = min(pool.workers, rows)
    # With a lower minimum Ray Data would end actors that are still starting, whenever it does not know for a moment
    # what the cluster has. Those of a lost node wait for another one, or for the room that others leave in the end.
    most = min(rows, pool.most or rows) if pool.elastic else first  # what the nodes have bounds it as well
    sizes = {"min_size": first, "max_size": most}
    return ActorPoolStrategy(
        **sizes,
        max_tasks_in_flight_per_actor=TASKS_IN_FLIGHT,
        max_concurrent_calls_per_actor=CALLS_PER_ACTOR,
        enable_true_multi_threading=True,
    )


def _without_gpus() -> dict[str, str]:
    """What selects the nodes without a GPU, also those that join later, as Ray's labels of nodes."""
    others = ",".join(node["NodeID"] for node in alive_nodes() if node["Resources"].get("GPU"))
    return {"ray.io/node-id": f"!in({others})"}


def _pool_actors(kind: str) -> list[ActorLife]:
    """The actors of this driver's pools of this class, those that have ended among them."""
    import ray
    from ray._private.state import actors

    job = ray.JobID(bytes.fromhex(ray.get_runtime_context().get_job_id()))
    return [
        ActorLife(int(actor["NumRestarts"]), actor["Address"]["NodeID"], actor["State"] != "DEAD")
        for actor in actors(job_id=job).values()
        if actor["ActorClassName"].startswith("MapWorker") and f"({kind})" in actor["ActorClassName"]
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


class _Watch:
    """What is looked at while an execution is under way: deaths of actors, and nodes that come and go."""

    def __init__(self, excuses: Callable[[], int], second: SecondCrew | None, *, embedded: bool) -> None:
        self._births = Births(partial(_pool_actors, _Actor.__name__), excuses)
        self._second = second
        kind = _SecondActor.__name__
        self._second_births = Births(partial(_pool_actors, kind), second.excuses) if second else None
        self._nodes = None if embedded else _NodeCount()

    def answered(self, *, by_second: bool) -> None:
        """An actor has given an answer."""
        if not by_second:
            self._births.answered()
        elif self._second_births:
            self._second_births.answered()

    def check(self) -> None:
        """Look, if it is time; `Deaths` if the first crew has no use."""
        self._births.check()
        if self._nodes:
            self._nodes.check()
        if self._second and self._second_births:
            try:
                self._second_births.check()
            except Deaths as deaths:
                self._second_births = None  # said once
                self._second.tell(
                    f"workers on CPUs die again and again: {deaths.count} deaths without a result in between; those on "
                    "GPUs go on. To see the cause, run with --gpus-per-worker 0 --cpu-workers 0"
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
        return {**self._call(row), BY_SECOND: isinstance(self, _SecondActor)}


class _SecondActor(_Actor):
    """One of the second crew; the name tells the crews apart in Ray's list of actors."""


class _Keeper:
    """Holds what a desk serves."""

    def __init__(self, served: Any) -> None:
        self._served = served

    def call(self, method: str, *arguments: Any) -> Any:
        """What the method returns."""
        return getattr(self._served, method)(*arguments)


class _Desk:
    """Travels to actors, with the handle of the keeper."""

    def __init__(self, keeper: Any) -> None:
        self._keeper = keeper

    def __call__(self, method: str, *arguments: Any) -> Any:
        import ray

        return ray.get(self._keeper.call.remote(method, *arguments))


def _node_ids() -> set[str]:
    return {node["NodeID"] for node in alive_nodes()}
