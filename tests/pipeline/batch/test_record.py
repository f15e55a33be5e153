"""The record of a run: what it says comes back, other runs are refused, a run goes on as it began."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batch.record import Execution, RunRecord, create_or_resume, fingerprint, read_record, require_same_run
from pipeline.batch.storage import Store
from sptx_core.errors import InputError

EXECUTION = Execution("cpu", "a processor", "native", "float32", 4, 2)
RECORD = RunRecord(1, {"genome": "abc", "core": 1000}, EXECUTION, {"flanks": "genomic"}, 3, 700)
JSON = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5) | st.booleans(), max_size=3)


@given(JSON, st.dictionaries(st.text("xyz", min_size=1, max_size=5), st.integers() | st.text(max_size=5), max_size=3))
def test_a_record_comes_back_from_its_json(fields: dict, about: dict) -> None:
    record = RunRecord(1, fields, EXECUTION, about, 3, 700)
    assert RunRecord.from_json(record.to_json(), "run.json", 1) == record


def test_the_fingerprint_covers_the_fields_alone() -> None:
    other = replace(RECORD, execution=replace(EXECUTION, threads=9), about={}, units=4)
    assert other.fingerprint == RECORD.fingerprint == fingerprint({"core": 1000, "genome": "abc"})
    assert replace(RECORD, fields={"genome": "abd", "core": 1000}).fingerprint != RECORD.fingerprint


def changed(**entries: object) -> bytes:
    return json.dumps({**json.loads(RECORD.to_json()), **entries}).encode()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not the record of a run"),
        (b"\xff\xfe", "not the record of a run"),
        (b"[]", "not the record of a run"),
        (b"{}", "not the record of a run"),
        (changed(execution={"device": "cpu"}), "not the record of a run"),
        (changed(fields={"genome": "other"}), "was edited"),
        (changed(format_version=2), "has format version 2; this program reads 1"),
        (b'{"format_version": 99}', "has format version 99; this program reads 1"),
    ],
)
def test_what_is_no_record_is_refused_with_its_name(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(InputError, match=told) as refused:
        read_record(Store(tmp_path), 1)
    assert "run.json" in str(refused.value)


def test_another_run_is_refused_by_what_differs(tmp_path: Path) -> None:
    store = Store(tmp_path)
    require_same_run(store, None, RECORD.fields)
    require_same_run(store, RECORD, dict(RECORD.fields))
    with pytest.raises(InputError, match=r"core: there 1000, here 2000; new: there None, here 1"):
        require_same_run(store, RECORD, {"genome": "abc", "core": 2000, "new": 1})


def test_a_new_run_is_written_with_its_record_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    write = Store.write_atomic
    monkeypatch.setattr(
        Store, "write_atomic", lambda self, name, content: (written.append(name), write(self, name, content))
    )
    store = Store(tmp_path)
    assert read_record(store, 1) is None
    record, note = create_or_resume(store, RECORD, "a: 1\n", lambda: {"plan.parquet": b"plan"})
    assert (record, note) == (RECORD, None)
    assert written == ["plan.parquet", "settings.yaml", "run.json"]
    assert read_record(store, 1) == RECORD


def test_a_run_goes_on_as_it_began_and_other_hardware_is_told(tmp_path: Path) -> None:
    def none_is_written() -> dict[str, bytes]:
        raise AssertionError("a run that goes on writes nothing")

    store = Store(tmp_path)
    create_or_resume(store, RECORD, "", dict)
    now = replace(RECORD, execution=replace(EXECUTION, batch=8))
    assert create_or_resume(store, now, "", none_is_written) == (RECORD, None)
    elsewhere = replace(RECORD, execution=replace(EXECUTION, hardware="another processor"))
    record, note = create_or_resume(store, elsewhere, "", none_is_written)
    assert record == elsewhere
    assert note is not None
    assert "a processor" in note
    assert "another processor" in note
    assert read_record(store, 1) == RECORD


def test_another_run_that_began_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    store = Store(tmp_path)
    create_or_resume(store, replace(RECORD, fields={"genome": "other"}), "a: 1\n", dict)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match="holds another run"):
        create_or_resume(store, RECORD, "a: 2\n", dict)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_a_later_version_adds_to_the_execution_is_passed_over() -> None:
    body = json.loads(RECORD.to_json())
    body["execution"]["new"] = 1
    assert RunRecord.from_json(json.dumps(body).encode(), "run.json", 1) == RECORD
