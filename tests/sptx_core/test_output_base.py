"""An output is an object with attributes and an ordered mapping of those that are there."""

from __future__ import annotations

import doctest
from dataclasses import dataclass
from typing import Any

import pytest

from sptx_core import output_base
from sptx_core.output_base import Output


@dataclass(frozen=True, eq=False)
class Found(Output):
    loss: Any
    logits: Any
    states: Any = None


BOTH, ONE = Found("loss", "logits"), Found(None, "logits")


def test_examples_in_the_docstring_run() -> None:
    result = doctest.testmod(output_base)
    assert result.failed == 0
    assert result.attempted >= 5


def test_entries_are_read_by_name_number_and_slice() -> None:
    assert BOTH["logits"] == BOTH[1] == BOTH[-1] == BOTH.logits == "logits"
    assert BOTH[:2] == BOTH.to_tuple() == ("loss", "logits")
    assert BOTH[:1] == ("loss",)
    assert dict(BOTH) == {"loss": "loss", "logits": "logits"}
    assert BOTH.get("states", "none") == "none"


def test_what_is_none_has_neither_name_nor_number() -> None:
    assert list(ONE) == ["logits"]
    assert len(ONE) == 1
    assert ONE[0] == "logits"
    assert "loss" not in ONE
    assert 0 not in ONE
    assert str(ONE.keys()) == "odict_keys(['logits'])"


@pytest.mark.parametrize("name", ["loss", "nothing", "to_tuple"])
def test_names_that_are_not_there(name: str) -> None:
    with pytest.raises(KeyError, match=name):
        ONE[name]


def test_numbers_that_are_not_there() -> None:
    with pytest.raises(IndexError):
        ONE[1]
