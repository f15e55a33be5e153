"""Ray: sessions, what a cluster offers, and single tasks. Rows go to pools of actors in `pipeline.batch.actors`.

`session` starts an embedded Ray with bounded memory, or joins a cluster. What Ray cannot survive is raised as an
`UnfinishedError`, one sentence. A lost head is noticed by `pipeline.batch.head_watch`, which ends the process. Only
this file, `actors` and `training` import Ray.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psutil

from pipeline.batch import head_watch
from pipeline.batch.noise import noise_to
from sptx_core.errors import InputError, UnfinishedError
from sptx_core.redaction import without_secrets
from sptx_core.words import counted

T = TypeVar("T")
MIB = 1024 * 1024
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
# Within which the process of a worker ends once it has begun to. Now and then Ray's own end waits for itself for ever
# (Ray 2.60: asio's scheduler is shut down and posts to itself), and the process would keep its memory on its node.
WORKER_EXIT_SECONDS = 30
MAX_TOLD = 300  # characters of Ray's own words in a sentence
_NO_START = (OSError, ValueError, RuntimeError)  # that Ray raises where it cannot begin
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
    by_node: tuple[tuple[float, float], ...] = ()
    """CPUs and GPUs of each node."""

    def keep_log(self) -> None:
        """Leave Ray's log where it is when the session ends."""
        (self.log.parent / KEEP).touch()


@dataclass(frozen=True)
class Pool:
    """The actors of a run: how many, what each holds, and whether there are more (`most`) when the cluster grows."""

    workers: int
    threads: int
    gpus: float
    elastic: bool = False
    most: int | None = None


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
        with connected(address, object_store_mb, use_gpus, log, empty) as joined:
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
def connected(address: str | None, object_store_mb: int, use_gpus: bool, log: Path, empty: Path) -> Iterator[Cluster]:
    """What `session` is about, without its log's fate: Ray's words go to `log`, workers start in the folder `empty`."""
    with noise_to(log), _environment(embedded=address is None):
        import ray

        if ray.is_initialized():
            raise InputError("this Python process uses Ray already, for something else: call ray.shutdown() before")
        others = head_watch.own_raylets()
        try:
            try:
                ray.init(**_options(address, object_store_mb, use_gpus, empty))
            except Exception as error:
                # A plain Exception is what Ray raises of a node that starts too slowly.
                if type(error) is not Exception and not isinstance(error, _NO_START):
                    raise
                reason = " ".join(str(error).split())[:MAX_TOLD]
                if address is None:
                    remedy = "the same command tries again"
                    if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
                        remedy = "set RAY_TMPDIR to a folder that can be written and has a short path, such as /tmp"
                    raise UnfinishedError(f"Ray could not be started here: {reason.rstrip('.')}; {remedy}") from error
                raise InputError(f"no Ray cluster answers at {address}: {reason}") from None
            _stop_on_sigterm()
            _quieten()
            with head_watch.watch(ray.get_runtime_context().gcs_address, _raylet_here(), partial(_end_process, others)):
                yield _describe(embedded=address is None, log=log)
        except ray.exceptions.RayError as error:  # of a single task
            raise told(error, log) from error
        finally:
            workers = head_watch.below(head_watch.own_raylets() - others)
            ray.shutdown()
            _end(workers)


def _describe(*, embedded: bool, log: Path) -> Cluster:
    """The cluster that was joined or started."""
    resources = [node["Resources"] for node in alive_nodes()]
    by_node = [(float(of.get("CPU", 0)), float(of.get("GPU", 0))) for of in resources]
    return Cluster(
        embedded=embedded,
        nodes=len(by_node),
        cpus=sum(cpus for cpus, _ in by_node),
        cpus_per_node=max(cpus for cpus, _ in by_node),
        gpus=sum(gpus for _, gpus in by_node),
        log=log,
        by_node=tuple(by_node),
    )


