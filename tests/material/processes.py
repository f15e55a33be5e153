"""`sptx` as a child process, for tests that watch it, interrupt it and kill it or what it has started.

`start` begins a command and sends what it prints to a log file; `wait_for` waits until it has got somewhere;
`started_by` finds the processes below it. Tests must end what they start.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import psutil

SPTX = [sys.executable, "-c", "from pipeline.cli import main; main()"]
"""The program `sptx` of the code under test, as the beginning of a command line."""
PATIENCE = 300.0
"""Seconds within which a command must have got somewhere, or have ended; half of what pytest gives a test. A machine on
which others compute at a higher priority needs minutes, and whoever waits goes on at once when it is so far, or when
the command ends without it."""

T = TypeVar("T")


def start(arguments: Sequence[object], env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start `sptx ARGUMENTS`, which SIGINT reaches even where tests run in the background; its output goes to `log`."""

    def take_sigint() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with log.open("wb") as stream:
        return subprocess.Popen(
            [*SPTX, *map(str, arguments)],
            env=env,
            stdout=stream,
            stderr=stream,
            preexec_fn=take_sigint,  # a single call, which takes no lock
        )


def wait_for(condition: Callable[[], T], run: subprocess.Popen[bytes], log: Path) -> T:
    """Wait until `condition()` is true and return its value; fail if `run` ends before, or after `PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        assert run.poll() is None, f"ended too early with {run.returncode}: {log.read_text()}"
        time.sleep(0.01)
    raise AssertionError(f"nothing after {PATIENCE} s: {log.read_text()}")


def end(processes: Iterable[psutil.Process]) -> None:
    """End processes that have not ended by themselves after a while: now and then one of Ray's hangs as it exits."""
    _, hanging = psutil.wait_procs(processes, timeout=5)
    for process in hanging:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def started_by(run: subprocess.Popen[bytes] | None, name: str) -> list[psutil.Process]:
    """The processes below `run` whose command line contains `name`, such as Ray's name for an actor.

    None stands for this process, which has started the Ray that others join.
    """
    found = []
    for process in psutil.Process(run.pid if run else None).children(recursive=True):
        try:
            if any(name in word for word in process.cmdline()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found
