"""The parts of a configuration by MultiMolecule's names: encoders and head.

They cannot be changed: a part with other settings is put in their place (`SpTransformerConfig.encoders`, `.head`).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sptx_core import config as own
from sptx_core.checkpoint.multimolecule_settings import FIXED_OF_HEAD
from sptx_core.errors import InputError


@contextmanager
def in_words_of(names: Mapping[str, str]) -> Iterator[None]:
    """Words of an InputError from our names to theirs."""
    try:
        yield
    except InputError as error:
        words = re.compile(rf"\b({'|'.join(names)})\b")
        raise InputError(words.sub(lambda found: names[found[0]], str(error))) from None


class _ByName(Mapping[str, Any]):
    """A dataclass that is also a mapping of all its fields."""

    def __getitem__(self, name: str) -> Any:
        if name not in set(self):
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return (field.name for field in dataclasses.fields(self) if field.repr)  # type: ignore[arg-type]  # every subclass is a dataclass

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True)
class HeadConfig(_ByName):
    """The settings of a head: attributes and a mapping; `sptx_core.config.HeadConfig` has those that can be chosen.

    Where `num_labels` and `problem_type` are None, those of the `SpTransformerConfig` count.
    """

    num_labels: int | None = None
    hidden_size: int | None = None
    """Channels that it reads, which are those of the attention layers."""
    problem_type: str | None = None
    dropout: float = 0.0
    transform: str | None = None
    transform_act: str | None = FIXED_OF_HEAD["transform_act"]
    bias: bool = True
    act: str | None = FIXED_OF_HEAD["act"]
    layer_norm_eps: float = FIXED_OF_HEAD["layer_norm_eps"]
    output_name: str | None = None
    type: str | None = None
    loss_weight: float | None = FIXED_OF_HEAD["loss_weight"]


@dataclass(frozen=True)
class SpTransformerFeatureEncoderConfig(_ByName):
    """The configuration of an encoder: attributes and a mapping.

    Parameters
    ----------
    hidden_size
        Its channels; its stages are the published ones.
    """

    hidden_size: int = 128
    stages: tuple[own.ResidualStage, ...] = dataclasses.field(
        default=own.SpTransformerFeatureEncoderConfig().stages, repr=False, kw_only=True
    )

    def __post_init__(self) -> None:
        with in_words_of({"channels": "hidden_size"}):
            _ = self.network  # which checks it

    @property
    def network(self) -> own.SpTransformerFeatureEncoderConfig:
        """The same configuration by our names."""
        return own.SpTransformerFeatureEncoderConfig(self.hidden_size, self.stages)

    def to_dict(self) -> dict[str, Any]:
        """Give plain values: `hidden_size`, and `stages` where they are not the published ones."""
        values = dataclasses.asdict(self)
        return values if self.stages != type(self)().stages else dict(self)


def own_encoders(given: Any) -> tuple[own.SpTransformerFeatureEncoderConfig, ...]:
    """Encoders by our names from a list of `SpTransformerFeatureEncoderConfig`, mappings or ours; None: published."""
    if given is None:
        return own.SpTransformerConfig().encoders
    if not isinstance(given, list | tuple):
        raise InputError(f"encoders must be a list of hidden sizes, not {given!r}")
    return tuple(map(_encoder, given))


def _encoder(given: Any) -> own.SpTransformerFeatureEncoderConfig:
    if isinstance(given, own.SpTransformerFeatureEncoderConfig):
        return given
    if isinstance(given, SpTransformerFeatureEncoderConfig):
        return given.network
    if not isinstance(given, Mapping) or not {*given} <= {"hidden_size", "stages"}:
        raise InputError(f"an encoder has a hidden_size and no other setting, not {given!r}")
    sizes = {"channels" if name == "hidden_size" else name: value for name, value in given.items()}
    with in_words_of({"channels": "hidden_size"}):
        return own.SpTransformerConfig.from_dict({"encoders": [sizes]}).encoders[0]
