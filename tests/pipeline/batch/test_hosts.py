"""A cluster of three hosts, which are real to Linux: a node that joins late, is lost and comes back, a cut cable, and a
lost head. One cluster and one run after the other, because each host's Ray takes seconds to start.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from material import hosts as material
from material import hosts_job
from material.hosts import Host, end_group, seconds_until, start_node
from material.hosts_job import HostsJob
from material.local_run import compute

from pipeline.batch.run import run_job
from pipeline.settings import JobSettings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.operations,
    pytest.mark.skipif(bool(material.why_not()), reason=material.why_not() or "hosts can be made"),
]

NUMBERS, SECONDS_A_UNIT = 4000, 0.5
PATIENCE_AT_FIRST = 120.0  # until there is work at all
PATIENCE = 20.0  # of the driver for its head; longer than the cut that it is to bear with
CUT = 12.0
JOINING = 30.0  # within which a node that joins has work


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name, for sockets."""
    path = Path(tempfile.mkdtemp(prefix="h"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def env(folder: Path, clean_environment: dict[str, str]) -> dict[str, str]:
    tests = str(Path(__file__).parents[2])
    product = str(Path(__file__).parents[3])
    quick = {"RAY_health_check_period_ms": "1000", "RAY_health_check_timeout_ms": "2000"}
    quick["RAY_gcs_rpc_server_reconnect_timeout_s"] = "30"  # for which a node's process bears with a silent head
    idle = {"RAY_num_workers_soft_limit": "0", "RAY_enable_metrics_collection": "0", "RAY_event_stats": "0"}
    mine = {"TMPDIR": str(folder / "t"), "RAY_AUTH_MODE": "disabled", "PYTHONPATH": f"{product}:{tests}"}
    return {**clean_environment, **quick, **idle, **mine}


def start_job(host: Host, output: Path, env: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, hosts_job.__file__, output, NUMBERS, SECONDS_A_UNIT, PATIENCE]
    with log.open("ab") as stream:
        return subprocess.Popen(host.enter(command), env=env, stdout=stream, stderr=stream, start_new_session=True)


def computed_by(output: Path, host: Host) -> int:
    return len(list(Path(f"{output}-hosts").glob(f"*-{host.name}")))


def test_nodes_come_and_go_and_the_head_is_lost(
    folder: Path, env: dict[str, str], without_ray: None, digests: Any, request: pytest.FixtureRequest
) -> None:
    output, log = folder / "output", folder / "log"
    with material.hosts(3, folder) as (head, here, late):
        start_node(head, head, 0, env)
        start_node(here, head, 1, env)
        run = start_job(here, output, env, log)
        request.addfinalizer(lambda: end_group(run))

        def work_of(host: Host) -> float:
            before = computed_by(output, host)
            return seconds_until(lambda: computed_by(output, host) > before, JOINING, run, log)

        seconds_until(lambda: computed_by(output, here), PATIENCE_AT_FIRST, run, log)
        start_node(late, head, 1, env)
        print(f"a node that joined late had work after {work_of(late):.1f} s")

        here.plug("down")
        time.sleep(CUT)
        here.plug("up")
        print(f"work after a cut of {CUT:.0f} s: here {work_of(here):.1f} s, there {work_of(late):.1f} s")

        late.die()
        print(f"work after the loss of a node: {work_of(here):.1f} s")
        late.boot()
        start_node(late, head, 1, env)
        print(f"a node that came back had work after {work_of(late):.1f} s")

        head.plug("down")
        assert run.wait(PATIENCE + 30) == 3, log.read_text()
        said = log.read_text()
        assert "Traceback" not in said
        assert said.splitlines()[-1].startswith("sptx: the head of the Ray cluster, 10.77.0.1:6379, has not answered")
        print(f"nothing of the run was left on any host {seconds_until_empty(here, late):.0f} s later")
    finish(output)
    compute(job(folder / "undisturbed"))
    assert digests(output) == digests(folder / "undisturbed")


def seconds_until_empty(*those: Host) -> float:
    """How long anything of the run is left; Ray's node process ends it. What `ray start` itself starts may stay."""
    begun = time.monotonic()
    while left := [line for host in those for line in host.processes() if "MapWorker" in line or "hosts_job" in line]:
        assert time.monotonic() - begun < 120, left
        time.sleep(0.5)
    return time.monotonic() - begun


def finish(output: Path) -> None:
    """The same job goes on where it was."""
    said: list[str] = []
    assert run_job(job(output), said.append).complete
    assert not any("(0 done" in line for line in said)


def job(output: Path) -> HostsJob:
    Path(f"{output}-hosts").mkdir(exist_ok=True)
    return HostsJob(JobSettings(output=str(output), threads=1), NUMBERS)
