"""What several processes of one test run share: made by the first that needs it, read by the others."""

from __future__ import annotations

import fcntl
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")


def made_once(name: str, factory: pytest.TempPathFactory, make: Callable[[Path], T]) -> T:
    """What `make` returns, called once in a test run whatever the number of processes; it pickles.

    `make` gets a new folder, which it may fill and which all processes may read.
    """
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # of all processes
    kept = root / f"{name}.pickle"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            (root / name).mkdir(exist_ok=True)
            kept.write_bytes(pickle.dumps(make(root / name)))
    value: T = pickle.loads(kept.read_bytes())  # written above
    return value
