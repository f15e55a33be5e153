"""What the networks return: objects whose attributes are also the entries of an ordered mapping (`Output`).

Attributes that were not asked for are None, and no entries of the mapping. B sequences, L predicted bases. Several
members of a network stand one after another, the first one first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor

from sptx_core import channels
from sptx_core.attention import SinkhornChoice, SpTransformerAttentionMap
from sptx_core.output_base import Output

__all__ = ["Output", "SpTransformerModelOutput", "SpTransformerTokenPredictorOutput"]
Layer = TypeVar("Layer")


@dataclass(frozen=True, eq=False)
class SpTransformerModelOutput(Output):
    """What `SpTransformerModel` returns."""

    last_hidden_state: Tensor
    """[B, L, members * hidden_size], after the last LayerNorm: what the splice and usage heads read."""
    logits: Tensor
    """[B, L, 3 + tissues]: no-splice, acceptor, donor, then the tissues; before softmax and sigmoid, which of several
    members give the mean probabilities."""
    contexts: tuple[Tensor, ...] | None = None
    """With `output_contexts`: what a head on top of the network reads, which is `last_hidden_state` alone."""
    hidden_states: tuple[Tensor, ...] | None = None
    """With `output_hidden_states`: [B, L, hidden_size] before the first layer and after each; the last is normed."""
    attentions: tuple[SpTransformerAttentionMap, ...] | None = None
    """With `output_attentions`: the weights of each layer."""
    choices: SinkhornChoice | None = None
    """With `output_choices`: the buckets that the Sinkhorn heads chose, [B, layers, heads, buckets]."""

    @classmethod
    def of_members(cls, found: Sequence[SpTransformerModelOutput]) -> SpTransformerModelOutput:
        """What several networks side by side return, from what each of them does."""
        states = torch.cat([of.last_hidden_state for of in found], -1)
        choices = [of.choices for of in found if of.choices is not None]
        return cls(
            last_hidden_state=states,
            logits=channels.mean_logits(torch.stack([of.logits for of in found])),
            contexts=None if found[0].contexts is None else (states,),
            hidden_states=_joined([of.hidden_states for of in found]),
            attentions=_joined([of.attentions for of in found]),
            choices=SinkhornChoice(*(torch.cat(of, 1) for of in zip(*choices, strict=True))) if choices else None,
        )

    def scores(self) -> Tensor:
        """Turn the logits into probabilities.

        Returns
        -------
        Tensor
            [B, L, 3 + tissues], at least float32: softmax over the splice classes, a sigmoid for each tissue.
        """
        return channels.scores(self.logits)


def _joined(layers: Sequence[tuple[Layer, ...] | None]) -> tuple[Layer, ...] | None:
    """The layers of all members; None where these were not asked for."""
    known = [of for of in layers if of is not None]
    return tuple(chain.from_iterable(known)) if known else None


@dataclass(frozen=True, eq=False)
class SpTransformerTokenPredictorOutput(Output):
    """What `SpTransformerForTokenPrediction` returns; entries without a description are those of the network below."""

    loss: Tensor | None
    """A scalar; None without labels."""
    logits: Tensor
    """[B, L, num_labels], before softmax and sigmoid."""
    contexts: tuple[Tensor, ...] | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[SpTransformerAttentionMap, ...] | None = None
    choices: SinkhornChoice | None = None
