"""Small checkpoints in the layouts of others, and what makes two of them the same."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from sptx_core.checkpoint import Checkpoint, Layout, renamed
from sptx_core.config import ResidualStage, SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.model import SpTransformerModel

# Sizes that an official file can hold: what leaves no trace in tensors is as published.
OFFICIAL = SpTransformerConfig(
    input_channels=4,
    max_seq_len=32,
    encoders=(
        SpTransformerFeatureEncoderConfig(6, (ResidualStage(2, 3, 1), ResidualStage(2, 5, 4))),
        SpTransformerFeatureEncoderConfig(4, (ResidualStage(1, 7, 1),)),
    ),
    input_path_channels=5,
    hidden_size=16,
    layers=2,
    bucket_size=8,
    feed_forward_size=12,
    tissues=2,
)
# Sizes that MultiMolecule's settings can describe: its encoders differ in their channels only.
MULTIMOLECULE = dataclasses.replace(
    OFFICIAL,
    input_channels=5,
    context=10,
    heads=4,
    local_heads=1,
    encoders=(SpTransformerFeatureEncoderConfig(4), SpTransformerFeatureEncoderConfig(2)),
)
MULTIMOLECULE_JSON = {
    "model_type": "sptransformer",
    "vocab_size": 5,
    "context": 10,
    "hidden_size": 5,
    "encoders": [{"hidden_size": 4}, {"hidden_size": 2}],
    "attention_hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_local_attention_heads": 1,
    "intermediate_size": 12,
    "bucket_size": 8,
    "max_seq_len": 32,
    "num_splice_labels": 3,
    "num_tissues": 2,
    "hidden_act": "relu",
    "intermediate_act": "gelu",
    "batch_norm_eps": 1e-05,
    "tissue_names": ["tissue_0", "tissue_1"],
    "transformers_version": "5.0.0",
}


def official_tensors(model: SpTransformerModel) -> dict[str, Tensor]:
    """Tensors under official names, the unused output layers of the first encoder among them."""
    unused = {
        f"encoder.0.{head}.{kind}": torch.ones(3)
        for head in ("splice_output", "tissue_output")
        for kind in ("weight", "bias")
    }
    return renamed(model.state_dict(), Layout.OURS, Layout.OFFICIAL) | unused


def multimolecule_tensors(model: SpTransformerModel) -> dict[str, Tensor]:
    return renamed(model.state_dict(), Layout.OURS, Layout.MULTIMOLECULE)


def multimolecule_folder(folder: Path, tensors: dict[str, Tensor], **settings: Any) -> Path:
    """A folder as MultiMolecule saves it, with some settings of its config.json changed."""
    folder.mkdir(exist_ok=True)
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(MULTIMOLECULE_JSON | settings))
    return folder


def assert_holds(checkpoint: Checkpoint, model: SpTransformerModel) -> None:
    """The checkpoint is that of the model, and its tensors have memory of their own."""
    assert checkpoint.config == model.config
    assert_equal(checkpoint.tensors, model.state_dict())
    addresses = {tensor.untyped_storage().data_ptr() for tensor in checkpoint.tensors.values()}
    assert len(addresses) == len(checkpoint.tensors)


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, expected[name]), name
        assert tensor.dtype == expected[name].dtype, name
