"""Numbers with their nouns."""

from __future__ import annotations

import numpy as np
import pytest

from sptx_core.words import counted


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [
        (0, ("shard",), "0 shards"),
        (1, ("shard",), "1 shard"),
        (2_000, ("shard",), "2,000 shards"),
        (1, ("locus", "loci"), "1 locus"),
        (0, ("locus", "loci"), "0 loci"),
        (1, ("shard is missing", "shards are missing"), "1 shard is missing"),
        (12, ("shard is missing", "shards are missing"), "12 shards are missing"),
        (np.int64(1), ("row",), "1 row"),
    ],
)
def test_a_noun_agrees_with_its_number(number: int, words: tuple[str, ...], text: str) -> None:
    assert counted(number, *words) == text
