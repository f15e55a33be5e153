"""Ray: sessions, pools of actors, and Ray Data. Only this file and `pipeline.batch.training` import it.

`session` starts an embedded Ray with bounded memory, or joins a cluster. `execute` sends rows to a pool of actors and
yields a row for each that comes back. It is one fused, threaded actor stage of Ray Data with one block a row: a row is
never split, and nothing larger than a row passes through the object store. Ray repairs its own faults: the rows of a
dead actor or node are computed again. A row whose answer is lost on the way does not come back; the caller finds it
missing, because it asks storage, not Ray, what is done.
"""

from __future__ import annotations

import logging
import math
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeVar

import psutil

from sptx_core.errors import InputError

T = TypeVar("T")
MIB = 1024 * 1024
CALLS_PER_ACTOR = 3  # one unit on the device, one begun ahead, one being read or written
TASKS_IN_FLIGHT = 6  # at least 1.75 x CALLS_PER_ACTOR, or an autoscaling pool never grows
# Of an embedded Ray, which shares few cores with what it serves: each of its processes wakes a hundred times a second,
# so idle ones are ended, and nothing is collected for a dashboard that is not there.
EMBEDDED_SYSTEM = {
    "num_workers_soft_limit": 0,
    "prestart_worker_first_driver": False,
    "idle_worker_killing_time_threshold_ms": 10_000,  # start-up uses them again and again
    "raylet_report_resources_period_milliseconds": 1_000,
    "enable_metrics_collection": False,
    "task_events_report_interval_ms": 0,
    "event_stats": False,
}
# Nobody takes the one machine of an embedded Ray away, and a training's end should be noticed at once.
EMBEDDED_TRAIN = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0", "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5"}
KEEP = "keep"  # a file beside Ray's log, which is then kept
EXIT_SECONDS = 5.0  # within which workers end after their Ray
MAX_CPU_THREADS = 8  # beyond this a convolution of one micro-batch gains little from another core


@dataclass(frozen=True)
class Cluster:
    """What the joined or started Ray offers."""

    embedded: bool
    nodes: int
    cpus: float
    cpus_per_node: float
    gpus: float
    log: Path

    def keep_log(self) -> None:
        """Leave Ray's log where it is when the session ends."""
        (self.log.parent / KEEP).touch()


@dataclass(frozen=True)
class Pool:
    """The actors of a run: how many, and what each holds."""

    workers: int
    threads: int
    gpus: float


@contextmanager
def session(address: str | None, *, object_store_mb: int, use_gpus: bool) -> Iterator[Cluster]:
    """Ray for the duration of the block; an embedded one ends with it, a joined cluster is only left.

    What Ray itself prints goes to a log that only its owner can read. It is kept where the block asks for it
    (`Cluster.keep_log`) or ends by an error that is not the user's.
    """
    folder = Path(tempfile.mkdtemp(prefix="sptx-ray-"))
    log, empty = folder / "log", folder / "empty"
    empty.mkdir()
    try:
        with _ray(address, object_store_mb, use_gpus, log, empty) as joined:
            yield joined
    except (InputError, KeyboardInterrupt):
        raise
    except BaseException:
        (folder / KEEP).touch()
        raise
    finally:
        empty.rmdir()
        if not (folder / KEEP).exists():
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _ray(address: str | None, object_store_mb: int, use_gpus: bool, log: Path, empty: Path) -> Iterator[Cluster]:
    with _noise_to(log):
        _set_environment(embedded=address is None)
        import ray

        others = _raylets()
        try:
            try:
                ray.init(**_options(address, object_store_mb, use_gpus, empty))
            except (ConnectionError, ValueError, RuntimeError) as error:
                if address is None:
                    raise
                reason = " ".join(str(error).split())[:300]
                raise InputError(f"no Ray cluster answers at {address}: {reason}") from None
            _stop_on_sigterm()
            _quiet_data()
            alive = _alive()
            total = ray.cluster_resources()  # type: ignore[no-untyped-call]
            yield Cluster(
                embedded=address is None,
                nodes=len(alive),
                cpus=float(total.get("CPU", 0)),
                cpus_per_node=max(float(node["Resources"].get("CPU", 0)) for node in alive),
                gpus=float(total.get("GPU", 0)),
                log=log,
            )
        finally:
            workers = [worker for raylet in _raylets() - others for worker in raylet.children(recursive=True)]
            ray.shutdown()
            _end(workers)


