"""What the networks return: attributes that are also the entries of an ordered mapping, empty ones left out.

B sequences, L predicted bases. Entries that a call has to ask for are None otherwise.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, KeysView, Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from sptx_core import channels
from sptx_core.attention import SinkhornChoice, SpTransformerAttentionMap


class Output(Mapping[str, Any]):
    """The mapping over the fields of a dataclass."""

    def keys(self) -> KeysView[str]:
        """Names of the entries; they print as those of an `OrderedDict`."""
        return OrderedDict.fromkeys(self).keys()

    def __getitem__(self, name: str) -> Any:
        if name not in set(self):
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return (field.name for field in fields(self) if getattr(self, field.name) is not None)  # type: ignore[arg-type]  # every subclass is a dataclass

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True, eq=False)
class SpTransformerModelOutput(Output):
    """Of `SpTransformerModel`."""

    last_hidden_state: Tensor
    """[B, L, hidden_size], after the last norm: what the heads read."""
    logits: Tensor
    """[B, L, 3 + tissues]: no-splice, acceptor, donor, then the tissues; before softmax and sigmoid."""
    contexts: tuple[Tensor, ...] | None = None
    """`output_contexts`: what a head on top of the network reads, which is the last hidden state alone."""
    hidden_states: tuple[Tensor, ...] | None = None
    """`output_hidden_states`: [B, L, hidden_size] before the first layer and after each; the last one is normalised."""
    attentions: tuple[SpTransformerAttentionMap, ...] | None = None
    """`output_attentions`: the weights of each layer."""
    choices: SinkhornChoice | None = None
    """`output_choices`: what the Sinkhorn heads chose, [B, layers, heads, buckets]."""

    def scores(self) -> Tensor:
        """Probabilities [B, L, 3 + tissues]: softmax over the first three channels, a sigmoid for each tissue."""
        return channels.scores(self.logits)


@dataclass(frozen=True, eq=False)
class SpTransformerTokenPredictorOutput(Output):
    """Of `SpTransformerForTokenPrediction`."""

    loss: Tensor | None
    """A number; only of a call with labels."""
    logits: Tensor
    """[B, L, num_labels]."""
    contexts: tuple[Tensor, ...] | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[SpTransformerAttentionMap, ...] | None = None
    choices: SinkhornChoice | None = None
