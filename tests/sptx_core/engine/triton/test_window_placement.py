from __future__ import annotations

import pytest
import torch
from material.engine_networks import random_stretches, triton_network
from material.operands import DEVICE

pytest.importorskip("triton", reason="Triton is not installed")

from sptx_core.engine.encoding import place_windows
from sptx_core.engine.torch.encoder import torch_encoder
from sptx_core.engine.triton.window_placement import place_on_gpu
from sptx_core.windows import WindowSpec

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.slow
@pytest.mark.parametrize("max_seq_len", [64, 96, 160])
@torch.inference_mode()
def test_windows_are_those_that_pytorch_puts_together(max_seq_len: int) -> None:
    """Cropped inside and outside the reach of the encoders, and padded."""
    model, spec = triton_network(max_seq_len=max_seq_len).to(DEVICE), WindowSpec(20, 48, 5)
    encoder = torch_encoder(model, spec, torch.float32, torch.float32)
    encoded = encoder(torch.from_numpy(random_stretches(spec, [4])[0]).to(DEVICE))
    fused = encoded.fused.map(torch.Tensor.contiguous)
    expected, found = (torch.full((2, max_seq_len, 32), torch.nan, device=DEVICE) for _ in range(2))
    place_windows(fused, 1, encoder.positions, expected)
    place_on_gpu(fused, 1, encoder.positions, found)
    assert torch.equal(found, expected)
