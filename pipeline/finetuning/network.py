"""The network that a training starts with, and which of its parameters learn.

The tissues of the result are those of the checkpoint when the usage table has no others (its absent ones are unknown
everywhere and learn nothing), else exactly the columns of the usage table, in their order. Rows of the usage head are
carried over by name; a tissue that the checkpoint does not know starts from random weights.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn

from pipeline.finetuning.settings import Freeze
from pipeline.run import channel_names, load_model
from sptx_core.channels import SPLICE
from sptx_core.config import SpTransformerConfig
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel


def starting_network(
    checkpoint: str | None, network: dict[str, Any] | None, given: tuple[str, ...], seed: int
) -> SpTransformerModel:
    """The network with its tissues named; `given` are the columns of the usage table, if any.

    Raises:
        InputError: the checkpoint or the sizes are not sound, or a new network would have no tissues.

    """
    torch.manual_seed(seed)
    if checkpoint is None:
        return _new(network or {}, given)
    model = load_model(checkpoint)
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
    return ready


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
    return SpTransformerModel(config)


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
