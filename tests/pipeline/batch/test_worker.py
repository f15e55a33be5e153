"""An actor's work: commits, retries, units that kill their process, and storage that fails."""

from __future__ import annotations

import gc
import io
import json
import pickle
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import polars as pl
import pytest
from material.processes import PATIENCE

from pipeline.batch import claims as claims_module
from pipeline.batch.claims import FIRST, SECOND, Claims, Crew
from pipeline.batch.device import Request
from pipeline.batch.job import Assignment, Worker
from pipeline.batch.layout import committed, failure_name
from pipeline.batch.measures import from_text, measure
from pipeline.batch.record import Execution
from pipeline.batch.status import read_status
from pipeline.batch.storage import StorageError, Store
from pipeline.batch.units import Unit
from pipeline.batch.worker import UnitWorker

FINGERPRINT = "ab" * 32
UNIT = Unit(7, "x", 3, "place", {"word": "abc"})


class Echo(Worker):
    """A unit's word is its part of both tables; some words do something else."""

    execution = Execution("cpu", "this processor", "", "", 1, 1)

    def read(self, unit: Unit) -> str:
        if unit.columns["word"] == "unreadable":
            raise KeyError("no such contig")
        return unit.columns["word"]

    def compute(self, inputs: Iterator[Any | None]) -> Iterator[Any]:
        for word in inputs:
            if word == "broken":
                raise RuntimeError("broken")
            if word is not None:
                yield word.encode()

    def encode(self, unit: Unit, inputs: str, outputs: bytes) -> Mapping[str, bytes]:
        if inputs == "unsound":
            raise ValueError("no probability")
        return {"first": outputs, "second": inputs.upper().encode()}


class Large:
    """Something that must not be kept."""


@pytest.fixture
def assignment(tmp_path: Path) -> Assignment:
    return Assignment(Echo, str(tmp_path / "run"), FINGERPRINT, ("first", "second"), 3)


def call(assignment: Assignment, unit: Unit = UNIT, **options: Any) -> dict[str, Any]:
    return UnitWorker(assignment, **options)(unit.to_row())


def named(word: str) -> Unit:
    return replace(UNIT, columns={"word": word})


def test_a_unit_is_committed_in_every_table_and_leaves_no_strike(assignment: Assignment) -> None:
    store = Store(assignment.root)
    receipt = call(assignment)
    expected = {"unit": 7, "size": 3, "bytes": 6, "hardware": "this processor", "error": ""}
    assert receipt == {**expected, "no_storage": False, "measures": "", "left": False}  # no Parquet, no measures
    assert store.read_bytes(UNIT.part_name("first", FINGERPRINT)) == b"abc"
    assert store.read_bytes(UNIT.part_name("second", FINGERPRINT)) == b"ABC"
    assert not store.list("strikes/")


