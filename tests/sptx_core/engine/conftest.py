"""What tests of the engine share: the golden network, and the precisions of the compiled library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from sptx_core.engine.native import library
from sptx_core.model import SpTransformerModel

_FEATURES = library.features()
_VECTORS = library.FLOAT32 | library.BFLOAT16
_MODES = {
    "float32": (torch.float32, library.FLOAT32),
    "bfloat16": (torch.bfloat16, _VECTORS),
    "float32 by matrix units": (torch.float32, _VECTORS | library.MATRIX_UNITS),
    "bfloat16 by matrix units": (torch.bfloat16, _VECTORS | library.MATRIX_UNITS),
}


@pytest.fixture(scope="session")
def golden_model(golden_checkpoint: Path) -> SpTransformerModel:
    """The network with the golden weights; tests leave it as it is."""
    return SpTransformerModel.from_pretrained(golden_checkpoint)


@pytest.fixture(scope="session")
def golden_outputs(shared: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Codes [n + 8000] and the original network's logits [n, 18] of each case."""
    golden = np.load(shared / "golden" / "official_seed0.npz")
    return [(golden[f"codes_{case}"], golden[f"logits_{case}"]) for case in range(6)]


@pytest.fixture(scope="module", params=_MODES)
def native_dtype(request: pytest.FixtureRequest) -> Iterator[torch.dtype]:
    """Of operands of products, which the library computes by these instructions and no newer ones."""
    found, wanted = _MODES[request.param]
    if _FEATURES & wanted != wanted:
        pytest.skip("the compiled library is not there, or not for this processor")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "features", lambda: wanted)
        yield found
