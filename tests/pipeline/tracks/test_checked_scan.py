"""Rows of parts that are checked as they are read: all the rows of an unchecked scan, or the name of what is damaged."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from material import tables

from pipeline.batch.measures import Measures, measure
from pipeline.batch.storage import Store
from pipeline.tracks.checked_scan import scan_checked
from pipeline.tracks.header import read_header, read_table
from pipeline.tracks.scan import scan_parts
from pipeline.tracks.shard_check import planned_shards
from sptx_core.errors import InputError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return tables.write_example(tmp_path)


def checked(store: Store, table: str = "tracks", recorded: dict[int, Measures] | None = None) -> pl.LazyFrame:
    header = read_header(store)
    shards = planned_shards(store, header, read_table(store, "plan"))
    return scan_checked(store, header, table, shards, recorded or {})


@pytest.mark.parametrize("table", ["tracks", "sites"])
def test_sound_parts_give_the_rows_of_an_unchecked_scan(store: Store, table: str) -> None:
    parts = [(shard.key, shard.key.part_name(table, tables.FINGERPRINT)) for shard in tables.SHARDS]
    plain = scan_parts(store, tables.schema(), parts)
    found = checked(store, table)
    assert found.collect().equals(plain.collect())
    assert found.collect_schema() == plain.collect_schema()
    some = pl.col("pos") > 500, pl.col("strand") == "+"
    assert found.filter(*some).select("brain").collect().equals(plain.filter(*some).select("brain").collect())
    assert found.select(pl.len()).collect().item() == plain.select(pl.len()).collect().item()
    for limit in (0, 1, 320, 10**6):
        assert found.head(limit).collect().equals(plain.head(limit).collect())
    assert found.head(320).filter(*some).collect().equals(plain.head(320).filter(*some).collect())


def test_a_part_that_is_damaged_is_named_when_its_rows_are_asked_for(store: Store) -> None:
    bad = tables.SHARDS[1].key.part_name("tracks", tables.FINGERPRINT)
    sound = store.read_bytes(bad)
    store.write_atomic(bad, sound[:-1])
    with pytest.raises(InputError, match=r"000001-401-1000-\w+.parquet: cannot be read .*`sptx verify "):
        checked(store).collect()
    assert len(checked(store).head(10).collect()) == 10  # of the part before it
    store.write_atomic(bad, sound)
    other = {1: (measure(sound)._replace(sha256="f" * 64), measure(sound))}
    with pytest.raises(InputError, match="its bytes are not those that manifest"):
        checked(store, recorded=other).collect()
    store.delete(bad)
    with pytest.raises(InputError, match="does not exist"):
        checked(store).collect()
