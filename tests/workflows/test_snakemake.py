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
from material.local_run import compute_tracks

pytestmark = [pytest.mark.slow, pytest.mark.operations]

FOLDER = Path(__file__).parents[2] / "workflows" / "snakemake"
SNAKEFILE = FOLDER / "Snakefile"
PLACES = os.pathsep.join(filter(None, (os.environ.get("SPTX_SNAKEMAKE"), os.environ["PATH"])))

# Stands in place of `sptx`, of which the first `run` is killed.
KILLED_ONCE = """\
#!/bin/bash
if [ "$1" = run ] && [ ! -e {mark} ]; then
    touch {mark}
    kill -9 $$
fi
exec env PYTHONPATH={root} {python} -c 'from pipeline.cli import main; main()' "$@"
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


def interrupt(table: Path) -> int:
    """Take from a table what a killed run would not have written; how many shards are kept."""
    (table / "manifest.parquet").unlink()
    parts = sorted((table / "tracks").rglob("*.parquet"))
    for part in parts[3:]:
        part.unlink()
        (table / "sites" / part.relative_to(table / "tracks")).unlink()
    return len(parts[:3])


def test_the_tools_find_nothing_to_mend(tmp_path: Path) -> None:
    assert "Congratulations" in call("snakemake", "--lint", "--snakefile", SNAKEFILE, folder=tmp_path)
    call("snakefmt", "--check", "--line-length", 120, SNAKEFILE, folder=tmp_path)


def test_a_job_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    example, table = write_example(tmp_path / "example"), tmp_path / "tracks"
    settings = {"fasta": example.genome, "gtf": example.annotation, "checkpoint": example.checkpoint, "table": table}
    settings = {name: str(path) for name, path in settings.items()}
    settings |= {"flags": "--windows-per-shard 4", "threads": 2, "queries": {"BETA2.tsv": "BETA2"}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    begun = compute_tracks(example, table, windows_per_shard=4)
    kept = interrupt(table)
    programs = tmp_path / "programs"
    programs.mkdir()
    script = KILLED_ONCE.format(mark=tmp_path / "mark", root=FOLDER.parents[1], python=sys.executable)
    (programs / "sptx").write_text(script)
    (programs / "sptx").chmod(0o755)
    flags = ("--snakefile", SNAKEFILE, "--configfile", tmp_path / "mine.yaml", "--cores", 2)
    call("snakemake", *flags, folder=tmp_path, path=f"{programs}{os.pathsep}{PLACES}")

    outcome = json.loads((tmp_path / "results/run.json").read_text())
    assert outcome["complete"]
    assert outcome["computed"] == outcome["units"] - kept  # what the killed job had written was left alone
    assert json.loads((tmp_path / "results/verify.json").read_text())["sound"]
    rows = pl.read_csv(tmp_path / "results/queries/BETA2.tsv", separator="\t")
    assert len(rows) == len(begun.gene("BETA2"))
    assert "Nothing to be done" in call("snakemake", *flags, folder=tmp_path)
