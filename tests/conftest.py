"""Shared test material: the real megabase and the golden weights (skipped with a reason where they are missing)."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read as Triton itself is imported, by PyTorch's counter for one

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the GRCh38 megabase and the golden outputs, kept beside the repository."""
    if not (SHARED / "golden" / "weights.py").exists():
        pytest.skip(f"test material {SHARED.name}/ is not beside the repository")
    return SHARED


@pytest.fixture(scope="session")
def golden_state(shared: Path) -> dict[str, Any]:
    """An official state dict made by the golden recipe, seed 0."""
    spec = importlib.util.spec_from_file_location("golden_weights", shared / "golden" / "weights.py")
    assert spec is not None
    assert spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    shapes = json.loads((shared / "golden" / "official_state_dict.json").read_text())
    state: dict[str, Any] = recipe.state_dict(shapes, 0)
    return state


@pytest.fixture(scope="session")
def golden_checkpoint(golden_state: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden weights as an official `.ckpt` file."""
    path = tmp_path_factory.mktemp("golden") / "SpTransformer_seed0.ckpt"
    torch.save({"state_dict": golden_state}, path)
    return path