def _set_environment(*, embedded: bool) -> None:
    """What Ray and its processes read from the environment, unless the user has set it."""
    settings = {
        "RAY_DATA_LOG_LEVEL": "ERROR",  # read when Ray is imported
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        # Ray runs workers at nice 15: threads that meet at barriers then wait for the one that another program starves.
        "RAY_worker_niceness": "0",
        # Large arrays of threads: from one arena of glibc freed memory is used again, from others it is cleared anew.
        "MALLOC_ARENA_MAX": "1",
        **(EMBEDDED_TRAIN if embedded else {}),
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)


def _options(address: str | None, object_store_mb: int, use_gpus: bool, empty: Path) -> dict[str, Any]:
    """Arguments of `ray.init`."""
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    # Workers start in an empty folder: Ray would put the driver's own first on their path, and a folder there called
    # `pipeline` would be imported instead of ours. A Ray job has settled its working folder itself.
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ:
        options["runtime_env"] = {"working_dir": str(empty)}
    if address is not None:
        return {**options, "address": address}
    embedded = {
        "address": "local",
        "include_dashboard": False,
        "object_store_memory": object_store_mb * MIB,
        "num_cpus": os.cpu_count(),
        "_system_config": EMBEDDED_SYSTEM,
    }
    return {**options, **embedded, **({} if use_gpus else {"num_gpus": 0})}


def _raylets() -> set[psutil.Process]:
    """Ray's node processes that this process has started."""
    return {child for child in psutil.Process().children() if child.name() == "raylet"}


def _end(workers: list[psutil.Process]) -> None:
    """See to it that processes have ended: now and then one of Ray's hangs in its own exit for ever."""
    _, hanging = psutil.wait_procs(workers, timeout=EXIT_SECONDS)
    for worker in hanging:
        with suppress(psutil.NoSuchProcess):
            worker.kill()


