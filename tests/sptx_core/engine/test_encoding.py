from __future__ import annotations

import pytest
import torch
from material.engine_networks import SMALL_SPEC, random_stretches, small_network

from sptx_core.engine.torch.encoder import torch_encoder
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec, cut

pytestmark = pytest.mark.usefixtures("one_thread")


def attended(model: SpTransformerModel, windows: torch.Tensor) -> torch.Tensor:
    """What the network's layers read, [n, S, hidden]."""
    given: list[torch.Tensor] = []
    hook = model.layers[0].register_forward_pre_hook(lambda _, arguments: given.append(arguments[0]))
    model(windows, flanked=True)
    hook.remove()
    return given[0]


@pytest.mark.parametrize(("core", "max_seq_len"), [(20, 64), (20, 128), (64, 64), (20, 192)])
@torch.inference_mode()
def test_windows_are_what_the_layers_of_the_network_read(core: int, max_seq_len: int) -> None:
    """Cropped, inside the reach of the encoders, whole, and padded."""
    model, spec = small_network(max_seq_len=max_seq_len).double(), WindowSpec(core, 60, 5)
    (stretch,) = random_stretches(spec, [4])
    encoded = torch_encoder(model, spec, torch.float64, torch.float64)(torch.from_numpy(stretch))
    expected = attended(model, torch.from_numpy(cut(stretch, spec).copy()))
    assert len(encoded) == 4
    torch.testing.assert_close(encoded.windows(), expected, rtol=0, atol=1e-12)
    assert torch.equal(encoded.windows(1, 2), encoded.windows()[1:3])
    again = torch.full_like(expected[:1], torch.nan)
    encoded.put(3, again)
    assert torch.equal(again[0], encoded.windows()[3])


@pytest.mark.parametrize(("first", "count"), [(-1, 1), (4, 1), (2, 3)])
@torch.inference_mode()
def test_windows_that_the_stretch_does_not_have_are_refused(first: int, count: int) -> None:
    (stretch,) = random_stretches(SMALL_SPEC, [4])
    encoded = torch_encoder(small_network(), SMALL_SPEC, torch.float32, torch.float32)(torch.from_numpy(stretch))
    with pytest.raises(IndexError, match="of 4"):
        encoded.windows(first, count)
