"""Configurations by MultiMolecule's names, each of which holds one of ours.

The sizes of the network live in our `sptx_core.config.SpTransformerConfig`, in one place; the classes here read and
replace them by other names. Beside it they hold only what our configuration has no place for
(`sptx_core.checkpoint.multimolecule_settings.BESIDE`). Impossible values are an `InputError` that uses MultiMolecule's
names.

    >>> from sptx_core.multimolecule import SpTransformerConfig
    >>> config = SpTransformerConfig(hidden_size=6, attention_hidden_size=32, encoders=[{"hidden_size": 4}])
    >>> config.hidden_size, config.encoders[0].hidden_size, config.num_attention_heads, config.head.num_labels
    (6, 4, 8, 15)
    >>> config.network.input_path_channels, config.network.hidden_size, config.network.heads
    (6, 32, 8)
    >>> config.num_labels = 3
    >>> config.network.head.num_labels
    3
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Mapping
from typing import Any, Self

from sptx_core import config as own
from sptx_core.checkpoint.checkpoint import load_settings
from sptx_core.checkpoint.multimolecule_settings import (
    BESIDE,
    FIXED,
    MODEL_TYPE,
    OF_HEAD,
    SETTINGS,
    head_of,
    sizes_of,
)
from sptx_core.checkpoint.sources import Source
from sptx_core.errors import InputError
from sptx_core.multimolecule.parts import HeadConfig, SpTransformerFeatureEncoderConfig, in_words_of, own_encoders

DOCUMENTED = (
    "vocab_size",
    "context",
    "hidden_size",
    "encoders",
    "attention_hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_local_attention_heads",
    "intermediate_size",
    "bucket_size",
    "max_seq_len",
    "num_splice_labels",
    "num_tissues",
    "tissue_names",
    "hidden_act",
    "intermediate_act",
    "batch_norm_eps",
    "batch_norm_momentum",
    "num_labels",
    "head",
    "problem_type",
    "output_contexts",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
    "unk_token_id",
    "mask_token_id",
    "null_token_id",
)
"""MultiMolecule's settings of this network, in the order of its constructor."""
INHERITED = ("output_attentions", "output_hidden_states", "return_dict")
"""Settings of every network of that package which change what a call returns; given by name only."""
HOUSEKEEPING = {
    "_name_or_path",
    "architectures",
    "chunk_size_feed_forward",
    "dtype",
    "id2label",
    "is_encoder_decoder",
    "label2id",
    "model_type",
    "name_or_path",
    "tie_word_embeddings",
    "torch_dtype",
    "transformers_version",
}
"""What that package also writes to a config.json, and what means nothing here; read and left out."""
LOADING = {"revision", "token"}
"""Options of `load_checkpoint`."""
CALL = ("output_attentions", "output_hidden_states", "output_contexts")
"""Settings that say which further entries a call returns."""
THEIR_NAMES = {ours: theirs for theirs, ours in SETTINGS.items()}
READ_LATER = {*BESIDE} - {"batch_norm_momentum"}
"""Settings that can be changed after a network was built: each call reads them, or nothing does."""
NO_SUCH_TOKEN = ("bos_token_id", "eos_token_id")  # MultiMolecule's heads would cut off bases for these


