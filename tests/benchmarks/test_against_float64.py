from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from material.engine_networks import SMALL_SPEC, network_logits, random_stretches, small_network
from material.golden_weights import GOLDEN
from material.scripts import load_script

from sptx_core.config import SpTransformerConfig
from sptx_core.engine.paths import ENGINE_PATHS, PRECISIONS, PathRequest
from sptx_core.windows import WindowSpec, cut

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "against_float64.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script(SCRIPT)


@torch.inference_mode()
def test_what_is_expected_is_the_network_in_float64_and_is_kept(script: ModuleType, tmp_path: Path) -> None:
    model, file = small_network(), tmp_path / "expected.npz"
    given = random_stretches(SMALL_SPEC, [2, 2])
    computed = script.in_float64(model, given, SMALL_SPEC)
    for stretch, expected in zip(given, computed, strict=True):
        logits = network_logits(copy.deepcopy(model).double(), SMALL_SPEC, stretch)
        torch.testing.assert_close(expected.logits, logits, rtol=0, atol=1e-12)
        choices = [model(row[None], flanked=True, output_choices=True).choices for row in windows(stretch)]
        assert torch.equal(expected.buckets, torch.cat([choice.bucket for choice in choices]))
        assert expected.ties.shape == expected.buckets.shape
        assert (expected.ties > 0).all()

    def never() -> list[object]:
        raise AssertionError("it is kept")

    script.kept(file, "digest", given, lambda: computed)
    for kept, expected in zip(script.kept(file, "digest", given, never), computed, strict=True):
        assert torch.equal(kept.logits, expected.logits.float().double())
        assert torch.equal(kept.buckets, expected.buckets)
        assert torch.equal(kept.ties, expected.ties.float())
    for network, stretches in (("other", given), ("digest", given[::-1])):
        with pytest.raises(SystemExit, match=r"expected\.npz is of another network or other stretches: delete it"):
            script.kept(file, network, stretches, never)


def windows(stretch: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(cut(stretch, SMALL_SPEC).copy())


@pytest.mark.slow
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
    settings += ["--expected", str(GOLDEN / "float64_seed0.npz")]  # it would take most of a minute
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
