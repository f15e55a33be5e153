"""Committed parts as a frame: the partitions' values, and places whose own path looks like a partition."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from material import tables

from pipeline.batch.storage import Store
from pipeline.tracks.scan import scan_parts


def scanned(store: Store) -> pl.DataFrame:
    parts = [(shard.key, shard.key.part_name("tracks", tables.FINGERPRINT)) for shard in tables.SHARDS]
    return scan_parts(store, tables.schema(), parts).collect()


@pytest.mark.parametrize("folder", ["table", "release=1/strand=minus"])
def test_chrom_and_strand_are_those_of_the_part_whatever_the_place(tmp_path: Path, folder: str) -> None:
    frame = scanned(tables.write_example(tmp_path / folder))
    assert frame.columns[:4] == ["chrom", "strand", "pos", "ref"]
    places = frame.group_by("chrom", "strand", maintain_order=True).agg(pl.len())
    assert places.rows() == [("chr9", "+", 700), ("chr9", "-", 250), ("HLA-A*01:01", "+", 50)]


def test_the_same_rows_come_through_fsspec(tmp_path: Path) -> None:
    here = scanned(tables.write_example(tmp_path))
    there = Store("memory://scan")
    for name in Store(tmp_path).list():
        there.write_atomic(name, (tmp_path / name).read_bytes())
    assert scanned(there).equals(here)


def test_no_parts_are_an_empty_frame_with_the_columns(tmp_path: Path) -> None:
    empty = scan_parts(Store(tmp_path), tables.schema(), []).collect()
    assert empty.is_empty()
    assert empty.schema == scanned(tables.write_example(tmp_path)).schema
