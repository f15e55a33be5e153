"""The record of an export: what it keeps, writes anew and refuses."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.batch.storage import Store
from pipeline.exporting.record import RECORD, WORK, Options, Record, begin, require_record
from sptx_core.errors import InputError

WHOLE = Record(1, "0123", {"least": 0.001}, 5, 5, "all")
FILES = ["sites.bb", "usage/brain.plus.bw"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "export")


def nothing_said(sentence: str) -> None:
    raise AssertionError(sentence)


def begun(store: Store, record: Record = WHOLE) -> None:
    """An export with one of its two files."""
    assert begin(store, record, FILES, nothing_said) == set()
    store.write_atomic("sites.bb", b"sites")


def test_an_export_goes_on_with_what_it_has(store: Store) -> None:
    begun(store)
    assert begin(store, WHOLE, FILES, nothing_said) == {"sites.bb"}
    assert store.read_bytes("sites.bb") == b"sites"


def test_of_a_table_that_has_grown_all_is_written_anew(store: Store) -> None:
    begun(store, replace(WHOLE, shards=3, parts="some"))
    said: list[str] = []
    assert begin(store, WHOLE, FILES, said.append) == set()
    assert list(store.list()) == [RECORD]
    assert said == [f"the table had 3 shards when {store.uri()} was written and has 5: all anew"]
    assert begin(store, WHOLE, FILES, nothing_said) == set()


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"table": "4567"}, "table: there 0123, here 4567"),
        ({"options": {"least": 0.0}}, "least: there 0.001, here 0.0"),
        ({"format_version": 2}, "format_version: there 1, here 2"),
    ],
)
def test_another_export_in_its_place_is_refused(store: Store, other: dict[str, object], told: str) -> None:
    begun(store)
    with pytest.raises(InputError, match=rf"holds another export \({told}\); choose another --to"):
        begin(store, replace(WHOLE, **other), FILES, nothing_said)  # type: ignore[arg-type]
    assert store.exists("sites.bb")


def test_files_without_a_record_are_not_taken_for_an_export(store: Store) -> None:
    store.write_atomic("sites.bb", b"whose?")
    with pytest.raises(InputError, match=f"holds sites.bb but no {RECORD}"):
        begin(store, WHOLE, FILES, nothing_said)
    store.delete("sites.bb")
    store.write_atomic("notes.txt", b"mine")
    assert begin(store, WHOLE, FILES, nothing_said) == set()


@pytest.mark.parametrize("content", [b"{}", b"not json", b'{"format_version": 1, "colour": "red"}', b"[]"])
def test_a_damaged_record_is_refused(store: Store, content: bytes) -> None:
    store.write_atomic(RECORD, content)
    with pytest.raises(InputError, match=re.escape(store.uri(RECORD))):
        begin(store, WHOLE, FILES, nothing_said)


@pytest.mark.parametrize("wrong", [{"least": -0.1}, {"least": 1.5}, {"genome": ""}, {"genome": "hg38\ntrack x"}])
def test_options_that_cannot_be_meant_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"--(least|genome)"):
        Options(**wrong)  # type: ignore[arg-type]


def test_what_is_unfinished_is_told() -> None:
    assert WHOLE.unfinished == ""
    assert replace(WHOLE, shards=3).unfinished == "unfinished: 3 of 5 shards"


def test_pieces_without_a_record_are_not_taken_for_an_export(store: Store) -> None:
    store.write_atomic(f"{WORK}/0123/run.json", b"{}")
    with pytest.raises(InputError, match=f"holds {WORK} but no {RECORD}"):
        begin(store, WHOLE, FILES, nothing_said)


def test_a_file_that_appears_while_an_export_begins_is_nobodys(store: Store) -> None:
    class Late(Store):
        def write_atomic(self, name: str, content: bytes) -> None:
            Store(self.root).write_atomic("sites.bb", b"of another export")
            super().write_atomic(name, content)

    with pytest.raises(InputError, match=r"another export has begun in .* has written sites.bb; remove what is there"):
        begin(Late(store.root), WHOLE, FILES, nothing_said)
    assert list(store.list()) == ["sites.bb"]


def test_a_record_that_was_replaced_is_noticed(store: Store) -> None:
    begun(store)
    require_record(store, WHOLE)
    begin(Store(f"{store.root}/other"), replace(WHOLE, options={}), FILES, nothing_said)
    with pytest.raises(InputError, match="is being written by another export, too"):
        require_record(Store(f"{store.root}/other"), WHOLE)


def test_the_digest_tells_exports_apart() -> None:
    digests = {replace(WHOLE, **other).digest for other in ({}, {"parts": "some"}, {"options": {"least": 0.5}})}
    assert len(digests) == 3
    assert all(re.fullmatch("[0-9a-f]{12}", digest) for digest in digests)
