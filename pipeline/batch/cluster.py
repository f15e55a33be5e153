"""Ray: the only file that imports it. Rows of coordinates go to a pool of actors, receipts come back; trainings too.

`session` starts an embedded Ray with bounded memory, or joins a cluster; `execute` runs shards on it as one fused,
threaded actor stage of Ray Data: one block a shard, so a shard is never split, and one receipt a shard, so no
payload passes through the object store. Faults are Ray's to repair (a dead actor or node repeats its shards);
what a shard did wrong arrives as a receipt. A shard whose receipt is lost is found missing by the caller, who
asks storage, not receipts, what is done.
"""

from __future__ import annotations

import logging
import math
import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import torch

from pipeline.tracks.shards import Shard
from pipeline.tracks.worker import Receipt, ShardWorker, WorkOrder
from sptx_core.errors import InputError

T = TypeVar("T")
MIB = 1024 * 1024
CALLS_PER_ACTOR = 3  # one shard on the device, one begun ahead, one being read or written
TASKS_IN_FLIGHT = 6  # at least 1.75 x CALLS_PER_ACTOR, or an autoscaling pool never grows
# Of an embedded Ray, which shares few cores with what it serves: each of its processes wakes a hundred times a second,
# so idle ones are ended, and nothing is collected for a dashboard that is not there.
EMBEDDED_SYSTEM = {
    "num_workers_soft_limit": 0,
    "idle_worker_killing_time_threshold_ms": 10_000,  # start-up uses them again and again
    "raylet_report_resources_period_milliseconds": 1_000,
    "enable_metrics_collection": False,
    "task_events_report_interval_ms": 0,
    "event_stats": False,
}
LISTENED_SECONDS = 0.5  # between looks at what a training's workers say
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


@dataclass(frozen=True)
class Pool:
    """The actors of a run: how many, and what each holds."""

    workers: int
    threads: int
    gpus: float


@contextmanager
def session(address: str | None, *, object_store_mb: int, use_gpus: bool) -> Iterator[Cluster]:
    """Ray for the duration of the block; an embedded one ends with it, a joined cluster is only left."""
    log = Path(tempfile.gettempdir()) / f"sptx-ray-{os.getpid()}.log"
    with _noise_to(log):
        os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")  # read when Ray is imported
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        # Ray runs workers at nice 15: threads that meet at barriers then wait for the one that another program starves.
        os.environ.setdefault("RAY_worker_niceness", "0")
        # Large arrays of threads: from one arena of glibc freed memory is used again, from others it is cleared anew.
        os.environ.setdefault("MALLOC_ARENA_MAX", "1")
        import ray

        # Workers start in an empty folder: Ray would put the driver's own first on their path, and a folder there
        # called `pipeline` would be imported instead of ours. A Ray job has settled its working folder itself.
        empty = tempfile.mkdtemp(prefix="sptx-cwd-")
        options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        if "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ:
            options["runtime_env"] = {"working_dir": empty}
        if address is None:
            options |= {
                "address": "local",
                "include_dashboard": False,
                "object_store_memory": object_store_mb * MIB,
                "num_cpus": os.cpu_count(),
                "_system_config": EMBEDDED_SYSTEM,
            }
            if not use_gpus:
                options["num_gpus"] = 0
        else:
            options["address"] = address
        try:
            try:
                ray.init(**options)
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
            ray.shutdown()
            Path(empty).rmdir()


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


def on_worker(task: Callable[[], T], *, gpus: float) -> T:
    """`task()` run once in a worker process with the resources of an actor."""
    import ray

    remote = ray.remote(num_gpus=gpus, num_cpus=0, max_retries=1)(lambda: task())
    result: T = _unwrapped(lambda: ray.get(remote.remote()))
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
    shards: Sequence[Shard],
    order: WorkOrder,
    pool: Pool,
    *,
    embedded: bool,
    worker: Callable[[WorkOrder], Callable[[dict[str, Any]], dict[str, Any]]] = ShardWorker,
) -> Iterator[Receipt]:
    """Work on `shards` and yield their receipts as they come, in any order.

    `worker(order)` is made once an actor and called with a shard's row; a benchmark may put one of its own there.
    """
    import ray
    from ray.data import ActorPoolStrategy

    strategy = ActorPoolStrategy(
        size=min(pool.workers, len(shards)),
        max_tasks_in_flight_per_actor=TASKS_IN_FLIGHT,
        max_concurrent_calls_per_actor=CALLS_PER_ACTOR,
        enable_true_multi_threading=True,
    )
    rows = [shard.to_row() for shard in shards]
    # Embedded, threads are bounded by the actor itself; a reservation could only starve the pool.
    num_cpus = 0 if embedded or pool.gpus else math.ceil(pool.threads)
    receipts = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        worker,  # type: ignore[arg-type]  # Ray makes the instance whose call maps a row
        fn_constructor_args=(order,),
        compute=strategy,
        num_cpus=num_cpus,
        num_gpus=pool.gpus,
    )
    try:
        for row in receipts.iter_rows():
            yield Receipt(**row)
    except ray.exceptions.RayError as error:
        told = re.search(r"InputError: (.+)", str(error))  # of an actor's constructor, which arrives as text
        if told is None:
            raise
        raise InputError(told.group(1)) from None


