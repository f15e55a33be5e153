"""The Dockerfile as far as it can be read; workflows/check-image.sh builds an image of it and runs sptx there."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text()
IGNORED = (ROOT / ".dockerignore").read_text().splitlines()
TARGETS = ("cpu", "cuda")


def stages() -> dict[str, list[str]]:
    """Name -> instructions of every stage, each on one line."""
    found: dict[str, list[str]] = {}
    for line in TEXT.replace("\\\n", " ").splitlines():
        if begun := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            found[begun[2]] = list(found.get(begun[1], []))  # of a stage that it goes on from
        elif found and line and not line.startswith("#"):
            list(found.values())[-1].append(line)
    return found


def test_what_is_copied_is_there_and_not_ignored() -> None:
    sources = {
        name
        for instructions in stages().values()
        for line in instructions
        if line.startswith("COPY") and "--from" not in line
        for name in line.split()[1:-1]
    }
    assert {"sptx_core", "pipeline", "setup.py"} <= sources
    assert IGNORED[IGNORED.index("*") - 1].startswith("#")  # nothing travels but what is named after it
    assert {line[1:] for line in IGNORED if line.startswith("!")} == sources
    assert all((ROOT / name).exists() for name in sources)
    assert "**/*.so" in IGNORED  # a library that was compiled for another Python or from other sources


def test_an_image_runs_as_nobody_in_particular() -> None:
    for target in TARGETS:
        users = [line for line in stages()[target] if line.startswith("USER")]
        assert users == ["USER 1000"]
        assert stages()[target][-1] == "USER 1000"  # after what needs root


def test_its_python_is_that_of_the_constraints_and_its_extras_exist() -> None:
    python = re.search(r"ARG PYTHON_IMAGE=python:(\d+\.\d+)\.\d+-slim-\w+$", TEXT, re.MULTILINE)
    assert python
    assert f"(Python {python[1]}," in (ROOT / "constraints.txt").read_text().splitlines()[0]
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for packages in ("packages", "cpu-packages"):
        (extras,) = (line for line in stages()[packages] if line.startswith("ARG EXTRAS="))
        assert {"s3", "cluster"} <= set(extras.partition("=")[2].split(",")) <= known.keys()


def test_the_script_that_checks_an_image_is_sound() -> None:
    script = ROOT / "workflows" / "check-image.sh"
    subprocess.run(["bash", "-n", script], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "--exclude=SC2016", script], check=True)  # what the image expands
    for target in TARGETS:
        assert f"--target {target}" in TEXT
