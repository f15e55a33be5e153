"""The SpTransformer network, top to bottom.

In: `input_ids`, integer codes 0..4 for A C G T N (`sptx_core.inputs`), read 5' to 3'. Out, for every base that is not
flank: three splice logits and a usage logit for each tissue (`sptx_core.channels`), all before softmax and sigmoid. The
architecture is that of SpliceTransformer (You et al., Nature Communications 2024):

    input ids -> one-hot columns -+-> residual encoder, 128 channels --+
                                  +-> residual encoder, 64 channels ---+-> 1x1 fusion -> + position -> attention and
                                  +-> two 1x1 convolutions, 128 -------+   feed-forward layers -> norm -> 1x1 heads

Shapes in the comments: B sequences, L predicted bases, W = L + 2 * context bases with their flanks,
S = max_seq_len positions in the attention layers, H heads, C channels of the part in question. N and padding are
all-zero columns; a checkpoint with a fifth input channel gives N (but not padding) a column of its own.

Without attention (`layers` 0) the heads read the fusion of the predicted bases, S = L. Several `members` are networks
side by side, whose mean probability is given as logits (`sptx_core.channels.mean_logits`).

This is the plain eager reference that every path of `sptx_core.engine` is measured against. It runs in the precision of
its parameters, float64 included. Impossible input is an `InputError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sptx_core import channels
from sptx_core.attention import (
    SinkhornChoice,
    SpTransformerAttentionMap,
    attention_map,
    local_attention,
    sinkhorn_attention,
)
from sptx_core.checkpoint.pretrained import PretrainedNetwork
from sptx_core.config import ResidualStage, SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.errors import InputError
from sptx_core.inputs import Sequences, read_batch
from sptx_core.outputs import SpTransformerModelOutput

CHECKPOINT_SETTINGS: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": True}
"""Settings of PyTorch's checkpointing that may be given, and what they are otherwise."""


