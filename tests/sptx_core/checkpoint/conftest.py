"""A small network, its tensors under official names, a file for them, and a hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from material.checkpoints import OFFICIAL, official_tensors
from material.hub_server import HubServer, hub_server, use_hub
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


@pytest.fixture(scope="session")
def running_hub() -> Iterator[HubServer]:
    with hub_server() as server:
        yield server


@pytest.fixture
def hub(running_hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """An empty hub on loopback, which is the hub of this process for a test."""
    running_hub.repositories.clear()
    running_hub.calls.clear()
    running_hub.tokens.clear()
    use_hub(running_hub.url, tmp_path / "cache", monkeypatch)
    return running_hub
