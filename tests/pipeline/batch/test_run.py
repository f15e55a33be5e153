"""The driver and its faults, each the real thing: killed actors, killed drivers, units that cannot be written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import psutil
import pytest
from material import toy_job
from material.disks import remount, small_disk
from material.fault_proxy import NO_BUCKET, REFUSED, Asked, Fault, faulty_bucket
from material.local_run import compute
from material.processes import PATIENCE, started_by, wait_for
from material.standing_ray import StandingRay
from material.toy_job import SquaresJob

from pipeline.batch import actors, cluster, patience
from pipeline.batch.cluster import Cluster
from pipeline.batch.history import read_history
from pipeline.batch.record import Execution, RunRecord, create_or_resume, read_record
from pipeline.batch.run import Outcome, run_job
from pipeline.batch.storage import PROBE, Store
from pipeline.settings import JobSettings
from sptx_core.errors import InputError, UnfinishedError

pytestmark = pytest.mark.slow

UNITS = 40
UNITS_BEHIND_S3 = 8


def start(output: Path, seconds: float, env: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """The toy job as a process of its own; `seconds` a unit."""
    with log.open("wb") as stream:
        command = [sys.executable, toy_job.__file__, str(output), str(seconds)]
        return subprocess.Popen(command, env=env, stdout=stream, stderr=stream)


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


class Disturbed(NamedTuple):
    """An output whose driver was killed, then whose actors were, with a unit that can never be written."""

    output: Path
    blocked: Path
    survivors: dict[Path, tuple[int, int]]
    """Part -> inode and time of those that the first process left."""
    said: str
    """By the second process, the same command, which ended by itself."""
    code: int
    orphans: list[psutil.Process]
    """Of the first process: its Ray."""


def identities(output: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in parts(output) if path.is_file()}


@pytest.fixture(scope="module")
def disturbed(
    undisturbed: Path,
    clean_environment: dict[str, str],
    standing: StandingRay,
    tmp_path_factory: pytest.TempPathFactory,
) -> Disturbed:
    """The first process starts a Ray, the second joins one."""
    folder = tmp_path_factory.mktemp("disturbed")
    output, logs = folder / "output", (folder / "first", folder / "second")
    blocked = output / parts(undisturbed)[4].relative_to(undisturbed)
    blocked.mkdir(parents=True)  # a folder where the part should be
    (blocked / "in the way").touch()

    first = start(output, 0.3, clean_environment, logs[0])
    wait_for(lambda: len(identities(output)) >= 3, first, logs[0])
    actors, orphans = started_by(first, "MapWorker"), psutil.Process(first.pid).children(recursive=True)
    first.kill()
    first.wait(PATIENCE)
    psutil.wait_procs(actors, timeout=PATIENCE)  # until then an actor may still commit what it has begun
    survivors = identities(output)
    assert len(survivors) < UNITS - 1, "killed too late to test anything"

    second = start(output, 0.1, clean_environment | {"RAY_ADDRESS": standing.address}, logs[1])
    wait_for(lambda: len(identities(output)) >= len(survivors) + 3, second, logs[1])
    actors = started_by(None, "MapWorker")
    assert actors
    for actor in actors:
        with suppress(psutil.NoSuchProcess):  # of an earlier run, about to end
            actor.kill()
    code = second.wait(PATIENCE)
    return Disturbed(output, blocked, survivors, logs[1].read_text(), code, orphans)


def test_a_killed_driver_is_run_again_and_computes_only_what_is_missing(disturbed: Disturbed) -> None:
    survivors = len(disturbed.survivors)
    assert f"({survivors} done, {UNITS - survivors} to do)" in disturbed.said
    now = identities(disturbed.output)
    assert {path: now[path] for path in disturbed.survivors} == disturbed.survivors


def test_killed_actors_are_replaced_and_a_unit_that_always_fails_leaves_the_rest_done(disturbed: Disturbed) -> None:
    assert disturbed.code == 3, disturbed.said
    assert len(identities(disturbed.output)) == UNITS - 1
    assert "1 failure" in disturbed.said
    recorded = json.loads((disturbed.output / "failures" / "000004.json").read_text())
    assert recorded["attempts"] == 3
    assert disturbed.blocked.name in recorded["error"]
    assert not (disturbed.output / "manifest.parquet").exists()


def test_what_failed_is_tried_again_by_the_next_run_and_all_bytes_are_those_of_an_undisturbed_one(
    disturbed: Disturbed, undisturbed: Path, tmp_path: Path, without_ray: None, digests: Any
) -> None:
    output = shutil.copytree(disturbed.output, tmp_path / "output")
    shutil.rmtree(output / disturbed.blocked.relative_to(disturbed.output))
    said: list[str] = []
    assert run_job(job(output), said.append).complete
    assert any(f"({UNITS - 1} done, 1 to do)" in line for line in said)
    assert not list(output.glob("failures/*"))
    assert digests(output) == digests(undisturbed)
    counted = [start.units for start in read_history(Store(output))]  # the first driver was killed within a minute
    assert counted == [UNITS - 1 - len(disturbed.survivors), 1]


def job(output: Path | None, count: int = 400) -> SquaresJob:
    """The job of `undisturbed`, executed as that was."""
    return SquaresJob(JobSettings(output=None if output is None else str(output), threads=1), count)


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


# Storage that fails


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch, without_ray: None) -> None:
    """Waits of fractions of a second, and no Ray."""
    for name, seconds in (("FIRST_PAUSE", 0.05), ("MAX_PAUSE", 0.05), ("QUIET_SECONDS", 0.1)):
        monkeypatch.setattr(patience, name, seconds)


def behind_s3(uri: str, storage_patience: int) -> SquaresJob:
    """A small job: each request takes its time."""
    return SquaresJob(JobSettings(output=f"{uri}/run", storage_patience=storage_patience), 10 * UNITS_BEHIND_S3)


def test_an_outage_in_the_middle_is_waited_for_which_the_progress_line_says(
    tmp_path: Path, quickly: None, capsys: pytest.CaptureFixture[str]
) -> None:
    compute(SquaresJob(JobSettings(output=str(tmp_path)), 10 * UNITS_BEHIND_S3))
    with faulty_bucket("outage") as (uri, proxy):
        refused: list[str] = []

        def outage(asked: Asked) -> Fault | None:
            """From the sixth part on, until the driver has asked twice whether storage can be written."""
            committed = sum(asked.method == "PUT" and "/squares/" in asked.path for asked in proxy.requests)
            if committed <= 5 or sum(path.endswith(PROBE) for path in refused) == 2:
                return None
            refused.append(asked.path)
            return REFUSED

        proxy.fault = outage
        outcome = run_job(behind_s3(uri, 60), print)
        assert (outcome.complete, outcome.failed, outcome.computed) == (True, {}, UNITS_BEHIND_S3)
        store = Store(f"{uri}/run")
        assert store.read_bytes("manifest.parquet") == (tmp_path / "manifest.parquet").read_bytes()
        assert not [*store.list("strikes/"), *store.list("failures/")]
    told = capsys.readouterr().err.splitlines()
    assert any("waiting for storage since" in line and "cannot be written" in line for line in told)
    assert "waiting" not in told[-1]


def test_storage_that_stays_away_ends_the_run_in_one_sentence_and_the_next_goes_on(quickly: None) -> None:
    with faulty_bucket("away") as (uri, proxy):
        proxy.fault = lambda asked: REFUSED if "/squares/000005" in asked.path and asked.method == "PUT" else None
        with pytest.raises(UnfinishedError) as raised:
            run_job(behind_s3(uri, 0), print)
        assert re.fullmatch(
            r"s3://away/run/squares/000005-\S+ cannot be written: .*credentials.*storage_patience.*goes on",
            str(raised.value),
        )
        store = Store(f"{uri}/run")
        assert len(store.list("squares/")) == 5
        assert not store.list("failures/")
        said: list[str] = []
        proxy.fault = lambda asked: REFUSED if proxy.requests.count(asked) < 3 and "manifest" in asked.path else None
        outcome = run_job(behind_s3(uri, 60), said.append)
        assert any("manifest.parquet cannot be written: " in line and "waiting for it" in line for line in said)
        assert (outcome.complete, outcome.computed) == (True, UNITS_BEHIND_S3 - 5)


def test_a_first_access_that_fails_is_bad_input(quickly: None) -> None:
    with faulty_bucket("forbidden") as (uri, proxy):
        proxy.fault = lambda _: REFUSED
        with pytest.raises(InputError, match=r"s3://forbidden/run cannot be listed: .*credentials"):
            run_job(behind_s3(uri, 60), print)
        proxy.fault = lambda asked: None if asked.method == "GET" else REFUSED
        with pytest.raises(InputError, match=r"s3://forbidden/run cannot be written: .*credentials"):
            run_job(behind_s3(uri, 60), print)
        proxy.fault = lambda _: NO_BUCKET
        with pytest.raises(InputError, match=r"s3://no-such-bucket/run.* cannot be .*make the bucket"):
            run_job(behind_s3("s3://no-such-bucket", 60), print)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 100 kB, a third of what the job needs."""
    with small_disk(tmp_path / "disk", "100k") as folder:
        yield folder


