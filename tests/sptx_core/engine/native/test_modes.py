"""How operands lie in memory in each mode."""

from __future__ import annotations

import pytest

from sptx_core.engine.native.modes import Mode


@pytest.mark.parametrize(
    ("mode", "parts", "words"),
    [
        (Mode.FLOAT32, 0, 64),  # a word each
        (Mode.BFLOAT16, 1, 32),  # two to a word
        (Mode.MATRIX_FLOAT32, 3, 96),  # the sum of three bfloat16
        (Mode.MATRIX_BFLOAT16, 1, 32),
    ],
)
def test_words_of_64_operands(mode: Mode, parts: int, words: int) -> None:
    assert mode.parts == parts
    assert mode.words(64) == words
