"""MultiMolecule's names for the settings of the network, and what they say in ours.

In: settings as MultiMolecule's `config.json` holds them, or as its configuration class takes them. Out: our
configuration. A setting that the network has no choice about, with another value than the network has, is an
`InputError` that names it; settings that change neither its sizes nor its arithmetic are not read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sptx_core.alphabet import N_CODE
from sptx_core.channels import SPLICE
from sptx_core.config import HeadConfig, SpTransformerConfig, SpTransformerFeatureEncoderConfig
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
NEVER_ZERO = ("hidden_size", "num_hidden_layers", "num_tissues")
"""Settings that can be 0 by our names alone: that package's network has all of its parts."""
FIXED: dict[str, Any] = {
    "hidden_act": "relu",
    "intermediate_act": "gelu",
    "batch_norm_eps": 1e-5,
    "num_splice_labels": len(SPLICE),
}
"""The only value that the network has for these."""
FIXED_OF_HEAD: dict[str, Any] = {"transform_act": "gelu", "act": None, "layer_norm_eps": 1e-12, "loss_weight": None}
"""The only value that the head has for these."""
OF_HEAD = ("num_labels", "problem_type", "head")
"""Settings of a head on top. What `head` leaves out, or has as None, the first two say."""
BESIDE: dict[str, Any] = {
    "batch_norm_momentum": 0.1,
    "output_contexts": False,
    "output_attentions": False,
    "output_hidden_states": False,
    "return_dict": True,
    "pad_token_id": N_CODE,
    "bos_token_id": None,
    "eos_token_id": None,
    "unk_token_id": N_CODE,
    "mask_token_id": None,
    "null_token_id": None,
}
"""Settings that our configuration has no place for, as published: how statistics are averaged in training, what a call
returns, and the numbers of a tokenizer's tokens. None changes a prediction."""


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
    return SpTransformerConfig(**sizes_of(settings), head=head_of(settings) if _with_head(settings) else None)


def sizes_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Read the settings of the network, by our names, from those that are given.

    Raises
    ------
    InputError
        A setting has a value that this network cannot have.
    """
    for name, value in FIXED.items():
        if settings.get(name, value) != value:
            raise InputError(f"{name} is {settings[name]!r}, but this network can only have {value!r}")
    for name in NEVER_ZERO:
        if settings.get(name) == 0:
            raise InputError(
                f"{name} of a SpTransformerConfig must be an integer of at least 1, not {settings[name]!r}"
            )
    ours = {name: settings[theirs] for theirs, name in SETTINGS.items() if theirs in settings}
    if "encoders" in settings:
        try:
            sizes = [encoder["hidden_size"] for encoder in settings["encoders"]]
        except (KeyError, TypeError) as error:
            raise InputError(f"encoders must be a list of hidden sizes, not {settings['encoders']!r}") from error
        ours["encoders"] = tuple(map(SpTransformerFeatureEncoderConfig, sizes))
    if "tissue_names" in settings:
        names = settings["tissue_names"]
        if not isinstance(names, list | tuple | None):
            raise InputError(f"tissue_names must be a list, not {names!r}")
        placeholders = [f"tissue_{index}" for index in range(len(names or ()))]
        ours["tissue_names"] = None if names is None or list(names) == placeholders else tuple(names)
    return ours


def beside_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that `config_of` has no place for, where they differ from `BESIDE`.

    Settings of a head are among them if the network was saved without it: they are those of a head that it may get.

    Raises
    ------
    InputError
        `architectures` is no list.
    """
    unused = () if _with_head(settings) else OF_HEAD
    further = {name: settings[name] for name in unused if name in settings}
    return further | {n: settings[n] for n, value in BESIDE.items() if settings.get(n, value) != value}


def head_of(settings: Mapping[str, Any]) -> HeadConfig | None:
    """The head that MultiMolecule's settings describe, or None if they say nothing of one.

    Raises
    ------
    InputError
        A setting has a value that this head cannot have.
    """
    if not any(name in settings for name in OF_HEAD):
        return None
    found = {name: settings[name] for name in OF_HEAD if name in settings}
    head = found.pop("head", None) or {}
    if not isinstance(head, Mapping):
        raise InputError(f"head must hold settings by name, not {head!r}")
    given = {name: value for name, value in head.items() if value is not None or name not in OF_HEAD}
    width = settings.get("attention_hidden_size")
    if width is not None and given.get("hidden_size") not in (None, width):
        raise InputError(f"hidden_size of the head is {given['hidden_size']!r}, but it reads {width} channels")
    return HeadConfig(**head_settings_of(found | given))


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


def _with_head(settings: Mapping[str, Any]) -> bool:
    """Whether these are the settings of a network that was saved with a head."""
    architectures = settings.get("architectures")
    if not isinstance(architectures, list | tuple | None):
        raise InputError(f"architectures must be a list of names, not {architectures!r}")
    return ARCHITECTURE_WITH_HEAD in (architectures or ())