def choose_pool(cluster: Cluster, workers: int | None, threads: int | None, gpus_per_worker: float | None) -> Pool:
    """Actors for `cluster`: one a GPU (or share), else CPU actors that together use the cores once."""
    gpus = gpus_per_worker if gpus_per_worker is not None else (1.0 if cluster.gpus else 0.0)
    if gpus > cluster.gpus:
        raise InputError(
            f"an actor is to hold {gpus:g} GPU but the Ray {'here' if cluster.embedded else 'cluster'} has "
            f"{cluster.gpus:g}; set --gpus-per-worker 0 to compute on CPUs"
        )
    if gpus:
        return Pool(workers or max(1, int(cluster.gpus / gpus)), threads or 2, gpus)
    if threads is not None and not cluster.embedded and threads > cluster.cpus_per_node:
        raise InputError(
            f"an actor is to compute with {threads} threads, but no node of the cluster has more than "
            f"{cluster.cpus_per_node:g} CPUs; set --threads"
        )
    if threads is None:
        share = cluster.cpus / workers if workers else cluster.cpus
        threads = max(1, int(min(share, cluster.cpus_per_node, MAX_CPU_THREADS)))
    if workers is None:
        workers = max(1, int(cluster.cpus_per_node // threads) * cluster.nodes)
    return Pool(workers, threads, 0.0)


def on_worker(task: Callable[..., T], *arguments: Any, gpus: float) -> T:
    """`task(*arguments)` run once in a worker process that holds so many GPUs, as an actor will.

    Arguments travel through the object store, so they may be large; `InputError` is raised as itself.
    """
    import ray

    remote = ray.remote(num_gpus=gpus, num_cpus=0, max_retries=1)(lambda *given: task(*given))
    result: T = _unwrapped(lambda: ray.get(remote.remote(*map(ray.put, arguments))))
    return result


def on_every_node(task: Callable[[], T]) -> list[T]:
    """`task()` run once on each live node."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote = ray.remote(num_cpus=0)(lambda: task())
    nodes = [node["NodeID"] for node in _alive()]
    calls = [
        remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote() for node in nodes
    ]
    result: list[T] = _unwrapped(lambda: ray.get(calls))
    return result


def execute(
    rows: Sequence[dict[str, Any]],
    make_call: Callable[[], Callable[[dict[str, Any]], dict[str, Any]]],
    pool: Pool,
    *,
    embedded: bool,
) -> Iterator[dict[str, Any]]:
    """Have `rows` worked on by the actors of `pool`; yield their answers as they come, in any order.

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

    Raises
    ------
    InputError
        The one that `make_call` raised in an actor.

    """
    if not rows:
        return
    import ray
    from ray.data import ActorPoolStrategy

    strategy = ActorPoolStrategy(
        size=min(pool.workers, len(rows)),
        max_tasks_in_flight_per_actor=TASKS_IN_FLIGHT,
        max_concurrent_calls_per_actor=CALLS_PER_ACTOR,
        enable_true_multi_threading=True,
    )
    # Embedded, threads are bounded by the actor itself; a reservation could only starve the pool.
    num_cpus = 0 if embedded or pool.gpus else math.ceil(pool.threads)
    answers = ray.data.from_items(list(rows), override_num_blocks=len(rows)).map(
        _Actor,  # type: ignore[arg-type]  # Ray makes the instance whose call maps a row
        fn_constructor_args=(make_call,),
        compute=strategy,
        num_cpus=num_cpus,
        num_gpus=pool.gpus,
    )
    try:
        yield from answers.iter_rows()
    except ray.exceptions.RayError as error:
        told = re.search(r"InputError: (.+)", str(error))  # of an actor's constructor, which arrives as text
        if told is None:
            raise
        raise InputError(told.group(1)) from None


class _Actor:
    """Ray Data makes actors from classes alone."""

    def __init__(self, make_call: Callable[[], Callable[[dict[str, Any]], dict[str, Any]]]) -> None:
        self._call = make_call()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return self._call(row)


def _alive() -> list[dict[str, Any]]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def _unwrapped(call: Callable[[], T]) -> T:
    """`call()`, with an `InputError` of the worker raised as itself."""
    from ray.exceptions import RayTaskError

    try:
        return call()
    except RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise InputError(str(error.cause)) from None
        raise


@contextmanager
def _noise_to(log: Path) -> Iterator[None]:
    """What is written to descriptors 1 and 2 goes to a file; what Python's own code prints still reaches the person.

    Ray's processes and C++ core write to the descriptors, which no logging level silences. Python's streams get
    descriptors of their own, unless they have them already, as in a notebook.
    """
    try:
        saved = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
    except OSError:  # closed, as in some daemons
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    streams = sys.stdout, sys.stderr
    ours = [
        os.fdopen(os.dup(descriptor), "w", buffering=1) if _descriptor(stream) == descriptor else stream
        for descriptor, stream in zip(saved, streams, strict=True)
    ]
    with log.open("ab") as file:
        try:
            sys.stdout, sys.stderr = ours
            for descriptor in saved:
                os.dup2(file.fileno(), descriptor)
            yield
        finally:
            sys.stdout, sys.stderr = streams
            for (descriptor, original), stream, before in zip(saved.items(), ours, streams, strict=True):
                if stream is not before:
                    stream.close()
                os.dup2(original, descriptor)
                os.close(original)


def _descriptor(stream: TextIO) -> int | None:
    """The descriptor that a stream writes to; None where a notebook or a test has replaced it."""
    try:
        return stream.fileno()
    except (OSError, ValueError):  # io.UnsupportedOperation is both
        return None


def _stop_on_sigterm() -> None:
    """SIGTERM, with which schedulers end a job, stops a run as SIGINT does; `ray.init` has set its own handler."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def _quiet_data() -> None:
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # A node's death can lose a block's receipt; the caller asks storage what is missing.
    context.max_errored_blocks = -1
    context.max_consecutive_actor_init_deaths = 3
