"""Keras' HDF5 files of networks of SpliceAI's family: written small for tests, and evaluated layer by layer.

`keras_scores` computes what the graph in a file says, one layer after the other, and knows nothing of the family: it
takes SpliceAI's published files as well. Both need h5py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from material.family_networks import Array, Weights
from torch import Tensor


class _Model:
    """Layers as Keras lists them, numbered in the order in which they are added."""

    def __init__(self) -> None:
        self.layers: list[dict[str, Any]] = []
        self.arrays: dict[str, dict[str, Array]] = {}
        self.counts: dict[str, int] = {}

    def add(self, kind: str, inputs: list[str], arrays: dict[str, Array] | None = None, **settings: Any) -> str:
        prefix = kind.lower()
        self.counts[prefix] = self.counts.get(prefix, 0) + 1
        name = f"{prefix}_{self.counts[prefix]}"
        nodes = [[[origin, 0, 0, {}] for origin in inputs]] if inputs else []
        self.layers.append(
            {"class_name": kind, "name": name, "config": {"name": name, **settings}, "inbound_nodes": nodes}
        )
        self.arrays[name] = arrays or {}
        return name

    def convolution(
        self, weights: Weights, name: str, data: str, dilation: int = 1, number: str = "", **more: Any
    ) -> str:
        arrays = {part: weights.arrays[f"{name}.{part}{number}"] for part in ("kernel", "bias")}
        settings = {"strides": [1], "padding": "same", "dilation_rate": [dilation], "activation": "linear", **more}
        return self.add("Conv1D", [data], arrays, **settings)

    def activated(self, weights: Weights, block: str, data: str, number: str) -> str:
        names = {"gamma": "gamma", "beta": "beta", "moving_mean": "mean", "moving_variance": "variance"}
        arrays = {theirs: weights.arrays[f"{block}.{part}{number}"] for theirs, part in names.items()}
        norm = self.add("BatchNormalization", [data], arrays, epsilon=weights.epsilon, axis=-1)
        return self.add("Activation", [norm], activation="relu")


def write_keras(path: Path, weights: Weights, *, crop: int | None = None, backwards: bool = False) -> None:
    """Write a file as Keras saves a model; `backwards` lists its layers in an order that says nothing."""
    import h5py

    model = _Model()
    model.counts["conv1d"] = 90  # numbers of names without meaning: a program may have built other models before
    data = model.add("InputLayer", [])
    x = first = model.convolution(weights, "input", data)
    skips = [model.convolution(weights, "skip0", first)]
    for index, (stage, dilation, is_last) in enumerate(weights.blocks()):
        y = model.activated(weights, f"block{index}", x, "1")
        y = model.convolution(weights, f"block{index}", y, dilation, "1")
        y = model.convolution(
            weights, f"block{index}", model.activated(weights, f"block{index}", y, "2"), dilation, "2"
        )
        x = model.add("Add", [x, y] if index % 2 else [y, x])
        if is_last:
            skips.append(model.convolution(weights, f"skip{stage + 1}", x))
    total = skips[0]
    for skip in skips[1:]:
        total = model.add("Add", [total, skip])
    crop = weights.context if crop is None else crop
    cropped = model.add("Cropping1D", [total], cropping=[crop, crop])
    output = model.convolution(weights, "head", cropped, activation="softmax")
    layers = model.layers[::-1] if backwards else model.layers
    config = {"layers": layers, "input_layers": [[data, 0, 0]], "output_layers": [[output, 0, 0]]}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Model", "config": config})
        for name, arrays in model.arrays.items():
            group = file.create_group(f"model_weights/{name}")
            group.attrs["weight_names"] = np.array([f"{name}/{part}:0".encode() for part in arrays])
            for part, array in arrays.items():
                group[f"{name}/{part}:0"] = array


def keras_scores(path: Path, columns: Tensor) -> Tensor:
    """What a model in a file gives for columns [1, 4, bases]: [1, channels, bases]."""
    import h5py

    with h5py.File(path) as file:
        model = json.loads(file.attrs["model_config"])["config"]
        arrays = {}
        for name, group in file["model_weights"].items():
            for full in group.attrs["weight_names"]:
                arrays[name, full.decode().split("/")[-1].split(":")[0]] = torch.from_numpy(group[full][()])
    values: dict[str, Tensor] = {}
    open_layers = list(model["layers"])
    while open_layers:
        layer = open_layers.pop(0)
        inputs = [origin[0] for node in layer["inbound_nodes"] for origin in node]
        if all(name in values for name in inputs):
            values[layer["name"]] = _evaluated(layer, [values[name] for name in inputs], arrays, columns)
        else:
            open_layers.append(layer)
    return values[model["output_layers"][0][0]]


def _evaluated(layer: dict[str, Any], inputs: list[Tensor], arrays: dict[Any, Tensor], columns: Tensor) -> Tensor:
    settings, name = layer["config"], layer["name"]
    match layer["class_name"]:
        case "InputLayer":
            return columns
        case "Conv1D":
            kernel, dilation = arrays[name, "kernel"].permute(2, 1, 0), settings["dilation_rate"][0]
            padding = dilation * (kernel.shape[2] - 1) // 2
            y = F.conv1d(inputs[0], kernel, arrays[name, "bias"], padding=padding, dilation=dilation)
            return y.softmax(1) if settings["activation"] == "softmax" else y
        case "BatchNormalization":
            gamma, beta, mean, variance = (
                arrays[name, part][:, None] for part in ("gamma", "beta", "moving_mean", "moving_variance")
            )
            return gamma * (inputs[0] - mean) / (variance + settings["epsilon"]).sqrt() + beta
        case "Activation":
            assert settings["activation"] == "relu"
            return inputs[0].clamp(min=0)
        case "Add":
            return inputs[0] + inputs[1]
        case "Cropping1D":
            left, right = settings["cropping"]
            return inputs[0][:, :, left : inputs[0].shape[2] - right]
    raise AssertionError(layer["class_name"])
