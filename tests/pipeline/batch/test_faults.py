"""Faults, each the real thing: killed actors, killed drivers, a shard that cannot be written, a node that is lost."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest
from material.processes import PATIENCE, start, started_by, wait_for

from pipeline.tracks.reader import open_tracks

Run = Callable[..., subprocess.CompletedProcess[str]]


def committed(output: Path) -> list[Path]:
    return sorted(output.glob("tracks/**/[!.]*.parquet"))


@pytest.fixture
def job(example: Any, tmp_path: Path) -> list[str]:
    return ["run", *example.inputs, "--output", str(tmp_path / "table"), "--windows-per-shard", "1"]


def test_an_actor_killed_mid_run_is_replaced_and_the_table_is_the_same(
    job: list[str], table: Path, tmp_path: Path, clean_environment: dict[str, str], digests: Any
) -> None:
    output, log = tmp_path / "table", tmp_path / "log"
    run = start(job, clean_environment, log)
    wait_for(lambda: len(committed(output)) >= 3, run, log)
    actors = started_by(run, "MapWorker")
    assert actors
    for actor in actors:
        actor.kill()
    assert run.wait(PATIENCE) == 0, log.read_text()
    assert digests(output) == digests(table)


def test_a_driver_killed_mid_run_is_run_again_and_computes_only_what_is_missing(
    job: list[str], table: Path, tmp_path: Path, sptx: Run, clean_environment: dict[str, str], digests: Any
) -> None:
    output, log = tmp_path / "table", tmp_path / "log"
    run = start(job, clean_environment, log)
    wait_for(lambda: len(committed(output)) >= 3, run, log)
    orphans = started_by(run, "MapWorker")
    run.kill()
    run.wait(PATIENCE)
    psutil.wait_procs(orphans, timeout=PATIENCE)  # until then the actor may still commit what it has begun
    survivors = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in committed(output)}
    assert len(survivors) < len(committed(table)), "killed too late to test anything"
    again = sptx(*job)
    assert f"({len(committed(table)) - len(survivors)} computed now)" in again.stderr
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in survivors} == survivors
    assert digests(output) == digests(table)


def test_a_shard_that_always_fails_leaves_the_rest_done_and_is_named_with_its_cause(
    job: list[str], table: Path, tmp_path: Path, sptx: Run
) -> None:
    output = tmp_path / "table"
    blocked = committed(table)[4].relative_to(table)
    (output / blocked).mkdir(parents=True)  # a folder where the part should be: it can never be written
    (output / blocked / "in the way").touch()
    run = sptx(*job, code=3)
    shard = int(blocked.name.split("-")[0])
    assert f"shard {shard} failed" in run.stderr
    assert len([path for path in committed(output) if path.is_file()]) == len(committed(table)) - 1
    status = sptx("status", output, code=3).stdout
    assert f"shard {shard} failed" in status
    assert "1 failed" in status
    assert blocked.name in status
    sptx("verify", output, code=3)
    rows, whole = (open_tracks(str(root)).scan().collect().height for root in (output, table))
    assert rows == whole - rows_of(table, shard)
    shutil.rmtree(output / blocked)
    assert "(1 computed now)" in sptx(*job).stderr
    sptx("verify", output)
    assert not list(output.glob("failures/*"))


def rows_of(table: Path, shard: int) -> int:
    plan = pl.read_parquet(table / "plan.parquet")
    return int(plan.filter(pl.col("shard") == shard)["rows"].item())


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_how_to_go_on_and_leaves_no_process(
    job: list[str], tmp_path: Path, clean_environment: dict[str, str], sent: signal.Signals
) -> None:
    output, log = tmp_path / "table", tmp_path / "log"
    run = start(job, clean_environment, log)
    wait_for(lambda: len(committed(output)) >= 2, run, log)
    children = psutil.Process(run.pid).children(recursive=True)
    run.send_signal(sent)
    assert run.wait(PATIENCE) == 130
    assert "same command again" in log.read_text()
    assert "Traceback" not in log.read_text()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
