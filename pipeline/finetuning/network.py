"""The network that a training starts from, and which of its parameters are trained.

In: a checkpoint, or the sizes of a new network and perhaps trained encoders; the tissues of the usage table. Out: a
network in float32 on the CPU.

Tissues. If the usage table has no tissue that the checkpoint lacks, the network keeps the tissues of the checkpoint;
those without usage are unknown everywhere and are not trained. Otherwise its tissues are the columns of the usage
table, in their order. Rows of the usage head are copied from the checkpoint by name; a tissue that the checkpoint
lacks starts from random weights.

New parts start from what is known without reading a base: the bias of the splice head is the logarithm of the share of
sites among all bases, a bias of the usage head is the logit of the tissue's mean usage. The position embeddings of a
new network start small, so that they do not outweigh the features of the sequence, which have yet to be learned.

Encoders. A new network may start with those of another network, one after another, of an ensemble all members' or as
many as the new network has. Sizes that are not given are those of the other network where they belong to its encoders
(what they read and how far), else those of `SMALL`. All that is not an encoder stays random.

Errors: `InputError` for a checkpoint that cannot be used, unsuitable sizes, several members, and a new network without
tissues.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import torch
from torch import nn

from pipeline.finetuning.labelled_sites import Sites
from pipeline.finetuning.settings import Freeze
from pipeline.inputs.network import channel_names, load_network
from sptx_core.channels import SPLICE
from sptx_core.checkpoint import Checkpoint
from sptx_core.config import SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel
from sptx_core.words import counted

POSITION_SCALE = 0.1  # of a new network's position embeddings, against their usual initial values
SMALL = {
    "max_seq_len": 2048,
    "input_path_channels": 0,
    "hidden_size": 64,
    "layers": 1,
    "heads": 2,
    "local_heads": 1,
    "feed_forward_size": 128,
}
"""Sizes of a new network about trained encoders, where none are given."""
USAGE_RANGE = (0.05, 0.95)  # a mean usage is clamped to this range before its logit is taken


class Start(NamedTuple):
    """The network that a training starts from.

    Attributes
    ----------
    model : SpTransformerModel
        The network; its configuration names its tissues.
    checkpoint_tissues : tuple of str or None
        Tissues of the checkpoint; None for a new network.
    checkpoint : Checkpoint or None
        The checkpoint as it was read; None for a new network.
    encoders : Checkpoint or None
        The checkpoint that the encoders of a new network were taken from.
    pinned : str or None
        Hub id and commit of either checkpoint, if it came from the hub.

    """

    model: SpTransformerModel
    checkpoint_tissues: tuple[str, ...] | None
    checkpoint: Checkpoint | None = None
    encoders: Checkpoint | None = None
    pinned: str | None = None


def starting_network(
    checkpoint: str | None,
    network: dict[str, Any] | None,
    usage_tissues: tuple[str, ...],
    seed: int,
    encoders: str | None = None,
) -> Start:
    """Make the network that a training starts from.

    Parameters
    ----------
    checkpoint : str or None
        Path, URI or hub id of the network to start from.
    network : dict or None
        Without a checkpoint, fields of `SpTransformerConfig`.
    usage_tissues : tuple of str
        Tissues of the usage table; empty without one.
    seed : int
        Seed of random weights; PyTorch's global generator is seeded with it.
    encoders : str or None
        Without a checkpoint, path, URI or hub id of the network whose encoders the new one starts with.

    Returns
    -------
    Start
        The network.

    Raises
    ------
    InputError
        The checkpoint or the sizes cannot be used, or a new network would have no tissues.

    """
    torch.manual_seed(seed)
    if checkpoint is None:
        if encoders is None:
            return Start(_new_network(network or {}, usage_tissues), None)
        return _with_encoders(encoders, network or {}, usage_tissues)
    given = load_network(checkpoint)
    loaded = given.model
    _require_one(loaded.config, checkpoint)
    known = channel_names(loaded.config)[len(SPLICE) :]
    tissues = known if set(usage_tissues) <= set(known) else usage_tissues
    model = SpTransformerModel(dataclasses.replace(loaded.config, tissues=len(tissues), tissue_names=tissues or None))
    state = loaded.state_dict()
    for name, values in ({} if model.usage_head is None else model.usage_head.state_dict()).items():
        for row, tissue in enumerate(tissues):
            if tissue in known:
                values[row] = state[f"usage_head.{name}"][known.index(tissue)]
        state[f"usage_head.{name}"] = values
    model.load_state_dict(state)
    return Start(model, known, given.checkpoint, pinned=given.pinned)


def _require_one(config: SpTransformerConfig, place: str) -> None:
    if config.members > 1:
        raise InputError(
            f"{place} holds {config.members} networks side by side, and a training changes one: start from one of them "
            "(`Checkpoint.of_member` of sptx_core.checkpoint takes it out)"
        )


def _with_encoders(place: str, network: dict[str, Any], usage_tissues: tuple[str, ...]) -> Start:
    """A new network whose encoders are those of the network at `place`."""
    given = load_network(place)
    trained = [encoder for member in given.model.networks for encoder in member.encoders]
    sizes = given.model.sizes.to_dict()
    of_encoders = {name: sizes[name] for name in ("input_channels", "context")}
    model = _new_network(
        {**SMALL, **of_encoders, "encoders": sizes["encoders"] * given.model.sizes.members, **network}, usage_tissues
    )
    found = given.model.sizes.encoders * given.model.sizes.members
    wanted = model.sizes.encoders
    if model.sizes.input_channels != given.model.sizes.input_channels:
        raise InputError(
            f"the encoders of {place} read {counted(given.model.sizes.input_channels, 'input channel')}, and those of "
            f"`network` {model.sizes.input_channels}: leave `input_channels` out of `network`"
        )
    if wanted != found[: len(wanted)]:
        raise InputError(
            f"the encoders of `network` are not those of {place}, which are {len(found)} with {_described(found)}: "
            "leave `encoders` out of `network`, or give equal ones"
        )
    for encoder, source in zip(model.encoders, trained, strict=False):
        encoder.load_state_dict(source.state_dict())
    return Start(model, None, encoders=given.checkpoint, pinned=given.pinned)


def _described(encoders: tuple[SpTransformerFeatureEncoderConfig, ...]) -> str:
    """Sizes of the different ones among some encoders, in words."""
    return ", or ".join(
        f"{counted(encoder.channels, 'channel')}, leak {encoder.leak:g} and stages "
        + " ".join(f"{stage.blocks}x({stage.kernel_size}, {stage.dilation})" for stage in encoder.stages)
        for encoder in dict.fromkeys(encoders)
    )


def _new_network(network: dict[str, Any], usage_tissues: tuple[str, ...]) -> SpTransformerModel:
    if not usage_tissues and network.get("tissues") != 0:
        raise InputError(
            "a new network learns tissues from a usage table: give --usage, or start from --checkpoint, or say "
            "`tissues: 0` in `network` to learn splice sites alone"
        )
    settings = {"tissues": len(usage_tissues), "tissue_names": list(usage_tissues) or None, **network}
    config = SpTransformerConfig.from_dict(settings)
    _require_one(config, "`network`")
    tissues = config.output_channels[len(SPLICE) :]
    if tissues != usage_tissues:
        raise InputError(
            f"the tissues of `network` ({', '.join(tissues)}) are not those of the usage table "
            f"({', '.join(usage_tissues)}): leave them out of `network`"
        )
    model = SpTransformerModel(config)
    with torch.no_grad():
        for embedding in model.position.parameters():
            embedding.mul_(POSITION_SCALE)
    return model


def set_new_biases(start: Start, sites: Sites, bases: int, *, site_weight: float) -> None:
    """Set the biases of the heads' new rows: all rows of a new network, else those of new tissues.

    Parameters
    ----------
    start : Start
        The network, which is changed in place.
    sites : Sites
        The sites to train on.
    bases : int
        Number of bases that they lie among.
    site_weight : float
        Weight of a site in the loss, by which the share of sites is multiplied.

    """
    model, known = start.model, start.checkpoint_tissues
    with torch.no_grad():
        if known is None:
            assert model.splice_head.bias is not None
            counts = [(sites.label == kind).sum() for kind in range(1, len(SPLICE))]
            shares = torch.tensor([1.0, *(max(1, count) / bases * site_weight for count in counts)])
            model.splice_head.bias.copy_(shares.log())
        if model.usage_head is None:
            return
        assert model.usage_head.bias is not None
        usage = torch.from_numpy(sites.usage).nanmean(0).nan_to_num(0.5).clamp(*USAGE_RANGE)
        for row, tissue in enumerate(model.config.output_channels[len(SPLICE) :]):
            if known is None or tissue not in known:
                model.usage_head.bias[row] = usage[row].logit()


def freeze(model: SpTransformerModel, what: Freeze, *, new: bool = False) -> tuple[nn.Module, ...]:
    """Exclude parts of a network from the training.

    Parameters
    ----------
    model : SpTransformerModel
        The network, whose parameters no longer require gradients where they are excluded.
    what : Freeze
        The parts.
    new : bool
        Whether all but the encoders has random weights: the input path then goes on learning.

    Returns
    -------
    tuple of Module
        The excluded parts. To keep the statistics of their norms too, put these in evaluation mode while training.

    """
    parts: tuple[nn.Module, ...] = {
        Freeze.NOTHING: (),
        Freeze.ENCODERS: (model.encoders,) if new or model.input_path is None else (model.encoders, model.input_path),
        Freeze.BODY: tuple(part for part in model.children() if part not in model.heads),
    }[what]
    for part in parts:
        part.requires_grad_(requires_grad=False)
    return parts
