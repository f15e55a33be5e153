from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

pytest.importorskip("triton", reason="Triton is not installed")

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu_kernels.py"


def test_every_kernel_of_the_published_network_compiles_for_a_hopper_gpu(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """In a process of its own, because Triton reads from the environment whether to interpret when it is imported.

    What Triton has compiled from the same sources it takes from pytest's cache, where that is used.
    """
    cache = getattr(pytestconfig, "cache", None)
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    found = subprocess.run(
        [sys.executable, SCRIPT, "--without-costs"],
        env={**environment, "TRITON_CACHE_DIR": str(cache.mkdir("triton") if cache else tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    rows = [line.split() for line in found.stdout.splitlines()[1:]]
    assert {(row[0], row[1]) for row in rows} == {
        (name, operands)
        for name in ("normalise", "attend", "activate", "convolve")
        for operands in ("bfloat16", "float32")
    } | {("place", "float32"), ("choose", "float32"), ("finish", "bfloat16")}
    without = ("activate", "place", "normalise", "choose")  # products on the tensor cores
    assert all((int(row[-1]) > 0) == (row[0] not in without) for row in rows)
