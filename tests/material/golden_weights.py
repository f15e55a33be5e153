"""The weights and the outputs of `golden/`: an official checkpoint of 17 million parameters that need not be stored.

Every tensor is a function of the seed, its name and its shape. `golden/README.md` says what the outputs are.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

GOLDEN = Path(__file__).parent / "golden"


class GoldenCase(NamedTuple):
    """An input of the original network and what it computes."""

    codes: npt.NDArray[np.uint8]
    """[n + 8000], with 4,000 flanking bases on each side."""
    logits: npt.NDArray[np.float32]
    """[n, 18]."""


def golden_cases() -> tuple[GoldenCase, ...]:
    with np.load(GOLDEN / "official_seed0.npz") as arrays:
        count = sum(name.startswith("codes_") for name in arrays)
        return tuple(GoldenCase(arrays[f"codes_{case}"], arrays[f"logits_{case}"]) for case in range(count))


def golden_state(seed: int = 0) -> dict[str, Tensor]:
    """A state dict in the official layout; the outputs are those of seed 0."""
    shapes = json.loads((GOLDEN / "official_state_dict.json").read_text())
    return {name: torch.from_numpy(golden_tensor(name, shape, seed)) for name, shape in shapes.items()}


def golden_tensor(name: str, shape: Sequence[int], seed: int) -> npt.NDArray[np.float32 | np.int64]:
    """One tensor: normal numbers from a generator that the name and the seed start, scaled by what the tensor is."""
    if name.endswith(".num_batches_tracked"):
        return np.zeros(shape, dtype=np.int64)
    generator = np.random.Generator(np.random.Philox(key=[seed, zlib.crc32(name.encode())]))
    normal = generator.standard_normal(tuple(shape))
    return _scaled(normal, name).astype(np.float32)


def _scaled(normal: npt.NDArray[np.float64], name: str) -> npt.NDArray[np.float64]:
    if name.endswith((".running_mean", ".bias")):
        return 0.1 * normal
    if name.endswith(".running_var"):
        return 0.5 + np.abs(normal)
    if ".pos_emb." in name:
        return 0.5 * normal
    if normal.ndim == 1:  # gains of the norms
        return 1.0 + 0.1 * normal
    gain = 0.5 if ".resblocks." in name else 1.5  # small enough that the sum of all blocks stays in range
    fan_in = int(np.prod(normal.shape[1:]))
    return gain * normal / np.sqrt(fan_in)
