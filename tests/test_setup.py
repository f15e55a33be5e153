"""How the library is compiled as the package is installed."""

import os
import platform
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CPP = Path("sptx_core/engine/native/cpp")
LIBRARIES = "sptx_core/engine/native/_native*.so"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        (platform.system(), platform.machine()) != ("Linux", "x86_64"), reason="compiled on x86-64 Linux alone"
    ),
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What compiling needs of the project."""
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "sptx_core/engine/native/sources.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / CPP, tmp_path / CPP)
    return tmp_path


def build(project: Path, compiler: str) -> list[str]:
    """Compile in place; the commands that a compiler which only writes them down was given."""
    log = project / "commands"
    log.write_text("")
    recorder = project / "recorder"
    recorder.write_text(f'#!/bin/sh\necho "$*" >> {log}\nwhile [ "$1" != -o ]; do shift; done\necho > "$2"\n')
    recorder.chmod(0o755)
    own = {"CC": compiler, "CXX": compiler}
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(command, cwd=project, env={**os.environ, **own}, check=True, capture_output=True)
    return log.read_text().splitlines()


def test_each_source_is_compiled_for_its_own_instructions(project: Path) -> None:
    commands = build(project, str(project / "recorder"))
    instructions = {
        word.rsplit("/", 1)[1]: {flag for flag in command.split() if flag.startswith("-m")}
        for command in commands
        for word in command.split()
        if word.endswith(".cpp")
    }
    assert instructions["native.cpp"] == set()
    assert "-mavx512f" in instructions["float32.cpp"] < instructions["bfloat16.cpp"] < instructions["matrix_units.cpp"]
    assert instructions["bfloat16.cpp"] - instructions["float32.cpp"] == {"-mavx512bf16"}
    assert instructions["matrix_units.cpp"] - instructions["bfloat16.cpp"] == {"-mamx-tile", "-mamx-bf16"}
    assert instructions.keys() == {path.name for path in (ROOT / CPP).glob("*.cpp")}
    assert all(f"{name[:-4]}.o" in commands[-1] for name in instructions)  # all are linked
    assert len(list(project.glob(LIBRARIES))) == 1


def test_it_is_compiled_again_when_a_source_changes(project: Path) -> None:
    recorder = str(project / "recorder")
    assert build(project, recorder)
    assert not build(project, recorder)
    later = next(project.glob(LIBRARIES)).stat().st_mtime + 1000
    os.utime(project / CPP / "ops" / "vectors.h", (later, later))
    assert build(project, recorder)


def test_the_package_has_the_licences_of_all_of_its_files() -> None:
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    notices = {path.relative_to(ROOT).as_posix() for path in (ROOT / "pipeline").rglob("NOTICE*.txt")}
    assert {"LICENSE", *notices} == set(told["license-files"])
    # "MIT licence" is a head of igv.js' notices, CC BY 4.0 in words in the example's.
    assert {"Apache-2.0", "CC-BY-4.0", "MIT", "ISC", "Zlib", "BSD-3-Clause"} <= set(told["license"].split(" AND "))


def test_without_a_compiler_installation_goes_on(project: Path) -> None:
    build(project, "false")
    assert not list(project.glob(LIBRARIES))
