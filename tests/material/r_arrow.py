"""R with its packages arrow and dplyr, for tests that run where these are installed and skip elsewhere.

`run_r(program, folder)` runs a program in a folder and gives what it printed.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest


def run_r(program: str, folder: Path | str = ".") -> str:
    """Standard output of a program that ends well; the test is skipped where R or a package is missing."""
    lacking = _lacking()
    if lacking:
        pytest.skip(lacking)
    done = subprocess.run(["Rscript", "-e", program], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def _lacking() -> str:
    if shutil.which("Rscript") is None:
        return "R is not installed"
    ready = subprocess.run(["Rscript", "-e", "library(arrow); library(dplyr)"], capture_output=True, check=False)
    return "R's packages arrow and dplyr are not installed" if ready.returncode else ""
