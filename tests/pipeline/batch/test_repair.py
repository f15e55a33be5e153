"""What is missing or damaged beside the parts is written again and told; what is sound stays as it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from material.toy_job import SquaresJob

from pipeline.batch.layout import Part
from pipeline.batch.record import Execution, RunRecord, create_or_resume, read_record
from pipeline.batch.repair import recorded_names, restore_record, restore_side_files, side_digests
from pipeline.batch.storage import Store
from pipeline.settings import JobSettings
from sptx_core.errors import InputError

EXECUTION = Execution("cpu", "a processor", "", "", 4, 2)
FILES = {"words.txt": b"one two", "more.txt": b"three"}
PART = Part(0, "", "0-9", "squares/000000-0-9-x.parquet", 4)


class WordyJob(SquaresJob):
    """The toy job with two files beside its parts, of which one may be of another annotation."""

    side_names = tuple(FILES)
    told: Execution | None = EXECUTION

    def side_files(self) -> dict[str, bytes]:
        return FILES

    def agrees(self, name: str, content: bytes) -> bool:
        return content in (b"uno dos", FILES.get(name)) or super().agrees(name, content)

    def about(self) -> dict[str, str]:
        return {"kind": "squares"}

    def execution_of(self, part: bytes) -> Execution | None:
        return self.told


@pytest.fixture
def job(tmp_path: Path) -> WordyJob:
    return WordyJob(JobSettings(output=str(tmp_path)), 100)


@pytest.fixture
def store(job: WordyJob) -> Store:
    """The run of the job, with a part."""
    store = Store(job.settings.output)
    create_or_resume(store, record(job), job.settings.to_yaml(), job.side_files)
    store.write_atomic(PART.name, b"part")
    return store


def record(job: WordyJob) -> RunRecord:
    return RunRecord(1, job.fields, EXECUTION, job.about(), job.units, job.size)


def restored(store: Store, job: WordyJob, recorded: dict[str, str] | None = None) -> list[str]:
    """What was said; the files are then as the returned digests say."""
    said: list[str] = []
    stored = read_record(store, 1)
    assert stored is not None
    assert restore_side_files(store, job, stored, recorded or {}, PART, said.append) == side_digests(store, job)
    return said


def contents(store: Store) -> dict[str, bytes]:
    return {name: store.read_bytes(name) for name in store.list()}


def test_sound_files_stay_and_nothing_is_said(store: Store, job: WordyJob) -> None:
    before = contents(store)
    assert restored(store, job) == []
    assert restored(store, job, side_digests(store, job)) == []
    store.write_atomic("words.txt", b"uno dos")  # of another annotation, which the first run had
    assert restored(store, job) == []
    assert contents(store) == {**before, "words.txt": b"uno dos"}


@pytest.mark.parametrize("name", ["settings.yaml", "words.txt", "more.txt"])
@pytest.mark.parametrize("damage", [None, b"::: {"])
@pytest.mark.parametrize("with_manifest", [False, True])
def test_missing_and_damaged_files_are_written_again(
    store: Store, job: WordyJob, name: str, damage: bytes | None, with_manifest: bool
) -> None:
    before, recorded = contents(store), side_digests(store, job) if with_manifest else {}
    if damage is None:
        store.delete(name)
    else:
        store.write_atomic(name, damage)
    assert restored(store, job, recorded) == [f"missing or damaged in {store.root}, and written again: {name}"]
    assert contents(store) == before


@pytest.mark.parametrize("entry", ["kind", "shards", "batch"])
def test_an_edited_record_is_written_again_as_it_was(store: Store, job: WordyJob, entry: str) -> None:
    before, recorded = contents(store), side_digests(store, job)
    body = json.loads(before["run.json"])
    if entry == "batch":
        body["execution"]["batch"] = 9
    else:
        body[entry] = 9
    store.write_atomic("run.json", json.dumps(body).encode())
    assert restored(store, job, recorded) == [f"missing or damaged in {store.root}, and written again: run.json"]
    assert contents(store) == before


def test_a_record_of_other_units_is_seen_without_a_manifest_too(store: Store, job: WordyJob) -> None:
    before = contents(store)
    store.write_atomic("run.json", replace(record(job), units=11).to_json())
    assert len(restored(store, job)) == 1
    assert contents(store) == before


def test_a_lost_record_is_written_again_as_a_part_says(store: Store, job: WordyJob) -> None:
    before, said = contents(store), []
    store.delete("run.json")
    assert restore_record(store, job, PART, said.append) == record(job)
    assert said == [f"{store.uri('run.json')} was missing beside parts of this run; written again"]
    assert contents(store) == before

    store.write_atomic("words.txt", b"uno dos")  # of another annotation, which the first run had
    store.delete("run.json")
    restore_record(store, job, PART, said.append)
    assert contents(store) == {**before, "words.txt": b"uno dos"}


def test_a_part_that_does_not_say_it_restores_no_record(store: Store, job: WordyJob) -> None:
    store.delete("run.json")
    job.told = None
    assert restore_record(store, job, PART, pytest.fail) is None
    assert not store.exists("run.json")


def test_digests_are_of_every_file_and_a_missing_one_is_named(store: Store, job: WordyJob) -> None:
    assert tuple(side_digests(store, job)) == recorded_names(job) == ("run.json", "words.txt", "more.txt")
    store.delete("words.txt")
    with pytest.raises(InputError, match=r"words.txt does not exist"):
        side_digests(store, job)
