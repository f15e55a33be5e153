"""A Ray job as docs/running.md types it, on a real head with its dashboard."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from material.example import Example
from material.example import write as write_example
from material.installed import VERSION, install
from material.local_run import compute_tracks
from material.processes import SPTX

from pipeline import open_tracks

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).parent / "ray"
TYPED = "ray job submit --address http://HEAD:8265 -- sptx run --address auto ..."
PATIENCE = 120.0  # seconds
TOKEN = "0123456789abcdef" * 4

pytestmark = [pytest.mark.slow, pytest.mark.operations]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of the head and of whoever submits: `sptx` on PATH, a token, and no Ray of others."""
    folder = tmp_path_factory.mktemp("bin")
    words = " ".join(f"'{word}'" for word in SPTX)
    (folder / "sptx").write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    (folder / "sptx").chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PYTEST_"))}
    path = os.pathsep.join([str(folder), str(RAY.parent), kept["PATH"]])
    return {**kept, "PATH": path, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}


@pytest.fixture(scope="module")
def dashboard(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the dashboard of a head with two cores; it ends with its own process."""
    if find_spec("opencensus") is None or find_spec("aiohttp_cors") is None:
        pytest.skip("ray[default] is not installed (extra cluster)")
    folder = tmp_path_factory.mktemp("r")
    port, dashboard_port, agent_port = (free_port() for _ in range(3))
    command = [RAY, "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=2"]
    command += [f"--dashboard-port={dashboard_port}", f"--dashboard-agent-listen-port={agent_port}"]
    command += ["--include-dashboard=true", "--object-store-memory=100000000", "--min-worker-port=0"]
    command += ["--max-worker-port=0", f"--temp-dir={folder}", "--disable-usage-stats"]
    address = f"http://127.0.0.1:{dashboard_port}"
    with (folder / "log").open("wb") as log:
        head = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
    try:
        deadline = time.monotonic() + PATIENCE
        while not answers(f"{address}/api/version"):
            assert time.monotonic() < deadline, (folder / "log").read_text()
            assert head.poll() is None, (folder / "log").read_text()
            time.sleep(0.3)
        yield address
    finally:
        head.terminate()
        head.wait(timeout=60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(address: str) -> bool:
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {TOKEN}"})
    try:
        with urllib.request.urlopen(request, timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def submit(
    dashboard: str, env: dict[str, str], *arguments: object, options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """What the docs type, with an address and arguments."""
    words = TYPED.replace("http://HEAD:8265", dashboard).removesuffix(" ...").split()
    cut = words.index("--")
    command = [str(RAY), *words[1:cut], *options, *words[cut:], *map(str, arguments)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=300)


def test_the_docs_type_it() -> None:
    assert TYPED in (ROOT / "docs" / "running.md").read_text()


@pytest.fixture(scope="module")
def job(example: Example, tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    return [*example.inputs, "--output", tmp_path_factory.mktemp("output") / "table", "--workers", 1]


@pytest.fixture(scope="module")
def submitted(dashboard: str, environment: dict[str, str], job: list[object]) -> subprocess.CompletedProcess[str]:
    """The job, run once."""
    done = submit(dashboard, environment, *job)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_a_submitted_run_gives_the_table_of_a_run_here(
    submitted: subprocess.CompletedProcess[str], example: Example, job: list[object], tmp_path: Path
) -> None:
    assert "done: 34,740 bases" in submitted.stdout
    assert "sptx is taken from" not in submitted.stdout
    here = compute_tracks(example, tmp_path / "here").scan().collect()
    assert open_tracks(str(job[-3])).scan().collect().equals(here)


def test_a_refused_run_is_a_failed_job(
    submitted: subprocess.CompletedProcess[str], dashboard: str, environment: dict[str, str], job: list[object]
) -> None:
    refused = submit(dashboard, environment, *job, "--core", 500)
    assert refused.returncode == 1  # Ray's own, whatever the command's is
    assert "exit code 2" in refused.stdout + refused.stderr


def test_a_checkout_that_travels_with_a_job_is_named(
    submitted: subprocess.CompletedProcess[str],
    dashboard: str,
    environment: dict[str, str],
    job: list[object],
    tmp_path: Path,
) -> None:
    checkout, installed = tmp_path / "checkout", tmp_path / "installed"
    for package in ("pipeline", "sptx_core"):
        ignored = shutil.ignore_patterns("__pycache__", "*.so")  # as .gitignore does
        shutil.copytree(ROOT / package, checkout / package, ignore=ignored)
    install(installed)
    variables = json.dumps({"env_vars": {"PYTHONPATH": str(installed)}})
    options = ("--working-dir", str(checkout), "--runtime-env-json", variables)
    done = submit(dashboard, environment, *job, options=options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f", without its compiled engine; that folder hides sptx {VERSION}, which is installed in {installed}:" in (
        done.stdout
    )
