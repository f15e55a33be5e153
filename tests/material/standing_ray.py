"""One Ray that tests of several files join, and an object store that its workers reach.

A start of Ray takes ten seconds of a processor and more, and workers have the environment in which their Ray was
started. So the files of `JOINING` run one after the other in one process (tests/conftest.py): the first that needs this
Ray starts it, and it ends after the last of them.
"""

from __future__ import annotations

import os
import warnings
from contextlib import ExitStack
from typing import Any, NamedTuple

import psutil
import pytest
from material.processes import end
from material.servers import s3_server

JOINING = (
    "tests/pipeline/batch/test_cluster.py",
    "tests/pipeline/finetuning/test_finetune.py",
    "tests/pipeline/batch/test_run.py",
    "tests/pipeline/cli/test_compute.py",
    "tests/pipeline/test_whole_job.py",
    "tests/pipeline/variants/test_run.py",
)
CPUS = 4
"""What it offers; nobody is kept from using more than there are."""
OBJECT_STORE = 100 * 1024 * 1024


class StandingRay(NamedTuple):
    """A Ray of one node."""

    cluster: Any
    """To add nodes to it and to remove them, Ray's `ray.cluster_utils.Cluster`."""
    storage: dict[str, str]
    """The environment that leads to the object store."""

    @property
    def address(self) -> str:
        """What `--address` takes."""
        return str(self.cluster.address)


_standing: list[tuple[StandingRay, ExitStack]] = []


def standing_ray() -> StandingRay:
    """The Ray of this process, started if it does not stand."""
    if not _standing:
        with ExitStack() as stack:
            started = _start(stack)
            _standing.append((started, stack.pop_all()))
    return _standing[0][0]


def end_standing_ray() -> None:
    """End it, if it stands, and what it has started."""
    while _standing:
        started = psutil.Process().children(recursive=True)
        with warnings.catch_warnings(action="ignore"):  # of Ray's open files
            _standing.pop()[1].close()
        end(started)


def _start(stack: ExitStack) -> StandingRay:
    from ray.cluster_utils import Cluster  # late: few processes of tests need Ray

    from pipeline.batch.cluster import EMBEDDED_SYSTEM, EMBEDDED_TRAIN

    storage = stack.enter_context(s3_server())
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(action="ignore"):
        for name in [name for name in os.environ if name.startswith(("RAY_", "AWS_", "FSSPEC_"))]:
            patch.delenv(name)
        own = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "MALLOC_ARENA_MAX": "1"}
        for name, value in (own | EMBEDDED_TRAIN | storage).items():
            patch.setenv(name, value)
        head = {"num_cpus": CPUS, "object_store_memory": OBJECT_STORE, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args={**head, "_system_config": EMBEDDED_SYSTEM})
    stack.callback(cluster.shutdown)
    return StandingRay(cluster, storage)
