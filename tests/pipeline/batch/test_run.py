"""The driver and its faults, each the real thing: killed actors, killed drivers, units that cannot be written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest
from material import toy_job
from material.local_run import compute
from material.processes import PATIENCE, started_by, wait_for
from material.toy_job import SquaresJob

from pipeline.batch import cluster
from pipeline.batch.cluster import Cluster
from pipeline.batch.record import Execution, RunRecord, create_or_resume, read_record
from pipeline.batch.run import run_job
from pipeline.batch.storage import Store
from pipeline.settings import JobSettings
from sptx_core.errors import InputError

pytestmark = pytest.mark.slow

UNITS = 40


def start(output: Path, seconds: float, env: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """The toy job as a process of its own; `seconds` a unit."""
    with log.open("wb") as stream:
        command = [sys.executable, toy_job.__file__, str(output), str(seconds)]
        return subprocess.Popen(command, env=env, stdout=stream, stderr=stream)


def finish(output: Path, env: dict[str, str], log: Path, *, code: int = 0) -> str:
    """The same command again, to its end; what it said."""
    assert start(output, 0.0, env, log).wait(PATIENCE) == code, log.read_text()
    return log.read_text()


def parts(output: Path) -> list[Path]:
    return sorted(output.glob("squares/[!.]*.parquet"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole output, computed in this process; what Ray computes has the same bytes, as tests below show."""
    output = tmp_path_factory.mktemp("toy") / "output"
    compute(SquaresJob(JobSettings(output=str(output), workers=2, threads=1), 400))
    return output


def test_a_job_is_computed_whole_with_its_manifest(undisturbed: Path) -> None:
    rows = pl.concat(pl.read_parquet(path) for path in parts(undisturbed))
    assert rows["number"].to_list() == list(range(400))
    assert rows["name"].to_list() == list(map(str, range(400)))
    assert rows["square"].to_list() == [number**2 for number in range(400)]
    manifest = pl.read_parquet(undisturbed / "manifest.parquet")
    assert manifest["path"].to_list() == [str(path.relative_to(undisturbed)) for path in parts(undisturbed)]
    assert not list(undisturbed.glob("strikes/*"))


def test_actors_killed_mid_run_are_replaced_and_the_run_ends_by_itself(
    undisturbed: Path, tmp_path: Path, clean_environment: dict[str, str], digests: Any
) -> None:
    output, log = tmp_path / "output", tmp_path / "log"
    run = start(output, 0.1, clean_environment, log)
    wait_for(lambda: len(parts(output)) >= 3, run, log)
    actors = started_by(run, "MapWorker")
    assert actors
    for actor in actors:
        actor.kill()
    assert run.wait(PATIENCE) == 0, log.read_text()
    assert digests(output) == digests(undisturbed)


def test_a_killed_driver_is_run_again_and_computes_only_what_is_missing(
    undisturbed: Path, tmp_path: Path, clean_environment: dict[str, str], digests: Any
) -> None:
    output, log = tmp_path / "output", tmp_path / "log"
    run = start(output, 0.3, clean_environment, log)
    wait_for(lambda: len(parts(output)) >= 3, run, log)
    orphans = started_by(run, "MapWorker")
    run.kill()
    run.wait(PATIENCE)
    psutil.wait_procs(orphans, timeout=PATIENCE)  # until then an actor may still commit what it has begun
    survivors = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in parts(output)}
    assert len(survivors) < UNITS, "killed too late to test anything"

    told = finish(output, clean_environment, log)
    assert f"({len(survivors)} done, {UNITS - len(survivors)} to do)" in told
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in survivors} == survivors
    assert digests(output) == digests(undisturbed)


def test_a_unit_that_always_fails_leaves_the_rest_done_and_is_tried_again_by_the_next_run(
    undisturbed: Path, tmp_path: Path, clean_environment: dict[str, str], digests: Any
) -> None:
    output, log = tmp_path / "output", tmp_path / "log"
    blocked = parts(undisturbed)[4].relative_to(undisturbed)
    (output / blocked).mkdir(parents=True)  # a folder where the part should be: it can never be written
    (output / blocked / "in the way").touch()
    told = finish(output, clean_environment, log, code=3)
    assert "1 failures" in told
    assert len([path for path in parts(output) if path.is_file()]) == UNITS - 1
    recorded = json.loads((output / "failures" / "000004.json").read_text())
    assert recorded["attempts"] == 3
    assert blocked.name in recorded["error"]
    assert not (output / "manifest.parquet").exists()
    shutil.rmtree(output / blocked)
    assert f"({UNITS - 1} done, 1 to do)" in finish(output, clean_environment, log)
    assert not list(output.glob("failures/*"))
    assert digests(output) == digests(undisturbed)


def job(output: Path | None, count: int = 400) -> SquaresJob:
    return SquaresJob(JobSettings(output=None if output is None else str(output)), count)


def test_a_finished_job_starts_nothing_and_writes_nothing(undisturbed: Path) -> None:
    """Ray cannot be started in this process without a word: so it was not."""
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*") if path.is_file()}
    outcome = run_job(job(undisturbed), lambda line: pytest.fail(line))
    assert (outcome.complete, outcome.done, outcome.computed, outcome.missing, outcome.size) == (True, UNITS, 0, 0, 400)
    assert outcome.bytes == sum(path.stat().st_size for path in parts(undisturbed))
    assert {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*") if path.is_file()} == before


def test_a_lost_manifest_is_written_again(undisturbed: Path, tmp_path: Path, digests: Any) -> None:
    shutil.copytree(undisturbed, tmp_path / "output")
    (tmp_path / "output" / "manifest.parquet").unlink()
    assert run_job(job(tmp_path / "output"), print).complete
    assert digests(tmp_path / "output") == digests(undisturbed)


def test_an_output_that_is_missing_or_holds_another_run_is_refused(undisturbed: Path) -> None:
    with pytest.raises(InputError, match="--output"):
        run_job(job(None), print)
    before = sorted(undisturbed.rglob("*"))
    with pytest.raises(InputError, match=re.escape("holds another run (count: there 400, here 300)")):
        run_job(job(undisturbed, 300), print)
    assert sorted(undisturbed.rglob("*")) == before


def test_another_run_that_begins_while_ray_starts_is_not_overwritten(tmp_path: Path, monkeypatch: Any) -> None:
    def session(*_: object, **__: object) -> Any:
        """In place of Ray: while it starts, another driver begins another run at the same place."""
        other = job(tmp_path, 300)
        record = RunRecord(1, other.fields, Execution("cpu", "", "", "", 1, 1), {}, other.units, other.size)
        create_or_resume(Store(tmp_path), record, "", dict)
        return nullcontext(Cluster(embedded=True, nodes=1, cpus=2, cpus_per_node=2, gpus=0, log=tmp_path))

    monkeypatch.setattr(cluster, "session", session)
    with pytest.raises(InputError, match="holds another run"):
        run_job(job(tmp_path), print)
    record = read_record(Store(tmp_path), 1)
    assert record is not None
    assert record.fields["count"] == 300
