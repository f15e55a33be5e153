"""Faults of storage, most through a proxy before an S3 server: what a store tells, and what a worker waits for."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from material.fault_proxy import (
    ANSWER_LOST,
    BROKEN,
    CUT,
    EXPIRED,
    NO_BUCKET,
    OVERLOADED,
    READ_TIMEOUT,
    REFUSED,
    REQUEST_LOST,
    STALLED,
    Asked,
    Fault,
    FaultProxy,
    faulty_bucket,
)
from s3fs import S3FileSystem

from pipeline.batch import patience
from pipeline.batch.job import Assignment, Worker
from pipeline.batch.record import Execution
from pipeline.batch.storage import StorageError, Store
from pipeline.batch.units import Unit
from pipeline.batch.worker import UnitWorker

FINGERPRINT = "ab" * 32
UNIT = Unit(7, "x", 3, "place", {"word": "abc"})

# What a store tells

OPERATIONS: dict[str, Callable[[Store], object]] = {
    "read": lambda store: store.read_bytes("tracks/a.parquet"),
    "listed": lambda store: store.list("tracks/"),
    "written": lambda store: store.write_atomic("tracks/a.parquet", b"x" * 1000),
    "removed": lambda store: store.delete("tracks/a.parquet"),
}


def failure(store: Store, act: Callable[[Store], object]) -> StorageError:
    with pytest.raises(StorageError) as raised:
        act(store)
    assert len(str(raised.value).splitlines()) == 1
    return raised.value


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, FaultProxy]]:
    with faulty_bucket("faulty") as (uri, proxy):
        yield uri, proxy


@pytest.fixture
def place(server: tuple[str, FaultProxy], tmp_path: Path) -> Iterator[tuple[str, FaultProxy]]:
    """A place of the test's own behind the proxy."""
    uri, proxy = server
    yield f"{uri}/{tmp_path.name}", proxy
    proxy.fault = lambda _: None


@pytest.fixture
def faulty(place: tuple[str, FaultProxy]) -> tuple[Store, FaultProxy]:
    """A store with one part, and the proxy on the way to it."""
    store, proxy = Store(place[0]), place[1]
    store.write_atomic("tracks/a.parquet", b"x" * 1000)
    proxy.requests.clear()
    return store, proxy


def test_an_operation_is_one_request(faulty: tuple[Store, FaultProxy]) -> None:
    store, proxy = faulty
    acts = [*OPERATIONS.items(), ("exists", lambda store: store.exists("tracks/a.parquet"))]
    acts += [("exists not", lambda store: store.exists("tracks/b.parquet"))]
    counted = {}
    for name, act in acts:
        act(store)
        counted[name] = len(proxy.requests)
        proxy.requests.clear()
    assert counted == dict.fromkeys(counted, 1)


@pytest.mark.slow
def test_faults_that_pass_at_once_are_not_even_noticed(faulty: tuple[Store, FaultProxy]) -> None:
    """The client itself tries again after an overload, a lost connection, a part of an answer and a stall."""
    store, proxy = faulty
    for fault in (OVERLOADED, REQUEST_LOST, ANSWER_LOST, CUT, STALLED):
        for name, act in OPERATIONS.items():
            met = set()

            def once(asked: Asked, met: set[str] = met, fault: Fault = fault) -> Fault | None:
                kind = f"{asked.method} {asked.query}"
                return None if kind in met else (met.add(kind), fault)[1]

            if fault is CUT and name in ("written", "removed"):
                continue  # their answers have no body
            proxy.fault = once
            if fault is STALLED and name != "read":
                continue  # as for the others, and each stall takes its time
            act(store)
            assert met, name
            proxy.fault = lambda _: None
            if name == "removed":
                assert not store.exists("tracks/a.parquet")
                store.write_atomic("tracks/a.parquet", b"x" * 1000)
            assert store.read_bytes("tracks/a.parquet") == b"x" * 1000


@pytest.mark.parametrize(
    ("fault", "transient", "told"),
    [
        (REFUSED, True, "check the credentials and what they permit"),
        (EXPIRED, True, "check the credentials and what they permit"),
        (BROKEN, True, "try again when the store answers"),
        (OVERLOADED, True, "try again when the store answers"),
        (REQUEST_LOST, True, "try again when the store answers"),
        (NO_BUCKET, False, "make the bucket, or correct its name"),
    ],
    ids=lambda value: getattr(value, "code", None) or getattr(value, "lost", None) or None,
)
def test_faults_that_stay_are_told_with_what_may_pass_by_itself(
    faulty: tuple[Store, FaultProxy], monkeypatch: pytest.MonkeyPatch, fault: Fault, transient: bool, told: str
) -> None:
    store, proxy = faulty
    monkeypatch.setattr(S3FileSystem, "retries", 1)
    proxy.fault = lambda _: fault
    named = {"listed": f"{store.root}/tracks"}
    for done, act in OPERATIONS.items():
        if fault is NO_BUCKET and done in ("read", "removed"):
            continue  # the name is not there, whatever the reason
        error = failure(store, act)
        assert str(error).startswith(f"{named.get(done, f'{store.root}/tracks/a.parquet')} cannot be {done}: ")
        assert told in str(error)
        assert (error.transient, error.total) == (transient, not transient)
    error = failure(store, lambda store: store.exists("run.json"))
    assert told in str(error)
    error = failure(store, Store.ensure_writable)
    assert str(error).startswith(f"{store.root} cannot be written: ")


