from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sptx_core.config import SpTransformerConfig
from sptx_core.engine.paths import ENGINE_PATHS, PRECISIONS, PathRequest
from sptx_core.windows import WindowSpec

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "against_float64.py"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_real_sequence_gives_what_the_network_gives_in_float64(
    shared: Path, golden_checkpoint: Path, device: str
) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    runs = [
        f"{name}:{precision}"
        for name in ("shared", "native", "triton")
        for precision in PRECISIONS
        if not ENGINE_PATHS[name].reasons_against(PathRequest(SpTransformerConfig(), WindowSpec(), device, precision))
    ]
    settings = ["--device", device, "--runs", ",".join(runs), "--stretches", "2", "--windows", "2"]
    genome = shared / "data" / "GRCh38.chr9_1Mb.fa.gz"
    found = subprocess.run(
        [sys.executable, SCRIPT, genome, golden_checkpoint, *settings],
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},  # as many as tests have here
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.count("4 windows") == len(runs)
