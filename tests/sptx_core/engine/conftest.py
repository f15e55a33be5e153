"""What tests of the engine share: the network with the golden weights, and what the original network computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from material.golden_weights import GoldenCase

from sptx_core.model import SpTransformerModel


@pytest.fixture(scope="session")
def golden_model(golden_checkpoint: Path) -> SpTransformerModel:
    """The network with the golden weights; tests leave it as it is."""
    return SpTransformerModel.from_pretrained(golden_checkpoint)


@pytest.fixture(scope="session")
def golden_outputs(golden_cases: tuple[GoldenCase, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Codes [n + 8000] and the original network's logits [n, 18] of each case."""
    return [(case.codes, case.logits) for case in golden_cases]
