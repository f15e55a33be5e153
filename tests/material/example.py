"""The example that tests of whole runs share: the genome and genes of `genomes.py`, and an untrained network.

Enough to run the whole job in seconds. The network is small and its weights are random, always the same, so its scores
vary along the sequence but mean nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from material.genomes import SEED, write_example

from sptx_core.config import ResidualStage, SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.model import SpTransformerModel

_STAGES = (ResidualStage(1, 11, 1), ResidualStage(1, 11, 4))
SMALL = SpTransformerConfig(
    context=400,
    max_seq_len=2048,
    encoders=(SpTransformerFeatureEncoderConfig(16, _STAGES), SpTransformerFeatureEncoderConfig(8, _STAGES)),
    input_path_channels=16,
    hidden_size=32,
    layers=2,
    heads=4,
    local_heads=1,
    feed_forward_size=64,
)


@dataclass(frozen=True)
class Example:
    """Paths of the example's files, and the flags of `sptx run` that name them."""

    genome: Path
    annotation: Path
    checkpoint: Path

    @property
    def inputs(self) -> list[str]:
        """`--fasta`, `--gtf` and `--checkpoint` with their values."""
        return ["--fasta", str(self.genome), "--gtf", str(self.annotation), "--checkpoint", str(self.checkpoint)]


def write(folder: Path) -> Example:
    """Write genome, annotation and checkpoint into `folder`, which is created."""
    genome, annotation = write_example(folder)
    checkpoint = folder / "checkpoint"
    untrained_network(SMALL, SEED).save_pretrained(checkpoint)
    return Example(genome, annotation, checkpoint)


def untrained_network(config: SpTransformerConfig, seed: int) -> SpTransformerModel:
    """A network with random weights, scaled so that its scores vary along the sequence."""
    generator = torch.Generator().manual_seed(seed)
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
