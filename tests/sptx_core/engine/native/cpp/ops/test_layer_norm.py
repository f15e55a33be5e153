"""LayerNorm against PyTorch's in float64."""

import pytest
import torch
import torch.nn.functional as F


@pytest.mark.parametrize("size", [32, 256, 608])
def test_layer_norm_equals_pytorchs(pieces, size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    x = 3 * torch.randn(4, size, generator=generator) + torch.tensor([0.0, 1, -5, 20])[:, None]
    weight, bias = torch.randn(2, size, generator=generator)
    y = torch.empty(4, size)
    pieces.layer_norm(x, size, weight, bias, 1e-5, y)
    expected = F.layer_norm(x.double(), (size,), weight.double(), bias.double(), 1e-5)
    torch.testing.assert_close(y.double(), expected, rtol=0, atol=1e-5)


def test_epsilon_is_added_to_the_variance(pieces) -> None:
    x, ones, zeros, y = torch.tensor([1.0, -1.0]).repeat(4, 16), torch.ones(32), torch.zeros(32), torch.empty(4, 32)
    pieces.layer_norm(x, 32, ones, zeros, 3.0, y)
    assert torch.equal(y, x / 2)
