"""The Snakemake workflow, linted and formatted by its own tools, and run on the example with a job that fails once.

Snakemake and snakefmt are not dependencies of sptx: they stand in an environment of their own, whose `bin` the variable
SPTX_SNAKEMAKE names, or on the path.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml
from material.example import write as write_example

from pipeline.tracks.reader import open_tracks

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[2] / "workflows" / "snakemake"
SNAKEFILE = FOLDER / "Snakefile"
PLACES = os.pathsep.join(filter(None, (os.environ.get("SPTX_SNAKEMAKE"), os.environ["PATH"])))

# Stands before `sptx`: the first `run` is killed when it has written two parts.
KILLED_ONCE = """\
#!/bin/bash
sptx=({command})
if [ "$1" = run ] && [ ! -e {mark} ]; then
    touch {mark}
    setsid "${{sptx[@]}}" "$@" > /dev/null &
    run=$!
    until [ "$(find {table}/tracks -name '*.parquet' 2> /dev/null | wc -l)" -ge 2 ]; do
        kill -0 $run || exit 1
        sleep 0.05
    done
    kill -9 -- -$run
    exit 137
fi
exec "${{sptx[@]}}" "$@"
"""


def call(tool: str, *arguments: object, folder: Path, path: str = PLACES) -> str:
    """What a tool printed; it must succeed."""
    program = shutil.which(tool, path=PLACES)
    if program is None:
        pytest.skip(f"{tool} is neither on the path nor in $SPTX_SNAKEMAKE")
    environment = {**os.environ, "PATH": path, "XDG_CACHE_HOME": str(folder / "cache"), "HOME": str(folder)}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [program, *map(str, arguments)], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_tools_find_nothing_to_mend(tmp_path: Path) -> None:
    assert "Congratulations" in call("snakemake", "--lint", "--snakefile", SNAKEFILE, folder=tmp_path)
    call("snakefmt", "--check", "--line-length", 120, SNAKEFILE, folder=tmp_path)


def test_a_job_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    example, table = write_example(tmp_path / "example"), tmp_path / "tracks"
    settings = {"fasta": example.genome, "gtf": example.annotation, "checkpoint": example.checkpoint, "table": table}
    settings = {name: str(path) for name, path in settings.items()}
    settings |= {"flags": "--windows-per-shard 4", "threads": 2, "queries": {"BETA2.tsv": "BETA2"}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    programs = tmp_path / "programs"
    programs.mkdir()
    command = f"{sys.executable} -c 'from pipeline.cli import main; main()'"
    root = FOLDER.parents[1]
    script = KILLED_ONCE.format(command=f"env PYTHONPATH={root} {command}", mark=tmp_path / "mark", table=table)
    (programs / "sptx").write_text(script)
    (programs / "sptx").chmod(0o755)
    flags = ("--snakefile", SNAKEFILE, "--configfile", tmp_path / "mine.yaml", "--cores", 2)
    call("snakemake", *flags, folder=tmp_path, path=f"{programs}{os.pathsep}{PLACES}")

    outcome = json.loads((tmp_path / "results/run.json").read_text())
    assert outcome["complete"]
    assert 0 < outcome["computed"] < outcome["units"]  # what the killed job had written was kept
    assert json.loads((tmp_path / "results/verify.json").read_text())["sound"]
    rows = pl.read_csv(tmp_path / "results/queries/BETA2.tsv", separator="\t")
    assert len(rows) == len(open_tracks(str(table)).gene("BETA2"))
    assert "Nothing to be done" in call("snakemake", *flags, folder=tmp_path)
