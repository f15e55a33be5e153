"""A network of every part, as small as it can be, for tests of what goes in and comes out."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from sptx_core.config import ResidualStage, SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.model import SpTransformerModel

_TINY = SpTransformerConfig(
    context=6,
    max_seq_len=16,
    encoders=(SpTransformerFeatureEncoderConfig(6, (ResidualStage(1, 3, 1),)),),
    input_path_channels=5,
    hidden_size=16,
    layers=2,
    heads=4,
    bucket_size=4,
    feed_forward_size=12,
    tissues=2,
)


def tiny_config(**changed: Any) -> SpTransformerConfig:
    """Its sizes, some of them changed."""
    return dataclasses.replace(_TINY, **changed)


def tiny_network(**changed: Any) -> SpTransformerModel:
    """The same random weights at each call, ready to predict; the random state outside stays as it is."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SpTransformerModel(tiny_config(**changed)).eval()
