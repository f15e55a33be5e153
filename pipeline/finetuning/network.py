"""The network that a training starts with, and which of its parameters learn.

The tissues of the result are those of the checkpoint when the usage table has no others (its absent ones are unknown
everywhere and learn nothing), else exactly the columns of the usage table, in their order. Rows of the usage head are
carried over by name; a tissue that the checkpoint does not know starts from random weights.

What is new starts from what is known without reading a base: the heads' biases are those of the share of sites among
the bases, and of each tissue's mean usage. Position embeddings of a new network start small, so that they don't drown
the features that have to be learned.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import torch
from torch import nn

from pipeline.finetuning.examples import Sites
from pipeline.finetuning.settings import Freeze
from pipeline.inputs.network import channel_names, load_network
from sptx_core.channels import SPLICE
from sptx_core.config import SpTransformerConfig
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel

POSITION_SCALE = 0.1  # of the embeddings' usual first values
USAGE_RANGE = (0.05, 0.95)  # of a mean usage that a bias is made from


class Start(NamedTuple):
    """The network with its tissues named, and the tissues that its checkpoint knows, None without one."""

    model: SpTransformerModel
    known: tuple[str, ...] | None


def starting_network(
    checkpoint: str | None, network: dict[str, Any] | None, given: tuple[str, ...], seed: int
) -> Start:
    """The network to begin with; `given` are the columns of the usage table, if any.

    Raises:
        InputError: the checkpoint or the sizes are not sound, or a new network would have no tissues.

    """
    torch.manual_seed(seed)
    if checkpoint is None:
        return Start(_new(network or {}, given), None)
    model = load_network(checkpoint).model
    names = channel_names(model.config)[len(SPLICE) :]
    tissues = names if set(given) <= set(names) else given
    config = dataclasses.replace(model.config, tissues=len(tissues), tissue_names=tissues)
    ready = SpTransformerModel(config)
    kept = model.state_dict()
    fresh = ready.usage_head.state_dict()
    for name, values in fresh.items():
        for row, tissue in enumerate(tissues):
            if tissue in names:
                values[row] = kept[f"usage_head.{name}"][names.index(tissue)]
        kept[f"usage_head.{name}"] = values
    ready.load_state_dict(kept)
    return Start(ready, names)


def _new(network: dict[str, Any], given: tuple[str, ...]) -> SpTransformerModel:
    if not given:
        raise InputError("a new network learns tissues from a usage table: give --usage, or start from --checkpoint")
    settings = {"tissues": len(given), "tissue_names": list(given), **network}
    config = SpTransformerConfig.from_dict(settings)
    if config.output_channels[len(SPLICE) :] != given:
        raise InputError(
            f"the tissues of `network` ({', '.join(config.output_channels[len(SPLICE) :])}) are not "
            f"those of the usage table ({', '.join(given)}): leave them out of `network`"
        )
    model = SpTransformerModel(config)
    with torch.no_grad():
        for embedding in (model.position.bucket, model.position.place):
            embedding.mul_(POSITION_SCALE)
    return model


def set_new_biases(
    model: SpTransformerModel, sites: Sites, bases: int, *, site_weight: float, known: tuple[str, ...] | None
) -> None:
    """Set the biases of what is new: of both heads (`known` None), or of the tissues that are not among `known`.

    Args:
        model: the network, its tissues named.
        sites: those learned from.
        bases: how many bases they lie among.
        site_weight: their weight in the loss, which the share is multiplied by.
        known: tissues of the checkpoint.

    """
    with torch.no_grad():
        if known is None:
            assert model.splice_head.bias is not None
            counts = [(sites.label == kind).sum() for kind in range(1, len(SPLICE))]
            shares = torch.tensor([1.0, *(max(1, count) / bases * site_weight for count in counts)])
            model.splice_head.bias.copy_(shares.log())
        assert model.usage_head.bias is not None
        usage = torch.from_numpy(sites.usage).nanmean(0).nan_to_num(0.5).clamp(*USAGE_RANGE)
        for row, tissue in enumerate(model.config.output_channels[len(SPLICE) :]):
            if known is None or tissue not in known:
                model.usage_head.bias[row] = usage[row].logit()


def freeze(model: SpTransformerModel, what: Freeze) -> tuple[nn.Module, ...]:
    """Take parts of a network out of the training, and return these; their norms keep their statistics too."""
    heads = (model.splice_head, model.usage_head)
    parts: tuple[nn.Module, ...] = {
        Freeze.NOTHING: (),
        Freeze.ENCODERS: (model.encoders, model.input_path),
        Freeze.BODY: tuple(part for part in model.children() if part not in heads),
    }[what]
    for part in parts:
        part.requires_grad_(requires_grad=False)
    return parts
