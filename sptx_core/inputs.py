"""From what the network is given to its one-hot columns, after a check.

The input is either `input_ids`, integers 0..4 for A C G T N, [B, W], or `inputs_embeds`, columns in their place,
[B, W, input_channels], for mixtures of bases or for gradients of the input; both read 5' to 3'. With flanks
W = L + 2 * context; without them W = L, and `context` empty columns are added on both sides. L bases are predicted.

`attention_mask` [B, W] is 0 where a position shall not be read: its column is then empty (all zeros), like those beyond
the ends of the sequence. A mask of floats may hold shares from 0 to 1, by which columns are multiplied. A ragged batch
is a list of sequences, [W] of ids or [W, input_channels] of columns, or a nested tensor, PyTorch's or danling's. It is
filled up with empty columns at the 3' ends. The position embedding depends on where a base lies among all attended
positions, so that the prediction of a shorter sequence depends on the length of the longest in its batch; where that
matters, predict sequences one by one.

Impossible input is an `InputError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sptx_core.alphabet import BASES, N_CODE
from sptx_core.config import SpTransformerConfig
from sptx_core.errors import InputError
from sptx_core.words import counted

Sequences = Tensor | Sequence[Any]
"""A batch as a tensor, or a ragged batch: a nested tensor, or a list whose items `torch.as_tensor` takes."""


@dataclass(frozen=True, eq=False)
class Batch:
    """What the network computes with."""

    columns: Tensor
    """One-hot columns with their flanks, [B, input_channels, L + 2 * context], in the network's precision."""
    present: Tensor | None
    """bool [B, L]: False at predicted positions that are masked or fill up a ragged batch; None if there are none."""


def read_batch(
    config: SpTransformerConfig,
    dtype: torch.dtype,
    input_ids: Sequences | None,
    attention_mask: Tensor | None,
    inputs_embeds: Sequences | None,
    *,
    flanked: bool,
) -> Batch:
    """Check the input and turn it into columns.

    Parameters
    ----------
    config
        Sizes of the network.
    dtype
        Precision of the network.
    input_ids, attention_mask, inputs_embeds
        As the module describes; either ids or embeds.
    flanked
        Whether the input holds its flanks.

    Returns
    -------
    Batch
        Columns and the positions that count.

    Raises
    ------
    InputError
        The input has a wrong type, shape, length or code.
    """
    given = input_ids if inputs_embeds is None else inputs_embeds
    if given is None or not (input_ids is None or inputs_embeds is None):
        raise InputError(f"give either input_ids or inputs_embeds, not {'neither' if given is None else 'both'}")
    if is_ragged(given) and (attention_mask is not None or flanked):
        raise InputError(
            "a ragged batch has its own attention_mask and no flanks: fill it up to one tensor to give these"
        )
    tensor, filled = filled_up(given)
    if inputs_embeds is None:
        _check_ids(tensor)
    else:
        _check_embeds(tensor, config.input_channels)
    _check_length(tensor.shape[1], config, flanked)
    columns = one_hot(tensor, config.input_channels, dtype) if inputs_embeds is None else tensor.mT.to(dtype)
    mask = filled if attention_mask is None else attention_mask
    present = None
    if mask is not None:
        share = _share_read(mask, tensor.shape[:2])
        columns = columns * share[:, None].to(dtype)
        present = share != 0
        if flanked:
            present = present[:, config.context : present.shape[1] - config.context]
    return Batch(columns if flanked else F.pad(columns, (config.context, config.context)), present)


def is_ragged(given: Sequences) -> bool:
    """Whether a batch is a list of sequences or a nested tensor rather than one plain tensor."""
    return not isinstance(given, Tensor) or given.is_nested or _is_danling(given)


