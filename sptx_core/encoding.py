"""From the ids of each sequence to what a network takes: cut off, filled up, with a mask, as tensors.

In: lists of ids, one a sequence. Out: an `Encoding` of lists, or of int64 tensors [B, L]. Back: ids in lists from
tensors and arrays. The names and values of the
settings are those of transformers' tokenizers. Impossible ones are an `InputError`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sptx_core.errors import InputError

if TYPE_CHECKING:
    import torch

PADDING = (True, "longest", "max_length", False, "do_not_pad")
TRUNCATION = (None, True, "longest_first", "only_first", False, "do_not_truncate")


class Encoding(dict[str, Any]):
    """What the tokenizer returns: a list for one sequence; lists of lists, or int64 tensors [B, L], for several.

    A network takes all of it: `model(**tokenizer(sequence, return_tensors="pt"))`.
    """

    @property
    def input_ids(self) -> Any:
        """Number of each token."""
        return self["input_ids"]

    @property
    def attention_mask(self) -> Any:
        """1 for each token of the sequence, 0 for padding."""
        return self["attention_mask"]

    def to(self, device: str | torch.device) -> Encoding:
        """Move tensors to a device."""
        return Encoding({name: tensor.to(device) for name, tensor in self.items()})


def plain_ids(ids: Any) -> Any:
    """Put plain numbers, and lists of them, in place of tensors and arrays.

    Parameters
    ----------
    ids
        An integer, or integers nested in anything that can be iterated over.

    Raises
    ------
    InputError
        Something is neither. Numbers of tensors and arrays may still be no integers.
    """
    if hasattr(ids, "tolist"):
        ids = ids.tolist()
        if isinstance(ids, list):
            return ids
    if isinstance(ids, int) or (isinstance(ids, list) and {*map(type, ids)} == {int}):  # saves most of the time
        return ids
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise InputError(f"ids must be integers, not {ids!r:.80}")
    return [plain_ids(number) for number in ids]


def kept(padding: bool | str, truncation: bool | str | None, max_length: int | None, around: int) -> int | None:
    """Decide how many ids of a sequence are kept.

    Parameters
    ----------
    padding, truncation, max_length
        As in a call of the tokenizer.
    around
        Ids that are put before and after a sequence.

    Returns
    -------
    int or None
        Ids of the sequence itself; None for all.

    Raises
    ------
    InputError
        A setting has none of its values, or `max_length` leaves no room for what is put around.
    """
    for name, value, known in (("padding", padding, PADDING), ("truncation", truncation, TRUNCATION)):
        if value not in known:
            raise InputError(f"{name} must be one of {', '.join(map(repr, known))}, not {value!r}")
    if max_length is None:
        return None
    if type(max_length) is not int or max_length < max(1, around):
        raise InputError(f"max_length must be an integer of at least {max(1, around)}, not {max_length!r}")
    cut = not padding if truncation is None else truncation not in (False, "do_not_truncate")
    return max_length - around if cut else None


def batch(
    rows: list[list[int]], padding: bool | str, max_length: int | None, pad: int | None, return_tensors: str | None
) -> Encoding:
    """Fill up the ids of several sequences, and mask what was filled up.

    Parameters
    ----------
    rows
        Ids of each sequence, with those around it.
    padding, max_length, return_tensors
        As in a call of the tokenizer.
    pad
        The id that fills up; None if there is none.

    Raises
    ------
    InputError
        There is nothing to fill up with, or rows of several lengths shall make a tensor.
    """
    if return_tensors not in (None, "pt"):
        raise InputError(f"return_tensors must be 'pt' or None, not {return_tensors!r}")
    length = None
    if padding == "max_length":
        length = max_length
    elif padding in (True, "longest"):
        length = max(map(len, rows), default=0)
    if length is not None and pad is None:
        raise InputError("sequences cannot be filled up: there is no pad_token")
    filler = [] if pad is None else [pad]
    lacking = [max(0, (length or 0) - len(row)) for row in rows]
    ids = [row + filler * more for row, more in zip(rows, lacking, strict=True)]
    masks = [[1] * len(row) + [0] * more for row, more in zip(rows, lacking, strict=True)]
    if return_tensors is None:
        return Encoding(input_ids=ids, attention_mask=masks)
    if len({len(row) for row in ids}) > 1:
        raise InputError("sequences of several lengths make no tensor: ask for padding")
    import torch  # late: ids alone need no PyTorch

    shape = (len(ids), len(ids[0]) if ids else 0)
    tensors = [torch.tensor(values, dtype=torch.int64).reshape(shape) for values in (ids, masks)]
    return Encoding(input_ids=tensors[0], attention_mask=tensors[1])
