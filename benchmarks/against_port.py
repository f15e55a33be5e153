"""The reference of `sptx bench` against MultiMolecule's port of the network, same weights, side by side on the CPU.

    python benchmarks/against_port.py [--turns 5] [--threads 1]     (needs multimolecule, part of the dev extra)

Prints the largest difference of logits and the median seconds a window of 1,000 bases, batch 1, float32, in turns.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time

import multimolecule
import torch
from torch import Tensor

from sptx_core.checkpoint import Layout, renamed
from sptx_core.config import SpTransformerConfig
from sptx_core.engine.bench import seeded_model

NO_BASE = ("feature_encoders.0.conv1.weight", "feature_encoders.1.conv1.weight", "projection.conv1.weight")


def main() -> None:
    """Load the same weights into both, run them in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, help="threads of the CPU [all]")
    settings = parser.parse_args()
    if settings.threads:
        torch.set_num_threads(settings.threads)
    ours = seeded_model(SpTransformerConfig(), 0)
    tensors = renamed(ours.state_dict(), Layout.OURS, Layout.MULTIMOLECULE)
    port = multimolecule.SpTransformerModel(multimolecule.SpTransformerConfig()).eval()
    expected = port.state_dict()
    for name in NO_BASE:  # the port has an input channel for N, which the reference may lack
        missing = expected[name].shape[1] - tensors[name].shape[1]
        tensors[name] = torch.nn.functional.pad(tensors[name], (0, 0, 0, missing))
    port.load_state_dict(tensors)
    ids = torch.randint(4, (1, 1000), generator=torch.Generator().manual_seed(0))

    def timed(model: torch.nn.Module) -> tuple[float, Tensor]:
        began = time.perf_counter()
        logits: Tensor = model(ids).logits
        return time.perf_counter() - began, logits

    with torch.inference_mode():
        turns = [(timed(ours), timed(port)) for _ in range(settings.turns + 1)][1:]
    difference = max(float((a[1] - b[1]).abs().max()) for a, b in turns)
    mine, theirs = (statistics.median(turn[side][0] for turn in turns) for side in (0, 1))
    print(
        f"machine: {platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, {torch.__version__}"
    )
    print(f"largest difference of logits {difference:.1e}")
    print(f"reference {mine:.2f} s a window, port {theirs:.2f} s: ratio {theirs / mine:.2f}")


if __name__ == "__main__":
    main()
