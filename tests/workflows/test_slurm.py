"""workflows/slurm-ray.sh on a real Slurm with nodes on loopback: who joins, what is said, and going on where it was.

The run is the toy job of the workbench in place of `sptx run`: Ray, the workbench and Slurm are the real ones.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import polars as pl
import pytest
import typer
from material.slurm import reason_against, slurm

from pipeline.cli.app import app

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "workflows" / "slurm-ray.sh"
PATIENCE = 180.0  # seconds
UNITS = 30

# Stand in the folder that comes first on PATH. The first `ray start` of a worker node fails, once.
SPTX = """\
#!{python}
import sys
from material.toy_job import SquaresJob
from pipeline.batch.run import run_job
from pipeline.settings import JobSettings
_, run, address_flag, address, shared, output = sys.argv
assert [run, address_flag, shared] == ["run", "--address", "--shared-output"]
settings = JobSettings(output=output, address=address, shared_output=True, workers=1, threads=1)
sys.exit(0 if run_job(SquaresJob(settings, {units}0, 0.2), print).complete else 3)
"""
RAY = """\
#!/bin/bash
if [[ "$*" == *--address=* && ! -e {folder}/failed ]]; then
    touch {folder}/failed
    echo "this node has no ray" >&2
    exit 1
fi
exec {ray} "$@"
"""
APPTAINER = """\
#!/bin/bash
[[ "$1 $2 $3" == "exec --nv sptx.sif" ]] || exit 1
shift 3
echo "$1 $2" >> {folder}/inside
exec "$@"
"""
BROKEN_RAY = "#!/bin/bash\necho 'Address already in use' >&2\nexit 1\n"


def program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def test_the_script_is_sound() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "--exclude=SC2016", SCRIPT], check=True)  # what a node expands, not this shell


@pytest.mark.parametrize("command", ["run", "variants", "saturate"])
def test_its_flags_of_sptx_exist(command: str) -> None:
    (line,) = re.findall(
        r'^ *"\$\{inside\[@\]\}" (sptx "\$\{SPTX_COMMAND:-run\}" .*) &$', SCRIPT.read_text(), re.MULTILINE
    )
    named = {"SPTX_COMMAND": command} if command != "run" else {}
    program = f'ip=node port=1; set -- --output scores; printf "%s\\n" {line}'
    words = subprocess.run(
        ["bash", "-c", program], env=named, capture_output=True, text=True, check=True
    ).stdout.split()
    assert words == ["sptx", command, "--address", "node:1", "--shared-output", "--output", "scores"]
    group = typer.main.get_command(app)
    flags = {flag for option in group.commands[command].params for flag in option.opts}  # type: ignore[attr-defined]
    assert {"--address", "--shared-output", "--output"} <= flags


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment of the commands of a Slurm with two nodes."""
    if reason := reason_against():
        pytest.skip(reason)
    with slurm(tmp_path_factory.mktemp("slurm"), ["n1", "n2"]) as env:
        yield env


class Job:
    """A job that was submitted, with `ray` and `sptx` of the test's own in front of the others."""

    def __init__(self, env: Mapping[str, str], folder: Path, *arguments: object) -> None:
        path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), env["PATH"]])
        python_path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        kept = {name: value for name, value in env.items() if not name.startswith(("RAY_", "SLURM_JOB"))}
        self.env = {**kept, "PATH": path, "PYTHONPATH": python_path, "SPTX_JOIN_SECONDS": "100"}
        self.log = folder / "log"
        flags = ["--parsable", f"--output={self.log}", "--nodes=2", "--cpus-per-task=1", "--gpus-per-node=0"]
        self.id = self._call("sbatch", *flags, SCRIPT, *arguments).strip()

    def _call(self, *command: object) -> str:
        done = subprocess.run([*map(str, command)], env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def signal(self, name: str) -> None:
        """What Slurm sends to the script by `--signal=B:...`."""
        self._call("scancel", "--batch", f"--signal={name}", self.id)

    def field(self, name: str) -> str:
        found = re.search(rf"\b{name}=(\S+)", self._call("scontrol", "show", "job", self.id))
        assert found
        return found[1]

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.2)

    def end(self) -> str:
        """Its state and exit code once it has ended; the logs that Ray has kept go."""
        self.wait(lambda: self.field("JobState") in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"))
        for folder in re.findall(r"its logs in (\S+/sptx-\S+)", self.said()):
            shutil.rmtree(folder, ignore_errors=True)
        return f"{self.field('JobState')} {self.field('ExitCode')}"


def lines(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith("slurm-ray:")]


@pytest.mark.slow
@pytest.mark.operations
def test_a_run_begins_without_a_node_that_fails_and_goes_on_after_its_time_limit(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    program(tmp_path / "bin" / "sptx", SPTX.format(python=sys.executable, units=UNITS))
    program(tmp_path / "bin" / "ray", RAY.format(folder=tmp_path, ray=Path(sys.executable).parent / "ray"))
    program(tmp_path / "bin" / "apptainer", APPTAINER.format(folder=tmp_path))
    output = tmp_path / "squares"
    parts = output / "squares"
    job = Job({**cluster, "SPTX_IMAGE": "sptx.sif"}, tmp_path, output)
    job.wait(lambda: len(list(parts.glob("[!.]*.parquet"))) >= 2)
    job.signal("USR1")
    job.wait(lambda: job.field("Restarts") == "1")
    before = {path.name: path.stat().st_mtime_ns for path in parts.glob("[!.]*.parquet")}
    assert 2 <= len(before) < UNITS
    assert job.end() == "COMPLETED 0:0", job.said()

    told = lines(job.said())
    address = re.search(r"start 1: Ray's head on n1 at (127\.0\.0\.1:\d+)", told[0])
    assert address
    assert int(address[1].split(":")[1]) >= 20_000
    assert told[1] == "slurm-ray: 1 of 2 nodes joined; going on without n2"
    assert told[2] == f"slurm-ray: the time limit is near: job {job.id} is queued again and goes on where it was"
    assert "start 2: Ray's head on n1 at" in told[3]
    assert told[4:] == ["slurm-ray: 2 of 2 nodes joined"]
    inside = (tmp_path / "inside").read_text().splitlines()
    assert [line for line in inside if line != "ray start"] == ["python -", "sptx run"] * 2
    assert inside.count("ray start") == 4
    after = {path.name: path.stat().st_mtime_ns for path in parts.glob("[!.]*.parquet")}
    assert before.items() <= after.items()  # what was done is not done again
    assert pl.read_parquet(parts / "*.parquet")["number"].sort().to_list() == list(range(UNITS * 10))


@pytest.mark.slow
@pytest.mark.operations
def test_a_head_that_does_not_start_ends_the_job_with_a_sentence(cluster: dict[str, str], tmp_path: Path) -> None:
    program(tmp_path / "bin" / "ray", BROKEN_RAY)
    job = Job(cluster, tmp_path, tmp_path / "squares")
    assert job.end() == "FAILED 3:0"
    assert "0: Address already in use" in job.said()
    assert lines(job.said())[1:] == ["slurm-ray: Ray's head has not started on n1; the lines above say why"]
