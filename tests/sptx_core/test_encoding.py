"""Batches of ids: cut off, filled up, masked, as tensors."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from sptx_core.encoding import Encoding, batch, kept, plain_ids
from sptx_core.errors import InputError

ROWS = [[5, 6, 7], [8]]


@pytest.mark.parametrize(
    ("padding", "truncation", "expected"),
    [
        (False, None, 4),  # a length alone cuts
        (True, None, None),
        ("max_length", None, None),
        ("do_not_pad", None, None),
        (True, True, 4),
        ("max_length", "longest_first", 4),
        (False, "only_first", 4),
        (False, False, None),
        (False, "do_not_truncate", None),
    ],
)
def test_a_sequence_is_cut_to_what_its_neighbours_leave(padding: Any, truncation: Any, expected: int | None) -> None:
    assert kept(padding, truncation, 6, 2) == expected
    assert kept(padding, truncation, None, 2) is None


@pytest.mark.parametrize("max_length", [1, 0, -1, 2.5, True])
def test_a_length_without_room_is_refused(max_length: Any) -> None:
    with pytest.raises(InputError, match=rf"max_length must be an integer of at least 2, not {max_length}"):
        kept(False, True, max_length, 2)


@pytest.mark.parametrize(
    ("padding", "truncation", "message"),
    [
        ("left", None, "padding must be one of True, 'longest', 'max_length', False, 'do_not_pad', not 'left'"),
        (None, None, "not None"),
        (True, "only_second", "truncation must be one of None, True, 'longest_first', 'only_first', False,"),
    ],
)
def test_settings_that_there_are_not_are_refused(padding: Any, truncation: Any, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        kept(padding, truncation, None, 0)


@pytest.mark.parametrize(
    ("padding", "max_length", "lengths"),
    [
        (False, None, [3, 1]),
        ("do_not_pad", 5, [3, 1]),
        (True, 5, [3, 3]),
        ("longest", None, [3, 3]),
        ("max_length", 5, [5, 5]),
        ("max_length", 2, [3, 2]),
        ("max_length", None, [3, 1]),
    ],
)
def test_shorter_sequences_are_filled_up_and_masked(padding: Any, max_length: int | None, lengths: list[int]) -> None:
    found = batch(ROWS, padding, max_length, 0, None)
    assert found.input_ids == [row + [0] * (length - len(row)) for row, length in zip(ROWS, lengths, strict=True)]
    assert found.attention_mask == [
        [1] * len(row) + [0] * (length - len(row)) for row, length in zip(ROWS, lengths, strict=True)
    ]


def test_without_a_token_nothing_is_filled_up() -> None:
    assert batch(ROWS, False, None, None, None).input_ids == ROWS
    assert batch(ROWS, "max_length", None, None, None).input_ids == ROWS  # no length, no filling up
    for padding in (True, "longest", "max_length"):
        for rows in (ROWS, [[]]):
            with pytest.raises(InputError, match="there is no pad_token"):
                batch(rows, padding, 3, None, None)


def test_tensors() -> None:
    found = batch(ROWS, True, None, 0, "pt")
    assert torch.equal(found.input_ids, torch.tensor([[5, 6, 7], [8, 0, 0]]))
    assert torch.equal(found.attention_mask, torch.tensor([[1, 1, 1], [1, 0, 0]]))
    assert batch([], True, None, 0, "pt").input_ids.shape == (0, 0)
    with pytest.raises(InputError, match="sequences of several lengths make no tensor: ask for padding"):
        batch(ROWS, False, None, 0, "pt")
    with pytest.raises(InputError, match="return_tensors must be 'pt' or None, not 'np'"):
        batch(ROWS, True, None, 0, "np")


def test_an_encoding_is_a_mapping_whose_entries_are_attributes() -> None:
    found = batch(ROWS, True, None, 0, "pt")
    assert list(found) == ["input_ids", "attention_mask"]
    assert found["input_ids"] is found.input_ids
    assert {**found}["attention_mask"] is found.attention_mask
    moved = found.to("meta")
    assert isinstance(moved, Encoding)
    assert {x.device.type for x in moved.values()} == {"meta"}


def test_plain_numbers_in_place_of_tensors_and_arrays() -> None:
    for one in (6, np.int64(6), torch.tensor(6)):
        assert plain_ids(one) == 6
    for several in ([6, [7]], (6, torch.tensor([7])), iter([np.array(6), [7]])):
        assert plain_ids(several) == [6, [7]]


@pytest.mark.parametrize("ids", ["ACGT", ["6"], b"A", None, 1.0, [[1.0]], np.float64(1), torch.tensor(1.0)])
def test_what_is_no_id_is_refused(ids: Any) -> None:
    with pytest.raises(InputError, match=r"^ids must be integers, not "):
        plain_ids(ids)