def train(
    work: Callable[[int, int, torch.device, Callable[[str], None]], None],
    pool: Pool,
    *,
    max_failures: int,
    say: Callable[[str], None],
) -> None:
    """Run `work(rank, workers, device, say)` in the workers of a Ray Train group, and return when all have ended.

    They share a `torch.distributed` process group. When one of them dies all are started again, `max_failures` times;
    `work` goes on where it left off by means of its own.

    Raises:
        InputError: the one that a worker raised.
        ray.train.TrainingFailedError: workers failed too often.

    """
    import ray
    from ray.train import RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer, get_device
    from ray.util.queue import Queue

    queue = Queue(actor_options={"num_cpus": 0})

    def loop() -> None:
        context = ray.train.get_context()
        torch.set_num_threads(pool.threads)
        device = get_device() if pool.gpus else torch.device("cpu")
        try:
            work(context.get_world_rank(), context.get_world_size(), device, lambda line: queue.put((True, line)))
        except InputError as error:
            queue.put((False, str(error)))
            raise  # so that the other workers, which may wait for this one, are ended too

    resources = {"CPU": 1.0, **({"GPU": pool.gpus} if pool.gpus else {})}
    scaling = ScalingConfig(num_workers=pool.workers, use_gpu=bool(pool.gpus), resources_per_worker=resources)
    for failures in count(1):
        refused: list[str] = []
        try:
            with (
                _heard(queue, say, refused),
                # The folder takes Ray Train's own record of the group, which nothing reads.
                tempfile.TemporaryDirectory(prefix="sptx-train-", ignore_cleanup_errors=True) as folder,
            ):
                run = RunConfig(name="sptx", storage_path=folder)
                trainer = TorchTrainer(loop, scaling_config=scaling, run_config=run)
                # Ray's own handler of SIGINT would end this process with 1, and silently.
                trainer._register_sigint_handler = lambda _: None  # type: ignore[attr-defined]  # typed as its forebear
                trainer.fit()
        except TrainingFailedError as error:
            if refused:
                raise InputError(refused[0]) from None
            if failures > max_failures:
                raise
            say(f"workers are started again, because one has failed: {' '.join(str(error).split())[:200]}")
        else:
            return


@contextmanager
def _heard(queue: Any, say: Callable[[str], None], refused: list[str]) -> Iterator[None]:
    """Pass on what workers put into the queue: lines to `say`, messages of an `InputError` to `refused`."""
    ended = threading.Event()

    def listen() -> None:
        while True:
            last = ended.is_set()
            for fine, line in queue.get_nowait_batch(queue.qsize()):
                if fine:
                    say(line)
                else:
                    refused.append(line)
            if last:
                return
            ended.wait(LISTENED_SECONDS)

    listener = threading.Thread(target=listen, name="listener")
    listener.start()
    try:
        yield
    finally:
        ended.set()
        listener.join()


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
    """Standard output and error of the process go to a file, those of Python's own code stay where they are.

    Ray's processes and C++ core write to the descriptors, which no logging level silences.
    """
    descriptors = (sys.stdout.fileno(), sys.stderr.fileno()) if _has_descriptors() else ()
    if not descriptors:
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    streams = sys.stdout, sys.stderr
    saved = [os.dup(descriptor) for descriptor in descriptors]
    ours = [os.fdopen(os.dup(descriptor), "w", buffering=1) for descriptor in descriptors]
    with log.open("ab") as file:
        try:
            sys.stdout, sys.stderr = ours
            for descriptor in descriptors:
                os.dup2(file.fileno(), descriptor)
            yield
        finally:
            sys.stdout, sys.stderr = streams
            for descriptor, original, stream in zip(descriptors, saved, ours, strict=True):
                stream.close()
                os.dup2(original, descriptor)
                os.close(original)


def _has_descriptors() -> bool:
    """False where a notebook or a test has replaced the standard streams."""
    try:
        return (sys.stdout.fileno(), sys.stderr.fileno()) == (1, 2)
    except (OSError, ValueError):  # io.UnsupportedOperation is both
        return False


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
