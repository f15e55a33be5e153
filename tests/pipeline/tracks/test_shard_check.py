"""What one part and one shard are checked for; every kind of damage through `verify` is in test_verify.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from material import tables

from pipeline.batch.measures import Measures, measure
from pipeline.batch.storage import Store
from pipeline.tracks.header import Header, read_header, read_table
from pipeline.tracks.shard_check import ROWS_IN_MEMORY, Planned, ShardChecker, at_once, part_problems, planned_shards


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return tables.write_example(tmp_path)


def header_and_shards(store: Store) -> tuple[Header, dict[int, Planned]]:
    header = read_header(store)
    return header, {shard.key.index: shard for shard in planned_shards(store, header, read_table(store, "plan"))}


def recorded(store: Store, shard: Planned) -> Measures:
    return measure(store.read_bytes(shard.tracks)), measure(store.read_bytes(shard.sites))


@pytest.mark.parametrize("flanks", ["genomic", "transcript"])
def test_shards_are_those_of_the_plan(tmp_path: Path, flanks: str) -> None:
    store = tables.write_example(tmp_path, flanks=flanks)
    _, shards = header_and_shards(store)
    for shard in tables.shards(flanks):
        planned = shards[shard.key.index]
        assert (planned.key, planned.pieces) == (shard.key, shard.stretches)
        assert planned.rows == sum(end - start + 1 for start, end, _ in shard.stretches)
        names = [shard.key.part_name(table, tables.fingerprint(flanks)) for table in ("tracks", "sites")]
        assert [planned.part(table) for table in ("tracks", "sites")] == names


def test_a_sound_part_comes_with_its_rows_and_no_problem(store: Store) -> None:
    header, shards = header_and_shards(store)
    for table, measured in zip(("tracks", "sites"), recorded(store, shards[1]), strict=True):
        content = store.read_bytes(shards[1].part(table))
        problems, rows = part_problems(content, header, shards[1], table, measured)
        assert problems == []
        assert rows is not None
        assert len(rows) == measured.rows
        problems, rows = part_problems(content, header, shards[1], table, measured._replace(sha256="f" * 64))
        assert problems == ["its bytes are not those that manifest.parquet recorded"]
        assert rows is not None
    problems, rows = part_problems(content[:50], header, shards[1], "sites", None)
    assert (len(problems), rows) == (1, None)


def test_a_checker_answers_for_one_shard_in_plain_columns(store: Store) -> None:
    header, shards = header_and_shards(store)
    measures = {index: recorded(store, shard) for index, shard in shards.items()}
    check = ShardChecker(store.root, header, shards, measures, 3)
    size = len(store.read_bytes(shards[1].tracks))
    sound = {"index": 1, "problems": "", "rows": 400, "bytes": size, "unread": False}
    assert check({"index": 1, "sites": True}) == sound
    store.delete(shards[1].sites)
    assert check({"index": 1, "sites": False}) == sound  # which the listing has told
    gone = check({"index": 1, "sites": True})
    told = f"{shards[1].sites}: was removed while the table was verified, which says nothing of the file: verify again"
    assert gone == {**sound, "problems": told, "unread": True}


def test_every_row_a_site(store: Store) -> None:
    header, shards = header_and_shards(store)
    spec = replace(header.spec, sites_threshold=0.0)
    check = ShardChecker(store.root, header._replace(schema=replace(header.schema, spec=spec)), shards, {}, 3)
    problems = check({"index": 1, "sites": True})["problems"].splitlines()
    assert any(problem.startswith(f"{shards[1].sites}: lacks 396 rows at or above 0.0") for problem in problems)


def test_large_shards_are_checked_one_at_a_time() -> None:
    assert at_once(ROWS_IN_MEMORY * 2, 4) == at_once(ROWS_IN_MEMORY, 4) == 1
    assert at_once(ROWS_IN_MEMORY // 2, 4) == 2
    assert at_once(1, 4) == at_once(0, 4) == 4
