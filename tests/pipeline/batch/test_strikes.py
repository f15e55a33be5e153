"""The ledger's rules, one after the other."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from pipeline.batch.storage import Store
from pipeline.batch.strikes import Strike, Strikes


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def strikes(store: Store) -> Strikes:
    return Strikes(store)


def queued(strikes: Strikes, unit: int, *, alone: bool = False) -> Strike:
    strike = strikes.of(unit, alone=alone)
    with strikes.queueing(strike):
        pass
    return strike


def held(store: Store) -> list[int]:
    """Units with a strike in storage."""
    return [int(name.removeprefix("strikes/").split("-")[0]) for name in store.list("strikes/")]


def test_a_strike_is_placed_as_the_unit_is_queued_and_removed_when_it_ends(strikes: Strikes, store: Store) -> None:
    strike = queued(strikes, 7)
    assert held(store) == [7]
    assert strikes.count(7) == 1
    assert strikes.may_begin(strike)
    strikes.begin(strike)
    assert held(store) == [7]
    strikes.end(strike)
    assert held(store) == []


def test_each_crew_counts_its_own_strikes(strikes: Strikes, store: Store) -> None:
    second = Strikes(store, second=True)
    for crew, times in ((strikes, 1), (second, 2)):
        for _ in range(times):
            queued(crew, 7)
    assert held(store) == [7, 7, 7]
    assert (strikes.count(7), second.count(7)) == (1, 2)


def test_strikes_that_stayed_are_counted_by_unit(strikes: Strikes, store: Store) -> None:
    for name in ("000007-a", "000007-b", "000070-a"):
        store.write_atomic(f"strikes/{name}", b"")
    assert [strikes.count(unit) for unit in (7, 70, 700)] == [2, 1, 0]


def test_a_unit_that_is_to_be_alone_waits_for_all_and_all_wait_for_it(strikes: Strikes, store: Store) -> None:
    first, second = queued(strikes, 0), queued(strikes, 1)
    alone = queued(strikes, 2, alone=True)
    after = queued(strikes, 3)
    assert held(store) == [0, 1]  # from where it is queued on, strikes are placed as units begin
    assert strikes.may_begin(first)
    assert strikes.may_begin(second)
    assert not strikes.may_begin(alone)
    strikes.end(first)
    assert not strikes.may_begin(alone)
    strikes.end(second)
    assert strikes.may_begin(alone)
    strikes.begin(alone)
    assert held(store) == [2]
    assert not strikes.may_begin(after)
    last = queued(strikes, 4)
    assert held(store) == [2]
    strikes.end(alone)
    for strike in (after, last):
        assert strikes.may_begin(strike)
        strikes.begin(strike)
    assert held(store) == [3, 4]
    for strike in (after, last):
        strikes.end(strike)
    assert held(store) == []
    assert held_as_queued(strikes, store)


def held_as_queued(strikes: Strikes, store: Store) -> bool:
    """Whether nothing is left of units that were to be alone."""
    strike = queued(strikes, 9)
    found = held(store) == [9]
    strikes.end(strike)
    return found


def test_units_are_queued_one_at_a_time_so_that_none_gets_a_strike_after_one_that_is_to_be_alone(
    strikes: Strikes, store: Store
) -> None:
    order: list[int] = []
    inside, go_on = threading.Event(), threading.Event()

    def queue_slowly() -> None:
        with strikes.queueing(strikes.of(0, alone=False)):
            inside.set()
            go_on.wait(10)
            order.append(0)

    def queue_alone() -> None:
        with strikes.queueing(strikes.of(1, alone=True)):
            order.append(1)

    threads = [threading.Thread(target=queue_slowly), threading.Thread(target=queue_alone)]
    threads[0].start()
    assert inside.wait(10)
    threads[1].start()
    threads[1].join(0.1)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert order == [0, 1]
    assert held(store) == [0]


def test_storage_that_fails_leaves_the_ledger_as_it_was(strikes: Strikes, store: Store, monkeypatch: Any) -> None:
    alone = strikes.of(0, alone=True)
    with strikes.queueing(alone):
        assert strikes.may_begin(alone)

    def refuse(*_: object) -> None:
        raise OSError("no storage")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_atomic", refuse)
        patch.setattr(Store, "delete", refuse)
        with pytest.raises(OSError, match="no storage"):
            strikes.begin(alone)
        with pytest.raises(OSError, match="no storage"):
            strikes.end(alone)
    assert held_as_queued(strikes, store)
