"""A second crew on CPUs, on real nodes of one machine, one of which says that it has a GPU."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from material.crews_job import CPU, GPU, QUICK, CrewsJob
from material.local_run import compute
from material.processes import PATIENCE, started_by
from material.toy_job import SquaresJob

from pipeline.batch.cluster import EMBEDDED_SYSTEM, Cluster, Pool
from pipeline.batch.crews import choose_second
from pipeline.batch.run import Outcome, run_job
from pipeline.settings import JobSettings

MEMORY = 100 * 1024 * 1024
# Another address than the head's: a driver belongs to a node of its own address, and ends with it.
NODE = {"num_cpus": 2, "object_store_memory": MEMORY, "node_ip_address": "127.0.0.2"}


def settings(output: Path, **others: Any) -> JobSettings:
    return JobSettings(output=str(output), shared_output=True, cpu_workers=2, **others)


# The choice


def joined(*by_node: tuple[float, float]) -> Cluster:
    cpus, gpus = (sum(of) for of in zip(*by_node, strict=True))
    most = max(cpus for cpus, _ in by_node)
    return Cluster(False, len(by_node), cpus, most, gpus, Path("log"), by_node)


def test_the_engine_that_was_asked_for_is_that_of_the_gpus(tmp_path: Path) -> None:
    job = CrewsJob(settings(tmp_path, engine="triton", batch=64, threads=3), 10)
    second = choose_second(job, joined((8, 1), (6, 0)), Pool(1, 3, 1.0), print)
    assert second is not None
    assert (second.pool, second.execution.hardware) == (Pool(1, 6, 0.0, elastic=True, most=2), CPU)
    assert (job.settings.engine, job.settings.batch, job.settings.threads) == ("triton", 64, 3)
    (asked,) = job.asked
    assert (asked.engine, asked.batch, asked.threads, asked.output) == ("auto", None, None, job.settings.output)


@pytest.mark.parametrize(
    ("cluster", "pool", "why"),
    [
        (joined((8, 1), (0, 0)), Pool(1, 2, 1.0), "each node with CPUs has a GPU"),
        (joined((8, 0)), Pool(1, 8, 0.0), "no worker holds a GPU, so that all compute on CPUs"),
    ],
)
def test_a_crew_that_is_of_no_use_is_said(tmp_path: Path, cluster: Cluster, pool: Pool, why: str) -> None:
    said: list[str] = []
    job = CrewsJob(settings(tmp_path), 10)
    assert choose_second(job, cluster, pool, said.append) is None
    assert said == [f"--cpu-workers 2 is not used: {why}"]
    assert not job.asked


# Real nodes


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A head without CPUs, and a maker of nodes."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # workers import this file
        patch.setenv("RAY_ENABLE_AUTO_CONNECT", "0")
        system = {**EMBEDDED_SYSTEM, "health_check_period_ms": 1000, "health_check_timeout_ms": 2000}
        head = {"num_cpus": 0, "object_store_memory": MEMORY, "include_dashboard": False, "_system_config": system}
        started = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
        yield started
        started.shutdown()


def run(nodes: Any, output: Path, count: int = 600, **options: Any) -> tuple[CrewsJob, Outcome, list[str]]:
    said: list[str] = []
    job = CrewsJob(settings(output, address=nodes.address), count, **options)
    return job, run_job(job, said.append, progress=False), said


def once_at_work(output: Path, hardware: str, then: Any) -> threading.Thread:
    """A thread that does `then()` as soon as this hardware has computed a few units."""

    def wait() -> None:
        deadline = time.monotonic() + 120
        while len(list(Path(f"{output}-told").glob(f"*-{hardware}"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        then()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def workers_left() -> list[psutil.Process]:
    """The second crew's actors of the nodes here; another program on this machine may have some as well."""
    return started_by(None, "_SecondActor")


@pytest.mark.slow
@pytest.mark.operations
@pytest.mark.filterwarnings("ignore")
def test_both_crews_compute_and_the_loss_of_either_is_borne(nodes: Any, tmp_path: Path, digests: Any) -> None:
    undisturbed = tmp_path / "undisturbed"
    compute(SquaresJob(JobSettings(output=str(undisturbed), threads=1), 600))
    parts = {name: digest for name, digest in digests(undisturbed).items() if name.startswith("squares/")}

    def same(output: Path) -> bool:
        return {name: digest for name, digest in digests(output).items() if name.startswith("squares/")} == parts

    gpu, cpu = nodes.add_node(**NODE, num_gpus=1), nodes.add_node(**NODE)
    job, outcome, said = run(nodes, tmp_path / "both")
    assert outcome.complete
    assert same(tmp_path / "both")
    assert job.by(CPU) > 2
    assert job.by(GPU) > 10
    hands = Counter(path.name.split("-")[0] for path in job.told.iterdir())
    assert sum(hands.values()) - len(hands) <= 12  # computed by both, where the crews met
    assert f"besides, from the last of them on: 1 x {CPU}, batch 1, 2 threads" in said
    assert sum(f"some units run on {CPU}" in line for line in said) == 1

    begun = time.monotonic()  # a unit on a CPU takes longer than all on the GPU
    job, outcome, _ = run(nodes, tmp_path / "slow", 100, cpu_seconds=2 * PATIENCE)
    assert (outcome.complete, job.by(CPU)) == (True, 0)
    assert time.monotonic() - begun < PATIENCE
    deadline = time.monotonic() + PATIENCE
    while workers_left() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not workers_left()

    job, outcome, said = run(nodes, tmp_path / "stillborn", 300, cpu_seconds=-1.0, gpu_seconds=2.0)
    assert (outcome.complete, job.by(GPU)) == (True, 30)
    (sentence,) = [line for line in said if "die again and again" in line]
    assert re.search(r"[3-9] deaths without a result in between; those on GPUs go on", sentence)

    killer = once_at_work(tmp_path / "no-cpu", CPU, lambda: nodes.remove_node(cpu, allow_graceful=False))
    job, outcome, _ = run(nodes, tmp_path / "no-cpu")
    killer.join()
    assert outcome.complete
    assert job.by(CPU) > 0
    assert same(tmp_path / "no-cpu")

    nodes.add_node(**NODE)
    killer = once_at_work(tmp_path / "no-gpu", GPU, lambda: nodes.remove_node(gpu, allow_graceful=False))
    job, outcome, _ = run(nodes, tmp_path / "no-gpu", cpu_seconds=QUICK)
    killer.join()
    assert outcome.complete
    assert job.by(GPU) > 0
    assert same(tmp_path / "no-gpu")