def _end_process(others: set[psutil.Process], sentence: str) -> None:
    """End this process and the embedded Ray's, if there is one, because Ray cannot go on."""

    def kill() -> None:
        raylets = head_watch.own_raylets() - others
        _end([*raylets, *head_watch.below(raylets)], seconds=0)

    head_watch.end_process(sentence, kill)


@contextmanager
def _environment(*, embedded: bool) -> Iterator[None]:
    """What Ray and its processes read from the environment, unless the user has set it; a session's goes with it.

    Ray itself adds `RAY_AUTH_MODE=token` for a Ray that it starts. With it this process would refuse what a cluster
    without tokens, which it joins afterwards, asks of it, and all actors there would die.
    """
    before = set(os.environ)
    settings = {
        "RAY_DATA_LOG_LEVEL": "ERROR",  # read when Ray is imported
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        # Nothing is collected about how Ray is used, which takes a process of its own and asks for Prometheus.
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DATA_USAGE_DISABLED": "1",
        # Ray runs workers at nice 15: threads that meet at barriers then wait for the one that another program starves.
        "RAY_worker_niceness": "0",
        # Large arrays of threads: from one arena of glibc freed memory is used again, from others it is cleared anew.
        "MALLOC_ARENA_MAX": "1",
        **(EMBEDDED_TRAIN if embedded else {}),
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("RAY_") or name in settings]:
            if name not in before:
                del os.environ[name]
        with suppress(ImportError):  # no public interface of Ray
            from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]  # compiled

            Config.initialize("")  # reads the environment anew
            AuthenticationTokenLoader.instance().reset_cache()


def _options(address: str | None, object_store_mb: int, use_gpus: bool, empty: Path) -> dict[str, Any]:
    """Arguments of `ray.init`."""
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    # Workers start in an empty folder: Ray would put the driver's own first on their path, and a folder there called
    # `pipeline` would be imported instead of ours. A Ray job has settled its working folder itself.
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ:
        options["runtime_env"] = {"working_dir": str(empty), "worker_process_setup_hook": _alarm_at_exit()}
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


def _alarm_at_exit() -> Callable[[], None]:
    """What each worker runs first: Linux ends it where its own end takes too long. As a closure it travels by value."""
    seconds = WORKER_EXIT_SECONDS

    def set_alarm() -> None:
        import atexit
        import signal

        atexit.register(signal.alarm, seconds)

    return set_alarm


def _raylet_here() -> psutil.Process | None:
    """Ray's process on this node, embedded or not."""
    import ray._private.worker

    node = ray._private.worker.global_worker.node
    assert node is not None  # of a driver
    return head_watch.raylet_at(node.raylet_socket_name)


def _end(workers: list[psutil.Process], seconds: float | None = None) -> None:
    """See to it that processes have ended: now and then one of Ray's hangs in its own exit for ever."""
    _, hanging = psutil.wait_procs(workers, timeout=EXIT_SECONDS if seconds is None else seconds)
    for worker in hanging:
        with suppress(psutil.NoSuchProcess):
            worker.kill()


