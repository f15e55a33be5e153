"""What tests of the compiled library share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from sptx_core.engine.native import library

_FEATURES = library.features()
_VECTORS = library.FLOAT32 | library.BFLOAT16
_MODES = {
    "float32": (torch.float32, library.FLOAT32),
    "bfloat16": (torch.bfloat16, _VECTORS),
    "float32 by matrix units": (torch.float32, _VECTORS | library.MATRIX_UNITS),
    "bfloat16 by matrix units": (torch.bfloat16, _VECTORS | library.MATRIX_UNITS),
}


@pytest.fixture(scope="module", params=_MODES)
def dtype(request: pytest.FixtureRequest) -> Iterator[torch.dtype]:
    """Of operands of products, which the library computes by these instructions and no newer ones."""
    found, wanted = _MODES[request.param]
    if _FEATURES & wanted != wanted:
        pytest.skip("the compiled library is not there, or not for this processor")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "features", lambda: wanted)
        yield found
