"""The shape and type of every tensor of a network, from its sizes alone, and the sizes back from tensors.

Nothing here builds a network. `network_shapes` and `head_shapes` say what `sptx_core.model.SpTransformerModel` and
`sptx_core.token_prediction.TokenPredictionHead` hold, in the order of their state dicts; a test compares them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sptx_core.channels import SPLICE
from sptx_core.checkpoint.names import MEMBER, is_counter
from sptx_core.config import HeadConfig, ResidualStage, SpTransformerConfig, SpTransformerFeatureEncoderConfig

MAX_LISTED = 20  # tensors that a message names one by one before it counts the others


class TensorShape(NamedTuple):
    """What a tensor must look like."""

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32


def network_shapes(config: SpTransformerConfig) -> dict[str, TensorShape]:
    """Every tensor of a network.

    Parameters
    ----------
    config
        Its sizes.

    Returns
    -------
    dict
        Shapes by our names: parameters and running statistics in float32, counters of training steps in int64.
    """
    return dict(_network(config))


def head_shapes(config: HeadConfig, hidden_size: int) -> dict[str, TensorShape]:
    """Every tensor of a head that reads `hidden_size` channels, by their names in the head."""
    return dict(_head(config, hidden_size))


def misfits(tensors: Mapping[str, Tensor], expected: Mapping[str, TensorShape]) -> str:
    """Say how tensors differ from those expected.

    Parameters
    ----------
    tensors
        What was found, by name.
    expected
        What should be there, by names of the same layout. Counters of training steps may be missing.

    Returns
    -------
    str
        Names of the tensors that are missing, unexpected, misshapen or not finite; empty if all fit.
    """
    faults = {
        "missing": [name for name in expected if name not in tensors and not is_counter(name)],
        "unexpected": [name for name in tensors if name not in expected],
        "misshapen": [
            f"{name} {list(tensors[name].shape)} instead of {list(like.shape)}"
            for name, like in expected.items()
            if name in tensors and tuple(tensors[name].shape) != like.shape
        ],
        "not finite": [name for name, tensor in tensors.items() if not tensor.float().isfinite().all()],
    }
    return "; ".join(f"{fault}: {_listing(names)}" for fault, names in faults.items() if names)


def config_from_shapes(tensors: Mapping[str, Tensor]) -> SpTransformerConfig:
    """Read the sizes of a network off its tensors.

    Parameters
    ----------
    tensors
        Tensors by our names. Some may be missing: each size is read from whichever tensor has it.

    Returns
    -------
    SpTransformerConfig
        Context, heads and dilations leave no trace in tensors and are those of the published network, and so is every
        size whose tensors are missing.

    Raises
    ------
    InputError
        The shapes are those of no possible network; the message names the setting.
    """
    published = SpTransformerConfig()
    buckets = _size(tensors, r"position\.bucket", 1, published.max_seq_len // published.bucket_size)
    bucket_size = _size(tensors, r"position\.place", 2, published.bucket_size)
    encoders = _count(tensors, "encoders") or len(published.encoders)
    return SpTransformerConfig(
        input_channels=_size(tensors, r"input_path\.0\.weight", 1, published.input_channels),
        max_seq_len=buckets * bucket_size,
        encoders=tuple(_encoder_config(tensors, rf"encoders\.{index}") for index in range(encoders)),
        input_path_channels=_size(tensors, r"input_path\.[01]\.bias", 0, published.input_path_channels),
        hidden_size=_size(tensors, r"(layers\.\d+\.attention_)?norm\.weight", 0, published.hidden_size),
        layers=_count(tensors, "layers") or published.layers,
        bucket_size=bucket_size,
        feed_forward_size=_size(tensors, r"layers\.\d+\.expand\.weight", 0, published.feed_forward_size),
        tissues=_size(tensors, r"usage_head\.(weight|bias)", 0, published.tissues),
    )


# --- from sizes to shapes --------------------------------------------------------------------------------------------

Shapes = Iterator[tuple[str, TensorShape]]


def _network(config: SpTransformerConfig) -> Shapes:
    if config.members > 1:
        for number in range(config.members):
            yield from ((f"{MEMBER}.{number}.{name}", shape) for name, shape in _network(config.member))
        return
    path, hidden = config.input_path_channels, config.hidden_size
    for index, encoder in enumerate(config.encoders):
        yield from _encoder(f"encoders.{index}", config.input_channels, encoder)
    if path:
        yield from _convolution("input_path.0", config.input_channels, path)
        yield from _convolution("input_path.1", path, path)
    yield from _convolution("fusion", config.fused_channels, hidden)
    if config.layers:
        yield "position.bucket", TensorShape((1, config.max_seq_len // config.bucket_size, 1, hidden))
        yield "position.place", TensorShape((1, 1, config.bucket_size, hidden))
    for index in range(config.layers):
        yield from _layer(f"layers.{index}", hidden, config.feed_forward_size)
    if config.layers:
        yield from _norm("norm", hidden)
    yield from _convolution("splice_head", hidden, len(SPLICE))
    if config.tissues:
        yield from _convolution("usage_head", hidden, config.tissues)


def _encoder(name: str, input_channels: int, config: SpTransformerFeatureEncoderConfig) -> Shapes:
    size = config.channels
    yield from _convolution(f"{name}.input", input_channels, size)
    yield from _convolution(f"{name}.first_skip", size, size)
    kernel_sizes = [stage.kernel_size for stage in config.stages for _ in range(stage.blocks)]
    for index, kernel_size in enumerate(kernel_sizes):
        for number in (1, 2):
            yield from _batch_norm(f"{name}.blocks.{index}.norm{number}", size)
            yield from _convolution(f"{name}.blocks.{index}.conv{number}", size, size, kernel_size)
    for index in range(len(config.stages)):
        yield from _convolution(f"{name}.skips.{index}", size, size)


def _layer(name: str, size: int, feed_forward_size: int) -> Shapes:
    yield from _norm(f"{name}.attention_norm", size)
    yield f"{name}.attention.query.weight", TensorShape((size, size))
    yield f"{name}.attention.key_value.weight", TensorShape((2 * size, size))
    yield from _linear(f"{name}.attention.output", size, size)
    yield from _norm(f"{name}.feed_forward_norm", size)
    yield from _linear(f"{name}.expand", size, feed_forward_size)
    yield from _linear(f"{name}.contract", feed_forward_size, size)


def _head(config: HeadConfig, size: int) -> Shapes:
    if config.transform:
        yield from _linear("transform.dense", size, size)
        yield from _norm("transform.layer_norm", size)
    yield "decoder.weight", TensorShape((config.num_labels, size))
    if config.bias:
        yield "decoder.bias", TensorShape((config.num_labels,))


def _convolution(name: str, inputs: int, outputs: int, kernel_size: int = 1) -> Shapes:
    yield f"{name}.weight", TensorShape((outputs, inputs, kernel_size))
    yield f"{name}.bias", TensorShape((outputs,))


def _linear(name: str, inputs: int, outputs: int) -> Shapes:
    yield f"{name}.weight", TensorShape((outputs, inputs))
    yield f"{name}.bias", TensorShape((outputs,))


def _norm(name: str, size: int) -> Shapes:
    yield f"{name}.weight", TensorShape((size,))
    yield f"{name}.bias", TensorShape((size,))


def _batch_norm(name: str, size: int) -> Shapes:
    yield from _norm(name, size)
    yield f"{name}.running_mean", TensorShape((size,))
    yield f"{name}.running_var", TensorShape((size,))
    yield f"{name}.num_batches_tracked", TensorShape((), torch.int64)


# --- from shapes to sizes --------------------------------------------------------------------------------------------


def _size(tensors: Mapping[str, Tensor], pattern: str, axis: int, otherwise: int) -> int:
    """Length of an axis of the first tensor that has it among those whose name matches."""
    shapes = (tensor.shape for name, tensor in tensors.items() if re.fullmatch(pattern, name))
    return next((shape[axis] for shape in shapes if axis < len(shape)), otherwise)


def _count(tensors: Mapping[str, Tensor], module: str) -> int:
    """How many of a module's numbered parts have tensors."""
    return len({match[1] for name in tensors if (match := re.match(rf"{module}\.(\d+)\.", name))})


def _encoder_config(tensors: Mapping[str, Tensor], module: str) -> SpTransformerFeatureEncoderConfig:
    """Sizes of one encoder: its blocks are shared out evenly among its stages, as in every published encoder."""
    default = SpTransformerConfig().encoders[0]
    stages, blocks = _count(tensors, rf"{module}\.skips"), _count(tensors, rf"{module}\.blocks")
    if not 0 < stages <= len(default.stages) or blocks % stages:
        stages, blocks = len(default.stages), sum(stage.blocks for stage in default.stages)
    per_stage = blocks // stages

    def stage(index: int) -> ResidualStage:
        first_block = rf"{module}\.blocks\.{per_stage * index}"
        kernel_size = _size(tensors, rf"{first_block}\.conv[12]\.weight", 2, default.stages[index].kernel_size)
        return ResidualStage(per_stage, kernel_size, default.stages[index].dilation)

    return SpTransformerFeatureEncoderConfig(
        _size(tensors, rf"{module}\.input\.(weight|bias)", 0, default.channels),
        tuple(stage(index) for index in range(stages)),
    )


def _listing(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more