@pytest.mark.slow
def test_a_server_that_is_not_there_at_all_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(S3FileSystem, "retries", 1)
    with faulty_bucket("gone") as (uri, proxy):
        store = Store(uri)
        proxy.end()
        for act in OPERATIONS.values():
            assert failure(store, act).transient


def test_a_stall_ends_in_a_sentence(faulty: tuple[Store, FaultProxy], monkeypatch: pytest.MonkeyPatch) -> None:
    store, proxy = faulty
    monkeypatch.setattr(S3FileSystem, "retries", 1)
    proxy.fault = lambda _: STALLED
    began = time.monotonic()
    assert failure(store, lambda store: store.write_atomic("x", b"")).transient
    assert time.monotonic() - began >= READ_TIMEOUT


# What a worker waits for


class Counting(Worker):
    """A unit's word is its part of both tables; counts what it computes."""

    execution = Execution("cpu", "this processor", "", "", 1, 1)
    computed: ClassVar[list[str]] = []

    def compute(self, inputs: Iterator[Any | None]) -> Iterator[Any]:
        for unit in inputs:
            if unit is not None:
                self.computed.append(unit.columns["word"])
                yield unit.columns["word"]

    def encode(self, unit: Unit, inputs: Unit, outputs: str) -> Mapping[str, bytes]:
        return {"first": outputs.encode(), "second": outputs.upper().encode()}


@pytest.fixture
def assignment(tmp_path: Path) -> Assignment:
    return Assignment(Counting, str(tmp_path / "run"), FINGERPRINT, ("first", "second"), 3)


def call(assignment: Assignment) -> dict[str, Any]:
    return UnitWorker(assignment)(UNIT.to_row())


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(Counting, "computed", [])
    return Counting.computed


@pytest.fixture
def behind(
    assignment: Assignment, place: tuple[str, FaultProxy], monkeypatch: pytest.MonkeyPatch
) -> tuple[Assignment, FaultProxy]:
    """An assignment whose output lies behind the proxy, with waits of hundredths of a second."""
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(patience, "MAX_PAUSE", 0.05)
    root, proxy = place
    proxy.requests.clear()
    return replace(assignment, root=root, make_worker=Counting, patience=60.0), proxy


def is_whole(store: Store, unit: Unit = UNIT) -> bool:
    parts = [store.read_bytes(unit.part_name(table, FINGERPRINT)) for table in ("first", "second")]
    return parts == [b"abc", b"ABC"] and not store.list("strikes/") and not store.list("failures/")


def test_a_unit_costs_six_requests(behind: tuple[Assignment, FaultProxy]) -> None:
    assignment, proxy = behind
    worker = UnitWorker(assignment)
    worker(UNIT.to_row())
    proxy.requests.clear()
    worker(replace(UNIT, index=8).to_row())
    below = f"/{assignment.root.removeprefix('s3://')}/"
    told = [f"{asked.method} {asked.path.removeprefix(below).partition('/')[0]}" for asked in proxy.requests]
    assert told == ["GET ", "PUT strikes", "GET ", "PUT second", "PUT first", "DELETE strikes"]


@pytest.mark.slow
@pytest.mark.parametrize("table", ["strikes", "second", "first"])
def test_an_outage_is_waited_for_and_nothing_is_computed_again(
    behind: tuple[Assignment, FaultProxy], computed: list[str], table: str
) -> None:
    assignment, proxy = behind
    worker, store = UnitWorker(assignment), Store(assignment.root)
    worker(replace(UNIT, index=8).to_row())
    refused: list[Asked] = []

    def outage(asked: Asked) -> Fault | None:
        if f"/{table}/" not in asked.path and not refused:
            return None
        refused.append(asked)
        return REFUSED if len(refused) <= 8 else None  # whatever is asked meanwhile

    proxy.fault = outage
    receipt = worker(UNIT.to_row())
    assert len(refused) > 8
    assert (receipt["error"], receipt["size"]) == ("", 3)
    assert len(computed) == 2
    assert is_whole(store)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [OVERLOADED, REQUEST_LOST, ANSWER_LOST], ids=["overloaded", "request", "answer"])
