"""What all tests share: the golden network, and the real megabase (skipped where it is missing)."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # PyTorch's idle threads give their core to other processes

import hypothesis
import pytest
import torch
from material import golden_weights
from material.golden_weights import GoldenCase
from material.shared import made_once

# How long an example takes says something of the machine, not of the code.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # Triton reads it when it is imported, which PyTorch's FLOP counter does

if "PYTEST_XDIST_WORKER" in os.environ:  # processes share the cores
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])))

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the GRCh38 megabase in `data/`, kept beside the repository."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"the real megabase, {SHARED.name}/data, is not beside the repository")
    return SHARED


@pytest.fixture(scope="session")
def golden_cases() -> tuple[GoldenCase, ...]:
    """Inputs of the original network and its outputs on the golden weights."""
    return golden_weights.golden_cases()


@pytest.fixture(scope="session")
def golden_state() -> dict[str, torch.Tensor]:
    """The golden weights as an official state dict."""
    return golden_weights.golden_state()


@pytest.fixture(scope="session")
def golden_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden weights as an official `.ckpt` file."""

    def make(folder: Path) -> Path:
        path = folder / "SpTransformer_seed0.ckpt"
        torch.save({"state_dict": golden_weights.golden_state()}, path)
        return path

    return made_once("golden", tmp_path_factory, make)
