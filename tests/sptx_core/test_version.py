from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from material.installed import VERSION, install

from sptx_core.version import __version__, shadowed

SOURCES = Path(__file__).parents[2] / "sptx_core"


def test_the_version_is_that_of_the_installed_package() -> None:
    assert __version__ == version("sptx")


def test_sources_that_were_never_installed_say_so(tmp_path: Path) -> None:
    program = f"import runpy; print(runpy.run_path({str(SOURCES / 'version.py')!r})['__version__'])"
    isolated = [sys.executable, "-I", "-S", "-c", program]  # without site-packages
    done = subprocess.run(isolated, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "0+unknown"


def test_an_installed_sptx_that_another_folder_hides_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shadowed() is None
    install(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    said = shadowed()
    assert said is not None
    assert f"sptx is taken from {SOURCES.parent}" in said
    assert f"hides sptx {VERSION}, which is installed in {tmp_path}:" in said


def test_an_editable_install_and_what_a_build_leaves_hide_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "built", "SOURCES.txt")
    install(tmp_path / "editable")
    (tmp_path / "editable" / "sptx_core" / "version.py").unlink()  # its sources are elsewhere
    install(tmp_path / "older")
    for name in ("older", "editable", "built"):  # the last one comes first
        monkeypatch.syspath_prepend(tmp_path / name)
    assert shadowed() is None
