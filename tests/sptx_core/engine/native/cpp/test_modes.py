"""Words of operands, counted alike in C++ and in Python."""

import pytest

from sptx_core.engine.native.library import Mode


@pytest.mark.parametrize("elements", [32, 64, 2048])
def test_words_of_operands_are_those_that_python_counts(pieces, mode: Mode, elements: int) -> None:
    words = {"FLOAT32": elements, "BFLOAT16": elements // 2, "MATRIX_FLOAT32": 3 * elements // 2}
    assert pieces.words(mode, elements) == mode.words(elements) == words.get(mode.name, elements // 2)
