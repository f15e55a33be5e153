"""Networks of SpliceAI's family: small ones for tests, and what state dicts as published give, computed apart.

`Weights` are those of one small network by the names below; `material.keras_networks` and `material.tensorflow_graphs`
write the same weights as files. `openspliceai_scores` and `pangolin_scores` are forward passes written down from the
layout of the published files alone: they know no class of the product, and take real files as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Array = np.ndarray[Any, Any]

# Blocks, taps and dilation of each stage.
SMALL = ((1, 3, 1), (2, 5, 3))
PUBLISHED = ((4, 11, 1), (4, 11, 4), (4, 21, 10), (4, 41, 25))
BASES = "ACGT"


@dataclass(frozen=True)
class Weights:
    """Arrays of one network: kernels [taps, inputs, outputs], all other ones [channels].

    Names: `input`, `skip0` (before the first stage), `block0` and so on with `gamma`, `beta`, `mean`, `variance`,
    `kernel` and `bias` 1 and 2, `skip1` after the first stage and so on, `head`.
    """

    stages: tuple[tuple[int, int, int], ...]
    arrays: dict[str, Array]
    epsilon: float = 1e-3

    @property
    def context(self) -> int:
        return reach(self.stages)

    def blocks(self) -> list[tuple[int, int, bool]]:
        """Of each block its stage, its dilation, and whether it is the last of the stage."""
        return [
            (number, dilation, index + 1 == blocks)
            for number, (blocks, _, dilation) in enumerate(self.stages)
            for index in range(blocks)
        ]


def reach(stages: tuple[tuple[int, int, int], ...]) -> int:
    return sum(blocks * (taps - 1) * dilation for blocks, taps, dilation in stages)


def random_weights(
    seed: int, stages: tuple[tuple[int, int, int], ...] = SMALL, *, channels: int = 6, outputs: int = 3
) -> Weights:
    """Weights with which scores vary along a sequence."""
    generator = np.random.default_rng(seed)
    arrays: dict[str, Array] = {}

    def convolution(name: str, taps: int, inputs: int, size: int, number: str = "") -> None:
        spread = 1.5 / np.sqrt(taps * inputs)
        arrays[f"{name}.kernel{number}"] = generator.normal(0, spread, (taps, inputs, size)).astype(np.float32)
        arrays[f"{name}.bias{number}"] = generator.normal(0, 0.3, size).astype(np.float32)

    convolution("input", 1, 4, channels)
    convolution("skip0", 1, channels, channels)
    index = 0
    for stage, (blocks, taps, _) in enumerate(stages):
        for _ in range(blocks):
            for number in "12":
                for part, low, high in (("gamma", 0.5, 1.5), ("beta", -1, 1), ("mean", -1, 1), ("variance", 0, 1)):
                    arrays[f"block{index}.{part}{number}"] = generator.uniform(low, high, channels).astype(np.float32)
                convolution(f"block{index}", taps, channels, channels, number)
            index += 1
        convolution(f"skip{stage + 1}", 1, channels, channels)
    convolution("head", 1, channels, outputs)
    return Weights(stages, arrays)


def columns_of(sequence: str) -> Tensor:
    """One-hot columns [1, 4, bases]; anything but A, C, G and T is empty."""
    columns = torch.zeros(1, 4, len(sequence))
    for place, base in enumerate(sequence.upper()):
        if base in BASES:
            columns[0, BASES.index(base), place] = 1
    return columns


def random_sequence(length: int, seed: int = 0) -> str:
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


# --- state dicts ------------------------------------------------------------------------------------------------------


def openspliceai_state(weights: Weights) -> dict[str, Tensor]:
    """A state dict with OpenSpliceAI's names."""
    state = _convolution(weights, "input", "initial_conv") | _convolution(weights, "skip0", "initial_skip.conv")
    unit = 0
    for index, (stage, _, is_last) in enumerate(weights.blocks()):
        state |= _block(weights, index, f"residual_units.{unit}", "batchnorm")
        unit += 1
        if is_last:
            state |= _convolution(weights, f"skip{stage + 1}", f"residual_units.{unit}.conv")
            unit += 1
    return state | _convolution(weights, "head", "final_conv")


