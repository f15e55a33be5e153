"""Scratch memory."""

import pytest


@pytest.mark.parametrize("size", [1, 63, 64, 65, 100_000])
def test_memory_is_aligned_for_vectors_and_can_be_written(pieces, size: int) -> None:
    assert pieces.misalignment(size) == 0
