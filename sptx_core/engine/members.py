"""From the features of windows to logits: the layers of each member of a network, and the mean of the members.

In: [B, S, C] of B windows, for each member in turn the channels of its fused features, then channels that fill the rows
up (`sptx_core.engine.folding`). Out: logits [B, core, channels]. A network without attention has its heads folded into
the encoders: its S positions are the core, and its channels already are logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sptx_core import channels
from sptx_core.engine.scheduling import Transformer
from sptx_core.model import SpTransformerModel


def transformer_of(model: SpTransformerModel, layers: Callable[[SpTransformerModel], Transformer]) -> Transformer:
    """What takes the windows of a network to its logits.

    Parameters
    ----------
    model : SpTransformerModel
        The network in float64, from which weights are taken.
    layers : callable
        Makes the attention and feed-forward layers of one network.
    """
    config = model.sizes
    if not config.layers:
        return FoldedHeads(config.members, len(config.output_channels))
    if config.members == 1:
        return layers(model)
    return MeanOfMembers([layers(network) for network in model.networks], config.hidden_size)


class FoldedHeads:
    """The logits of networks without attention, which the encoders have computed; of several members their mean.

    Parameters
    ----------
    members : int
        Networks side by side.
    channels : int
        Output channels of each.
    """

    def __init__(self, members: int, channels: int) -> None:
        self.members, self.channels = members, channels

    def __call__(self, x: Tensor, choices: list[Tensor] | None = None, gaps: list[Tensor] | None = None) -> Tensor:
        """[B, core, C] -> logits [B, core, channels]; nothing is chosen, so that no gap is small."""
        del choices
        if gaps is not None:
            gaps.append(x.new_full((len(x),), torch.inf))
        logits = x[..., : self.members * self.channels]
        if self.members == 1:
            return logits
        return channels.mean_logits(torch.unflatten(logits, -1, (self.members, self.channels)).movedim(-2, 0))


class MeanOfMembers:
    """The layers of several networks, and their mean.

    Parameters
    ----------
    layers : sequence of Transformer
        Those of each member.
    hidden : int
        Channels of a member.
    """

    def __init__(self, layers: Sequence[Transformer], hidden: int) -> None:
        self.layers, self.hidden = layers, hidden

    def __call__(self, x: Tensor, choices: list[Tensor] | None = None, gaps: list[Tensor] | None = None) -> Tensor:
        """[B, S, C] -> logits [B, core, channels]; choices and gaps of the layers of all members are added."""
        parts = torch.split(x, self.hidden, -1)
        found = [layers(part.contiguous(), choices, gaps) for layers, part in zip(self.layers, parts, strict=False)]
        return channels.mean_logits(torch.stack(found))
