"""Labels for every base, predicted by a new head on top of the network.

The head reads the network's last hidden state [B, L, hidden_size] and gives logits [B, L, num_labels]. Its sizes are
the `head` of the network's configuration (`HeadConfig`); the network's own splice and usage heads stay beside it.

With labels there is a loss, the mean over all known labels:

| problem_type | labels | loss |
| --- | --- | --- |
| regression | numbers [B, L, num_labels] | squared error |
| binary, multilabel | 0 or 1, [B, L, num_labels] | cross-entropy of each label with a sigmoid |
| multiclass | integers [B, L] or [B, L, 1], 0 to num_labels - 1 | cross-entropy with a softmax |

Where num_labels is 1, labels may be [B, L]. A label is unknown if it is NaN, or if it is -100 and an integer or a
class: the float -100 is a value of a regression. Positions that `attention_mask` hides and those that fill up a ragged
batch are left out as well. If no label is known the loss is 0. Labels of a ragged batch may be ragged as their
sequences are.

If problem_type is None, each call's labels say which it is: floats are of a regression; integers are binary where
num_labels is 1, multilabel if there are num_labels of them a base, and multiclass if there is one.

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
from collections.abc import Mapping
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sptx_core.checkpoint.checkpoint import Checkpoint, load_checkpoint
from sptx_core.checkpoint.hub import Token
from sptx_core.checkpoint.multimolecule_settings import OF_HEAD, head_of
from sptx_core.checkpoint.pretrained import PretrainedNetwork, in_float32
from sptx_core.checkpoint.shapes import head_shapes, misfits
from sptx_core.checkpoint.sources import Source
from sptx_core.config import HeadConfig, SpTransformerConfig
from sptx_core.errors import InputError
from sptx_core.inputs import Sequences, filled_up, read_batch
from sptx_core.model import SpTransformerModel
from sptx_core.outputs import SpTransformerTokenPredictorOutput

UNKNOWN = -100  # as in PyTorch's cross_entropy and in MultiMolecule
NORM_EPS = 1e-12  # of MultiMolecule's heads, whose weights are loaded here


class SpTransformerForTokenPrediction(PretrainedNetwork):
    """The network with a head on top.

    Parameters
    ----------
    config
        Sizes of the network, by default those of the published one. Its `head` has the sizes of the head, by default
        those of `HeadConfig()`.
    """

    network_class: type[SpTransformerModel] = SpTransformerModel
    """What `model`, the network below the head, is."""

    def __init__(self, config: SpTransformerConfig | None = None) -> None:
        super().__init__()
        config = config or SpTransformerConfig()
        self.head_config = config.head or HeadConfig()
        self.config = self.sizes = dataclasses.replace(config, head=self.head_config)
        self.model = self.network_class(self.sizes)
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

        A head that the checkpoint lacks has the sizes that its settings name, if they name any. What network and
        checkpoint share is said in `PretrainedNetwork.from_checkpoint`.
        """
        checkpoint = _with_described_head(checkpoint) if head is None else checkpoint.with_new_head(head)
        return super().from_checkpoint(checkpoint, device=device, dtype=dtype)

    def load_tensors(self, checkpoint: Checkpoint) -> None:
        """Put the tensors of a checkpoint in place of the network's own; a head that it lacks gets random weights."""
        self.model.load_tensors(checkpoint)
        hidden_size = self.sizes.hidden_size
        if not checkpoint.head:
            self.token_head = TokenPredictionHead(self.head_config, hidden_size)
        elif faults := misfits(checkpoint.head, head_shapes(self.head_config, hidden_size)):
            raise InputError(f"the head of {checkpoint.source} does not fit its configuration ({faults})")
        else:
            self.token_head.load_state_dict(checkpoint.head, assign=True)

    def to_checkpoint(self) -> Checkpoint:
        """Network and head as a checkpoint; on the CPU in float32 they share their memory with it."""
        beside = {name: value for name, value in self.beside.items() if name not in OF_HEAD}  # `sizes` has the head
        return Checkpoint(self.sizes, in_float32(self.model), in_float32(self.token_head), beside=beside)

    def gradient_checkpointing_enable(
        self, enable: bool = True, *, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        """Train with less memory; see `SpTransformerModel.gradient_checkpointing_enable`."""
        self.model.gradient_checkpointing_enable(enable, gradient_checkpointing_kwargs=gradient_checkpointing_kwargs)

    def gradient_checkpointing_disable(self) -> None:
        """Compute every layer once again, with the memory that this takes."""
        self.model.gradient_checkpointing_disable()

    def forward(
        self,
        input_ids: Sequences | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Sequences | None = None,
        labels: Sequences | None = None,
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
        dtype = self.model.fusion.weight.dtype
        batch = read_batch(self.sizes, dtype, input_ids, attention_mask, inputs_embeds, flanked=flanked)
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


def _with_described_head(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with the head that its settings describe, if its configuration has none."""
    if checkpoint.config.head is not None:
        return checkpoint
    return dataclasses.replace(
        checkpoint, config=dataclasses.replace(checkpoint.config, head=head_of(checkpoint.beside))
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


def loss(logits: Tensor, labels: Sequences, present: Tensor | None, problem_type: str | None) -> Tensor:
    """Compute the mean loss of all known labels.

    Parameters
    ----------
    logits
        [B, L, num_labels].
    labels
        [B, L, num_labels], or [B, L] of classes or of a single label; a ragged batch of these.
    present
        bool [B, L], True where labels count; None if they count everywhere.
    problem_type
        One of `sptx_core.config.PROBLEM_TYPES`, or None for `problem_of` the labels; the module's table has the loss of
        each.

    Returns
    -------
    Tensor
        A scalar; 0, with gradients, if no label is known.

    Raises
    ------
    InputError
        `labels` have another shape, or a label is none of this problem.
    """
    labels, filled = filled_up(labels)
    if filled is not None and not (filled.all() or (present is not None and torch.equal(filled, present))):
        raise InputError("labels of a ragged batch must be as long as its sequences")
    problem = problem_type or problem_of(labels, logits.shape[2])
    classes = problem == "multiclass"
    labels = _in_shape(labels, logits.shape[: 2 if classes else 3])
    known = ~labels.isnan()
    if classes or not labels.is_floating_point():
        known = known & (labels != UNKNOWN)
    if present is not None:
        known = known & (present if classes else present[..., None])
    logits, labels = logits[known], labels[known]
    if not len(labels):
        return logits.sum()  # 0, with gradients
    if classes:
        _check_classes(labels, logits.shape[1])
        return F.cross_entropy(logits, labels.long())
    labels = labels.to(logits.dtype)
    if problem == "regression":
        return F.mse_loss(logits, labels)
    if not ((labels >= 0) & (labels <= 1)).all():
        raise InputError(f"{problem} labels must be 0..1, found {labels.min():g}..{labels.max():g}")
    return F.binary_cross_entropy_with_logits(logits, labels)


def problem_of(labels: Tensor, num_labels: int) -> str:
    """What a head of num_labels is to predict if its labels are of this type and shape; the module has the rule."""
    if labels.is_floating_point():
        return "regression"
    if num_labels == 1:
        return "binary"
    return "multilabel" if labels.ndim == 3 and labels.shape[2] == num_labels else "multiclass"


def _in_shape(labels: Tensor, shape: torch.Size) -> Tensor:
    """The labels with the axis of a single label as the shape has it."""
    if len(shape) == 3 and shape[2] == 1 and labels.shape == shape[:2]:
        return labels[..., None]
    if len(shape) == 2 and labels.shape == (*shape, 1):
        return labels[..., 0]
    if labels.shape != shape:
        raise InputError(f"labels must have shape {list(shape)}, not {list(labels.shape)}")
    return labels


def _check_classes(labels: Tensor, num_labels: int) -> None:
    """Refuse known labels [n] that are no classes."""
    wrong = labels[(labels < 0) | (labels >= num_labels) | (labels != labels.long())]
    if len(wrong):
        raise InputError(
            f"class labels must be 0..{num_labels - 1}, or {UNKNOWN} where unknown, found {wrong[0].item():g}"
        )
