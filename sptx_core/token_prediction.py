"""Labels for every base, predicted by a new head on top of the network.

The head reads the network's last hidden state [B, L, hidden_size] and gives logits [B, L, num_labels]. Its sizes are
the `head` of the network's configuration (`HeadConfig`); the network's own splice and usage heads stay beside it.

With labels there is a loss, the mean over all known labels:

| problem_type | labels | loss |
| --- | --- | --- |
| regression | floats [B, L, num_labels] | squared error |
| binary, multilabel | 0 or 1, [B, L, num_labels] | cross-entropy of each label with a sigmoid |
| multiclass | integers [B, L] below num_labels | cross-entropy with a softmax |

Where num_labels is 1, labels may be [B, L]. A label is unknown if it is NaN, or -100 for a class; positions that
`attention_mask` hides and those that fill up a ragged batch are left out as well. If no label is known the loss is 0.

    >>> import torch
    >>> from sptx_core.config import HeadConfig, SpTransformerConfig
    >>> from sptx_core.token_prediction import SpTransformerForTokenPrediction
    >>> small = SpTransformerConfig(hidden_size=16, layers=1, bucket_size=8, max_seq_len=32, context=4,
    ...                             head=HeadConfig(num_labels=3, problem_type="multiclass"))
    >>> output = SpTransformerForTokenPrediction(small)(torch.zeros(1, 20).long(), labels=torch.ones(1, 20).long())
    >>> output.logits.shape, output.loss.shape
    (torch.Size([1, 20, 3]), torch.Size([]))

A saved folder holds the tensors of both, so that it loads as a `SpTransformerModel` too. Input that cannot be read,
labels of another shape, and a head that does not fit its configuration are an `InputError`.
"""

from __future__ import annotations

import dataclasses
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sptx_core.checkpoint.checkpoint import Checkpoint, load_checkpoint
from sptx_core.checkpoint.hub import Token
from sptx_core.checkpoint.pretrained import PretrainedNetwork, in_float32
from sptx_core.checkpoint.shapes import head_shapes, misfits
from sptx_core.checkpoint.sources import Source
from sptx_core.config import HeadConfig, SpTransformerConfig
from sptx_core.errors import InputError
from sptx_core.inputs import Sequences, read_batch
from sptx_core.model import SpTransformerModel
from sptx_core.outputs import SpTransformerTokenPredictorOutput

UNKNOWN_CLASS = -100  # as in PyTorch's cross_entropy and in MultiMolecule
NORM_EPS = 1e-12  # of MultiMolecule's heads, whose weights are loaded here