def filled_up(given: Sequences, fill: float = 0) -> tuple[Tensor, Tensor | None]:
    """Make one tensor of a batch.

    Parameters
    ----------
    given
        A tensor, or a ragged batch, whose sequences are filled up at the ends.
    fill
        The value to fill up with.

    Returns
    -------
    Tensor
        [B, W, ...].
    Tensor or None
        bool [B, W], False where the batch was filled up; None for a tensor.

    Raises
    ------
    InputError
        The sequences of a ragged batch are of several kinds, or none of numbers.
    """
    if isinstance(given, Tensor) and not is_ragged(given):
        return given, None
    try:
        rows = list(given.unbind()) if isinstance(given, Tensor) else [torch.as_tensor(row) for row in given]
    except (TypeError, ValueError) as error:  # text, say
        raise InputError(f"the sequences of a ragged batch must be numbers: {error}") from error
    if not rows or len({(row.shape[1:], row.is_floating_point()) for row in rows}) > 1 or not rows[0].ndim:
        raise InputError("a ragged batch must hold one or more sequences, all of one kind")
    lengths = torch.tensor([len(row) for row in rows], device=rows[0].device)
    places = torch.arange(max(len(row) for row in rows), device=rows[0].device)
    return pad_sequence(rows, batch_first=True, padding_value=fill), places < lengths[:, None]


def one_hot(codes: Tensor, input_channels: int, dtype: torch.dtype) -> Tensor:
    """Turn codes into columns.

    Parameters
    ----------
    codes
        Integers 0..4, [B, W].
    input_channels
        4 or 5; with 4, N becomes an all-zero column.
    dtype
        Type of the columns.

    Returns
    -------
    Tensor
        Zeros and ones, [B, input_channels, W].
    """
    return (codes[:, None] == torch.arange(input_channels, device=codes.device)[:, None]).to(dtype)


def _is_danling(tensor: Tensor) -> bool:
    """Whether this is a NestedTensor of the danling package, which calls itself a plain tensor."""
    return hasattr(tensor, "to_torch_nested")


def _share_read(mask: Any, shape: torch.Size) -> Tensor:
    """How much of each column is read, from 0 to 1: bool, or floats as given."""
    if not isinstance(mask, Tensor) or is_ragged(mask):
        raise InputError(f"attention_mask must be a plain tensor of shape {list(shape)}, not a {type(mask).__name__}")
    if mask.shape != shape:
        raise InputError(f"attention_mask must have shape {list(shape)}, not {list(mask.shape)}")
    if not mask.is_floating_point():
        return mask != 0
    if not torch.compiler.is_compiling() and not ((mask >= 0) & (mask <= 1)).all():  # NaN is neither
        raise InputError("attention_mask must hold 0, 1, or shares between them, found other values")
    return mask


def _check_ids(ids: Tensor) -> None:
    if ids.ndim != 2 or ids.is_floating_point() or ids.dtype == torch.bool:
        found = f"{ids.dtype} of shape {list(ids.shape)}"
        raise InputError(f"input_ids must be integers of shape [batch, length], not {found}")
    if torch.compiler.is_compiling():
        return  # reading values would break the graph
    if ids.numel() and not (ids.min() >= 0 and ids.max() <= N_CODE):
        raise InputError(f"input_ids must be 0..{N_CODE} ({' '.join(BASES)}), found other codes")


def _check_embeds(embeds: Tensor, channels: int) -> None:
    if embeds.ndim != 3 or not embeds.is_floating_point() or embeds.shape[2] != channels:
        found = f"{embeds.dtype} of shape {list(embeds.shape)}"
        raise InputError(f"inputs_embeds must be floating-point of shape [batch, length, {channels}], not {found}")


def _check_length(width: int, config: SpTransformerConfig, flanked: bool) -> None:
    flanks = 2 * config.context if flanked else 0
    length = width - flanks
    if length < 1:
        raise InputError(
            f"input of {counted(width, 'base')} leaves nothing to predict: "
            + (f"{flanks} of them are flank" if flanked else "give at least one base")
        )
    if length > config.max_seq_len:
        raise InputError(
            f"{length} bases to predict are more than the {config.max_seq_len} that "
            + ("the network's position embedding covers" if config.layers else "the network predicts at once")
            + " (max_seq_len); predict them in windows"
        )
