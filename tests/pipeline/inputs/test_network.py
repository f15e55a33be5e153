"""A network from a checkpoint: the names of its columns, and its digest."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from material.hub_server import HubServer

from pipeline.inputs.network import channel_names, load_network
from sptx_core.channels import CHANNELS
from sptx_core.checkpoint import checkpoint_digest
from sptx_core.config import SpTransformerConfig
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel

REPOSITORY = "someone/network"


def other_weights(folder: Path, to: Path) -> Path:
    """The network of a folder with another bias."""
    network = SpTransformerModel.from_pretrained(folder)
    with torch.no_grad():
        network.splice_head.bias.add_(1.0)
    network.save_pretrained(to)
    return to


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


def test_a_hub_id_is_pinned_to_the_commit_that_it_led_to(example: Any, hub: HubServer, tmp_path: Path) -> None:
    first = hub.put_folder(REPOSITORY, example.checkpoint)
    network = load_network(REPOSITORY)
    assert network.pinned == f"{REPOSITORY}@{first}"
    second = hub.put_folder(REPOSITORY, other_weights(example.checkpoint, tmp_path / "other"))
    assert load_network(network.pinned).digest() == network.digest() == checkpoint_digest(example.checkpoint)
    newest = load_network(REPOSITORY)
    assert newest.pinned == f"{REPOSITORY}@{second}"
    assert newest.digest() != network.digest()


def test_a_hub_id_may_name_a_revision(example: Any, hub: HubServer, tmp_path: Path) -> None:
    hub.put_folder(REPOSITORY, other_weights(example.checkpoint, tmp_path / "other"))
    commit = hub.put_folder(REPOSITORY, example.checkpoint, "v1.0")
    network = load_network(f"{REPOSITORY}@v1.0")
    assert (network.pinned, network.digest()) == (f"{REPOSITORY}@{commit}", checkpoint_digest(example.checkpoint))
    with pytest.raises(InputError, match=rf"^cannot load the checkpoint {REPOSITORY}: .*Invalid rev id: v9"):
        load_network(f"{REPOSITORY}@v9")


def test_what_lies_on_this_machine_is_not_pinned(
    example: Any, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(example.checkpoint, tmp_path / "someone/network@v1")
    monkeypatch.chdir(tmp_path)
    assert load_network(f"{REPOSITORY}@v1").pinned is None  # a folder of this name comes first
    assert not hub.calls
