"""What a driver has heard of its run."""

from __future__ import annotations

from pathlib import Path

from pipeline.batch.history import History
from pipeline.batch.measures import MeasureBook
from pipeline.batch.progress import Progress
from pipeline.batch.storage import Store
from pipeline.batch.tally import Tally
from pipeline.batch.worker import Receipt


def tally_of(folder: Path, said: list[str]) -> Tally:
    line = Progress(30, 0, noun="number", shown=False)
    store = Store(str(folder))
    return Tally({0, 1, 2}, {"GPU"}, "unit", MeasureBook(store), History(store, 1, "here"), line, said.append)


def test_a_unit_counts_once_however_often_it_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    tally = tally_of(tmp_path, said)
    of_second = Receipt(2, 10, 5, "CPU", measures='[[1, 2, "a"]]')
    for receipt in (Receipt(0, 10, 5, "GPU"), of_second, of_second):
        tally.add(receipt)
    assert (tally.line.done, tally.complete(), list(tally.book.heard)) == (20, False, [2])
    assert said == ["some units run on CPU: equal within a storage step, not byte for byte"]
    tally.add(Receipt(1, 10, 5, "GPU"))
    assert (tally.line.done, tally.complete(), tally.failed) == (30, True, {})


def test_what_the_second_crew_leaves_is_open_and_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    tally = tally_of(tmp_path, said)
    for unit in (2, 1):
        tally.add(Receipt(unit, 0, 0, "CPU", f"no memory for {unit}", left=True))
    assert tally.open == {0, 1, 2}
    assert not tally.failed
    assert said == [
        "workers on CPUs leave some units to those on GPUs, the first (number 2) because of: no memory for 2"
    ]


def test_a_unit_that_failed_and_is_computed_after_all_has_not_failed(tmp_path: Path) -> None:
    tally = tally_of(tmp_path, [])
    tally.add(Receipt(1, 0, 0, "GPU", "it failed"))
    assert tally.failed == {1: "it failed"}
    tally.add(Receipt(1, 10, 5, "CPU"))
    tally.add(Receipt(1, 0, 0, "GPU", "it failed"))
    assert (tally.failed, tally.line.done) == ({}, 10)