class SpTransformerConfig:
    """A configuration by MultiMolecule's names, which holds one by ours.

    Attributes can be set. Of the configuration that a network was built with only `READ_LATER` can be: what a call
    returns (`output_...`, `return_dict`) and numbers of tokens. For other changes build a network with a copy, which is
    free again (`copy.deepcopy`). `encoders` and `tissue_names` are copies: assign a list to change them. A head
    is described by `head`, and by `num_labels` and `problem_type` where `head` leaves these out.

    Parameters
    ----------
    *values, **settings
        MultiMolecule's settings, in the order of `DOCUMENTED` or by name; those left out are as published. `encoders`
        holds hidden sizes, as `SpTransformerFeatureEncoderConfig`, a mapping or ours; `head` is a `HeadConfig`, a
        mapping or ours. With a `problem_type` of None the labels of each call say what it is.

    Raises
    ------
    InputError
        There is no such setting, or this network cannot have its value.
    """

    model_type = MODEL_TYPE
    network: own.SpTransformerConfig
    """The sizes and the head by our names."""
    beside: dict[str, Any]
    """The settings of `BESIDE`; those of a head that a checkpoint describes and does not have, too."""
    built = False
    """Whether a network was built with it."""

    def __init__(self, *values: Any, **settings: Any) -> None:
        if len(values) > len(DOCUMENTED):
            raise TypeError(f"{len(DOCUMENTED)} settings have a place, {len(values)} were given: name the others")
        given = dict(zip(DOCUMENTED, values, strict=False))
        if twice := sorted(given.keys() & settings.keys()):
            raise TypeError(f"given twice: {', '.join(twice)}")
        self._hold(own.SpTransformerConfig(head=own.HeadConfig()), BESIDE)
        self.update(given | settings)

    @classmethod
    def of(cls, network: own.SpTransformerConfig, beside: Mapping[str, Any] | None = None) -> Self:
        """Make one that holds a configuration of ours.

        Parameters
        ----------
        network
            The sizes, and the head if there is one.
        beside
            `Checkpoint.beside`.
        """
        config = cls.__new__(cls)
        found = dict(beside or {})
        unused = {name: found.pop(name) for name in OF_HEAD if name in found}
        config._hold(network, BESIDE)
        config.update(found)
        if network.head is None:
            config.beside.update(unused)  # read only when somebody asks: a network alone may have any
        return config

    @classmethod
    def from_pretrained(cls, source: Source, **options: Any) -> Self:
        """Read the configuration of a checkpoint, without its tensors.

        Parameters
        ----------
        source
            A file, a folder or a hub id.
        **options
            Options of `load_checkpoint`; settings to replace.

        Raises
        ------
        InputError
            The checkpoint cannot be read, or a setting is unknown or impossible.
        """
        of_file = {name: options.pop(name) for name in LOADING & options.keys()}
        config = cls.of(*load_settings(source, **of_file))
        config.update(options)
        return config

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave, or MultiMolecule's."""
        return cls(**settings)

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as plain values in nested dictionaries and lists, ready for JSON.

        Raises
        ------
        InputError
            The network has several members or activations that leak, for which that package has no names.
        """
        if self.network.members > 1 or any(encoder.leak for encoder in self.network.encoders):
            raise InputError("MultiMolecule has no names for members and leak: use `network.to_dict()`")
        values = {name: getattr(self, name) for name in (*DOCUMENTED, *INHERITED)}
        plain = {"encoders": [encoder.to_dict() for encoder in self.encoders], "head": dict(self.head)}
        return {"model_type": self.model_type} | values | plain

    def update(self, settings: Mapping[str, Any]) -> None:
        """Replace settings, all at once, after a check.

        Raises
        ------
        InputError
            There is no such setting, this network cannot have its value, or the network was built with another.
        """
        if unknown := sorted(settings.keys() - {*DOCUMENTED, *INHERITED} - HOUSEKEEPING):
            raise InputError(f"this network has no setting {', '.join(unknown)}")
        if settings.get("model_type", MODEL_TYPE) != MODEL_TYPE:
            raise InputError(f"model_type is {settings['model_type']!r}, not {MODEL_TYPE!r}")
        beside = {name: _checked(name, settings[name]) for name in BESIDE if name in settings}
        changed = sizes_of({name: x for name, x in settings.items() if name not in ("encoders", *OF_HEAD)})
        if "encoders" in settings:
            changed["encoders"] = own_encoders(settings["encoders"])
        with in_words_of(THEIR_NAMES):
            network = dataclasses.replace(self.network, **changed)
        if any(name in settings for name in OF_HEAD):
            network = dataclasses.replace(network, head=self._new_head(settings, network.hidden_size))
        fixed = {name: value for name, value in beside.items() if name not in READ_LATER}
        if self.built and (network != self.network or self.beside | fixed != self.beside):
            names = ", ".join(sorted(settings.keys() - READ_LATER))
            raise InputError(f"{names}: a network was built with this config; change a copy of it and build another")
        self._hold(network, self.beside | beside)

    def keep_for_network(self) -> None:
        """Refuse changes from now on that a network, which was built with this, would not follow."""
        vars(self)["built"] = True

    def outputs(self, given: Mapping[str, bool | None]) -> dict[str, bool]:
        """The flags of a call that says nothing, or None, where these settings shall count."""
        said = {name: value for name, value in given.items() if value is not None}
        return {name: self.beside[name] for name in CALL} | said

    def network_with_head(self) -> own.SpTransformerConfig:
        """The sizes by our names with a head, also where a checkpoint describes one that it does not have."""
        return dataclasses.replace(self.network, head=self._own_head())

    def returns_dict(self, given: bool | None) -> bool:
        """Whether a call returns an output with names; these settings count where the call says None."""
        wanted: bool = self.beside["return_dict"] if given is None else given
        return wanted

    def _hold(self, network: own.SpTransformerConfig, beside: Mapping[str, Any]) -> None:
        unused = OF_HEAD if network.head is not None else ()
        held = {"network": network, "beside": {n: x for n, x in beside.items() if n not in unused}}
        vars(self).update(held)

    def _own_head(self) -> own.HeadConfig:
        return self.network.head or head_of(self.beside) or own.HeadConfig()

    def _new_head(self, settings: Mapping[str, Any], width: int) -> own.HeadConfig | None:
        """The head after a change of settings of it."""
        head, now = settings.get("head"), self._own_head()
        said = {n: settings.get(n, getattr(now, n)) for n in ("num_labels", "problem_type")}
        if head is None:
            return dataclasses.replace(now, **said)
        given = dataclasses.asdict(head) if isinstance(head, own.HeadConfig) else head
        if isinstance(given, Mapping):
            if unknown := sorted({*given} - {*HeadConfig()}):
                raise InputError(f"a head has no setting {', '.join(unknown)}")
            for name in ("output_name", "type"):
                if given.get(name) is not None:
                    raise InputError(f"{name} of the head is {given[name]!r}, but this head can only have None")
        return head_of(said | {"head": given, "attention_hidden_size": width})

    @property
    def encoders(self) -> list[SpTransformerFeatureEncoderConfig]:
        """The configuration of each encoder."""
        held = self.network.encoders
        return [SpTransformerFeatureEncoderConfig(encoder.channels, stages=encoder.stages) for encoder in held]

    @property
    def tissue_names(self) -> list[str]:
        """Names of the usage channels; by default `tissue_0`, `tissue_1` and so on."""
        return list(self.network.output_channels[FIXED["num_splice_labels"] :])

    @property
    def head(self) -> HeadConfig:
        """The settings of the head, all of them known."""
        return HeadConfig(hidden_size=self.network.hidden_size, **dataclasses.asdict(self._own_head()))

    @property
    def num_labels(self) -> int:
        """How many labels the head predicts."""
        return self._own_head().num_labels

    @property
    def problem_type(self) -> str | None:
        """What the head predicts; None if the labels of each call say it."""
        return self._own_head().problem_type

    def __getattr__(self, name: str) -> Any:
        if name in SETTINGS and "network" in vars(self):
            return getattr(self.network, SETTINGS[name])
        if name in FIXED:
            return FIXED[name]
        if name in BESIDE and "beside" in vars(self):
            return self.beside[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "built"}

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *DOCUMENTED, *INHERITED})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SpTransformerConfig):
            return NotImplemented
        return (self.network, self.beside) == (other.network, other.beside)

    __hash__ = None  # type: ignore[assignment]  # it can be changed

    def __repr__(self) -> str:
        try:
            settings = self.to_dict()
        except InputError:  # a head that a checkpoint describes, does not have, and could not have
            settings = self.network.to_dict() | self.beside
        return f"{type(self).__name__} {json.dumps(settings, indent=2)}"


def _checked(name: str, value: Any) -> Any:
    """The value of a setting of `BESIDE`."""
    if name == "batch_norm_momentum":
        if not isinstance(value, int | float) or not 0 <= value <= 1:
            raise InputError(f"{name} must be from 0 to 1, not {value!r}")
    elif not name.endswith("_token_id"):
        if type(value) is not bool:
            raise InputError(f"{name} must be True or False, not {value!r}")
    elif value is not None and (type(value) is not int or value < 0 or name in NO_SUCH_TOKEN):
        kind = "None: the network reads no such token" if name in NO_SUCH_TOKEN else "an integer of at least 0 or None"
        raise InputError(f"{name} must be {kind}, not {value!r}")
    return value


def _signature() -> inspect.Signature:
    """What `help` shows, with the published values."""
    published = SpTransformerConfig()
    values = {name: getattr(published, name) for name in (*DOCUMENTED, *INHERITED)}
    values |= dict.fromkeys(("encoders", "head", "tissue_names"))  # None stands for the published ones
    by_place, by_name = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter(name, by_place, default=values[name]) for name in DOCUMENTED]
    parameters += [inspect.Parameter(name, by_name, default=values[name]) for name in INHERITED]
    return inspect.Signature(parameters)


SpTransformerConfig.__signature__ = _signature()  # type: ignore[attr-defined]
