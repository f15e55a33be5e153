"""MultiMolecule's names for the settings of the network, and what they say in ours.

In: settings as MultiMolecule's `config.json` holds them, or as its configuration class takes them. Out: our
configuration. A setting that the network has no choice about, with another value than the network has, is an
`InputError` that names it; settings that change neither its sizes nor its arithmetic are not read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sptx_core.channels import SPLICE
from sptx_core.config import HeadConfig, SpTransformerConfig
from sptx_core.errors import InputError

MODEL_TYPE = "sptransformer"
"""`model_type` in MultiMolecule's config.json."""
ARCHITECTURE_WITH_HEAD = "SpTransformerForTokenPrediction"
"""Entry of `architectures` in the config.json of a network that was saved with a head."""

SETTINGS = {
    "vocab_size": "input_channels",
    "context": "context",
    "max_seq_len": "max_seq_len",
    "hidden_size": "input_path_channels",
    "attention_hidden_size": "hidden_size",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
    "num_local_attention_heads": "local_heads",
    "bucket_size": "bucket_size",
    "intermediate_size": "feed_forward_size",
    "num_tissues": "tissues",
}
"""Our name for each setting that sizes the network."""
FIXED = {
    "hidden_act": "relu",
    "intermediate_act": "gelu",
    "batch_norm_eps": 1e-5,
    "num_splice_labels": len(SPLICE),
}
"""The only value that the network has for these."""
FIXED_OF_HEAD = {"transform_act": "gelu", "act": None, "layer_norm_eps": 1e-12, "loss_weight": None}
"""The only value that the head has for these."""


def config_of(settings: Mapping[str, Any]) -> SpTransformerConfig:
    """Read our configuration from MultiMolecule's settings.

    Parameters
    ----------
    settings
        Values by MultiMolecule's names; those left out are as published.

    Returns
    -------
    SpTransformerConfig
        With the names of tissues if they are more than placeholders (`tissue_0`, `tissue_1` ...), and with a head if
        the settings are those of a network that was saved with one.

    Raises
    ------
    InputError
        A setting has a value that this network cannot have.
    """
    for name, value in FIXED.items():
        if settings.get(name, value) != value:
            raise InputError(f"{name} is {settings[name]!r}, but this network can only have {value!r}")
    ours = {name: settings[theirs] for theirs, name in SETTINGS.items() if theirs in settings}
    if "encoders" in settings:
        try:
            ours["encoders"] = [{"channels": encoder["hidden_size"]} for encoder in settings["encoders"]]
        except (KeyError, TypeError) as error:
            raise InputError(f"encoders must be a list of hidden sizes, not {settings['encoders']!r}") from error
    names = settings.get("tissue_names")
    if not isinstance(names, list) or names != [f"tissue_{index}" for index in range(len(names))]:
        ours["tissue_names"] = names
    head = settings.get("head")
    if isinstance(head, Mapping) and ARCHITECTURE_WITH_HEAD in (settings.get("architectures") or ()):
        ours["head"] = head_settings_of(head)
    return SpTransformerConfig.from_dict(ours)


def head_settings_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Read the settings of a `HeadConfig` from MultiMolecule's settings of a head.

    Raises
    ------
    InputError
        A setting has a value that this head cannot have.
    """
    for name, value in FIXED_OF_HEAD.items():
        if settings.get(name, value) != value:
            raise InputError(f"{name} of the head is {settings[name]!r}, but this head can only have {value!r}")
    return {field.name: settings[field.name] for field in dataclasses.fields(HeadConfig) if field.name in settings}
