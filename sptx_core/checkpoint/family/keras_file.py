"""Networks of splice sites in Keras' HDF5 files, as SpliceAI's are: the graph in `model_config`, tensors by layer.

The format is that of `Model.save` of Keras 2 (`keras/engine/saving.py`): the attribute `model_config` holds the layers
as JSON, each with the names of those that lead to it; the group `model_weights` holds a group a layer, whose attribute
`weight_names` names its data sets. Kernels are [taps, inputs, outputs] there. This is the one module that needs h5py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sptx_core.checkpoint.family.layers import Kind, Layer, network_of
from sptx_core.checkpoint.family.network import ResidualNetwork, with_our_epsilon
from sptx_core.errors import InputError
from sptx_core.files import reason
from sptx_core.words import counted

MAGIC = b"\x89HDF\r\n\x1a\n"
"""First bytes of an HDF5 file."""

TENSORS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
"""PyTorch's names for Keras' tensors."""


MAX_NAMES_TOLD = 6


class _Content(NamedTuple):
    """What is read of a file: the graph's JSON, and arrays by layer and name."""

    config: str
    arrays: dict[str, dict[str, np.ndarray[Any, Any]]]


def read_keras(file: BinaryIO, source: str) -> ResidualNetwork:
    """Read the network in a file.

    Parameters
    ----------
    file
        Open for reading.
    source
        What messages call it.

    Returns
    -------
    ResidualNetwork
        Of splice sites; the epsilon of its batch norms is in their variances.

    Raises
    ------
    InputError
        h5py is not installed, or the file is damaged, holds no graph, or a graph that is none of the family.
    """
    content = _read(file, source)
    try:
        model = json.loads(content.config)["config"]
        layers = {str(layer["name"]): _layer(layer, content.arrays, source) for layer in model["layers"]}
        (output,) = [str(name) for name, *_ in model["output_layers"]]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{source} is damaged or of another program than SpliceAI: its model_config describes no network of that "
            f"family ({reason(error)})"
        ) from error
    return network_of(layers, output, source)


def _read(file: BinaryIO, source: str) -> _Content:
    try:
        import h5py  # late: an extra, which nothing else needs
    except ModuleNotFoundError as error:
        raise InputError(f"to read {source}, a Keras file, install h5py: pip install 'sptx[keras]'") from error
    try:
        with h5py.File(file, "r") as content:
            config = content.attrs.get("model_config")
            held = [f"attribute {name}" for name in content.attrs] + [f"/{name}" for name in content]
            arrays = {name: dict(_arrays(group)) for name, group in content.get("model_weights", {}).items()}
    except Exception as error:  # a damaged file fails in many ways
        raise InputError(f"{source} is damaged or incomplete ({reason(error)})") from error
    if isinstance(config, bytes):
        config = config.decode(errors="replace")
    if not isinstance(config, str) or not arrays:
        raise InputError(
            f"{source} is HDF5, but no network of SpliceAI as `Model.save` of Keras writes it (spliceai1.h5): expected "
            "the attribute model_config and the group /model_weights, found "
            f"{', '.join(held[:MAX_NAMES_TOLD]) or 'nothing'}"
        )
    return _Content(config, arrays)


def _arrays(group: Any) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """The data sets of a layer by the last part of their names, without ":0"."""
    for name in group.attrs.get("weight_names", ()):
        name = name.decode() if isinstance(name, bytes) else str(name)
        yield name.rpartition("/")[2].partition(":")[0], group[name][()]


def _layer(
    description: Mapping[str, Any], arrays: Mapping[str, Mapping[str, np.ndarray[Any, Any]]], source: str
) -> Layer:
    """One layer from its description in `model_config`."""
    kind, name, settings = description["class_name"], description["name"], description["config"]
    inputs = tuple(str(origin) for node in description["inbound_nodes"] for origin, *_ in node)
    found = arrays.get(name, {})
    match kind:
        case "InputLayer":
            return Layer(Kind.INPUT)
        case "Conv1D":
            _require(settings, {"strides": [1], "data_format": "channels_last"}, name, source)
            _require(settings, {"activation": ("linear", "softmax")}, name, source)
            return Layer(Kind.CONVOLUTION, inputs, _tensors(found), dilation=int(settings["dilation_rate"][0]))
        case "BatchNormalization":
            tensors = _tensors(found)
            if "running_var" in tensors:
                tensors["running_var"] = with_our_epsilon(tensors["running_var"], float(settings["epsilon"]))
            return Layer(Kind.NORM, inputs, tensors)
        case "Activation" if settings["activation"] == "relu":
            return Layer(Kind.RELU, inputs)
        case "Add":
            return Layer(Kind.SUM, inputs)
        case "Cropping1D":
            left, right = (int(number) for number in settings["cropping"])
            if left != right:
                raise InputError(
                    f"{source}: {name} crops {counted(left, 'base')} on one side and {right:,} on the other"
                )
            return Layer(Kind.CROP, inputs, crop=left)
    what = f"an activation {settings['activation']!r}" if kind == "Activation" else f"a layer {kind}"
    raise InputError(f"{source} holds no network of SpliceAI's family: {name} is {what}")


def _require(settings: Mapping[str, Any], values: Mapping[str, Any], name: str, source: str) -> None:
    """Refuse a setting with another value than those of the family; older files leave some out."""
    for setting, expected in values.items():
        allowed = expected if isinstance(expected, tuple) else (expected,)
        if settings.get(setting, allowed[0]) not in allowed:
            raise InputError(f"{source}: {setting} of {name} is {settings[setting]!r}, which no such network has")


def _tensors(arrays: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, Tensor]:
    """Arrays by PyTorch's names and in its order of axes, float32."""
    tensors = {TENSORS.get(name, name): torch.from_numpy(np.array(x, np.float32)) for name, x in arrays.items()}
    if "kernel" in arrays and tensors["weight"].dim() == 3:
        tensors["weight"] = tensors["weight"].permute(2, 1, 0).contiguous()
    return tensors
