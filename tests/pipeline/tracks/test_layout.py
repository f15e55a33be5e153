"""Names of a table's parts hold the shard's key, whatever the contig."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batch.layout import Part, committed
from pipeline.batch.storage import Store
from pipeline.tracks.layout import SITES, TABLES, TRACKS, ShardKey, require_folder
from sptx_core.errors import InputError

FINGERPRINT = "0123456789abcdef" * 4


@given(
    st.integers(0, 10**7),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1),
    st.sampled_from("+-"),
    st.integers(1, 2**31 - 1),
    st.integers(1, 2**31 - 1),
)
def test_names_hold_the_key_whatever_the_contig(index: int, chrom: str, strand: str, first: int, last: int) -> None:
    key = ShardKey(index, chrom, strand, first, last)
    store = Store("memory://names")
    names = [key.part_name(table, FINGERPRINT) for table in TABLES]
    for name in names:
        store.write_atomic(name, b"part")
    try:
        found = committed(store, TRACKS, FINGERPRINT)
        assert found == {index: Part(index, key.place, key.label, names[0], 4)}
        assert ShardKey.of(found[index]) == key
        assert names[0].count("/") == names[1].count("/") == 3
        assert "+" not in names[0]
    finally:
        for name in names:
            store.delete(name)


def test_part_names_of_a_plain_contig() -> None:
    key = ShardKey(1, "chr9", "+", 401, 1000)
    name = "chrom=chr9/strand=plus/000001-401-1000-0123456789ab.parquet"
    assert key.part_name(TRACKS, FINGERPRINT) == f"tracks/{name}"
    assert key.part_name(SITES, FINGERPRINT) == f"sites/{name}"


@pytest.mark.parametrize(
    ("place", "label"),
    [("chrom=chr9", "1-5"), ("chrom=chr9/strand=+", "1-5"), ("chrom=chr9/strand=plus", "five"), ("", "1-5")],
)
def test_what_only_looks_like_a_part_is_named(place: str, label: str) -> None:
    with pytest.raises(InputError, match="the/name is named like a part"):
        ShardKey.of(Part(0, place, label, "the/name", 4))


@pytest.mark.parametrize(
    ("fits", "too_long"), [("a" * 249, "a" * 250), ("*" * 83, "*" * 84), ("chr1", "__HIVE_DEFAULT_PARTITION__")]
)
def test_a_contig_is_a_folder_of_at_most_255_bytes_and_not_what_stands_for_no_value(
    fits: str, too_long: str, tmp_path: Path
) -> None:
    require_folder(fits)
    (tmp_path / ShardKey(0, fits, "+", 1, 2).place).mkdir(parents=True)
    with pytest.raises(InputError, match="cannot be the name of a folder"):
        require_folder(too_long)
