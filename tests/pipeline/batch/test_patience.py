"""Waiting for storage: how long, for what, and what the progress line says meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.batch import patience
from pipeline.batch.patience import PatientStore, Watch
from pipeline.batch.progress import Progress
from pipeline.batch.storage import StorageError, Store

PATIENCE = 100.0
OPERATIONS: dict[str, Callable[[Store], object]] = {
    "exists": lambda store: store.exists("x"),
    "read_bytes": lambda store: store.read_bytes("x"),
    "list": lambda store: store.list(),
    "write_atomic": lambda store: store.write_atomic("x", b"1"),
    "delete": lambda store: store.delete("x"),
    "ensure_writable": lambda store: store.ensure_writable(),
}


class Clock:
    """Time that passes only in pauses."""

    def __init__(self) -> None:
        self.now, self.pauses = 0.0, []

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def __call__(self) -> float:
        return self.now


class Outage:
    """An operation of `Store` that fails so many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, operation: str, times: int, **kind: bool) -> None:
        self.left, usual = times, getattr(Store, operation)

        def failing(store: Store, *arguments: Any) -> Any:
            if self.left > 0:
                self.left -= 1
                raise StorageError("the store is away", **kind)
            return usual(store, *arguments)

        monkeypatch.setattr(Store, operation, failing)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def notices() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, clock: Clock, notices: list[str]) -> PatientStore:
    Store(tmp_path).write_atomic("x", b"0")
    return PatientStore(tmp_path, patience=PATIENCE, proven=True, notice=notices.append, pause=clock.pause, clock=clock)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_waits_with_growing_pauses_and_goes_on(
    store: PatientStore, clock: Clock, notices: list[str], monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    Outage(monkeypatch, operation, 7, transient=True)
    OPERATIONS[operation](store)
    assert clock.pauses == [1, 2, 4, 8, 16, 30, 30]
    assert notices == ["the store is away; waiting for it for up to 100 s"]


def test_it_gives_up_in_the_end_and_waits_no_more_until_something_was_written(
    store: PatientStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage = Outage(monkeypatch, "list", 10**6, transient=True)
    with pytest.raises(
        StorageError, match=r"the store is away \(waited for 100 s, the setting storage_patience\)"
    ) as e:
        store.list()
    assert e.value.transient
    assert clock.now == PATIENCE
    for _ in range(2):  # whatever comes after it, such as the end of a strike
        with pytest.raises(StorageError, match=r"is away \(waited for 100 s, the setting storage_patience\)$"):
            store.list()
    assert clock.now == PATIENCE
    store.write_atomic("y", b"")
    outage.left = 1
    store.list()
    assert clock.now == PATIENCE + 1


def test_a_store_that_never_worked_is_not_waited_for(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PatientStore(tmp_path, patience=PATIENCE, proven=False, pause=clock.pause, clock=clock)
    outage = Outage(monkeypatch, "write_atomic", 1, transient=True)
    with pytest.raises(StorageError, match=r"the store is away$"):
        store.write_atomic("x", b"")
    store.write_atomic("x", b"")
    outage.left = 1
    store.write_atomic("x", b"")
    assert clock.pauses == [1]


@pytest.mark.parametrize("total", [True, False])
def test_what_does_not_pass_is_not_waited_for(
    store: PatientStore, clock: Clock, monkeypatch: pytest.MonkeyPatch, total: bool
) -> None:
    Outage(monkeypatch, "write_atomic", 1, total=total)
    with pytest.raises(StorageError, match=r"the store is away$") as raised:
        store.write_atomic("x", b"")
    assert raised.value.total is total
    assert not clock.pauses


def test_a_name_that_is_not_there_is_not_waited_for(store: PatientStore, clock: Clock) -> None:
    with pytest.raises(FileNotFoundError):
        store.read_bytes("nothing")
    assert not clock.pauses


class Asked(Store):
    """A store whose answer to whether it can be written is set by the test, and which waits for `may_answer`."""

    asked, away = 0, True

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.may_answer = threading.Event()
        self.may_answer.set()

    def ensure_writable(self) -> None:
        self.asked += 1
        self.may_answer.wait()
        if self.away:
            raise StorageError("the store is away", transient=True)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_line_says_that_the_run_waits_and_since_when_until_storage_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Asked(tmp_path)
    with Progress(10, 0, noun="base") as line, Watch(store, line, quiet=0.02):
        until(lambda: store.asked >= 3)
        store.away = False
        until(lambda: not line.waiting)
    told = capsys.readouterr().err.splitlines()
    waiting = [text for text in told if "waiting for storage since " in text]
    assert len(waiting) >= 2
    assert waiting[0].startswith("0 of 10 bases")
    assert all(text.endswith(": the store is away") for text in waiting)
    since = [text.partition("since ")[2][:8] for text in waiting]
    assert since == since[:1] * len(since)
    assert "waiting" not in told[-1]


def test_a_store_that_does_not_answer_is_told_while_it_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Asked(tmp_path)
    store.may_answer.clear()
    with Progress(10, 0, noun="base") as line, Watch(store, line, quiet=0.02):
        until(lambda: line.waiting)
        assert store.asked == 1
        store.may_answer.set()
    assert f"{tmp_path} does not answer" in capsys.readouterr().err


def test_storage_is_not_asked_while_receipts_come_and_a_receipt_ends_the_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, now, looks = Asked(tmp_path), 0.0, 0

    def monotonic() -> float:
        nonlocal looks
        looks += 1
        return now

    monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=monotonic))
    before = threading.active_count()
    with Progress(10, 0, noun="base") as line, Watch(store, line, quiet=0.05) as watch:
        for receipts in range(1, 4):
            now = receipts * 0.04
            enough = looks + 6  # at the clock, by a thread that waits for the rest of the quiet time
            until(lambda enough=enough: looks >= enough)
            assert store.asked == 0
            watch.heard()
        now += 0.06
        until(lambda: store.asked == 1 and line.waiting)
        watch.heard()
        assert not line.waiting
    until(lambda: threading.active_count() <= before)
