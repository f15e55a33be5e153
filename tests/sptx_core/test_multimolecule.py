"""The same weights in MultiMolecule's port of the network, live, where that package is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from sptx_core.checkpoint import Layout, renamed
from sptx_core.model import SpTransformerModel

multimolecule = pytest.importorskip("multimolecule")

TOLERANCE = 2e-5  # of float32 logits; last hidden states of the golden network have about the same size


class Pair(NamedTuple):
    """The port, and our network as loaded from the folder that the port saved."""

    port: Any
    ours: SpTransformerModel


def assert_agree(pair: Pair, length: int) -> None:
    ids = torch.randint(5, (1, length), generator=torch.Generator().manual_seed(length))  # N among them
    with torch.inference_mode():
        port, ours = pair.port(ids), pair.ours(ids)
    for name in ("logits", "last_hidden_state"):
        assert port[name].shape == ours[name].shape
        assert float((port[name] - ours[name]).abs().max()) < TOLERANCE


def randomised(port: Any) -> Any:
    """The model with weights and running statistics that all do something."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = port.state_dict()
    for name, tensor in state.items():
        if tensor.is_floating_point() and ("norm" in name or "position" in name or "bias" in name):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + ("var" in name))
    return port.eval()


@pytest.fixture(scope="module")
def golden(golden_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """The golden weights, and a fifth input channel for N that is not zero."""
    ours = SpTransformerModel.from_pretrained(golden_checkpoint)
    tensors = renamed(ours.state_dict(), Layout.OURS, Layout.MULTIMOLECULE)
    generator = torch.Generator().manual_seed(0)
    for name in ("feature_encoders.0.conv1.weight", "feature_encoders.1.conv1.weight", "projection.conv1.weight"):
        tensors[name] = torch.cat((tensors[name], torch.randn(len(tensors[name]), 1, 1, generator=generator)), 1)
    port = multimolecule.SpTransformerModel(multimolecule.SpTransformerConfig()).eval()
    port.load_state_dict(tensors)
    folder = tmp_path_factory.mktemp("port")
    port.save_pretrained(folder)
    return Pair(port, SpTransformerModel.from_pretrained(folder))


@pytest.mark.parametrize("length", [1, 192, 201, 1000])
def test_golden_weights_give_the_same_logits(length: int, golden: Pair) -> None:
    assert_agree(golden, length)


def test_both_have_the_same_number_of_parameters() -> None:
    with torch.device("meta"):
        ours = SpTransformerModel()
    port = multimolecule.SpTransformerModel(multimolecule.SpTransformerConfig())
    assert sum(x.numel() for x in port.parameters()) == sum(x.numel() for x in ours.parameters()) == 17_074_386


@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("local_heads", [0, 1, 4])
def test_a_network_of_other_sizes_agrees_with_and_without_a_head_on_top(
    local_heads: int, head: bool, tmp_path: Path
) -> None:
    config = multimolecule.SpTransformerConfig(
        context=30,
        hidden_size=6,
        encoders=[{"hidden_size": 5}, {"hidden_size": 3}, {"hidden_size": 4}],
        attention_hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_local_attention_heads=local_heads,
        intermediate_size=24,
        bucket_size=8,
        max_seq_len=64,
        num_tissues=2,
        num_labels=2,
    )
    kind = multimolecule.SpTransformerForTokenPrediction if head else multimolecule.SpTransformerModel
    port = randomised(kind(config))
    port.save_pretrained(tmp_path)
    pair = Pair(port.model if head else port, SpTransformerModel.from_pretrained(tmp_path))
    for length in (1, 17, 24, 63, 64):
        assert_agree(pair, length)
