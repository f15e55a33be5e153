"""A simulated genome to learn from, and trainings so small that an epoch takes a second."""

from __future__ import annotations

import pytest

from pipeline.simulation.simulate import Simulated, simulate


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """Three contigs of 40,000 bases: chr1 to train on, chr2 for validation, chr3 for the test."""
    return simulate(tmp_path_factory.mktemp("simulated") / "genome", seed=3, contigs=3, bases=40_000)