def test_a_full_or_read_only_disk_ends_the_run_at_once(undisturbed: Path, disk: Path, quickly: None) -> None:
    output = disk / "out"
    with pytest.raises(UnfinishedError, match=f"{output}/.* cannot be written: No space left on device; make room"):
        run_job(job(output), print)
    done = len(parts(output))
    assert 0 < done < UNITS
    remount(disk, "size=10m,ro")
    with pytest.raises(InputError, match=f"{output} cannot be written: Read-only file system"):
        run_job(job(output), print)
    remount(disk, "rw")
    assert not [path for path in output.rglob("*") if path.parent.name == "failures"]
    assert run_job(job(output), print).computed == UNITS - done
    assert (output / "manifest.parquet").read_bytes() == (undisturbed / "manifest.parquet").read_bytes()


def test_two_runs_at_once_leave_one_output(undisturbed: Path, tmp_path: Path, quickly: None, digests: Any) -> None:
    outcomes: list[Outcome] = []
    same = SquaresJob(JobSettings(output=str(tmp_path), workers=2, threads=1), 400)
    runs = [threading.Thread(target=lambda: outcomes.append(run_job(same, print))) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(PATIENCE)
    assert [outcome.complete for outcome in outcomes] == [True, True]
    assert digests(tmp_path) == digests(undisturbed)


def test_the_next_run_removes_hidden_files_of_writers_that_have_ended(
    undisturbed: Path, tmp_path: Path, quickly: None, digests: Any
) -> None:
    output = shutil.copytree(undisturbed, tmp_path / "output")
    program = "import os, sys; os.fsync = lambda _: os._exit(1); from pipeline.batch.storage import Store\n"
    program += "Store(sys.argv[1]).write_atomic('manifest.parquet', b'half')"
    subprocess.run([sys.executable, "-c", program, str(output)], check=False)
    assert list(output.glob(".manifest*"))
    assert run_job(job(output), print).complete
    assert not list(output.glob(".*"))
    assert digests(output) == digests(undisturbed)


def interrupted_after(count: int) -> Callable[..., Iterator[dict[str, Any]]]:
    """A pool in place of Ray's that a person interrupts after so many receipts."""

    def execute(rows: list[dict[str, Any]], make_call: Callable[[], Any], *_: Any, **__: Any) -> Iterator[Any]:
        call = make_call()
        for row in rows[:count]:
            yield call(row)
        raise KeyboardInterrupt

    return execute


def reads_of(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of parts that are read from now on."""
    names: list[str] = []
    read = Store.read_bytes

    def watched(self: Store, name: str) -> bytes:
        if name.startswith("squares/"):
            names.append(name)
        return read(self, name)

    monkeypatch.setattr(Store, "read_bytes", watched)
    return names


@pytest.mark.parametrize("saved", [True, False])
def test_the_manifest_has_the_same_bytes_whichever_way_its_lines_came(
    undisturbed: Path, tmp_path: Path, without_ray: None, monkeypatch: pytest.MonkeyPatch, saved: bool
) -> None:
    output = tmp_path / "output"
    with monkeypatch.context() as patched:
        patched.setattr(actors, "execute", interrupted_after(7))
        with pytest.raises(KeyboardInterrupt):
            run_job(job(output), print, progress=False)
    assert len(parts(output)) == 7
    (receipts,) = output.glob("receipts/*.parquet")
    if not saved:
        receipts.unlink()  # as if the driver had been killed, or an older version had begun the run
    read, said = reads_of(Store(output), monkeypatch), []
    assert run_job(job(output), said.append, progress=False).complete
    assert read == [] if saved else sorted(read) == [str(path.relative_to(output)) for path in parts(output)[:7]]
    assert any("reading 7 units for the manifest" in line for line in said) is not saved
    assert (output / "manifest.parquet").read_bytes() == (undisturbed / "manifest.parquet").read_bytes()
    assert not list(output.glob("receipts/*"))


def test_a_finished_run_lists_each_folder_once_and_another_run_its_parts_twice(
    tmp_path: Path, without_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[str] = []
    listing = Store.list
    monkeypatch.setattr(Store, "list", lambda self, prefix="": listed.append(prefix) or listing(self, prefix))
    for times in (2, 1):  # what is missing, and at the end what is there
        assert run_job(job(tmp_path), print, progress=False).complete
        assert listed.count("squares/") == times
        assert listed.count("receipts/") <= 2
        listed.clear()


def test_a_part_that_vanishes_and_is_computed_again_is_in_the_manifest_as_it_is(
    undisturbed: Path, tmp_path: Path, without_ray: None, digests: Any
) -> None:
    output = shutil.copytree(undisturbed, tmp_path / "output")
    parts(output)[3].unlink()
    said: list[str] = []
    assert run_job(job(output), said.append, progress=False).computed == 1
    assert not [line for line in said if "for the manifest" in line]  # the others' lines are taken over
    assert digests(output) == digests(undisturbed)


def test_inputs_that_differ_between_nodes_are_refused_by_name(
    tmp_path: Path, without_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    genome, network = tmp_path / "genome.fa", tmp_path / "network"
    two = Cluster(embedded=False, nodes=2, cpus=4, cpus_per_node=2, gpus=0, log=tmp_path / "log")
    monkeypatch.setattr(cluster, "session", lambda *_, **__: nullcontext(two))
    monkeypatch.setattr(SquaresJob, "local_inputs", lambda _: [str(network), str(genome)])

    def run(other: Callable[[], object], *, shared_output: bool = True) -> Outcome:
        """On two nodes, of which the second has what is there after `other()`."""
        monkeypatch.setattr(cluster, "on_every_node", lambda task: [task(), (other(), task())[1]])
        genome.write_bytes(b"ACGT")
        network.mkdir(exist_ok=True)
        settings = JobSettings(output=str(tmp_path / "output"), workers=1, threads=1, shared_output=shared_output)
        return run_job(SquaresJob(settings, 20), print, progress=False)

    for other, named in (
        (genome.unlink, genome),
        (lambda: genome.write_bytes(b"ACGTA"), genome),
        (network.rmdir, network),
    ):
        with pytest.raises(InputError, match=rf"^{named} is not the same file on every node of the cluster"):
            run(other)
    with pytest.raises(InputError, match="is a local path and the cluster has 2 nodes"):
        run(lambda: None, shared_output=False)
    assert not parts(tmp_path / "output")
    assert run(lambda: genome.write_bytes(b"TTTT")).complete  # sizes are compared


def test_nothing_of_a_killed_drivers_ray_is_left(disturbed: Disturbed) -> None:
    """The last test of this file: parts of it take up to a minute to notice."""
    assert disturbed.orphans
    _, alive = psutil.wait_procs(disturbed.orphans, timeout=PATIENCE)
    assert not alive
