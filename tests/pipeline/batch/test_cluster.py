"""A real cluster of several nodes on this machine: the job joins it, and survives the loss of a node."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Three nodes with two cores each; what was started is ended by its own handle."""
    monkeypatch.setenv("RAY_ENABLE_AUTO_CONNECT", "0")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    memory = 100 * 1024 * 1024
    head = {"num_cpus": 2, "object_store_memory": memory, "include_dashboard": False}
    started = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        started.add_node(num_cpus=2, object_store_memory=memory)
    yield started
    started.shutdown()


def flags_of(cluster: Any, example: Any, output: Path) -> list[Any]:
    job = [*example.inputs, "--output", output, "--windows-per-shard", 1]
    return ["run", *job, "--address", cluster.address, "--workers", 3, "--threads", 2]


@pytest.mark.filterwarnings("default")
def test_the_job_on_three_nodes_of_which_one_is_lost(
    cluster: Any, example: Any, table: Path, sptx: Run, tmp_path: Path, digests: Any
) -> None:
    output = tmp_path / "table"
    refused = sptx(*flags_of(cluster, example, output), code=2)
    assert "--shared-output" in refused.stderr
    assert not output.exists() or not list(output.glob("tracks/**/*.parquet"))

    lost = threading.Event()

    def lose_a_node() -> None:
        deadline = time.monotonic() + 120
        while len(list(output.glob("tracks/**/[!.]*.parquet"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        lost.set()

    killer = threading.Thread(target=lose_a_node)
    killer.start()
    done = sptx(*flags_of(cluster, example, output), "--shared-output")
    killer.join()
    assert lost.is_set()
    assert "3 x " in done.stderr
    sptx("verify", output)
    assert digests(output) == digests(table)