def choose_pool(cluster: Cluster, workers: int | None, threads: int | None, gpus_per_worker: float | None) -> Pool:
    """Actors for `cluster`: one a GPU (or share), else CPU actors that together use the cores once.

    Without a number of `workers` a joined cluster's pool follows its size.
    """
    elastic = workers is None and not cluster.embedded
    gpus = gpus_per_worker if gpus_per_worker is not None else (1.0 if cluster.gpus else 0.0)
    if gpus > cluster.gpus:
        raise InputError(
            f"an actor is to hold {gpus:g} GPU but the Ray {'here' if cluster.embedded else 'cluster'} has "
            f"{cluster.gpus:g}; set --gpus-per-worker 0 to compute on CPUs"
        )
    if gpus:
        room = int(cluster.gpus) * int(1 / gpus)  # a share is of one GPU
        return Pool(workers or max(1, room), threads or 2, gpus, elastic)
    if threads is not None and not cluster.embedded and threads > cluster.cpus_per_node:
        raise InputError(
            f"an actor is to compute with {counted(threads, 'thread')}, but no node of the cluster has as many "
            f"CPUs: the largest has {cluster.cpus_per_node:g}; set --threads"
        )
    if threads is None:
        share = cluster.cpus / workers if workers else cluster.cpus
        threads = max(1, int(min(share, cluster.cpus_per_node, MAX_CPU_THREADS)))
    if workers is None:
        room = sum(int(there // threads) for there, _ in cluster.by_node)
        workers = max(1, room or int(cluster.cpus_per_node // threads) * cluster.nodes)
    return Pool(workers, threads, 0.0, elastic)


def choose_second_pool(cluster: Cluster, pool: Pool, workers: int) -> Pool | None:
    """CPU actors, `workers` at most, beside those of `pool`, which hold GPUs: they use the nodes without a GPU once.

    None where `pool` holds no GPUs, or each node has one.
    """
    rooms = [cpus for cpus, gpus in cluster.by_node if cpus >= 1 and not gpus]
    if not pool.gpus or not rooms:
        return None
    threads = int(min(max(rooms), MAX_CPU_THREADS))
    room = sum(int(cpus // threads) for cpus in rooms)
    return Pool(min(workers, room), threads, 0.0, elastic=workers > room, most=workers)


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
    nodes = [node["NodeID"] for node in alive_nodes()]
    calls = [
        remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote() for node in nodes
    ]
    result: list[T] = _unwrapped(lambda: ray.get(calls))
    return result


def told(error: Exception, log: Path | None = None) -> Exception:
    """Ray's error as one sentence; its own text goes to Ray's `log`, which is named where it has not been said yet."""
    _log(str(error))
    refused = refusal_in(str(error))
    if refused:
        return refused
    where = f". Ray's own messages are in {log}" if log else ""
    return UnfinishedError(
        f"Ray could not go on: {sentence_of(error)}. What is committed is kept, and the same command goes on{where}"
    )


def refusal_in(text: str) -> InputError | None:
    """The `InputError` that an actor raised as it started, which arrives as text."""
    found = re.search(r"InputError: (.+)", text)
    return InputError(found.group(1)) if found else None


def _log(text: str) -> None:
    """Write to Ray's log, which descriptor 2 leads to during a session."""
    with suppress(OSError):
        os.write(2, f"{without_secrets(text)}\n".encode(errors="replace"))


def sentence_of(error: Exception) -> str:
    """The first line of Ray's text; of a traceback in it the last one, which says what was raised."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().splitlines() or [type(error).__name__]
    line = lines[-1] if any("Traceback" in line or line.startswith(" ") for line in lines) else lines[0]
    return " ".join(line.split())[:MAX_TOLD].rstrip(".")


def alive_nodes() -> list[dict[str, Any]]:
    """The nodes that the cluster has now, as Ray describes them."""
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


def _stop_on_sigterm() -> None:
    """SIGTERM, with which schedulers end a job, stops a run as SIGINT does; `ray.init` has set its own handler."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def _quieten() -> None:
    """What Ray prints to Python's streams, which are the person's, goes to the log; and settings of Ray Data."""
    import ray._private.worker
    from ray.data import DataContext

    def to_log(data: dict[str, Any], ignore_prefix: bool) -> None:  # noqa: ARG001  # Ray's signature
        _log("\n".join(data["lines"]))

    ray._private.worker.print_to_stdstream = to_log
    for logger in map(logging.getLogger, ("ray", "ray.data")):
        for handler in logger.handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                logger.removeHandler(handler)
                logger.addHandler(logging.StreamHandler(sys.__stderr__))
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # A node's death can lose a block's receipt; the caller asks storage what is missing.
    context.max_errored_blocks = -1
    context.max_consecutive_actor_init_deaths = 3
