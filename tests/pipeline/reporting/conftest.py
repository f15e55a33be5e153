"""A table that reports are tested on."""

from __future__ import annotations

import pytest
from material import reported

from pipeline.reporting.findings import Findings
from pipeline.reporting.gather import gather
from pipeline.tracks.reader import Tracks


@pytest.fixture(scope="session")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> Tracks:
    return reported.write(tmp_path_factory.mktemp("reported") / "table")


@pytest.fixture(scope="session")
def found(tracks: Tracks) -> Findings:
    return gather(tracks)
