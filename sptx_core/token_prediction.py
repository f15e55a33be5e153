"""Labels for every base, by a head of one's own on the network.

The head reads the network's last hidden state [B, L, hidden_size] and gives logits [B, L, num_labels]. Its
`HeadConfig` is the `head` of the network's configuration; the network's own splice and usage heads stay beside it.

With labels there is a loss, the mean over what is known:

| problem_type | labels | loss |
| --- | --- | --- |
| regression | floats [B, L, num_labels] | squared error |
| binary, multilabel | 0 or 1, [B, L, num_labels] | cross-entropy of each label with a sigmoid |
| multiclass | integers [B, L] below num_labels | cross-entropy with a softmax |

A single label may leave its last axis out. Positions that `attention_mask` hides or that fill up a ragged batch are
left out, and so are labels that are unknown: NaN, or -100 (of a class). If nothing is left the loss is 0.

    >>> import torch
    >>> from sptx_core.config import HeadConfig, SpTransformerConfig
    >>> from sptx_core.token_prediction import SpTransformerForTokenPrediction
    >>> small = SpTransformerConfig(hidden_size=16, layers=1, bucket_size=8, max_seq_len=32, context=4,
    ...                             head=HeadConfig(num_labels=3, problem_type="multiclass"))
    >>> output = SpTransformerForTokenPrediction(small)(torch.zeros(1, 20).long(), labels=torch.ones(1, 20).long())
    >>> output.logits.shape, output.loss.shape
    (torch.Size([1, 20, 3]), torch.Size([]))

A saved folder has the tensors of both, the network's under `model.`, so it loads as a `SpTransformerModel` too.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sptx_core.checkpoint import load_checkpoint, load_head
from sptx_core.config import HeadConfig, SpTransformerConfig
from sptx_core.errors import InputError
from sptx_core.hub import SavedNetwork
from sptx_core.inputs import Sequences, read_batch
from sptx_core.model import SpTransformerModel
from sptx_core.outputs import SpTransformerTokenPredictorOutput

UNKNOWN_CLASS = -100  # PyTorch's and MultiMolecule's mark
NORM_EPS = 1e-12


class SpTransformerForTokenPrediction(SavedNetwork):
    """The network with a head on top; without a `head` in its configuration that is `HeadConfig()`."""

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
        source: str | os.PathLike[str],
        *,
        head: HeadConfig | None = None,
        device: str | torch.device = "cpu",
    ) -> Self:
        """The network of a checkpoint with its head, ready to predict.

        A head that the checkpoint lacks starts with random weights, in the sizes of `head`. Giving `head` for a
        checkpoint that has one replaces it in the same way.
        """
        checkpoint = load_checkpoint(source)
        model = cls(checkpoint.config if head is None else dataclasses.replace(checkpoint.config, head=head))
        model.model.load_state_dict(checkpoint.tensors)
        tensors = load_head(source) if head is None else {}
        if tensors:
            try:
                model.token_head.load_state_dict(tensors)
            except RuntimeError as error:
                raise InputError(f"the head of {source} does not fit its configuration: {error}") from error
        return model.eval().to(device)

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
        """Logits, and the loss of `labels`; input and `output_...` as of `SpTransformerModel`."""
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
    """Dropout, perhaps a layer with a norm, and the layer that gives the logits."""

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
    """A layer as wide as its input, perhaps a GELU, and a norm."""

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
    """The loss of logits [B, L, num_labels] where `present` [B, L], or everywhere; see the module."""
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
