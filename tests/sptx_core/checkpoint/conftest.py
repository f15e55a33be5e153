"""A small network, its tensors under official names, and a file for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from material.checkpoints import OFFICIAL, official_tensors
from material.networks import network_of
from torch import Tensor

from sptx_core.model import SpTransformerModel


@pytest.fixture
def model() -> SpTransformerModel:
    return network_of(OFFICIAL).requires_grad_(False)


@pytest.fixture
def official(model: SpTransformerModel) -> dict[str, Tensor]:
    return official_tensors(model)


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Any], Path]:
    """Write anything as `torch.save` does."""

    def write(content: Any) -> Path:
        torch.save(content, tmp_path / "x.ckpt")
        return tmp_path / "x.ckpt"

    return write