class SpTransformerModel(PretrainedNetwork):
    """The network with its splice and usage heads.

    A new network has random weights; `from_pretrained` loads those of a checkpoint.

    Parameters
    ----------
    config
        Its sizes; by default those of the published network.
    """

    def __init__(self, config: SpTransformerConfig | None = None) -> None:
        super().__init__()
        self.config = self.sizes = config = config or SpTransformerConfig()
        self.gradient_checkpointing = False
        self.checkpoint_settings = dict(CHECKPOINT_SETTINGS)
        if config.members > 1:
            self.member = nn.ModuleList(SpTransformerModel(config.member) for _ in range(config.members))
            return  # whatever else there is, the members have
        path, hidden, attends = config.input_path_channels, config.hidden_size, config.layers > 0
        self.encoders = nn.ModuleList(FeatureEncoder(config.input_channels, encoder) for encoder in config.encoders)
        self.input_path = (
            nn.Sequential(nn.Conv1d(config.input_channels, path, 1), nn.Conv1d(path, path, 1)) if path else None
        )
        self.fusion = nn.Conv1d(config.fused_channels, hidden, 1)
        self.position = AxialPosition(config) if attends else nn.Identity()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(hidden) if attends else nn.Identity()
        self.splice_head = nn.Conv1d(hidden, len(channels.SPLICE), 1)
        self.usage_head = nn.Conv1d(hidden, config.tissues, 1) if config.tissues else None

    @property
    def networks(self) -> tuple[SpTransformerModel, ...]:
        """The members; the network itself where it is one."""
        if self.sizes.members == 1:
            return (self,)
        members: tuple[Any, ...] = tuple(self.member)
        return members

    @property
    def heads(self) -> tuple[nn.Conv1d, ...]:
        """The splice head, and the usage head where there are tissues."""
        return (self.splice_head,) if self.usage_head is None else (self.splice_head, self.usage_head)

    @property
    def output_channels(self) -> tuple[str, ...]:
        """Names of the 3 + tissues channels of `logits`: the splice classes, then the tissues."""
        return self.sizes.output_channels

    def postprocess(self, outputs: SpTransformerModelOutput | Tensor) -> tuple[Tensor, tuple[str, ...]]:
        """Turn logits into splice probabilities and leave usage as it is.

        Parameters
        ----------
        outputs
            What the network returned, or its logits [..., 3 + tissues].

        Returns
        -------
        Tensor
            [..., 3 + tissues]: softmax over the splice classes; usage before the sigmoid that
            `SpTransformerModelOutput.scores` applies.
        tuple
            Names of the channels.
        """
        logits = outputs if isinstance(outputs, Tensor) else outputs.logits
        return channels.postprocessed(logits), self.output_channels

    def forward(
        self,
        input_ids: Sequences | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Sequences | None = None,
        *,
        flanked: bool = False,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        output_contexts: bool = False,
        output_choices: bool = False,
    ) -> SpTransformerModelOutput:
        """Predict every base that is not flank.

        Parameters
        ----------
        input_ids
            Codes 0..4, integers [B, L] with L from 1 to max_seq_len, or with `flanked` [B, L + 2 * context]. A list of
            sequences or a nested tensor makes a ragged batch (`sptx_core.inputs`).
        attention_mask
            [B, L] or [B, L + 2 * context]: 0 where nothing shall be read.
        inputs_embeds
            Columns in place of ids, floats [B, L, input_channels] or [B, L + 2 * context, input_channels].
        flanked
            Whether the input holds its flanks; otherwise `context` empty columns are added on both sides.
        output_attentions, output_hidden_states, output_contexts, output_choices
            Add the entry of that name to the output; no other number changes.

        Returns
        -------
        SpTransformerModelOutput
            With `logits` [B, L, 3 + tissues] and `last_hidden_state` [B, L, members * hidden_size].

        Raises
        ------
        InputError
            The input has a wrong type, shape, length or code.
        """
        dtype = self.networks[0].fusion.weight.dtype
        batch = read_batch(self.sizes, dtype, input_ids, attention_mask, inputs_embeds, flanked=flanked)
        return self.predict_columns(
            batch.columns,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            output_contexts=output_contexts,
            output_choices=output_choices,
        )

    def predict_columns(
        self,
        columns: Tensor,
        *,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        output_contexts: bool = False,
        output_choices: bool = False,
    ) -> SpTransformerModelOutput:
        """Predict from columns that were checked before: what `forward` does after `sptx_core.inputs.read_batch`.

        Parameters
        ----------
        columns
            One-hot columns with their flanks, [B, input_channels, W], in the network's precision.
        output_attentions, output_hidden_states, output_contexts, output_choices
            As in `forward`.

        Returns
        -------
        SpTransformerModelOutput
            For the L = W - 2 * context bases between the flanks.
        """
        if self.sizes.members > 1:
            found = [
                member.predict_columns(
                    columns,
                    output_attentions=output_attentions,
                    output_hidden_states=output_hidden_states,
                    output_contexts=output_contexts,
                    output_choices=output_choices,
                )
                for member in self.networks
            ]
            return SpTransformerModelOutput.of_members(found)
        length = columns.shape[2] - 2 * self.sizes.context
        attended = self.sizes.max_seq_len if self.sizes.layers else length
        before = (attended - length) // 2  # attended positions before the first predicted base
        core = slice(before, before + length)

        # columns: [B, 4 or 5, W]
        parts = [*self.encoders] if self.input_path is None else [*self.encoders, self.input_path]
        features = [_stretch(part(columns), self.sizes.context - before, attended) for part in parts]  # each [B, C, S]
        x = (
            self.fusion(torch.cat(features, 1)).transpose(1, 2).contiguous()
        )  # [B, S, C], in memory too: layers read rows
        x = self.position(x)
        states, chosen, maps = [], [], []  # one entry a layer
        for layer in self.layers:
            if output_hidden_states:
                states.append(x[:, core])  # a view, which keeps all of x in memory
            x, choice, layer_map = self._pass(layer, x, output_attentions)
            chosen.append(choice)
            maps.append(layer_map)
        x = self.norm(x[:, core])  # [B, L, C]
        heads = [head(x.transpose(1, 2)) for head in self.heads]  # [B, 3, L], [B, tissues, L]
        return SpTransformerModelOutput(
            last_hidden_state=x,
            logits=torch.cat(heads, 1).transpose(1, 2),  # [B, L, 3 + tissues]
            contexts=(x,) if output_contexts else None,
            hidden_states=(*states, x) if output_hidden_states else None,
            attentions=tuple(found for found in maps if found is not None) if output_attentions else None,
            choices=SinkhornChoice.of_layers(chosen, x) if output_choices else None,
        )

    def gradient_checkpointing_enable(
        self, enable: bool = True, *, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        """Train with less memory: attention layers are computed a second time for their gradients.

        The encoders are computed once, because a second time would count their batch statistics twice.

        Parameters
        ----------
        enable
            False turns it off again, as `gradient_checkpointing_disable` does.
        gradient_checkpointing_kwargs
            Settings of `torch.utils.checkpoint.checkpoint`: `use_reentrant` (False unless given) or
            `preserve_rng_state`.

        Raises
        ------
        InputError
            There is no such setting.
        """
        settings = dict(gradient_checkpointing_kwargs or {})
        if type(enable) is not bool:
            raise InputError(
                f"enable must be true or false, not {enable!r}: settings are gradient_checkpointing_kwargs"
            )
        if unknown := sorted(settings.keys() - CHECKPOINT_SETTINGS.keys()):
            known = ", ".join(CHECKPOINT_SETTINGS)
            raise InputError(
                f"gradient_checkpointing_kwargs may hold {known}; there is no setting {', '.join(unknown)}"
            )
        for network in (self, *self.networks):
            network.gradient_checkpointing = enable
            network.checkpoint_settings = {**CHECKPOINT_SETTINGS, **settings}

    def gradient_checkpointing_disable(self) -> None:
        """Compute every layer once again, with the memory that this takes."""
        self.gradient_checkpointing_enable(False)

    def _pass(
        self, layer: nn.Module, x: Tensor, record: bool
    ) -> tuple[Tensor, SinkhornChoice, SpTransformerAttentionMap | None]:
        recompute = self.gradient_checkpointing and self.training
        found: tuple[Tensor, SinkhornChoice, SpTransformerAttentionMap | None] = (
            checkpoint(layer, x, record, **self.checkpoint_settings) if recompute else layer(x, record)
        )
        return found


def _stretch(x: Tensor, first: int, length: int) -> Tensor:
    """Positions first to first + length (exclusive) of x [B, C, W], zero where x has none: [B, C, length]."""
    return F.pad(x, (-first, first + length - x.shape[2]))  # a negative pad crops


class FeatureEncoder(nn.Module):
    """Stages of residual blocks.

    What enters the first stage and what leaves each stage goes through a 1x1 convolution of its own (a skip); their sum
    is the output.
    """

    def __init__(self, input_channels: int, config: SpTransformerFeatureEncoderConfig) -> None:
        super().__init__()
        size = config.channels
        self.leak = config.leak
        self.blocks_of_stages = [stage.blocks for stage in config.stages]
        self.input = nn.Conv1d(input_channels, size, 1)
        self.first_skip = nn.Conv1d(size, size, 1)
        self.blocks = nn.ModuleList(
            ResidualBlock(size, stage, config.leak) for stage in config.stages for _ in range(stage.blocks)
        )
        self.skips = nn.ModuleList(nn.Conv1d(size, size, 1) for _ in config.stages)

    def forward(self, columns: Tensor) -> Tensor:
        """[B, 4 or 5, W] -> [B, C, W]."""
        x = self.input(columns)
        features: Tensor = self.first_skip(x)
        blocks = iter(self.blocks)
        for count, skip in zip(self.blocks_of_stages, self.skips, strict=True):
            for block in islice(blocks, count):
                x = block(x)
            features = features + skip(x)
        return features


class ResidualBlock(nn.Module):
    """Batch norm, activation and convolution, twice, added to the input; each convolution pads its input with zeros."""

    def __init__(self, size: int, stage: ResidualStage, leak: float) -> None:
        super().__init__()
        self.leak = leak
        kernel_size, dilation = stage.kernel_size, stage.dilation
        self.norm1 = nn.BatchNorm1d(size)
        self.conv1 = nn.Conv1d(size, size, kernel_size, dilation=dilation, padding="same")
        self.norm2 = nn.BatchNorm1d(size)
        self.conv2 = nn.Conv1d(size, size, kernel_size, dilation=dilation, padding="same")

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, W] -> [B, C, W]."""
        y: Tensor = self.conv1(self._activate(self.norm1(x)))
        y = self.conv2(self._activate(self.norm2(y)))
        return x + y

    def _activate(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.leak) if self.leak else F.relu(x)


class AxialPosition(nn.Module):
    """A learned embedding of each position: the sum of one for its bucket and one for its place in the bucket."""

    def __init__(self, config: SpTransformerConfig) -> None:
        super().__init__()
        buckets, bucket_size = config.max_seq_len // config.bucket_size, config.bucket_size
        self.bucket = _normal(1, buckets, 1, config.hidden_size)
        self.place = _normal(1, 1, bucket_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, C] -> [B, S, C]."""
        return x + (self.bucket + self.place).flatten(1, 2)


