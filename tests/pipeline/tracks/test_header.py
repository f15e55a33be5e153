"""What a table says of itself, and places that hold none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from material import tables

from pipeline.batch.storage import Store
from pipeline.tracks.header import read_header, read_table
from sptx_core.errors import InputError


def test_header_of_a_table(tmp_path: Path) -> None:
    header = read_header(tables.write_example(tmp_path, exact=True))
    assert (header.fingerprint, header.shards, header.rows) == (tables.fingerprint(exact=True), 4, 1000)
    assert header.schema == tables.schema(exact=True)


def test_a_place_without_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no table: there is no run.json"):
        read_header(Store(tmp_path))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format_version": 99}, "has format version 99"),
        ({"flanks": "both"}, "is not the record of a table of tracks"),
        ({"channels": None}, "is not the record of a table of tracks"),
    ],
)
def test_a_record_that_is_not_of_such_a_table_is_refused(tmp_path: Path, change: dict[str, object], told: str) -> None:
    store = tables.write_example(tmp_path)
    run = json.loads(store.read_bytes("run.json"))
    store.write_atomic("run.json", json.dumps({**run, **change}).encode())
    with pytest.raises(InputError, match=told):
        read_header(store)


def test_a_small_table_that_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    store = tables.write_example(tmp_path)
    store.write_atomic("plan.parquet", b"PAR1")
    store.delete("loci.parquet")
    for name, told in (("plan", "cannot be read: "), ("loci", "does not exist")):
        with pytest.raises(InputError, match=f"{name}.parquet {told}"):
            read_table(store, name)
