"""What tests of the input files share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., str]:
    """Write lines to a file and return its path as text."""

    def write(*lines: str, name: str = "annotation.gtf") -> str:
        path = tmp_path / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return str(path)

    return write


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for copies of remote files."""
    monkeypatch.setenv("SPTX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