def _normal(*shape: int) -> nn.Parameter:
    """Normal numbers, but none on the meta device, for which PyTorch would import hundreds of modules."""
    x = torch.empty(shape)
    return nn.Parameter(x if x.is_meta else x.normal_())


class Layer(nn.Module):
    """Attention, then a feed-forward network; each has a LayerNorm before it and is added to its input."""

    def __init__(self, config: SpTransformerConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.attention_norm = nn.LayerNorm(size)
        self.attention = Attention(config)
        self.feed_forward_norm = nn.LayerNorm(size)
        self.expand = nn.Linear(size, config.feed_forward_size)
        self.contract = nn.Linear(config.feed_forward_size, size)

    def forward(
        self, x: Tensor, record: bool = False
    ) -> tuple[Tensor, SinkhornChoice, SpTransformerAttentionMap | None]:
        """Apply the layer.

        Parameters
        ----------
        x
            [B, S, C].
        record
            Whether to return the weights of attention.

        Returns
        -------
        Tensor
            [B, S, C].
        SinkhornChoice
            The buckets that the Sinkhorn heads chose.
        SpTransformerAttentionMap or None
            The weights of all heads; None unless `record`.
        """
        attended, chosen, weights = self.attention(self.attention_norm(x), record)
        x = x + attended
        x = x + self.contract(F.gelu(self.expand(self.feed_forward_norm(x))))
        return x, chosen, weights


class Attention(nn.Module):
    """Heads of two kinds over the same projections: the first `local_heads` are local, the others Sinkhorn heads."""

    def __init__(self, config: SpTransformerConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.heads, self.local_heads, self.bucket_size = config.heads, config.local_heads, config.bucket_size
        self.query = nn.Linear(size, size, bias=False)
        self.key_value = nn.Linear(size, 2 * size, bias=False)
        self.output = nn.Linear(size, size)

    def forward(
        self, x: Tensor, record: bool = False
    ) -> tuple[Tensor, SinkhornChoice, SpTransformerAttentionMap | None]:
        """Attend; parameters and returns are those of `Layer.forward`."""
        projected = (self.query(x), *self.key_value(x).chunk(2, -1))
        q, k, v = (y.unflatten(2, (self.heads, -1)).transpose(1, 2) for y in projected)  # each [B, H, S, C / H]
        n = self.local_heads
        near = local_attention(q[:, :n], k[:, :n], v[:, :n], self.bucket_size)
        far, chosen = sinkhorn_attention(q[:, n:], k[:, n:], v[:, n:], self.bucket_size)
        weights = attention_map(q, k, chosen, n, self.bucket_size) if record else None
        return self.output(torch.cat((near, far), 1).transpose(1, 2).flatten(2)), chosen, weights
