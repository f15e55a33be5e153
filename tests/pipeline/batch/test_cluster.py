"""A real cluster of several nodes on this machine: the job joins it, and survives the loss of a node."""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from material import toy_job
from material.processes import PATIENCE, started_by, wait_for
from material.standing_ray import CPUS, StandingRay

from pipeline.batch import cluster as cluster_module
from pipeline.batch.actors import desk
from pipeline.batch.cluster import (
    EMBEDDED_SYSTEM,
    Cluster,
    Pool,
    choose_pool,
    choose_second_pool,
    on_every_node,
    on_worker,
    session,
)
from sptx_core.errors import InputError, UnfinishedError

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three nodes with two cores each; what was started is ended by its own handle."""
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_ENABLE_AUTO_CONNECT", "0")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    memory = 100 * 1024 * 1024
    head = {"num_cpus": 2, "object_store_memory": memory, "include_dashboard": False}
    head["_system_config"] = EMBEDDED_SYSTEM  # quicker on few cores
    started = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        started.add_node(num_cpus=2, object_store_memory=memory)
    yield started
    started.shutdown()
    patch.undo()


@pytest.fixture
def two_nodes(standing: StandingRay) -> Iterator[str]:
    """The address of the Ray that stands, and has another node for a while."""
    added = standing.cluster.add_node(num_cpus=1, object_store_memory=80 * 1024 * 1024)
    yield standing.address
    standing.cluster.remove_node(added)
    standing.cluster.wait_for_nodes(PATIENCE)  # until then a job would take it for a node


def flags_of(cluster: Any, example: Any, output: Path) -> list[Any]:
    job = [*example.inputs, "--output", output, "--windows-per-shard", 1]
    return ["run", *job, "--address", cluster.address, "--workers", 3, "--threads", 2]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_tasks_run_on_a_worker_and_on_every_node(
    two_nodes: str, example: Any, sptx_here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise InputError("not on this node")

    class Hanging:
        def after_python(self) -> int:  # where Ray's own end does now and then
            libc = ctypes.CDLL(None)
            libc["__cxa_atexit"](libc.pause, None, None)
            return os.getpid()

    import ray

    monkeypatch.setattr(cluster_module, "WORKER_EXIT_SECONDS", 2)
    logs: list[Path] = []
    with session(two_nodes, object_store_mb=80, use_gpus=False) as joined:
        logs.append(joined.log)
        assert joined.log.parent.stat().st_mode & 0o077 == 0  # nobody else reads it
        assert (joined.embedded, joined.nodes, joined.cpus, joined.cpus_per_node) == (False, 2, CPUS + 1, CPUS)
        assert on_worker(divmod, 7, 2, gpus=0) == (3, 1)
        with pytest.raises(InputError, match=r"^not on this node$"):
            on_worker(refuse, gpus=0)
        assert len(set(on_every_node(os.getpid))) == 2
        actor = ray.remote(Hanging).remote()
        hanging = psutil.Process(ray.get(actor.after_python.remote()))
        del actor
    assert not logs[0].parent.exists()
    fails = pytest.raises(
        UnfinishedError, match=r"^Ray could not go on: .*the same command goes on\. Ray's own messages are in \S+$"
    )
    with fails, session(two_nodes, object_store_mb=80, use_gpus=False):
        on_worker(os._exit, 1, gpus=0)
    job = ["run", *example.inputs, "--output", tmp_path / "table", "--address", two_nodes]
    assert "--shared-output" in sptx_here(*job, code=2).err
    assert not list(tmp_path.glob("table/tracks/**/*.parquet"))
    _, alive = psutil.wait_procs([hanging], timeout=PATIENCE)
    assert not alive


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_job_on_three_nodes_of_which_one_is_lost(
    cluster: Any, example: Any, table: Path, sptx: Run, sptx_here: Any, tmp_path: Path, digests: Any
) -> None:
    output = tmp_path / "table"
    whole, at_the_loss, ended = len(list(table.glob("tracks/**/*.parquet"))), [], threading.Event()

    def lose_a_node() -> None:
        while not at_the_loss and not ended.wait(0.01):
            if (parts := len(list(output.glob("tracks/**/[!.]*.parquet")))) >= 2:
                cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
                at_the_loss.append(parts)

    killer = threading.Thread(target=lose_a_node)
    killer.start()
    try:
        done = sptx(*flags_of(cluster, example, output), "--shared-output")
    finally:
        ended.set()
        killer.join()
    assert 2 <= at_the_loss[0] < whole, "lost too late to test anything"
    assert "3 x " in done.stderr
    sptx_here("verify", output)
    assert digests(output) == digests(table)


@contextmanager
def no_ray(_: object, __: object, ___: object, log: Path, ____: object) -> Iterator[Cluster]:
    log.touch()
    yield Cluster(embedded=True, nodes=1, cpus=1, cpus_per_node=1, gpus=0, log=log)


@pytest.mark.parametrize(
    ("failure", "asked", "kept"),
    [
        (None, False, False),
        (None, True, True),  # shards have failed
        (InputError("a flag is wrong"), False, False),
        (KeyboardInterrupt(), False, False),
        (RuntimeError("a bug"), False, True),
    ],
)
def test_the_log_is_kept_where_it_can_tell_something(
    monkeypatch: pytest.MonkeyPatch, failure: BaseException | None, asked: bool, kept: bool
) -> None:
    monkeypatch.setattr(cluster_module, "connected", no_ray)
    logs: list[Path] = []
    with suppress(type(failure) if failure else ()), session(None, object_store_mb=80, use_gpus=False) as joined:
        logs.append(joined.log)
        if asked:
            joined.keep_log()
        if failure:
            raise failure
    assert logs[0].exists() == kept
    assert not (logs[0].parent / "empty").exists()
    shutil.rmtree(logs[0].parent, ignore_errors=True)


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        (Exception, "the same command tries again"),
        (TimeoutError, "the same command tries again"),
        (RuntimeError, "the same command tries again"),
        (FileNotFoundError, "set RAY_TMPDIR to a folder that can be written and has a short path, such as /tmp"),
    ],
)
def test_a_ray_that_does_not_start_is_told(
    kind: type[Exception], remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where its log is kept

    def timed_out(**_: Any) -> None:
        raise kind("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", timed_out)
    told = f"^Ray could not be started here: The current node timed out during startup; {remedy}$"
    with pytest.raises(UnfinishedError, match=told), session(None, object_store_mb=80, use_gpus=False):
        pass
    absent = session("127.0.0.1:9", object_store_mb=80, use_gpus=False)
    with pytest.raises(InputError, match=r"no Ray cluster answers at 127\.0\.0\.1:9: The current node"), absent:
        pass


def test_a_mistake_in_how_ray_is_called_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def renamed() -> None: ...

    monkeypatch.setattr(ray, "init", renamed)
    with pytest.raises(TypeError), session(None, object_store_mb=80, use_gpus=False):
        pass


def test_an_attempt_to_start_ray_leaves_the_environment_as_it_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ray = pytest.importorskip("ray")

    def fail(**_: object) -> None:
        os.environ["RAY_AUTH_MODE"] = "token"  # as Ray does
        raise ConnectionError("none")

    monkeypatch.setattr(ray, "init", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where the log is kept
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "7")
    before = dict(os.environ)
    with pytest.raises(InputError), session("10.0.0.1:1", object_store_mb=80, use_gpus=False):
        pass
    assert dict(os.environ) == before


def test_the_ray_that_a_program_uses_already_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.delattr(ray, "init")
    monkeypatch.delattr(ray, "shutdown")
    starts = session(None, object_store_mb=80, use_gpus=False)
    with pytest.raises(InputError, match=r"uses Ray already, .*: call ray\.shutdown\(\) before"), starts:
        pass


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_an_embedded_ray_leaves_no_process_even_one_that_hangs_as_it_ends_and_no_setting(
    monkeypatch: pytest.MonkeyPatch, standing: StandingRay
) -> None:
    def hang_at_exit() -> int:  # travels to a worker by value, because it stands here
        def hang() -> None:
            while True:
                with suppress(BaseException):
                    time.sleep(1)

        atexit.register(hang)
        return os.getpid()

    from ray._common.usage.usage_lib import usage_stats_enabled

    monkeypatch.setattr(cluster_module, "EXIT_SECONDS", 1.0)
    at_first = signal.getsignal(signal.SIGINT)
    with session(None, object_store_mb=80, use_gpus=False):
        hanging = psutil.Process(on_worker(hang_at_exit, gpus=0))
        assert not usage_stats_enabled()
        # A scheduler ends a run as a person does. Ray leaves a person's way as it is: a background job has none.
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) is at_first
    _, alive = psutil.wait_procs([hanging], timeout=PATIENCE)
    assert not alive
    # Of Ray's token, which would keep other Rays from this process: actors there would die.
    with session(standing.address, object_store_mb=80, use_gpus=False):
        assert desk("text")("upper") == "TEXT"


@pytest.mark.slow
@pytest.mark.operations
def test_the_end_of_rays_own_process_ends_the_run_in_a_sentence(
    tmp_path: Path, clean_environment: dict[str, str]
) -> None:
    output, log = tmp_path / "output", tmp_path / "log"
    with log.open("wb") as stream:
        command = [sys.executable, toy_job.__file__, output, "0.5"]
        run = subprocess.Popen(command, env=clean_environment, stdout=stream, stderr=stream)
    wait_for(lambda: len(list(output.glob("squares/*.parquet"))), run, log)
    others = psutil.Process(run.pid).children(recursive=True)
    (raylet,) = started_by(run, "raylet/raylet")
    raylet.kill()
    assert run.wait(PATIENCE) == 3
    said = log.read_text().splitlines()
    assert said[-1].startswith(f"sptx: Ray's process on this node (raylet {raylet.pid}) has ended")
    assert not [line for line in said if "Traceback" in line or "raylet)" in line.replace(f"(raylet {raylet.pid})", "")]
    _, left = psutil.wait_procs(others, timeout=PATIENCE)
    assert not left


@pytest.mark.parametrize(
    ("nodes", "gpus", "asked", "pool"),
    [
        (1, 0, (None, None, None), Pool(2, 8, 0.0, True)),  # the cores once over, eight threads at most an actor
        (4, 0, (None, 4, None), Pool(16, 4, 0.0, True)),
        (1, 0, (2, None, None), Pool(2, 8, 0.0)),
        (1, 2, (None, None, None), Pool(2, 2, 1.0, True)),  # an actor a GPU
        (1, 2, (None, None, 0.5), Pool(4, 2, 0.5, True)),
        (1, 2, (None, 3, 0), Pool(5, 3, 0.0, True)),
    ],
)
def test_a_pool_uses_what_there_is_once(nodes: int, gpus: int, asked: tuple[Any, ...], pool: Pool) -> None:
    joined = Cluster(embedded=False, nodes=nodes, cpus=16.0 * nodes, cpus_per_node=16.0, gpus=gpus, log=Path("log"))
    assert choose_pool(joined, *asked) == pool


@pytest.mark.parametrize(("asked", "workers"), [((None, 3, 0), 6), ((None, None, 1), 3), ((None, None, 0.4), 6)])
def test_a_pool_does_not_count_what_no_single_node_has_left(asked: tuple[Any, ...], workers: int) -> None:
    by_node = ((16.0, 0.0), (4.0, 1.0), (2.0, 2.0))
    joined = Cluster(embedded=False, nodes=3, cpus=22.0, cpus_per_node=16.0, gpus=3.0, log=Path("log"), by_node=by_node)
    assert choose_pool(joined, *asked).workers == workers


@pytest.mark.parametrize(
    ("by_node", "workers", "pool"),
    [
        (((8.0, 1.0), (16.0, 0.0), (4.0, 0.0)), 1, Pool(1, 8, 0.0, most=1)),
        (((8.0, 1.0), (16.0, 0.0), (4.0, 0.0)), 5, Pool(2, 8, 0.0, elastic=True, most=5)),  # more when nodes join
        (((8.0, 1.0), (6.0, 0.0), (6.0, 0.0)), 2, Pool(2, 6, 0.0, most=2)),
        (((8.0, 1.0), (0.0, 0.0)), 2, None),
    ],
)
def test_a_second_pool_uses_the_nodes_without_a_gpu_once(by_node: Any, workers: int, pool: Pool | None) -> None:
    joined = Cluster(embedded=False, nodes=3, cpus=28, cpus_per_node=16, gpus=1, log=Path("log"), by_node=by_node)
    assert choose_second_pool(joined, Pool(1, 2, 1.0), workers) == pool
    assert choose_second_pool(joined, Pool(1, 2, 0.0), workers) is None


def test_an_embedded_pool_does_not_grow() -> None:
    joined = Cluster(embedded=True, nodes=1, cpus=16.0, cpus_per_node=16.0, gpus=0, log=Path("log"))
    assert choose_pool(joined, None, None, None) == Pool(2, 8, 0.0)


def test_what_no_node_has_is_refused() -> None:
    joined = Cluster(embedded=False, nodes=1, cpus=4.0, cpus_per_node=4.0, gpus=0.0, log=Path("log"))
    with pytest.raises(InputError, match="--gpus-per-worker 0"):
        choose_pool(joined, None, None, 1.0)
    with pytest.raises(InputError, match="--threads"):
        choose_pool(joined, None, 8, None)