def test_every_second_request_may_fail(
    behind: tuple[Assignment, FaultProxy], computed: list[str], fault: Fault
) -> None:
    assignment, proxy = behind
    proxy.fault = lambda _: fault if len(proxy.requests) % 2 else None
    worker, units = UnitWorker(assignment), [replace(UNIT, index=index) for index in range(2)]
    assert [worker(unit.to_row())["error"] for unit in units] == [""] * 2
    proxy.fault = lambda _: None
    assert all(is_whole(Store(assignment.root), unit) for unit in units)
    assert len(computed) == 2


def test_a_listing_that_lags_behind_changes_no_byte(behind: tuple[Assignment, FaultProxy]) -> None:
    assignment, proxy = behind
    proxy.fault = lambda _: Fault(hidden=".")
    for _ in range(2):
        assert call(assignment)["error"] == ""
    proxy.fault = lambda _: None
    assert is_whole(Store(assignment.root))


def test_a_first_access_that_fails_ends_the_run_at_once(
    behind: tuple[Assignment, FaultProxy], computed: list[str]
) -> None:
    assignment, proxy = behind
    worker = UnitWorker(assignment)
    proxy.fault = lambda _: REFUSED
    receipt = worker(UNIT.to_row())
    assert receipt["no_storage"]
    assert f"{assignment.root}/strikes cannot be listed: " in receipt["error"]
    assert not computed
    proxy.fault = lambda asked: REFUSED if asked.method != "GET" and len(proxy.requests) < 20 else None
    assert UnitWorker(replace(assignment, proven=True))(UNIT.to_row())["error"] == ""  # the run had parts before


@pytest.mark.slow
def test_storage_that_stays_away_is_given_up_and_the_unit_is_not(
    behind: tuple[Assignment, FaultProxy], computed: list[str]
) -> None:
    assignment, proxy = behind
    worker, store = UnitWorker(replace(assignment, patience=0.1)), Store(assignment.root)
    worker(replace(UNIT, index=8).to_row())
    proxy.fault = lambda asked: None if asked.method == "GET" else REFUSED
    receipt = worker(UNIT.to_row())
    assert receipt["no_storage"]
    assert f"{assignment.root}/strikes/000007-" in receipt["error"]
    assert "cannot be written" in receipt["error"]
    assert "storage_patience" in receipt["error"]
    proxy.fault = lambda _: None
    assert not store.list("failures/")
    worker(UNIT.to_row())
    assert is_whole(store)


def test_a_disk_that_takes_nothing_more_ends_the_run_and_not_the_unit(
    assignment: Assignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, store = UnitWorker(replace(assignment, patience=60.0, proven=True)), Store(assignment.root)
    write = Store.write_atomic

    def full(self: Store, name: str, content: bytes) -> None:
        if content:
            raise StorageError(f"{name}: no room", total=True)
        write(self, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_atomic", full)
        receipt = worker(UNIT.to_row())
    assert receipt["no_storage"]
    assert receipt["error"].endswith(": no room")
    assert not store.list()


def test_two_workers_at_one_unit_leave_one_part(assignment: Assignment) -> None:
    """Two runs at once, or an actor that outlived its driver."""
    both = threading.Barrier(2, timeout=60)

    class Together(Counting):
        def encode(self, unit: Unit, inputs: str, outputs: bytes) -> Mapping[str, bytes]:
            both.wait()
            return super().encode(unit, inputs, outputs)

    receipts: list[dict[str, Any]] = []
    together = replace(assignment, make_worker=Together)
    threads = [threading.Thread(target=lambda: receipts.append(call(together))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [receipt["error"] for receipt in receipts] == ["", ""]
    assert is_whole(Store(assignment.root))


STOPPED = """
import os, pickle, signal, sys
from pipeline.batch.job import Worker
from pipeline.batch.record import Execution
from pipeline.batch.worker import UnitWorker

assignment, unit = pickle.load(sys.stdin.buffer)

class Slow(Worker):
    execution = Execution("cpu", "", "", "", 1, 1)
    def compute(self, inputs):
        yield from (unit for unit in inputs if unit is not None)
    def encode(self, unit, inputs, outputs):
        os.kill(os.getpid(), signal.SIGSTOP)
        return {"first": b"another's", "second": b"another's"}

object.__setattr__(assignment, "make_worker", Slow)
print(UnitWorker(assignment)(unit.to_row()))
"""


@pytest.mark.slow
def test_a_process_that_was_stopped_does_not_write_what_another_committed_meanwhile(assignment: Assignment) -> None:
    left = pickle.dumps((replace(assignment, make_worker=int), UNIT))
    with subprocess.Popen([sys.executable, "-c", STOPPED], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        run.stdin.write(left)
        run.stdin.close()
        _, status = os.waitpid(run.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        call(assignment)
        run.send_signal(signal.SIGCONT)
        assert b"'error': ''" in run.stdout.read()
    assert is_whole(Store(assignment.root))
