"""The example that tests of whole runs share: the genome and genes of `genomes.py`, and an untrained network.

Enough to run the whole job in seconds. The network is small and its weights are random, always the same, so its scores
vary along the sequence but mean nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from material.genomes import write_example
from material.networks import small_network


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
    small_network().save_pretrained(checkpoint)
    return Example(genome, annotation, checkpoint)