def test_the_receipts_part_is_written_last(assignment: Assignment, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    write = Store.write_atomic

    def watched(self: Store, name: str, content: bytes) -> None:
        written.append(name.split("/")[0])
        write(self, name, content)

    monkeypatch.setattr(Store, "write_atomic", watched)
    call(assignment)
    assert written == ["strikes", "second", "first"]


def test_a_unit_that_is_there_is_not_written_again(assignment: Assignment) -> None:
    """An actor that outlived its driver may have been faster."""
    store = Store(assignment.root)
    for table in ("second", "first"):
        store.write_atomic(UNIT.part_name(table, FINGERPRINT), b"as it was")
    assert call(assignment)["error"] == ""
    for table in ("second", "first"):
        assert store.read_bytes(UNIT.part_name(table, FINGERPRINT)) == b"as it was"


def test_a_unit_that_has_lost_a_part_is_written_as_a_whole(assignment: Assignment) -> None:
    """Its parts must come from one computation."""
    store = Store(assignment.root)
    store.write_atomic(UNIT.part_name("first", FINGERPRINT), b"as it was")
    assert call(assignment)["error"] == ""
    assert store.read_bytes(UNIT.part_name("first", FINGERPRINT)) == b"abc"
    assert store.read_bytes(UNIT.part_name("second", FINGERPRINT)) == b"ABC"


def test_a_receipt_measures_parts_that_its_actor_wrote_and_no_others(assignment: Assignment) -> None:
    class Numbers(Echo):
        def encode(self, unit: Unit, inputs: str, outputs: bytes) -> Mapping[str, bytes]:
            tables = {"first": pl.DataFrame({"a": [1, 2]}), "second": pl.DataFrame({"a": [3]})}
            contents = {name: io.BytesIO() for name in tables}
            for name, frame in tables.items():
                frame.write_parquet(contents[name])
            return {name: content.getvalue() for name, content in contents.items()}

    numbers, store = replace(assignment, make_worker=Numbers), Store(assignment.root)
    told = from_text(call(numbers)["measures"])
    assert told == tuple(measure(store.read_bytes(UNIT.part_name(name, FINGERPRINT))) for name in ("first", "second"))
    assert [one.rows for one in told] == [2, 1]
    assert call(numbers)["measures"] == ""  # written by the call before


@pytest.mark.parametrize("word", ["unreadable", "broken", "unsound"])
def test_a_unit_that_raises_is_tried_and_recorded_with_its_cause(assignment: Assignment, word: str) -> None:
    store = Store(assignment.root)
    receipt = call(assignment, named(word))
    recorded = json.loads(store.read_bytes(failure_name(7)))
    assert (receipt["size"], receipt["bytes"]) == (0, 0)
    assert recorded["error"] == receipt["error"]
    assert recorded["attempts"] == 3
    assert "Traceback" in recorded["cause"]
    assert not store.list("strikes/")
    assert not committed(store, "first", FINGERPRINT)


def test_a_failed_try_keeps_nothing_in_memory(assignment: Assignment) -> None:
    """The next one may need it."""
    kept: list[weakref.ref[Large]] = []

    class Heavy(Echo):
        def read(self, unit: Unit) -> Any:
            large = Large()
            assert all(reference() is None for reference in kept)
            kept.append(weakref.ref(large))
            return large

        def compute(self, inputs: Iterator[Any | None]) -> Iterator[Any]:
            for large in inputs:
                if large is not None:
                    raise RuntimeError("enough")
                yield from ()

    worker = UnitWorker(replace(assignment, make_worker=Heavy))
    gc.disable()  # a cycle would be collected only by chance
    try:
        assert "enough" in worker(UNIT.to_row())["error"]
    finally:
        gc.enable()
    assert len(kept) == 3


def test_a_commit_after_all_ends_the_failure_of_a_unit(assignment: Assignment) -> None:
    store = Store(assignment.root)
    call(assignment, named("broken"))
    assert [failure.unit for failure in read_status(store, ("first", "second"), FINGERPRINT, 8).failed] == [7]
    call(assignment)
    assert read_status(store, ("first", "second"), FINGERPRINT, 8).failed == ()


def test_an_error_of_a_unit_shows_no_secret(assignment: Assignment) -> None:
    class Careless(Echo):
        def read(self, unit: Unit) -> str:
            raise KeyError("https://me:pass@host/genome.fa?sig=0a1b")

    receipt = call(replace(assignment, make_worker=Careless))
    assert "https://***@host/genome.fa?***" in receipt["error"]
    recorded = Store(assignment.root).read_bytes(failure_name(7)).decode()
    assert "pass" not in recorded
    assert "0a1b" not in recorded


def test_a_unit_whose_process_died_often_enough_is_given_up_untried(assignment: Assignment) -> None:
    store = Store(assignment.root)
    for strike in ("a", "b", "c"):
        store.write_atomic(f"strikes/000007-{strike}", b"")
    receipt = call(assignment)
    assert "died 3 times" in receipt["error"]
    assert json.loads(store.read_bytes(failure_name(7)))["error"] == receipt["error"]
    assert not committed(store, "first", FINGERPRINT)


def test_a_failure_that_cannot_be_recorded_still_gives_a_receipt(assignment: Assignment) -> None:
    worker = UnitWorker(assignment)
    Path(assignment.root).write_text("a file where the run should be")
    receipt = worker(UNIT.to_row())
    assert receipt["size"] == 0
    assert "Error" in receipt["error"]


@pytest.mark.parametrize(("max_attempts", "struck", "alone"), [(3, False, False), (3, True, True), (1, False, True)])
def test_a_unit_is_struck_before_the_device_takes_it(
    assignment: Assignment, max_attempts: int, struck: bool, alone: bool
) -> None:
    """As it is queued, so that the device need not wait, unless it is to be computed alone."""
    store = Store(assignment.root)
    if struck:
        store.write_atomic("strikes/000007-before", b"")
    queued: list[tuple[bool, int]] = []
    begun: list[int] = []

    class Watched(SimpleQueue):
        def put(self, request: Request) -> None:
            queued.append((request.strike.alone, len(store.list("strikes/")) - struck))
            super().put(request)

    class Watcher(Echo):
        def compute(self, inputs: Iterator[Any | None]) -> Iterator[Any]:
            for word in inputs:
                if word is not None:
                    begun.append(len(store.list("strikes/")) - struck)
                    raise RuntimeError("enough")
                yield from ()

    watched = replace(assignment, make_worker=Watcher, max_attempts=max_attempts)
    assert "enough" in call(watched, waiting=Watched())["error"]
    assert queued[0] == (alone, int(not alone))
    assert all(later == (True, 0) for later in queued[1:])  # tried again, it is alone
    assert begun == [1] * max_attempts
    assert len(store.list("strikes/")) == struck


LIFE = """
import os, pickle, sys, time
from concurrent.futures import ThreadPoolExecutor
from pipeline.batch.job import Worker
from pipeline.batch.record import Execution
from pipeline.batch.worker import UnitWorker

assignment, units = pickle.load(sys.stdin.buffer)

class Deadly(Worker):
    execution = Execution("cpu", "", "", "", 1, 1)

    def compute(self, inputs):  # begins a unit before the one before it is done, as a GPU does
        begun = []
        for unit in inputs:
            if unit is not None:
                time.sleep(0.1)
                if unit.columns["word"] == "deadly":
                    os._exit(1)
                begun.append(unit)
            if begun and (unit is None or len(begun) == 2):
                yield begun.pop(0)

    def encode(self, unit, inputs, outputs):
        time.sleep(0.5)  # a slow commit, in which the process may die
        return {"first": b"1", "second": b"2"}

object.__setattr__(assignment, "make_worker", Deadly)
worker = UnitWorker(assignment)
with ThreadPoolExecutor(3) as calls:
    list(calls.map(worker, [unit.to_row() for unit in units]))
"""


@pytest.mark.slow
def test_a_unit_that_kills_its_process_is_given_up_and_no_other(assignment: Assignment) -> None:
    """Nor those that are committed, wait or are read meanwhile."""
    max_attempts = 2  # the fewest that allow for one strike without guilt
    assignment, store = replace(assignment, max_attempts=max_attempts, make_worker=int), Store(assignment.root)
    units = [replace(UNIT, index=i, columns={"word": "deadly" if i == 1 else "fine"}) for i in range(5)]
    lives = 0

    def failed() -> list[int]:
        return [unit.index for unit in units if store.exists(failure_name(unit.index))]

    while left := [unit for unit in units if unit.index not in {*committed(store, "first", FINGERPRINT), *failed()}]:
        lives += 1
        assert lives <= max_attempts + 1
        subprocess.run(
            [sys.executable, "-c", LIFE], input=pickle.dumps((assignment, left)), check=False, timeout=PATIENCE
        )
    assert lives == max_attempts + 1
    assert failed() == [1]
    struck = Counter(name.split("-")[0] for name in store.list("strikes/"))
    assert struck.pop("strikes/000001") == max_attempts
    assert struck  # or there was nothing to see
    assert max(struck.values()) == 1


FATAL = """
import pickle, sys
from pipeline.batch.job import Worker
from pipeline.batch.record import Execution
from pipeline.batch.worker import UnitWorker

assignment, unit = pickle.load(sys.stdin.buffer)

class Lost(Worker):
    execution = Execution("cuda", "", "", "", 1, 1)
    def compute(self, inputs):
        for unit in inputs:
            if unit is not None:
                raise RuntimeError("CUDA error: the GPU is lost")
            yield from ()
    def encode(self, unit, inputs, outputs): ...
    def is_fatal(self, error):
        return "CUDA error" in str(error)

object.__setattr__(assignment, "make_worker", Lost)
UnitWorker(assignment)(unit.to_row())
"""


@pytest.mark.slow
def test_an_error_after_which_nothing_can_be_computed_ends_the_process_with_the_strike_in_place(
    assignment: Assignment,
) -> None:
    assignment = replace(assignment, make_worker=int)
    run = subprocess.run(
        [sys.executable, "-c", FATAL], input=pickle.dumps((assignment, UNIT)), check=False, timeout=PATIENCE
    )
    assert run.returncode == 1
    assert len(Store(assignment.root).list("strikes/")) == 1
    assert not Store(assignment.root).list("failures/")


def test_parts_of_two_computations_never_count_as_one(assignment: Assignment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit that has lost a part is computed again, perhaps on other hardware, and its process may die on the way."""
    store = Store(assignment.root)
    call(assignment)
    store.delete(UNIT.part_name("second", FINGERPRINT))
    seen: list[bool] = []
    write = Store.write_atomic

    def watched(self: Store, name: str, content: bytes) -> None:
        write(self, name, content)
        if name.startswith("second/"):
            seen.append(bool(self.list("first/")))

    monkeypatch.setattr(Store, "write_atomic", watched)
    assert call(assignment)["error"] == ""
    assert seen == [False]
    assert len(committed(store, "first", FINGERPRINT)) == 1


@pytest.mark.parametrize(("age", "waits"), [(0.0, False), (3_600.0, True)])
def test_an_actor_that_starts_late_waits_for_storage_at_its_first_access(
    assignment: Assignment, monkeypatch: pytest.MonkeyPatch, age: float, waits: bool
) -> None:
    calls, listing = [], Store.list

    def failing_once(self: Store, prefix: str = "") -> dict[str, int]:
        calls.append(prefix)
        if len(calls) == 1:
            raise StorageError("503", transient=True)
        return listing(self, prefix)

    monkeypatch.setattr(Store, "list", failing_once)
    monkeypatch.setattr("pipeline.batch.patience.FIRST_PAUSE", 0.01)
    receipt = call(replace(assignment, patience=60.0, begun=time.time() - age))
    assert receipt["no_storage"] is not waits
    assert (receipt["error"] == "") is waits


def crews_of(assignment: Assignment) -> tuple[Assignment, Assignment, Claims]:
    """The same units for both crews; the second one writes other bytes."""

    class Other(Echo):
        execution = Execution("cpu", "another processor", "", "", 1, 1)

        def encode(self, unit: Unit, inputs: str, outputs: bytes) -> Mapping[str, bytes]:
            return {table: part + b"!" for table, part in super().encode(unit, inputs, outputs).items()}

    claims = Claims(lease=60.0)

    def desk(method: str, *arguments: Any) -> Any:
        return getattr(claims, method)(*arguments)

    return (
        replace(assignment, crew=Crew(FIRST, desk)),
        replace(assignment, crew=Crew(SECOND, desk), make_worker=Other),
        claims,
    )


def test_what_the_other_crew_has_committed_is_not_computed_and_its_receipt_given_again(assignment: Assignment) -> None:
    first, second, _ = crews_of(assignment)
    receipt = call(second)
    assert (receipt["hardware"], receipt["error"]) == ("another processor", "")
    assert call(first) == receipt
    assert call(first, named("broken")) == receipt  # which would fail


def test_what_the_other_crew_commits_while_a_unit_is_read_does_not_reach_the_device(assignment: Assignment) -> None:
    first, second, _ = crews_of(assignment)

    class Slow(Echo):
        def read(self, unit: Unit) -> str:
            call(second)
            return "broken"

    assert call(replace(first, make_worker=Slow))["hardware"] == "another processor"


@pytest.mark.parametrize("claimed_by_first", [False, True])
def test_parts_of_a_unit_that_both_crews_have_computed_come_from_one(
    assignment: Assignment, monkeypatch: pytest.MonkeyPatch, claimed_by_first: bool
) -> None:
    """The slower one writes its first part when the other one wants to commit."""
    monkeypatch.setattr(claims_module, "ASK_SECONDS", 0.01)
    first, second, _ = crews_of(assignment)
    slower, quicker = (first, second) if claimed_by_first else (second, first)
    write, begun = Store.write_atomic, threading.Event()

    def slow_write(self: Store, name: str, content: bytes) -> None:
        if threading.current_thread() is thread and name.startswith(("first", "second")):
            begun.set()
            time.sleep(0.2)
        write(self, name, content)

    monkeypatch.setattr(Store, "write_atomic", slow_write)
    receipts = []
    thread = threading.Thread(target=lambda: receipts.append(call(slower)))
    thread.start()
    assert begun.wait(10)
    assert call(quicker)["hardware"] == slower.make_worker().execution.hardware
    thread.join(10)
    store = Store(assignment.root)
    parts = {store.read_bytes(UNIT.part_name(table, FINGERPRINT)) for table in assignment.tables}
    assert parts == ({b"abc", b"ABC"} if claimed_by_first else {b"abc!", b"ABC!"})
    assert receipts[0]["error"] == ""


def test_the_second_crew_gives_nothing_up(assignment: Assignment) -> None:
    first, second, _ = crews_of(replace(assignment, max_attempts=1))
    store = Store(assignment.root)
    left = call(second, named("broken"))
    assert (left["left"], left["error"]) == (True, "RuntimeError: broken")
    assert not store.list("failures/")
    worker = UnitWorker(second)
    store.write_atomic(worker.strikes.of(UNIT.index, alone=False).name, b"")  # of a process that died
    left = worker(UNIT.to_row())
    assert (left["left"], left["error"]) == (True, "a process died while computing it")
    receipt = call(first)
    assert (receipt["hardware"], receipt["error"], receipt["left"]) == ("this processor", "", False)


def test_a_commit_that_fails_gives_the_claim_back(assignment: Assignment, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, claims = crews_of(replace(assignment, max_attempts=1))
    with monkeypatch.context() as patch:
        patch.setattr(Store, "exists", lambda *_: 1 / 0)
        assert call(second)["left"]
    assert claims.claim(UNIT.index, FIRST)
    assert call(first)["error"] == ""
