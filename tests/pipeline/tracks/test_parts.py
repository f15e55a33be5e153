"""Bytes, order and encodings of committed parts, their listing, and the manifest."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from material import tables

from pipeline.batch.storage import Store
from pipeline.tracks import parts as table
from pipeline.tracks.parts import ShardKey, ShardRows, committed, encode_part, read_header, sweep, write_manifest
from pipeline.tracks.schema import ROW_GROUP_ROWS, SPLICE_STEPS, USAGE_STEPS
from sptx_core.channels import CHANNELS
from sptx_core.errors import InputError

FINGERPRINT = tables.FINGERPRINT
SHARD = tables.SHARDS[1]
WIDEST_STEP = {SPLICE_STEPS: 0.5e-4, USAGE_STEPS: 0.5e-3}


def random_rows(n: int) -> ShardRows:
    dice = np.random.default_rng(1)
    scores = dice.random((n, len(CHANNELS)), dtype=np.float32)
    return ShardRows(np.arange(1, n + 1, dtype=np.int32), dice.integers(0, 5, n).astype(np.uint8), scores)


def commit(store: Store, rows: ShardRows, *, exact: bool = False, **options: Any) -> tuple[ShardKey, Any]:
    key = ShardKey(0, "chr1", "-", int(rows.pos[0]), int(rows.pos[-1]))
    settings = {"fingerprint": FINGERPRINT, "sites_threshold": 0.01, "provenance": {}, **options}
    return key, table.commit_shard(store, key, rows, tables.schema(exact=exact), **settings)


def read(store: Store, name: str) -> pl.DataFrame:
    return pl.read_parquet(io.BytesIO(store.read_bytes(name)), hive_partitioning=False)


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
    names = key.part_name(FINGERPRINT), key.sites_name(FINGERPRINT)
    for name in names:
        store.put_atomic(name, b"part")
    try:
        assert committed(store, FINGERPRINT) == {index: (key, names[0], 4)}
        assert names[0].count("/") == names[1].count("/") == 3
        assert "+" not in names[0]
    finally:
        for name in names:
            store.delete(name)


def test_part_name_of_a_plain_contig() -> None:
    name = f"chrom=chr9/strand=plus/000001-401-1000-{FINGERPRINT[:12]}.parquet"
    assert SHARD.key.part_name(FINGERPRINT) == f"tracks/{name}"
    assert SHARD.key.sites_name(FINGERPRINT) == f"sites/{name}"


def test_same_rows_give_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    tables.write_example(tmp_path / "a", flanks="transcript")
    program = "from material.tables import write_example; write_example('b', flanks='transcript')"
    env = {"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], check=True, env=env, cwd=tmp_path)
    first, second = Store(tmp_path / "a"), Store(tmp_path / "b")
    assert list(first.list()) == list(second.list())
    for name in first.list():
        assert first.read_bytes(name) == second.read_bytes(name), name


def test_the_tracks_part_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(Store, "put_atomic", lambda _, name, __: order.append(name))
    tables.commit(Store("memory://order"), SHARD)
    assert order == [SHARD.key.sites_name(FINGERPRINT), SHARD.key.part_name(FINGERPRINT)]


def test_a_shard_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    receipt = tables.commit(store, SHARD)
    before = {path: path.stat() for path in tmp_path.rglob("*.parquet")}
    assert tables.commit(store, SHARD) == receipt
    assert len(before) == 2
    assert {path: path.stat().st_ino for path in before} == {path: stat.st_ino for path, stat in before.items()}


def test_receipt_counts_what_was_written(tmp_path: Path) -> None:
    store = Store(tmp_path)
    receipt = tables.commit(store, SHARD)
    tracks, sites = SHARD.key.part_name(FINGERPRINT), SHARD.key.sites_name(FINGERPRINT)
    sizes = store.list()
    assert (receipt.index, receipt.rows, receipt.bytes) == (1, 400, sizes[tracks])
    assert (receipt.sites_rows, receipt.sites_bytes) == (len(read(store, sites)), sizes[sites])


@pytest.mark.parametrize("exact", [False, True])
def test_stored_values(tmp_path: Path, exact: bool) -> None:
    rows, store = random_rows(1000), Store(tmp_path)
    key, _ = commit(store, rows, exact=exact)
    frame = read(store, key.part_name(FINGERPRINT))
    schema = tables.schema(exact=exact)
    assert frame.columns == [column.name for column in schema.columns]
    assert frame["pos"].to_list() == rows.pos.tolist()
    assert "".join(frame["ref"]) == "".join("ACGTN"[code] for code in rows.ref)
    for column in schema.scores:
        error = np.abs(frame[column.name].to_numpy() - rows.scores[:, CHANNELS.index(column.name)])
        assert error.max() <= (0 if exact else WIDEST_STEP[column.steps] + 1e-7)


def test_exact_values_and_sites_are_the_networks_own(tmp_path: Path) -> None:
    rows, store = random_rows(1000), Store(tmp_path)
    key, receipt = commit(store, rows, exact=True, sites_threshold=0)
    assert receipt.sites_rows == 1000
    for name in (key.part_name(FINGERPRINT), key.sites_name(FINGERPRINT)):
        assert np.array_equal(read(store, name).select(CHANNELS).to_numpy(), rows.scores)


def test_threshold_counts_unrounded(tmp_path: Path) -> None:
    acceptor = np.array([0.00999, 0.01, 0.0, 0.0, 0.5], dtype=np.float32)
    donor = np.array([0.0, 0.0, 0.00996, 0.2, 0.5], dtype=np.float32)
    scores = np.zeros((5, len(CHANNELS)), dtype=np.float32)
    scores[:, CHANNELS.index("acceptor")], scores[:, CHANNELS.index("donor")] = acceptor, donor
    store = Store(tmp_path)
    key, _ = commit(store, ShardRows(np.arange(11, 16, dtype=np.int32), np.zeros(5, np.uint8), scores))
    sites = read(store, key.sites_name(FINGERPRINT))
    assert sites["pos"].to_list() == [12, 14, 15]
    assert sites["acceptor"].to_list() == acceptor[[1, 3, 4]].tolist()
    assert read(store, key.part_name(FINGERPRINT))["donor"][2] == np.float32(0.01)


def test_sites_part_without_rows_has_the_columns(tmp_path: Path) -> None:
    store = Store(tmp_path)
    shard = tables.SHARDS[3]
    assert tables.commit(store, shard).sites_rows == 0
    frame = read(store, shard.key.sites_name(FINGERPRINT))
    assert frame.is_empty()
    assert frame.schema == read(store, shard.key.part_name(FINGERPRINT)).schema


def test_encodings_statistics_and_row_groups(tmp_path: Path) -> None:
    rows, store = random_rows(ROW_GROUP_ROWS + 1), Store(tmp_path)
    key, _ = commit(store, rows)
    footer = pq.read_metadata(io.BytesIO(store.read_bytes(key.part_name(FINGERPRINT))))
    assert [footer.row_group(group).num_rows for group in range(footer.num_row_groups)] == [ROW_GROUP_ROWS, 1]
    chunks = {(chunk := footer.row_group(0).column(number)).path_in_schema: chunk for number in range(20)}
    assert {name for name, chunk in chunks.items() if chunk.is_stats_set} == {"pos", "acceptor", "donor"}
    assert (chunks["pos"].statistics.min, chunks["pos"].statistics.max) == (1, ROW_GROUP_ROWS)
    assert "DELTA_BINARY_PACKED" in chunks["pos"].encodings
    assert {chunk.compression for chunk in chunks.values()} == {"ZSTD"}
    for name in ("ref", *CHANNELS):
        assert "RLE_DICTIONARY" in chunks[name].encodings
    # 14 bits reach 10,001 splice values and 10 bits 1,001 usage values; a dictionary given up takes 32.
    assert chunks["acceptor"].total_uncompressed_size < ROW_GROUP_ROWS * 15 / 8 + SPLICE_STEPS * 4
    assert chunks["brain"].total_uncompressed_size < ROW_GROUP_ROWS * 11 / 8 + USAGE_STEPS * 4


def test_unrounded_scores_are_split_by_byte(tmp_path: Path) -> None:
    store = Store(tmp_path)
    key, _ = commit(store, random_rows(100))
    group = pq.read_metadata(io.BytesIO(store.read_bytes(key.sites_name(FINGERPRINT)))).row_group(0)
    encodings = {group.column(number).path_in_schema: group.column(number).encodings for number in range(20)}
    assert "DELTA_BINARY_PACKED" in encodings["pos"]
    assert all("BYTE_STREAM_SPLIT" in encodings[name] for name in CHANNELS)


def test_pages_carry_checksums(tmp_path: Path) -> None:
    schema = tables.schema()
    content = bytearray(encode_part(random_rows(5000), schema, {}, rounded=True))
    content[2000] ^= 1
    with pytest.raises(OSError, match="CRC"):
        pq.ParquetFile(io.BytesIO(bytes(content)), page_checksum_verification=True).read()


def damaged(value: float) -> ShardRows:
    rows = random_rows(10)
    rows.scores[3, 5] = value
    return rows


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.001, 1.001])
def test_what_is_no_probability_is_not_committed(tmp_path: Path, value: float) -> None:
    store = Store(tmp_path)
    with pytest.raises(ValueError, match=r"shard 0 \(chr1:1-10 -\) holds a score that is not a probability"):
        commit(store, damaged(value))
    assert store.list() == {}


def test_rows_that_do_not_fit_the_shard_are_not_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, rows, schema = Store(tmp_path), random_rows(10), tables.schema()
    settings: dict[str, Any] = {"fingerprint": FINGERPRINT, "sites_threshold": 0.01, "provenance": {}}
    for first, last in ((2, 10), (1, 11)):
        with pytest.raises(ValueError, match="holds positions 1 to 10"):
            table.commit_shard(store, ShardKey(0, "chr1", "+", first, last), rows, schema, **settings)
    with pytest.raises(ValueError, match="has 0 rows"):
        table.commit_shard(store, ShardKey(0, "chr1", "+", 1, 1), rows.take(slice(0)), schema, **settings)
    with pytest.raises(ValueError, match="9 bases for 10 rows"):
        commit(store, ShardRows(rows.pos, rows.ref[:9], rows.scores))
    monkeypatch.setattr(table, "MAX_PART_ROWS", 9)
    with pytest.raises(ValueError, match="has 10 rows; a part holds 1 to 9"):
        commit(store, rows)
    assert store.list() == {}


def test_only_whole_parts_of_this_run_are_committed(tmp_path: Path) -> None:
    store = tables.write_example(tmp_path)
    parts = committed(store, FINGERPRINT)
    assert list(parts) == [0, 1, 2, 3]
    assert [part.key for part in parts.values()] == [shard.key for shard in tables.SHARDS]
    folder = tmp_path / "tracks" / "chrom=chr9" / "strand=plus"
    (folder / ".000004-1-2-0123456789ab.parquet.77.tmp").write_bytes(b"")
    (folder / "notes.parquet").write_bytes(b"")
    (folder / f"000004-1-2-{'f' * 12}.parquet").write_bytes(b"")
    store.delete(parts[2].path)
    assert list(committed(store, FINGERPRINT)) == [0, 1, 3]
    assert committed(store, "e" * 64) == {}
    assert sweep(store) == ()


def test_manifest_is_of_the_bytes_in_storage(tmp_path: Path) -> None:
    store = tables.write_example(tmp_path)
    lines = read(store, "manifest.parquet")
    assert lines["shard"].to_list() == [0, 1, 2, 3]
    for line in lines.iter_rows(named=True):
        for path, rows, size, digest in (
            (line["path"], line["rows"], line["bytes"], line["sha256"]),
            (line["sites_path"], line["sites_rows"], line["sites_bytes"], line["sites_sha256"]),
        ):
            content = (tmp_path / path).read_bytes()
            assert (rows, size) == (len(read(store, path)), len(content))
            assert digest == hashlib.sha256(content).hexdigest()
    before = store.read_bytes("manifest.parquet")
    write_manifest(store, FINGERPRINT)
    assert store.read_bytes("manifest.parquet") == before


def test_manifest_of_a_damaged_table_names_the_part(tmp_path: Path) -> None:
    store = tables.write_example(tmp_path)
    store.put_atomic(SHARD.key.part_name(FINGERPRINT), b"PAR1")
    with pytest.raises(InputError, match=r"000001-401-1000-[0-9a-f]{12}.parquet cannot be read .*computes it again"):
        write_manifest(store, FINGERPRINT)
    store.delete(SHARD.key.part_name(FINGERPRINT))
    tables.commit(store, SHARD)
    store.delete(SHARD.key.sites_name(FINGERPRINT))
    with pytest.raises(InputError, match=r"sites/.*000001-401-1000-[0-9a-f]{12}.parquet cannot be read"):
        write_manifest(store, FINGERPRINT)


def test_header_of_a_table_and_of_what_is_none(tmp_path: Path) -> None:
    header = read_header(tables.write_example(tmp_path / "table", exact=True))
    assert (header.fingerprint, header.shards, header.rows) == (tables.fingerprint(exact=True), 4, 1000)
    assert header.schema == tables.schema(exact=True)
    with pytest.raises(InputError, match=r"nothing holds no table: there is no run.json"):
        read_header(Store(tmp_path / "nothing"))
    for text, message in (("{", "is not the record of a run"), ('{"format_version": 99}', "has format version 99")):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(InputError, match=message):
            read_header(Store(tmp_path))
