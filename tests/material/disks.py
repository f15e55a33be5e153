"""A disk of its own for a test, which can be full or read-only; skipped where none can be mounted."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """`folder` as a disk of this size, such as 100k."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=False)
    if mounted.returncode:
        pytest.skip("disks cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def remount(disk: Path, options: str) -> None:
    """Change a disk's options, such as `ro` or `rw,size=10m`."""
    subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)
