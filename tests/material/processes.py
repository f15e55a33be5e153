"""The processes that a running `sptx` has started, for tests that kill them."""

from __future__ import annotations

import subprocess

import psutil


def started_by(run: subprocess.Popen[bytes], name: str) -> list[psutil.Process]:
    """Those below `run` whose command line holds `name`, such as Ray's name for an actor."""
    found = []
    for process in psutil.Process(run.pid).children(recursive=True):
        try:
            if any(name in word for word in process.cmdline()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found
