"""MultiMolecule's ports of the family, read from their config.json and tensors without that package.

`openspliceai` is a network of splice sites and can be loaded as any checkpoint. `pangolin` tells no acceptor from a
donor: it gives channels of usage beside a network of splice sites. That package converts Pangolin's networks of
P(splice), so that the port's `score` outputs are what these were trained for, and its `usage` outputs are not; the
channels are called `heart_splice` and so on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from sptx_core.channels import SPLICE
from sptx_core.checkpoint.family.network import ResidualNetwork, reach, sizes_of, with_our_epsilon
from sptx_core.checkpoint.family.state_dicts import TISSUES, fitted, one_logit
from sptx_core.checkpoint.names import HEAD, NETWORK
from sptx_core.config import INPUT_CHANNELS, ResidualStage, SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.errors import InputError

OPENSPLICEAI, PANGOLIN = "openspliceai", "pangolin"
PORTS = (OPENSPLICEAI, PANGOLIN)
"""`model_type` in the config.json of the ports."""
HEAD_SETTINGS: dict[str, Any] = {"transform": None, "act": None, "bias": True}
"""The only value that a head of splice sites has for these."""


def splice_config(settings: Mapping[str, Any]) -> SpTransformerConfig:
    """The sizes of a port of OpenSpliceAI.

    Raises
    ------
    InputError
        A setting has a value that a network of the family cannot have, or the port is one of Pangolin.
    """
    if settings.get("model_type") == PANGOLIN:
        raise InputError(
            "Pangolin tells no acceptor from a donor: make a checkpoint of it beside a network of splice sites with "
            "sptx convert and --usage"
        )
    return sizes_of(_input_channels(settings, 4), [_encoder(settings)], (), 1)


def read_splice_port(tensors: Mapping[str, Tensor], settings: Mapping[str, Any], source: str) -> ResidualNetwork:
    """Read the network of a port of OpenSpliceAI.

    Parameters
    ----------
    tensors
        All tensors of the file.
    settings
        The content of its config.json.
    source
        The file, as messages call it.

    Raises
    ------
    InputError
        As `splice_config`; or tensors are missing, unexpected, misshapen or not finite.
    """
    try:
        splice_config(settings)
        encoder, channels = _encoder(settings), _input_channels(settings, 4)
        _require_plain_head(settings)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    names = _names(f"{NETWORK}.encoder.projection", f"{NETWORK}.encoder.skip", f"{NETWORK}.encoder.stages", encoder)
    last = f"{HEAD}.decoder"
    found = fitted(tensors, encoder, names, {last: len(SPLICE)}, source, input_channels=channels, last_dimensions=2)
    _fold(found, settings)
    weight, bias = tensors[f"{last}.weight"].float(), tensors[f"{last}.bias"].float()
    return ResidualNetwork(source, encoder, found, SPLICE, weight, bias)


def read_usage_port(
    tensors: Mapping[str, Tensor], settings: Mapping[str, Any], source: str
) -> list[list[ResidualNetwork]]:
    """Read the networks of a port of Pangolin: of each member those of all tissues.

    Parameters and errors are those of `read_splice_port`.
    """
    try:
        encoder, channels = _encoder(settings), _input_channels(settings, 5)
        members, tissues = _count(settings, "num_ensemble", 3), _count(settings, "num_tissues", 4)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    tissue_names = settings.get("tissue_names") or [*TISSUES, *(f"tissue_{i}" for i in range(len(TISSUES), tissues))]
    known = {f"members.{tissue}.{member}." for tissue in range(tissues) for member in range(members)}
    if unknown := [name for name in tensors if not name.startswith(tuple(known))]:
        raise InputError(f"the tensors of {source} do not fit the network (unexpected: {unknown[0]})")

    def network(member: int, tissue: int) -> ResidualNetwork:
        prefix = f"members.{tissue}.{member}."
        names = _names(f"{prefix}projection", f"{prefix}encoder.conv", f"{prefix}encoder.stages", encoder)
        scores = {f"{prefix}prediction.score.{index}": 2 for index in range(tissues)}
        usages = {f"{prefix}prediction.usage.{index}": 1 for index in range(tissues)}
        own = {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        found = fitted(own, encoder, names, scores | usages, source, input_channels=channels)
        _fold(found, settings)
        last = f"{prefix}prediction.score.{tissue}"
        weight, bias = one_logit(own[f"{last}.weight"].float().flatten(1), own[f"{last}.bias"].float())
        return ResidualNetwork(source, encoder, found, (f"{tissue_names[tissue]}_splice",), weight, bias)

    return [[network(member, tissue) for tissue in range(tissues)] for member in range(members)]


def _names(first: str, skip: str, stages: str, encoder: SpTransformerFeatureEncoderConfig) -> dict[str, str]:
    """The port's name for each module of an encoder."""
    names = {"input": first, "first_skip": skip}
    blocks = ((number, index) for number, stage in enumerate(encoder.stages) for index in range(stage.blocks))
    for index, (stage, block) in enumerate(blocks):
        for part in ("norm1", "conv1", "norm2", "conv2"):
            names[f"blocks.{index}.{part}"] = f"{stages}.{stage}.blocks.{block}.{part}"
    return names | {f"skips.{index}": f"{stages}.{index}.conv" for index in range(len(encoder.stages))}


