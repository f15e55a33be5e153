from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from sptx_core.version import __version__

SOURCES = Path(__file__).parents[2] / "sptx_core"


def test_the_version_is_that_of_the_installed_package() -> None:
    assert __version__ == version("sptx")


def test_sources_that_were_never_installed_say_so(tmp_path: Path) -> None:
    program = f"import runpy; print(runpy.run_path({str(SOURCES / 'version.py')!r})['__version__'])"
    isolated = [sys.executable, "-I", "-S", "-c", program]  # without site-packages
    done = subprocess.run(isolated, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "0+unknown"
