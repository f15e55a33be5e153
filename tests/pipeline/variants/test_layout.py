"""Names of parts of a table of variants."""

from __future__ import annotations

import pytest

from pipeline.batch.layout import Part, part_name
from pipeline.variants.layout import SHARD_PARTS, ShardKey
from sptx_core.errors import InputError


@pytest.mark.parametrize("chrom", ["chr9", "9", "HLA-A*01:01", ".", "a b/c%d", "chromosome=1"])
def test_a_name_says_which_shard_it_is_of(chrom: str) -> None:
    key = ShardKey(7, chrom, 0, 1500)
    name = part_name("variants", key.place, key.index, key.label, "ab" * 32)
    assert name.startswith("variants/chrom=")
    assert name.count("/") == 2
    match = SHARD_PARTS.fullmatch(f"{key.place}/{key.label}")
    assert match
    assert ShardKey.of(Part(7, key.place, key.label, name, 10)) == key


def test_a_file_that_only_looks_like_a_part_is_refused() -> None:
    with pytest.raises(InputError, match="none of a table of variants; remove it"):
        ShardKey.of(Part(1, "chrom=chr9/strand=plus", "1-2", "variants/chrom=chr9/strand=plus/x.parquet", 10))
