"""What tests of the science share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from material import threads
from material.hub_server import HubServer, hub_server, use_hub


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread of PyTorch until a test chooses others."""
    with threads.one_thread():
        yield


@pytest.fixture(scope="module")
def one_thread_throughout() -> Iterator[None]:
    """One thread of PyTorch for all tests of a module and what they share."""
    with threads.one_thread():
        yield


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