def pangolin_state(weights: Weights, heads: Weights) -> dict[str, Tensor]:
    """A state dict with Pangolin's names; its twelve outputs are the rows of the last map of `heads`."""
    state = _convolution(weights, "input", "conv1") | _convolution(weights, "skip0", "skip")
    for index, (stage, _, is_last) in enumerate(weights.blocks()):
        state |= _block(weights, index, f"resblocks.{index}", "bn")
        if is_last:
            state |= _convolution(weights, f"skip{stage + 1}", f"convs.{stage}")
    last = _convolution(heads, "head", "all")
    row = 0
    for number in range(1, 9):
        rows = 2 if number % 2 else 1
        state[f"conv_last{number}.weight"] = last["all.weight"][row : row + rows].clone()
        state[f"conv_last{number}.bias"] = last["all.bias"][row : row + rows].clone()
        row += rows
    return state


def _convolution(weights: Weights, name: str, module: str, number: str = "") -> dict[str, Tensor]:
    kernel = torch.from_numpy(weights.arrays[f"{name}.kernel{number}"])
    bias = torch.from_numpy(weights.arrays[f"{name}.bias{number}"])
    return {f"{module}.weight": kernel.permute(2, 1, 0).contiguous(), f"{module}.bias": bias.clone()}


def _block(weights: Weights, index: int, module: str, norm: str) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for number in "12":
        for part, theirs in (
            ("gamma", "weight"),
            ("beta", "bias"),
            ("mean", "running_mean"),
            ("variance", "running_var"),
        ):
            array = weights.arrays[f"block{index}.{part}{number}"]
            state[f"{module}.{norm}{number}.{theirs}"] = torch.from_numpy(array.copy())
        state[f"{module}.{norm}{number}.num_batches_tracked"] = torch.tensor(7)
        state |= _convolution(weights, f"block{index}", f"{module}.conv{number}", number)
    return state


# --- forward passes, written apart ------------------------------------------------------------------------------------


def openspliceai_scores(state: Mapping[str, Tensor], columns: Tensor) -> Tensor:
    """Probabilities [1, 3, bases] of a state dict as OpenSpliceAI publishes it, flanks cut off."""
    units = {int(name.split(".")[1]) for name in state if name.startswith("residual_units.")}
    stages = len(units) // 5
    x = _convolve(state, "initial_conv", columns)
    skip = _convolve(state, "initial_skip.conv", x)
    for stage in range(stages):
        for unit in range(5 * stage, 5 * stage + 4):
            y = _normed(state, f"residual_units.{unit}.batchnorm1", x)
            y = _convolve(state, f"residual_units.{unit}.conv1", F.leaky_relu(y, 0.1), (1, 4, 10, 25)[stage])
            y = _normed(state, f"residual_units.{unit}.batchnorm2", y)
            x = x + _convolve(state, f"residual_units.{unit}.conv2", F.leaky_relu(y, 0.1), (1, 4, 10, 25)[stage])
        skip = skip + _convolve(state, f"residual_units.{5 * stage + 4}.conv", x)
    flank = (40, 200, 1000, 5000)[stages - 1]
    return _convolve(state, "final_conv", skip[:, :, flank : skip.shape[2] - flank]).softmax(1)


def pangolin_scores(state: Mapping[str, Tensor], columns: Tensor) -> Tensor:
    """All twelve outputs [1, 12, bases] of a state dict as Pangolin publishes it, flanks cut off."""
    x = _convolve(state, "conv1", columns)
    skip = _convolve(state, "skip", x)
    for block in range(16):
        dilation = (1, 4, 10, 25)[block // 4]
        y = _convolve(state, f"resblocks.{block}.conv1", _normed(state, f"resblocks.{block}.bn1", x).relu(), dilation)
        y = _convolve(state, f"resblocks.{block}.conv2", _normed(state, f"resblocks.{block}.bn2", y).relu(), dilation)
        x = x + y
        if block % 4 == 3:
            skip = skip + _convolve(state, f"convs.{block // 4}", x)
    skip = skip[:, :, 5000:-5000]
    outputs = []
    for number in range(1, 9):
        logits = _convolve(state, f"conv_last{number}", skip)
        outputs.append(logits.softmax(1) if number % 2 else logits.sigmoid())
    return torch.cat(outputs, 1)


def _convolve(state: Mapping[str, Tensor], name: str, x: Tensor, dilation: int = 1) -> Tensor:
    weight = state[f"{name}.weight"]
    return F.conv1d(x, weight, state[f"{name}.bias"], padding=dilation * (weight.shape[2] - 1) // 2, dilation=dilation)


def _normed(state: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    mean, variance = (state[f"{name}.running_{part}"][:, None] for part in ("mean", "var"))
    return (x - mean) / (variance + 1e-5).sqrt() * state[f"{name}.weight"][:, None] + state[f"{name}.bias"][:, None]
