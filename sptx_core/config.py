"""The sizes of a SpTransformer network, validated.

The defaults are those of the published network (SpliceTransformer, You et al. 2024) with an input channel for each of
A C G T N: 17,074,386 parameters. Published checkpoints have four input channels; N is then an all-zero column. An
impossible size is an `InputError` that names the setting. `to_dict` and `from_dict` give the JSON form, from which
settings that are None are left out, and those of `LATER` where they have their defaults.

Networks without attention, as those of SpliceAI's family, have `layers` 0; several networks side by side are `members`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from sptx_core.channels import SPLICE
from sptx_core.errors import InputError

INPUT_CHANNELS = (4, 5)  # A C G T, or A C G T N
PROBLEM_TYPES = ("regression", "binary", "multilabel", "multiclass")
"""What a head predicts; `sptx_core.token_prediction` has the labels and the loss of each."""
TRANSFORMS = (None, "linear", "nonlinear")
"""The layer before the last layer of a head."""
LATER = {"members": 1, "leak": 0.0}
"""Settings that earlier versions did not have. Dictionaries leave out these defaults: digests stay what they were."""
MOST = {"members": 1000, "layers": 1000, "blocks": 1000}
"""More parts of a kind than any network has: a damaged file shall not keep a machine busy."""
ATTENTION = ("max_seq_len", "heads", "local_heads", "bucket_size", "feed_forward_size")
"""Settings that change no prediction of a network without attention."""


def _require_integers(config: Any, zero_allowed: tuple[str, ...] = ()) -> None:
    """Refuse a field that is declared as an int unless it holds one of at least 1, or 0 where that is allowed."""
    for field in dataclasses.fields(config):
        value, minimum = getattr(config, field.name), 0 if field.name in zero_allowed else 1
        if field.type == "int" and (type(value) is not int or value < minimum):
            name = f"{field.name} of a {type(config).__name__}"
            raise InputError(f"{name} must be an integer of at least {minimum}, not {value!r}")
        if field.name in MOST and value > (most := MOST[field.name]):
            raise InputError(f"{field.name} of a {type(config).__name__} must be at most {most:,}, not {value:,}")


def _require_tuple(config: Any, name: str, of: type) -> None:
    items = getattr(config, name)
    if not (isinstance(items, tuple) and items and all(isinstance(item, of) for item in items)):
        raise InputError(f"{name} must be a tuple of one or more {of.__name__}, not {items!r}")


@dataclass(frozen=True)
class ResidualStage:
    """Consecutive residual blocks of the same sizes; each block has two convolutions."""

    blocks: int
    kernel_size: int
    """Taps of a convolution, odd."""
    dilation: int
    """Bases from one tap to the next."""

    def __post_init__(self) -> None:
        _require_integers(self)
        if self.kernel_size % 2 == 0:
            raise InputError(f"kernel_size of a ResidualStage must be odd to centre on a base, not {self.kernel_size}")


@dataclass(frozen=True)
class SpTransformerFeatureEncoderConfig:
    """A stack of residual blocks, with a 1x1 skip before the first stage and after each stage."""

    channels: int = 128
    stages: tuple[ResidualStage, ...] = (
        ResidualStage(4, 11, 1),
        ResidualStage(4, 11, 4),
        ResidualStage(4, 21, 10),
        ResidualStage(4, 21, 20),
    )
    leak: float = 0.0
    """What the activation leaves of negative features: x * leak (LeakyReLU); 0 for a ReLU."""

    def __post_init__(self) -> None:
        _require_integers(self)
        _require_tuple(self, "stages", ResidualStage)
        if type(self.leak) not in (int, float) or not 0 <= self.leak < 1:
            raise InputError(f"leak of an encoder must be at least 0 and less than 1, not {self.leak!r}")


@dataclass(frozen=True)
class HeadConfig:
    """A head on top of the network that predicts labels for every base; see `sptx_core.token_prediction`."""

    num_labels: int = 15
    problem_type: str | None = "regression"
    """"regression", "binary" or "multilabel" (any number of labels a base), or "multiclass" (exactly one); None for
    what the labels of a call say."""
    transform: str | None = None
    """A layer before the last: "linear" (with a LayerNorm), "nonlinear" (with a GELU and a LayerNorm), or None."""
    dropout: float = 0.0
    """Share of the features that are set to zero in training."""
    bias: bool = True
    """Whether the last layer has a bias."""

    def __post_init__(self) -> None:
        _require_integers(self)
        if self.problem_type not in (*PROBLEM_TYPES, None):
            raise InputError(
                f"problem_type must be one of {', '.join(PROBLEM_TYPES)}, or None, not {self.problem_type!r}"
            )
        if self.transform not in TRANSFORMS:
            raise InputError(f"transform must be 'linear', 'nonlinear' or None, not {self.transform!r}")
        if not (isinstance(self.dropout, int | float) and 0 <= self.dropout < 1):
            raise InputError(f"dropout must be at least 0 and less than 1, not {self.dropout!r}")
        if type(self.bias) is not bool:
            raise InputError(f"bias of a HeadConfig must be true or false, not {self.bias!r}")


@dataclass(frozen=True)
class SpTransformerConfig:
    """The whole network; `sptx_core.model` shows what each part does."""

    input_channels: int = 5
    """4 (A C G T; N is all zeros) or 5 (A C G T N)."""
    context: int = 4000
    """Flanking bases that are read on each side of the predicted ones."""
    max_seq_len: int = 8192
    """Bases that the attention layers see, a multiple of bucket_size, and the largest number that a call predicts."""
    encoders: tuple[SpTransformerFeatureEncoderConfig, ...] = (
        SpTransformerFeatureEncoderConfig(128),
        SpTransformerFeatureEncoderConfig(64),
    )
    input_path_channels: int = 128
    """Channels of the path that leads from the input around the encoders; 0 for none."""
    hidden_size: int = 256
    """Channels of the attention layers, a multiple of heads; without attention those of the fusion."""
    layers: int = 8
    """Attention layers. With 0 there is no position embedding and no last norm either: the heads read the fusion, and
    max_seq_len is nothing but the most that a call predicts."""
    heads: int = 8
    local_heads: int = 2
    """How many of the heads, the first ones, are local; the others are Sinkhorn heads."""
    bucket_size: int = 64
    """Bases in a bucket, the unit of both local and Sinkhorn attention."""
    feed_forward_size: int = 1024
    tissues: int = 15
    """Usage channels, after the three splice channels; 0 for a network without usage."""
    tissue_names: tuple[str, ...] | None = None
    """Names of the usage channels; None for tissue_0, tissue_1 and so on."""
    head: HeadConfig | None = None
    """The head of a `SpTransformerForTokenPrediction`; a `SpTransformerModel` does not use it."""
    members: int = 1
    """Networks of these sizes side by side, an ensemble: a score is the mean of theirs."""

    def __post_init__(self) -> None:
        _require_integers(self, zero_allowed=("context", "local_heads", "input_path_channels", "layers", "tissues"))
        _require_tuple(self, "encoders", SpTransformerFeatureEncoderConfig)
        if self.input_channels not in INPUT_CHANNELS:
            raise InputError(f"input_channels must be 4 (A C G T) or 5 (A C G T N), not {self.input_channels}")
        if self.layers:
            self._require_attention()
        self._require_names()
        if not isinstance(self.head, HeadConfig | None):
            raise InputError(f"head must be a HeadConfig, not {self.head!r}")
        if self.head is not None and self.members > 1:
            raise InputError(f"a head reads one network, and members is {self.members}: put it on one of them")

    def _require_attention(self) -> None:
        if self.local_heads > self.heads:
            raise InputError(f"local_heads ({self.local_heads}) must be at most heads ({self.heads})")
        for whole, part in (("hidden_size", "heads"), ("max_seq_len", "bucket_size")):
            if getattr(self, whole) % getattr(self, part):
                raise InputError(
                    f"{whole} ({getattr(self, whole)}) must be a multiple of {part} ({getattr(self, part)})"
                )

    def _require_names(self) -> None:
        names = self.tissue_names
        if names is None:
            return
        _require_tuple(self, "tissue_names", str)
        if len(names) != self.tissues or len({*SPLICE, *names, ""}) != len(SPLICE) + self.tissues + 1:
            raise InputError(f"tissue_names must be {self.tissues} different names that no other channel has: {names}")

    @property
    def output_channels(self) -> tuple[str, ...]:
        """Names of the 3 + tissues output channels, in the network's order."""
        return (*SPLICE, *(self.tissue_names or (f"tissue_{index}" for index in range(self.tissues))))

    @property
    def fused_channels(self) -> int:
        """Channels that enter the fusion of a member: those of all encoders, then those of the input path."""
        return sum(encoder.channels for encoder in self.encoders) + self.input_path_channels

    @property
    def member(self) -> Self:
        """The sizes of one member of an ensemble."""
        return dataclasses.replace(self, members=1)

    @property
    def of_predictions(self) -> Self:
        """These sizes, with the defaults of settings that change no prediction; four input channels count as five."""
        defaults = {name: getattr(SpTransformerConfig, name) for name in (() if self.layers else ATTENTION)}
        return dataclasses.replace(self, input_channels=5, tissue_names=None, head=None, **defaults)

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as plain values in nested dictionaries and tuples, ready for JSON."""
        values = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        for settings in (values, *values["encoders"]):
            for name, default in LATER.items():
                if settings.get(name) == default:
                    del settings[name]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave, also after it was written to JSON and read again.

        Parameters
        ----------
        values
            Settings by name; those left out keep their defaults.

        Raises
        ------
        InputError
            A setting is unknown, or its value impossible.
        """
        settings = _settings(cls, values)
        if "encoders" in settings:
            settings["encoders"] = tuple(_encoder(encoder) for encoder in _items(settings, "encoders"))
        if settings.get("tissue_names") is not None:
            settings["tissue_names"] = tuple(_items(settings, "tissue_names"))
        if settings.get("head") is not None:
            settings["head"] = HeadConfig(**_settings(HeadConfig, settings["head"]))
        return cls(**settings)


