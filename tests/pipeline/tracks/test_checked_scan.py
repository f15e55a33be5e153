"""Rows of parts that are checked as they are read: those of an unchecked scan, or the name of what is damaged."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from material import tables

from pipeline.batch.measures import Measures, measure
from pipeline.batch.storage import Store
from pipeline.tracks.checked_scan import scan_checked
from pipeline.tracks.header import read_header, read_table
from pipeline.tracks.reader import open_tracks
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


@pytest.mark.slow
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


def flipped(store: Store, name: str, bits: int) -> Iterator[None]:
    """Put the part back with one bit flipped, at one random place after the other."""
    sound, draw = store.read_bytes(name), random.Random(1)
    for _ in range(bits):
        content = bytearray(sound)
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        store.write_atomic(name, bytes(content))
        yield
    store.write_atomic(name, sound)


@pytest.mark.slow
@pytest.mark.parametrize("manifest", [True, False])
@pytest.mark.parametrize("table", ["tracks", "sites"])
def test_a_verifying_reader_gives_right_values_or_names_the_part(tmp_path: Path, manifest: bool, table: str) -> None:
    store = tables.write_example(tmp_path, manifest=manifest)
    bad = tables.SHARDS[1].key.part_name(table, tables.FINGERPRINT)

    def rows(*, verify: bool) -> pl.DataFrame:
        return open_tracks(tmp_path, verify=verify).region("chr9", sites=table == "sites")

    true = rows(verify=False)
    assert rows(verify=True).equals(true)
    told: list[str] = []
    wrong = 0
    for _ in flipped(store, bad, 60):
        try:
            assert rows(verify=True).equals(true)
        except InputError as error:
            told.append(str(error))
        with suppress(InputError):
            wrong += not rows(verify=False).equals(true)
    assert [error for error in told if bad not in error] == []
    assert len(told) == 60 if manifest else len(told) > 30
    assert wrong > (10 if table == "tracks" else 0)  # which is why there is `verify`


def test_a_part_that_the_plan_does_not_have_is_refused(tmp_path: Path) -> None:
    store, key = tables.write_example(tmp_path), tables.SHARDS[1].key
    name = key.part_name("tracks", tables.FINGERPRINT)
    store.write_atomic(replace(key, first=399).part_name("tracks", tables.FINGERPRINT), store.read_bytes(name))
    store.delete(name)
    with pytest.raises(InputError, match="is not a part of the plan"):
        open_tracks(tmp_path, verify=True).scan()


def test_a_part_of_no_bytes_is_refused_by_every_reader(tmp_path: Path) -> None:
    store = tables.write_example(tmp_path)
    bad = tables.SHARDS[1].key.part_name("tracks", tables.FINGERPRINT)
    store.write_atomic(bad, b"")
    for verify in (False, True):
        with pytest.raises(InputError, match=re.escape(bad)):
            open_tracks(tmp_path, verify=verify).region("chr9")


def test_a_checked_table_refuses_lost_parts_and_edited_small_tables(store: Store) -> None:
    tables.write_manifest_of(store)
    open_tracks(store.root, verify=True)
    transcripts = store.read_bytes("transcripts.parquet")
    frame = pl.read_parquet(transcripts).with_columns(pl.col("end") + 1)
    frame.write_parquet(Path(store.root) / "transcripts.parquet")
    assert len(open_tracks(store.root).transcripts) == len(frame)
    with pytest.raises(InputError, match=r"transcripts.parquet was edited"):
        open_tracks(store.root, verify=True).transcripts  # noqa: B018  # read when it is asked for
    store.write_atomic("transcripts.parquet", transcripts)
    store.delete(tables.SHARDS[1].key.part_name("tracks", tables.FINGERPRINT))
    open_tracks(store.root)
    with pytest.raises(InputError, match=r"1 part that manifest.parquet lists is missing, the first of shard 1;"):
        open_tracks(store.root, verify=True)