class SpTransformerForTokenPrediction(PretrainedNetwork):
    """The network with a head on top.

    Parameters
    ----------
    config
        Sizes of the network, by default those of the published one. Its `head` has the sizes of the head, by default
        those of `HeadConfig()`.
    """

    def __init__(self, config: SpTransformerConfig | None = None) -> None:
        super().__init__()
        config = config or SpTransformerConfig()
        self.head_config = config.head or HeadConfig()
        self.config = dataclasses.replace(config, head=self.head_config)
        self.model = SpTransformerModel(self.config)
        self.token_head = TokenPredictionHead(self.head_config, config.hidden_size)

    @classmethod
    def from_pretrained(
        cls,
        source: Source,
        *,
        head: HeadConfig | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | str | None = None,
        revision: str | None = None,
        token: Token = None,
    ) -> Self:
        """Load the network of a checkpoint with its head, ready to predict.

        Parameters
        ----------
        source, device, dtype, revision, token
            As in `PretrainedNetwork.from_pretrained`.
        head
            Sizes of a new head with random weights, which replaces that of the checkpoint.

        Returns
        -------
        SpTransformerForTokenPrediction
            In evaluation mode. A checkpoint without a head gets a new one with random weights.

        Raises
        ------
        InputError
            The checkpoint cannot be read, or its head does not fit its configuration.
        """
        checkpoint = load_checkpoint(source, revision=revision, token=token)
        return cls.from_checkpoint(checkpoint, head=head, device=device, dtype=dtype)

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        *,
        head: HeadConfig | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | str | None = None,
    ) -> Self:
        """Build the network of a checkpoint that is already loaded; see `from_pretrained`.

        What it shares with the checkpoint is said in `PretrainedNetwork.from_checkpoint`.
        """
        checkpoint = checkpoint if head is None else checkpoint.with_new_head(head)
        return super().from_checkpoint(checkpoint, device=device, dtype=dtype)

    def load_tensors(self, checkpoint: Checkpoint) -> None:
        """Put the tensors of a checkpoint in place of the network's own; a head that it lacks gets random weights."""
        self.model.load_tensors(checkpoint)
        hidden_size = self.config.hidden_size
        if not checkpoint.head:
            self.token_head = TokenPredictionHead(self.head_config, hidden_size)
        elif faults := misfits(checkpoint.head, head_shapes(self.head_config, hidden_size)):
            raise InputError(f"the head of {checkpoint.source} does not fit its configuration ({faults})")
        else:
            self.token_head.load_state_dict(checkpoint.head, assign=True)

    def to_checkpoint(self) -> Checkpoint:
        """Network and head as a checkpoint; on the CPU in float32 they share their memory with it."""
        return Checkpoint(self.config, in_float32(self.model), in_float32(self.token_head))

    def forward(
        self,
        input_ids: Sequences | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Sequences | None = None,
        labels: Tensor | None = None,
        *,
        flanked: bool = False,
        **outputs: bool,
    ) -> SpTransformerTokenPredictorOutput:
        """Predict the labels of every base that is not flank.

        Parameters
        ----------
        input_ids, attention_mask, inputs_embeds, flanked
            As in `SpTransformerModel.forward`.
        labels
            What to compute the loss against; the module's table has shapes and types.
        **outputs
            `output_attentions`, `output_hidden_states`, `output_contexts` and `output_choices` of
            `SpTransformerModel.forward`.

        Returns
        -------
        SpTransformerTokenPredictorOutput
            With `logits` [B, L, num_labels], and `loss` if there are labels.

        Raises
        ------
        InputError
            Input or labels have a wrong type, shape, length or code.
        """
        dtype = self.model.norm.weight.dtype
        batch = read_batch(self.config, dtype, input_ids, attention_mask, inputs_embeds, flanked=flanked)
        found = self.model.predict_columns(batch.columns, **outputs)
        logits = self.token_head(found.last_hidden_state)
        return SpTransformerTokenPredictorOutput(
            loss=None if labels is None else loss(logits, labels, batch.present, self.head_config.problem_type),
            logits=logits,
            contexts=found.contexts,
            hidden_states=found.hidden_states,
            attentions=found.attentions,
            choices=found.choices,
        )


class TokenPredictionHead(nn.Module):
    """Dropout, an optional layer with a LayerNorm, and the layer that gives the logits."""

    def __init__(self, config: HeadConfig, size: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.transform = HeadTransform(size, config.transform == "nonlinear") if config.transform else None
        self.decoder = nn.Linear(size, config.num_labels, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, C] -> [B, L, num_labels]."""
        x = self.dropout(x)
        logits: Tensor = self.decoder(x if self.transform is None else self.transform(x))
        return logits


class HeadTransform(nn.Module):
    """A layer as wide as its input, an optional GELU, and a LayerNorm."""

    def __init__(self, size: int, nonlinear: bool) -> None:
        super().__init__()
        self.dense = nn.Linear(size, size)
        self.layer_norm = nn.LayerNorm(size, eps=NORM_EPS)
        self.nonlinear = nonlinear

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, C] -> [B, L, C]."""
        x = self.dense(x)
        normed: Tensor = self.layer_norm(F.gelu(x) if self.nonlinear else x)
        return normed


def loss(logits: Tensor, labels: Tensor, present: Tensor | None, problem_type: str) -> Tensor:
    """Compute the mean loss of all known labels.

    Parameters
    ----------
    logits
        [B, L, num_labels].
    labels
        [B, L, num_labels], or [B, L] of classes or of a single label.
    present
        bool [B, L], True where labels count; None if they count everywhere.
    problem_type
        One of `sptx_core.config.PROBLEM_TYPES`; the module's table has the loss of each.

    Returns
    -------
    Tensor
        A scalar; 0, with gradients, if no label is known.

    Raises
    ------
    InputError
        `labels` have another shape.
    """
    classes = problem_type == "multiclass"
    if not classes and logits.shape[2] == 1 and labels.shape == logits.shape[:2]:
        labels = labels[..., None]
    expected = logits.shape[: 2 if classes else 3]
    if labels.shape != expected:
        raise InputError(f"labels must have shape {list(expected)}, not {list(labels.shape)}")
    known = labels != UNKNOWN_CLASS if classes else ~labels.isnan()
    if present is not None:
        known = known & (present if classes else present[..., None])
    logits, labels = logits[known], labels[known]
    if not len(labels):
        return logits.sum()  # 0, with gradients
    if classes:
        return F.cross_entropy(logits, labels.long())
    labels = labels.to(logits.dtype)
    return (
        F.mse_loss(logits, labels)
        if problem_type == "regression"
        else F.binary_cross_entropy_with_logits(logits, labels)
    )
