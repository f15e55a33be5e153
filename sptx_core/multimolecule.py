"""The network under the names that MultiMolecule gives to its settings: its scripts run with this import instead.

Both packages have a SpTransformer; settings are called differently, and one name means two things: MultiMolecule's
`hidden_size` is the path around the encoders, ours the attention layers (its `attention_hidden_size`). The two
functions here take MultiMolecule's names and give our configurations; everything else is what it is elsewhere. Output
entries have the same names and shapes in both.

    >>> import torch
    >>> from sptx_core.multimolecule import SpTransformerConfig, SpTransformerFeatureEncoderConfig
    >>> from sptx_core.multimolecule import SpTransformerForTokenPrediction, SpTransformerModel
    >>> config = SpTransformerConfig(
    ...     context=10, hidden_size=6, encoders=[SpTransformerFeatureEncoderConfig(hidden_size=4)],
    ...     attention_hidden_size=32, num_hidden_layers=3, num_attention_heads=4, num_local_attention_heads=1,
    ...     intermediate_size=64, bucket_size=8, max_seq_len=40, num_tissues=2, num_labels=4,
    ... )
    >>> model = SpTransformerModel(config).eval()
    >>> model.config.hidden_size, model.config.input_path_channels
    (32, 6)
    >>> input_ids = torch.randint(5, (2, 30))
    >>> output = model(input_ids, output_attentions=True, output_hidden_states=True)
    >>> output["logits"].shape, output["last_hidden_state"].shape, len(output["hidden_states"])
    (torch.Size([2, 30, 5]), torch.Size([2, 30, 32]), 4)
    >>> scores, channels = model.postprocess(output)
    >>> channels
    ('no_splice', 'acceptor', 'donor', 'tissue_0', 'tissue_1')

Attention has one record a layer: buckets of 8 positions, 40 / 8 = 5 of them, local heads first.

    >>> first = output["attentions"][0]
    >>> first.local_attentions.shape, first.local_key_positions.shape
    (torch.Size([2, 1, 5, 8, 24]), torch.Size([5, 24]))
    >>> first.sinkhorn_attentions.shape, first.sinkhorn_reorder.shape
    (torch.Size([2, 3, 5, 8, 16]), torch.Size([2, 3, 5, 5]))
    >>> first.num_local_heads, first.num_sinkhorn_heads, first.sequence_length
    (1, 3, 40)

A head for labels of one's own:

    >>> predictor = SpTransformerForTokenPrediction(config)
    >>> output = predictor(input_ids, labels=torch.rand(2, 30, 4))
    >>> output["logits"].shape
    torch.Size([2, 30, 4])
    >>> output["loss"]  # doctest: +ELLIPSIS
    tensor(..., grad_fn=<MseLossBackward0>)

A saved network and its tokenizer, which reads A C G T (or U) N as 0 to 4:

    >>> from sptx_core.multimolecule import DnaTokenizer
    >>> model.save_pretrained("lab/sptransformer")
    >>> tokenizer = DnaTokenizer.from_pretrained("lab/sptransformer")
    >>> model = SpTransformerModel.from_pretrained("lab/sptransformer")
    >>> output = model(tokenizer("GGUAAGUNNCAG", return_tensors="pt")["input_ids"])
    >>> output.keys()
    odict_keys(['last_hidden_state', 'logits'])

A setting that this network does not have, or that it has no choice about, is an `InputError`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from sptx_core import config as own
from sptx_core.attention import SpTransformerAttentionMap
from sptx_core.checkpoint import (
    MULTIMOLECULE_FIXED,
    MULTIMOLECULE_SETTINGS,
    multimolecule_config,
    multimolecule_head,
)
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel
from sptx_core.token_prediction import SpTransformerForTokenPrediction
from sptx_core.tokenizer import DnaTokenizer

__all__ = [
    "DnaTokenizer",
    "SpTransformerAttentionMap",
    "SpTransformerConfig",
    "SpTransformerFeatureEncoderConfig",
    "SpTransformerForTokenPrediction",
    "SpTransformerModel",
]

HEAD_SETTINGS = {"num_labels", "problem_type"}  # of the head, which stand in the configuration itself


def SpTransformerFeatureEncoderConfig(hidden_size: int = 128) -> own.SpTransformerFeatureEncoderConfig:  # noqa: N802  # stands for a class
    """An encoder of so many channels, with the stages of the published ones."""
    return own.SpTransformerFeatureEncoderConfig(hidden_size)


def SpTransformerConfig(  # noqa: N802  # stands for a class
    *, encoders: Sequence[own.SpTransformerFeatureEncoderConfig] | None = None, **settings: Any
) -> own.SpTransformerConfig:
    """Our configuration of MultiMolecule's settings by their names; those left out are as published."""
    head = dict(settings.pop("head", None) or {})
    for name in HEAD_SETTINGS & settings.keys():
        head.setdefault(name, settings.pop(name))
    known = {*MULTIMOLECULE_SETTINGS, *MULTIMOLECULE_FIXED, "tissue_names"}
    if unknown := sorted({*settings} - known):
        raise InputError(f"this network has no setting {', '.join(unknown)}")
    if encoders is not None:
        settings["encoders"] = [{"hidden_size": encoder.channels} for encoder in encoders]
    config = multimolecule_config(settings)
    return dataclasses.replace(config, head=own.HeadConfig(**multimolecule_head(head))) if head else config
