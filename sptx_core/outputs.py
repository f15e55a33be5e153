"""What the networks return: objects whose attributes are also the entries of an ordered mapping (`Output`).

Attributes that were not asked for are None, and no entries of the mapping. B sequences, L predicted bases.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sptx_core import channels
from sptx_core.attention import SinkhornChoice, SpTransformerAttentionMap
from sptx_core.output_base import Output

__all__ = ["Output", "SpTransformerModelOutput", "SpTransformerTokenPredictorOutput"]


@dataclass(frozen=True, eq=False)
class SpTransformerModelOutput(Output):
    """What `SpTransformerModel` returns."""

    last_hidden_state: Tensor
    """[B, L, hidden_size], after the last LayerNorm: what the splice and usage heads read."""
    logits: Tensor
    """[B, L, 3 + tissues]: no-splice, acceptor, donor, then the tissues; before softmax and sigmoid."""
    contexts: tuple[Tensor, ...] | None = None
    """With `output_contexts`: what a head on top of the network reads, which is `last_hidden_state` alone."""
    hidden_states: tuple[Tensor, ...] | None = None
    """With `output_hidden_states`: [B, L, hidden_size] before the first layer and after each; the last is normed."""
    attentions: tuple[SpTransformerAttentionMap, ...] | None = None
    """With `output_attentions`: the weights of each layer."""
    choices: SinkhornChoice | None = None
    """With `output_choices`: the buckets that the Sinkhorn heads chose, [B, layers, heads, buckets]."""

    def scores(self) -> Tensor:
        """Turn the logits into probabilities.

        Returns
        -------
        Tensor
            [B, L, 3 + tissues], at least float32: softmax over the splice classes, a sigmoid for each tissue.
        """
        return channels.scores(self.logits)


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
