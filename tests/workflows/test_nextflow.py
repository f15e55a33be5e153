"""The Nextflow workflow: its commands are those of sptx; linted and run where Nextflow is on the path."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from material.example import write as write_example

from pipeline.cli.app import app

FOLDER = Path(__file__).parents[2] / "workflows" / "nextflow"
MODULE = FOLDER / "modules" / "sptx.nf"


def commands() -> list[list[str]]:
    """Words of each command of sptx in the module; values are as they stand there."""
    text = MODULE.read_text().replace("\\\\\n", " ")
    return [shlex.split(line.partition(">")[0]) for line in re.findall(r"^\s+(sptx .*)$", text, re.MULTILINE)]


@pytest.mark.parametrize("words", commands(), ids=lambda words: words[1])
def test_commands_and_flags_are_those_of_sptx(words: list[str]) -> None:
    program, name, *arguments = words
    command: Any = typer.main.get_command(app)
    known = {flag for parameter in command.commands[name].params for flag in parameter.opts}
    assert program == "sptx"
    assert {word for word in arguments if word.startswith("--")} <= known


def test_every_parameter_has_a_default_and_a_use() -> None:
    config = (FOLDER / "nextflow.config").read_text()
    declared = set(re.findall(r"^    (\w+) = ", config.partition("process {")[0], re.MULTILINE))
    used = set(re.findall(r"params\.(\w+)", config + (FOLDER / "main.nf").read_text()))
    assert declared == used | {"fasta", "gtf", "checkpoint", "table"}


@pytest.mark.slow
@pytest.mark.operations
def test_nextflow_lints_and_runs_it(tmp_path: Path) -> None:
    if shutil.which("nextflow") is None:
        pytest.skip("nextflow is not on the path")
    example = write_example(tmp_path / "example")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "sptx").write_text(
        f"#!/bin/bash\nexec env PYTHONPATH={FOLDER.parents[1]} {sys.executable} -c "
        "'from pipeline.cli import main; main()' \"$@\"\n"
    )
    (programs / "sptx").chmod(0o755)
    settings = {"fasta": example.genome, "gtf": example.annotation, "checkpoint": example.checkpoint}
    settings |= {"table": tmp_path / "tracks", "results": tmp_path / "results"}
    values = {name: str(path) for name, path in settings.items()}
    params = {**values, "cpus": 2, "memory": "2 GB", "queries": {"BETA2.tsv": "BETA2"}}
    (tmp_path / "mine.json").write_text(json.dumps(params))
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    for arguments in (["lint", FOLDER], ["run", FOLDER / "main.nf", "-params-file", tmp_path / "mine.json"]):
        done = subprocess.run(
            ["nextflow", *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "results/run.json").read_text())["complete"]
    assert json.loads((tmp_path / "results/verify.json").read_text())["sound"]
    assert (tmp_path / "results/BETA2.tsv").exists()
