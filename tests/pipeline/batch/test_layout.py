"""Names of parts: what is written is found again, and nothing else counts as done."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.batch.layout import Part, committed, failure_name, held, part_name, strike_name
from pipeline.batch.storage import Store

FINGERPRINT = "0123456789abcdef" * 4
WORDS = st.text("abcXYZ019=-_.*:%", min_size=1, max_size=12).filter(lambda text: text.strip(".") == text)


@given(st.integers(0, 10**8), WORDS, st.lists(WORDS, max_size=3))
def test_a_part_is_found_by_the_name_that_it_was_given(index: int, label: str, folders: list[str]) -> None:
    store, place = Store("memory://layout"), "/".join(folders)
    name = part_name("table", place, index, label, FINGERPRINT)
    store.write_atomic(name, b"four")
    found = committed(store, "table", FINGERPRINT)
    store.delete(name)
    assert found == {index: Part(index, place, label, name, 4)}


def test_other_tables_runs_and_files_do_not_count(tmp_path: Path) -> None:
    store = Store(tmp_path)
    own = part_name("table", "chrom=chr1", 7, "1-5", FINGERPRINT)
    for name in (
        own,
        part_name("other", "chrom=chr1", 8, "1-5", FINGERPRINT),
        part_name("table", "chrom=chr1", 9, "1-5", "f" * 64),
        "table/chrom=chr1/000010-1-5-0123456789ab.parquet.tmp",
        "table/chrom=chr1/10-1-5-0123456789ab.parquet",
        "table/readme.parquet",
    ):
        store.write_atomic(name, b"")
    assert [part.name for part in committed(store, "table", FINGERPRINT).values()] == [own]


def test_files_that_are_named_otherwise_than_a_jobs_parts_are_not_looked_at(tmp_path: Path) -> None:
    """Such as a copy that somebody keeps beside the parts."""
    store = Store(tmp_path)
    for place in ("chrom=chr1", "backup/chrom=chr1"):
        store.write_atomic(part_name("table", place, 7, "1-5", FINGERPRINT), b"")
    named = re.compile(r"chrom=[^/]+/\d+-\d+")
    assert [part.place for part in committed(store, "table", FINGERPRINT, named).values()] == ["chrom=chr1"]


def test_parts_come_in_the_order_of_units(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for index in (1_000_000, 12, 3):
        store.write_atomic(part_name("t", "", index, "x", FINGERPRINT), b"")
    assert list(committed(store, "t", FINGERPRINT)) == [3, 12, 1_000_000]


def test_a_unit_is_held_where_all_its_parts_are(tmp_path: Path) -> None:
    store = Store(tmp_path)
    names = {(table, unit): part_name(table, "", unit, "x", FINGERPRINT) for table in ("t", "u") for unit in range(4)}
    for key in (("t", 3), ("t", 1), ("u", 1), ("u", 2), ("t", 0), ("u", 0)):
        store.write_atomic(names[key], b"four")
    found = held(store, ("t", "u"), FINGERPRINT)
    assert list(found.done) == [0, 1]
    assert [part.name for part in found.done[1]] == [names["t", 1], names["u", 1]]
    assert found.lacking == {3: (names["u", 3],)}


def test_names_of_records() -> None:
    assert failure_name(7) == "failures/000007.json"
    assert strike_name(7, "ab") == "strikes/000007-ab"
    assert strike_name(7, "ab").startswith(strike_name(7))
