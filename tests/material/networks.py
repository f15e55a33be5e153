"""Small networks for tests. None is trained; their weights are the same at every call.

| sizes | meant for |
| --- | --- |
| `tiny_config` | what goes in and comes out of a network: every part, as small as it can be |
| `small_config` | whole runs of the pipeline in seconds: 1,000 bases predicted at once, 400 bases of context |
| `native_config` | the native library: 32 channels a head, buckets of 64 bases |

Each takes settings to replace, `tiny_config(layers=1)`. `network_of` makes a network of any sizes, with PyTorch's own
first weights; in `varied_network` they are so large that scores vary along a sequence. The random state of the test
stays as it is.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from sptx_core.config import ResidualStage, SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.model import SpTransformerModel

TINY = SpTransformerConfig(
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
SMALL = SpTransformerConfig(
    context=400,
    max_seq_len=2048,
    encoders=(
        SpTransformerFeatureEncoderConfig(16, (ResidualStage(1, 11, 1), ResidualStage(1, 11, 4))),
        SpTransformerFeatureEncoderConfig(8, (ResidualStage(1, 11, 1), ResidualStage(1, 11, 4))),
    ),
    input_path_channels=16,
    hidden_size=32,
    layers=2,
    heads=4,
    local_heads=1,
    feed_forward_size=64,
)
# With kernels that leave a tap over and such that do not.
NATIVE = SpTransformerConfig(
    context=100,
    max_seq_len=192,
    encoders=(
        SpTransformerFeatureEncoderConfig(
            64, (ResidualStage(2, 3, 1), ResidualStage(1, 5, 4), ResidualStage(1, 11, 5))
        ),
        SpTransformerFeatureEncoderConfig(32, (ResidualStage(2, 3, 1), ResidualStage(1, 5, 4))),  # reaches less far
    ),
    input_path_channels=8,
    hidden_size=64,
    layers=3,
    heads=2,
    local_heads=1,
    bucket_size=64,
    feed_forward_size=96,
)


def tiny_config(**changed: Any) -> SpTransformerConfig:
    return dataclasses.replace(TINY, **changed)


def small_config(**changed: Any) -> SpTransformerConfig:
    return dataclasses.replace(SMALL, **changed)


def native_config(**changed: Any) -> SpTransformerConfig:
    return dataclasses.replace(NATIVE, **changed)


def tiny_network(**changed: Any) -> SpTransformerModel:
    return network_of(tiny_config(**changed))


def small_network(**changed: Any) -> SpTransformerModel:
    return varied_network(small_config(**changed))


def native_network(**changed: Any) -> SpTransformerModel:
    return varied_network(native_config(**changed))


def network_of(config: SpTransformerConfig, seed: int = 0) -> SpTransformerModel:
    """PyTorch's own first weights; the running statistics of batch norms are random, so that leaving them out shows."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = SpTransformerModel(config)
        for name, buffer in model.named_buffers():
            if buffer.is_floating_point():
                buffer.copy_(torch.rand_like(buffer) + name.endswith("running_var"))
    return model.eval()


def varied_network(config: SpTransformerConfig, seed: int = 7) -> SpTransformerModel:
    """Random weights so large that scores vary along a sequence; running statistics stay as they begin."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        model = SpTransformerModel(config).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point() or name.endswith(("running_mean", "running_var")):
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            fan_in = max(1, tensor[0].numel()) if tensor.dim() > 1 else 1
            gains = tensor.dim() == 1 and name.endswith("weight")
            tensor.copy_(1 + 0.1 * noise if gains else noise * (1.5 / fan_in**0.5 if tensor.dim() > 1 else 0.1))
    return model
