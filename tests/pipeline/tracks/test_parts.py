"""Bytes, order and encodings of a shard's parts."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from material import tables

from pipeline.batch.storage import Store
from pipeline.tracks import parts
from pipeline.tracks.layout import ShardKey
from pipeline.tracks.parts import ShardRows, encode_part, encode_shard
from pipeline.tracks.schema import ROW_GROUP_ROWS, SPLICE_STEPS, USAGE_STEPS, TrackSchema
from sptx_core.channels import CHANNELS

WIDEST_STEP = {SPLICE_STEPS: 0.5e-4, USAGE_STEPS: 0.5e-3}


def random_rows(n: int) -> ShardRows:
    dice = np.random.default_rng(1)
    scores = dice.random((n, len(CHANNELS)), dtype=np.float32)
    return ShardRows(np.arange(1, n + 1, dtype=np.int32), dice.integers(0, 5, n).astype(np.uint8), scores)


def encode(rows: ShardRows, schema: TrackSchema | None = None, key: ShardKey | None = None) -> dict[str, bytes]:
    key = key or ShardKey(0, "chr1", "-", int(rows.pos[0]), int(rows.pos[-1]))
    return encode_shard(key, rows, schema or tables.schema(), fingerprint=tables.FINGERPRINT, provenance={})


def read(content: bytes) -> pl.DataFrame:
    return pl.read_parquet(io.BytesIO(content), hive_partitioning=False)


@pytest.mark.slow
def test_same_rows_give_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    tables.write_example(tmp_path / "a", flanks="transcript")
    program = "from material.tables import write_example; write_example('b', flanks='transcript')"
    env = {"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], check=True, env=env, cwd=tmp_path)
    first, second = Store(tmp_path / "a"), Store(tmp_path / "b")
    assert list(first.list()) == list(second.list())
    for name in first.list():
        assert first.read_bytes(name) == second.read_bytes(name), name


@pytest.mark.parametrize("exact", [False, True])
def test_stored_values(exact: bool) -> None:
    rows, schema = random_rows(1000), tables.schema(exact=exact)
    frame = read(encode(rows, schema)["tracks"])
    assert frame.columns == [column.name for column in schema.columns]
    assert frame["pos"].to_list() == rows.pos.tolist()
    assert "".join(frame["ref"]) == "".join("ACGTN"[code] for code in rows.ref)
    for column in schema.scores:
        error = np.abs(frame[column.name].to_numpy() - rows.scores[:, CHANNELS.index(column.name)])
        assert error.max() <= (0 if exact else WIDEST_STEP[column.steps] + 1e-7)


def test_exact_values_and_sites_are_the_networks_own() -> None:
    rows, spec = random_rows(1000), tables.schema(exact=True).spec
    parts = encode(rows, TrackSchema(replace(spec, sites_threshold=0)))
    for table in ("tracks", "sites"):
        assert np.array_equal(read(parts[table]).select(CHANNELS).to_numpy(), rows.scores)


def test_threshold_counts_unrounded() -> None:
    acceptor = np.array([0.00999, 0.01, 0.0, 0.0, 0.5], dtype=np.float32)
    donor = np.array([0.0, 0.0, 0.00996, 0.2, 0.5], dtype=np.float32)
    scores = np.zeros((5, len(CHANNELS)), dtype=np.float32)
    scores[:, CHANNELS.index("acceptor")], scores[:, CHANNELS.index("donor")] = acceptor, donor
    parts = encode(ShardRows(np.arange(11, 16, dtype=np.int32), np.zeros(5, np.uint8), scores))
    sites = read(parts["sites"])
    assert sites["pos"].to_list() == [12, 14, 15]
    assert sites["acceptor"].to_list() == acceptor[[1, 3, 4]].tolist()
    assert read(parts["tracks"])["donor"][2] == np.float32(0.01)


def test_sites_part_without_rows_has_the_columns() -> None:
    shard = tables.SHARDS[3]
    parts = encode(tables.rows(shard), key=shard.key)
    frame = read(parts["sites"])
    assert frame.is_empty()
    assert frame.schema == read(parts["tracks"]).schema


@pytest.mark.slow
def test_encodings_statistics_and_row_groups() -> None:
    footer = pq.read_metadata(io.BytesIO(encode(random_rows(ROW_GROUP_ROWS + 1))["tracks"]))
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


def test_unrounded_scores_are_split_by_byte() -> None:
    group = pq.read_metadata(io.BytesIO(encode(random_rows(100))["sites"])).row_group(0)
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
def test_what_is_no_probability_is_not_encoded(value: float) -> None:
    with pytest.raises(ValueError, match=r"shard 0 \(chr1:1-10 -\) holds a score that is not a probability"):
        encode(damaged(value))


def test_rows_that_do_not_fit_the_shard_are_not_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = random_rows(10)
    for first, last in ((2, 10), (1, 11)):
        with pytest.raises(ValueError, match="holds positions 1 to 10"):
            encode(rows, key=ShardKey(0, "chr1", "+", first, last))
    with pytest.raises(ValueError, match="has 0 rows"):
        encode(rows.take(slice(0)), key=ShardKey(0, "chr1", "+", 1, 1))
    with pytest.raises(ValueError, match="9 bases for 10 rows"):
        encode(ShardRows(rows.pos, rows.ref[:9], rows.scores))
    monkeypatch.setattr(parts, "MAX_PART_ROWS", 9)
    with pytest.raises(ValueError, match="has 10 rows; a part holds 1 to 9"):
        encode(rows)
