"""The manifest says of every part what storage holds."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import polars as pl
import pytest

from pipeline.batch.layout import MANIFEST, Part, committed, part_name
from pipeline.batch.manifest import write_manifest
from pipeline.batch.storage import Store
from sptx_core.errors import InputError

FINGERPRINT = "ab" * 32
TABLES = ("first", "second")


def named(table: str, unit: int) -> str:
    return part_name(table, f"place={unit}", unit, "x", FINGERPRINT)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    for unit in (1, 0):
        for rows, table in enumerate(TABLES, start=1):
            content = io.BytesIO()
            pl.DataFrame({"number": range(rows * (unit + 1))}).write_parquet(content)
            store.write_atomic(named(table, unit), content.getvalue())
    return store


def columns(part: Part) -> dict[str, str]:
    return {"place": part.place.removeprefix("place=")}


def test_a_line_has_the_rows_bytes_and_digest_of_each_part(store: Store) -> None:
    write_manifest(store, FINGERPRINT, TABLES, committed(store, TABLES[0], FINGERPRINT).values(), columns)
    frame = pl.read_parquet(store.path(MANIFEST))
    assert frame.columns[:2] == ["shard", "place"]
    assert frame["shard"].to_list() == [0, 1]
    assert frame["place"].to_list() == ["0", "1"]
    for line in frame.iter_rows(named=True):
        for prefix, table in (("", "first"), ("second_", "second")):
            content = store.read_bytes(named(table, line["shard"]))
            assert line[f"{prefix}path"] == named(table, line["shard"])
            assert line[f"{prefix}bytes"] == len(content)
            assert line[f"{prefix}sha256"] == hashlib.sha256(content).hexdigest()
    assert frame["rows"].to_list() == [1, 2]
    assert frame["second_rows"].to_list() == [2, 4]


@pytest.mark.parametrize("damage", [b"", b"PAR1 and no more", None])
def test_a_part_that_cannot_be_read_is_named_with_what_to_delete(store: Store, damage: bytes | None) -> None:
    if damage is None:
        store.delete(named("second", 1))
    else:
        store.write_atomic(named("second", 1), damage)
    with pytest.raises(InputError) as refused:
        write_manifest(store, FINGERPRINT, TABLES, committed(store, TABLES[0], FINGERPRINT).values(), columns)
    assert named("second", 1) in str(refused.value)
    assert f"delete {store.uri(named('first', 1))}" in str(refused.value)
    assert not store.exists(MANIFEST)
