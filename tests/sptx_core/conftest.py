"""What tests of the science share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from material.hub_server import HubServer, hub_server, use_hub


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread of PyTorch until a test chooses others: on several, tiny layers mostly wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
