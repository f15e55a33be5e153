"""A network from a checkpoint: the names of its columns, and its digest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pipeline.inputs.network import channel_names, load_network
from sptx_core.channels import CHANNELS
from sptx_core.checkpoint import checkpoint_digest
from sptx_core.config import SpTransformerConfig


def test_columns_have_the_names_of_the_network() -> None:
    sizes = SpTransformerConfig(tissues=2)
    assert channel_names(SpTransformerConfig()) == CHANNELS
    assert channel_names(sizes) == (*CHANNELS[:3], "tissue_0", "tissue_1")
    assert channel_names(replace(sizes, tissue_names=("brain", "liver"))) == (*CHANNELS[:3], "brain", "liver")


def test_network_and_digest_come_from_one_reading(example: Any, monkeypatch: Any) -> None:
    digest = checkpoint_digest(example.checkpoint)
    network = load_network(str(example.checkpoint))
    monkeypatch.setattr("pathlib.Path.open", None)  # nothing more is read
    assert network.digest() == digest
    assert network.channels == CHANNELS
    assert not network.model.training