def _fold(tensors: dict[str, Tensor], settings: Mapping[str, Any]) -> None:
    """Put the port's epsilon into the variances."""
    epsilon = settings.get("batch_norm_eps", 1e-5)
    if not isinstance(epsilon, int | float) or not epsilon > 0:
        raise InputError(f"batch_norm_eps must be a number above 0, not {epsilon!r}")
    for name, tensor in tensors.items():
        if name.endswith(".running_var"):
            tensors[name] = with_our_epsilon(tensor, epsilon)


def _encoder(settings: Mapping[str, Any]) -> SpTransformerFeatureEncoderConfig:
    stages = tuple(_stages(settings.get("stages")))
    encoder = SpTransformerFeatureEncoderConfig(settings.get("hidden_size", 32), stages, _leak(settings))
    context = settings.get("context", 2 * reach(encoder))
    if context != 2 * reach(encoder):
        raise InputError(f"context is {context!r}, but the convolutions reach {2 * reach(encoder):,} bases in all")
    return encoder


def _stages(values: Any) -> Iterator[ResidualStage]:
    if not isinstance(values, list | tuple) or not all(isinstance(value, Mapping) for value in values):
        raise InputError(f"stages must be a list of settings by name, not {values!r}")
    for value in values:
        if missing := [name for name in ("num_blocks", "kernel_size", "dilation") if name not in value]:
            raise InputError(f"a stage lacks its setting {', '.join(missing)}")
        yield ResidualStage(value["num_blocks"], value["kernel_size"], value["dilation"])


def _leak(settings: Mapping[str, Any]) -> float:
    activation = settings.get("hidden_act", "leaky_relu" if settings.get("model_type") == OPENSPLICEAI else "relu")
    if activation == "relu":
        return 0.0
    if activation != "leaky_relu":
        raise InputError(f"hidden_act is {activation!r}, but this network can only have 'relu' or 'leaky_relu'")
    further = settings.get("hidden_act_kwargs") or {}
    slope = further.get("negative_slope", 0.01 if further else 0.1) if isinstance(further, Mapping) else None
    if not isinstance(slope, int | float):
        raise InputError(f"hidden_act_kwargs must hold negative_slope, not {further!r}")
    return slope


def _input_channels(settings: Mapping[str, Any], default: int) -> int:
    channels = settings.get("vocab_size", default)
    if channels not in INPUT_CHANNELS:
        raise InputError(f"vocab_size must be 4 (A C G T) or 5 (A C G T N), not {channels!r}")
    return int(channels)


def _count(settings: Mapping[str, Any], name: str, default: int) -> int:
    count = settings.get(name, default)
    if type(count) is not int or not 0 < count <= 100:
        raise InputError(f"{name} must be an integer from 1 to 100, not {count!r}")
    return count


def _require_plain_head(settings: Mapping[str, Any]) -> None:
    head = settings.get("head") or {}
    if not isinstance(head, Mapping):
        raise InputError(f"head must hold settings by name, not {head!r}")
    labels = head.get("num_labels", settings.get("num_labels", len(SPLICE)))
    if labels not in (None, len(SPLICE)):
        raise InputError(f"num_labels is {labels!r}, but splice sites have {len(SPLICE)} classes")
    for name, value in HEAD_SETTINGS.items():
        if head.get(name, value) != value:
            raise InputError(
                f"{name} of the head is {head[name]!r}, but a head of splice sites can only have {value!r}"
            )