def _encoder(values: Any) -> SpTransformerFeatureEncoderConfig:
    settings = _settings(SpTransformerFeatureEncoderConfig, values)
    if "stages" in settings:
        stages = _items(settings, "stages")
        settings["stages"] = tuple(ResidualStage(**_settings(ResidualStage, stage)) for stage in stages)
    return SpTransformerFeatureEncoderConfig(**settings)


def _settings(cls: type, values: Any) -> dict[str, Any]:
    """A copy of `values`, after a check that they are settings of the dataclass `cls` and that none is missing."""
    if not isinstance(values, Mapping):
        raise InputError(f"expected the settings of a {cls.__name__} by name, found {values!r}")
    fields = dataclasses.fields(cls)
    unknown = sorted(set(values) - {field.name for field in fields})
    missing = [field.name for field in fields if field.default is dataclasses.MISSING and field.name not in values]
    if unknown:
        raise InputError(f"{cls.__name__} has no setting {', '.join(unknown)}")
    if missing:
        raise InputError(f"{cls.__name__} lacks its setting {', '.join(missing)}")
    return dict(values)


def _items(settings: Mapping[str, Any], name: str) -> list[Any] | tuple[Any, ...]:
    items = settings[name]
    if not isinstance(items, list | tuple):
        raise InputError(f"{name} must be a list, not {items!r}")
    return items
