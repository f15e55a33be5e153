"""What receipts tell of parts is kept, saved and read back; what is not known or contradicts itself is measured."""

from __future__ import annotations

import errno
import hashlib
import io
from pathlib import Path

import polars as pl
import pytest

from pipeline.batch import measures as module
from pipeline.batch.layout import RECEIPTS, Part, held, part_name
from pipeline.batch.measures import (
    Measure,
    MeasureBook,
    agreed,
    from_text,
    measure,
    measure_parts,
    saved_measures,
    to_text,
)
from pipeline.batch.readback import Workbench
from pipeline.batch.storage import Store
from sptx_core.errors import InputError

FINGERPRINT = "ab" * 32
TABLES = ("first", "second")


def parquet(rows: int) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame({"number": range(rows)}).write_parquet(buffer)
    return buffer.getvalue()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Three units with two parts each."""
    store = Store(tmp_path)
    for unit in range(3):
        for rows, table in enumerate(TABLES, start=1):
            store.write_atomic(part_name(table, "", unit, "x", FINGERPRINT), parquet(rows * (unit + 1)))
    return store


def units(store: Store) -> dict[int, tuple[Part, ...]]:
    return held(store, TABLES, FINGERPRINT).done


def test_a_measure_counts_rows_and_bytes_and_digests_them() -> None:
    content = parquet(7)
    assert measure(content) == (7, len(content), hashlib.sha256(content).hexdigest())
    assert from_text(to_text([content, parquet(1)])) == (measure(content), measure(parquet(1)))
    assert to_text([content, b"no Parquet"]) == ""
    assert from_text("") is None


def test_what_a_driver_heard_is_saved_now_and_then_and_at_its_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [to_text([parquet(unit), parquet(1)]) for unit in range(3)]
    book = MeasureBook(store)
    book.add(0, texts[0])
    assert not store.list(RECEIPTS)
    monkeypatch.setattr(module, "SAVE_SECONDS", 0.0)
    book.add(1, texts[1])
    assert [set(saved) for saved in saved_measures(store)] == [{0, 1}]
    monkeypatch.undo()
    book.add(2, texts[2])
    book.add(3, "")  # a unit that failed, or that another actor wrote
    book.close()
    assert saved_measures(store) == [book.heard] == [{unit: from_text(text) for unit, text in enumerate(texts)}]
    MeasureBook(store).close()
    assert len(store.list(RECEIPTS)) == 1  # nothing was heard, so nothing is written


def test_storage_that_fails_while_measures_are_saved_ends_no_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    book = MeasureBook(store)
    book.add(0, to_text([parquet(1)]))
    with monkeypatch.context() as patched:
        patched.setattr(Store, "write_atomic", full)
        book.close()
    book.close()
    assert saved_measures(store) == [book.heard]


def test_damaged_records_count_for_nothing(store: Store) -> None:
    store.write_atomic(f"{RECEIPTS}a.parquet", b"PAR1")
    store.write_atomic(f"{RECEIPTS}b.parquet", parquet(3))
    assert saved_measures(store) == []


def test_measures_count_where_neither_another_book_nor_a_listing_contradicts_them(store: Store) -> None:
    done = units(store)
    true = measure_parts(store, done, Workbench())
    other = {0: (Measure(1, true[0][0].bytes, "f" * 64), true[0][1])}
    shorter = {1: (true[1][0]._replace(bytes=1), true[1][1])}
    assert agreed([true, {2: true[2]}], done) == true
    assert agreed([true, other], done).keys() == {1, 2}
    assert agreed([{0: true[0]}, shorter], done).keys() == {0}
    assert agreed([], done) == {}


@pytest.mark.parametrize("limit", [0, 1 << 40])
def test_parts_are_measured_by_threads_or_by_actors_alike(
    store: Store, without_ray: None, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(module, "WORKBENCH_BYTES", limit)
    found = measure_parts(store, units(store), Workbench())
    assert found == {
        unit: tuple(measure(store.read_bytes(part.name)) for part in parts) for unit, parts in units(store).items()
    }
    assert [[one.rows for one in parts] for parts in found.values()] == [[1, 2], [2, 4], [3, 6]]


@pytest.mark.parametrize("damage", [b"", b"PAR1 and no more"])
def test_a_damaged_part_is_named_with_what_to_delete(store: Store, damage: bytes) -> None:
    parts = units(store)[1]
    store.write_atomic(parts[1].name, damage)
    with pytest.raises(InputError) as refused:
        measure_parts(store, units(store), Workbench())
    assert f"{store.uri(parts[1].name)} is damaged" in str(refused.value)
    assert f"delete {store.uri(parts[0].name)}" in str(refused.value)


def test_storage_that_does_not_answer_is_never_a_reason_to_delete(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    done = units(store)
    monkeypatch.setattr(Store, "read_bytes", forbidden)
    with pytest.raises(InputError) as refused:
        measure_parts(store, done, Workbench())
    assert "Permission denied" in str(refused.value)
    assert "delete" not in str(refused.value)
    assert "the same command writes the manifest" in str(refused.value)
