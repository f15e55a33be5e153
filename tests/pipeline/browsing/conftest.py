"""A table for the page, and a session of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from material import browsed

from pipeline.browsing.session import Session
from pipeline.tracks.reader import Tracks


@pytest.fixture(scope="session")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> Tracks:
    """The table."""
    return browsed.write(tmp_path_factory.mktemp("browsed") / "one")


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Tracks:
    """The same loci with other scores."""
    return browsed.write(tmp_path_factory.mktemp("browsed") / "two", seed=1)


@pytest.fixture(scope="session")
def root(tracks: Tracks) -> Path:
    """Where it lies."""
    return Path(tracks.store.root)


@pytest.fixture(scope="module")
def session(tracks: Tracks, other: Tracks) -> Session:
    """Both on one page."""
    return Session([tracks, other])
