"""The device's queue: order, units begun ahead, errors, and what is kept in memory."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.batch.device import POLL_SECONDS, Compute, Device
from pipeline.batch.storage import Store
from pipeline.batch.strikes import Strike, Strikes
from sptx_core.errors import InputError

SECONDS = 20  # that a future may take


@pytest.fixture
def strikes(tmp_path: Path) -> Strikes:
    return Strikes(Store(tmp_path))


def device_of(strikes: Strikes, compute: Compute) -> Device:
    return Device(lambda: compute, strikes)


def doubled(inputs: Iterator[Any | None]) -> Iterator[Any]:
    return (2 * value for value in inputs if value is not None)


def two_at_a_time(inputs: Iterator[Any | None]) -> Iterator[Any]:
    """Begins a unit before it gives the outputs of the one before it, as long as there is one; "poison" raises."""
    begun: list[Any] = []
    for value in inputs:
        if value is not None:
            begun.append(value)
        if len(begun) == 2 or (value is None and begun):
            if "poison" in begun:
                raise RuntimeError("poison")
            yield from begun
            begun = []


def test_outputs_come_to_those_who_submitted_the_inputs(strikes: Strikes) -> None:
    device = device_of(strikes, doubled)
    futures = [device.submit(unit, strikes.of(unit, alone=False)) for unit in range(5)]
    assert [future.result(SECONDS) for future in futures] == [0, 2, 4, 6, 8]


def test_the_device_is_opened_and_used_by_one_thread_of_its_own(strikes: Strikes) -> None:
    seen: list[int] = []

    def compute(inputs: Iterator[Any | None]) -> Iterator[Any]:
        for value in inputs:
            if value is not None:
                seen.append(threading.get_ident())
                yield value

    def opened() -> Compute:
        seen.append(threading.get_ident())
        return compute

    device = Device(opened, strikes)
    for unit in range(2):
        device.submit(unit, strikes.of(unit, alone=False)).result(SECONDS)
    assert len(seen) == 3
    assert len(set(seen)) == 1
    assert seen[0] != threading.get_ident()


def test_what_opening_raises_is_raised_where_the_device_is_made(strikes: Strikes) -> None:
    def opened() -> Compute:
        raise InputError("another checkpoint")

    with pytest.raises(InputError, match="another checkpoint"):
        Device(opened, strikes)


def test_an_exception_among_the_outputs_is_that_units_alone(strikes: Strikes) -> None:
    device = device_of(
        strikes, lambda inputs: (ArithmeticError("nan") if x == 1 else x for x in inputs if x is not None)
    )
    futures = [device.submit(unit, strikes.of(unit, alone=False)) for unit in range(3)]
    assert isinstance(futures[1].exception(SECONDS), ArithmeticError)
    assert [futures[0].result(SECONDS), futures[2].result(SECONDS)] == [0, 2]


def test_an_error_is_that_of_all_units_that_were_begun_and_alone_it_takes_none_with_it(strikes: Strikes) -> None:
    device = device_of(strikes, two_at_a_time)
    values = ["good", "poison", "after"]
    first = [strikes.of(unit, alone=False) for unit in range(3)]
    futures = [device.submit(value, strike) for value, strike in zip(values, first, strict=True)]
    assert str(futures[1].exception(SECONDS)) == "poison"
    for future, strike in zip(futures, first, strict=True):
        future.exception(SECONDS)
        strikes.end(strike)
    again: list[Strike] = [strikes.of(unit, alone=True) for unit in range(3)]
    futures = [device.submit(value, strike) for value, strike in zip(values, again, strict=True)]
    for value, future, strike in zip(values, futures, again, strict=True):
        assert (future.exception(SECONDS) is None) == (value != "poison")
        strikes.end(strike)


def test_storage_that_refuses_a_strike_fails_that_unit_alone(strikes: Strikes, monkeypatch: Any) -> None:
    device = device_of(strikes, doubled)
    refused, fine = strikes.of(0, alone=True), strikes.of(1, alone=False)

    def write(self: Store, name: str, content: bytes) -> None:
        if name == refused.name:
            raise OSError("no storage")

    monkeypatch.setattr(Store, "write_atomic", write)
    with pytest.raises(OSError, match="no storage"):
        device.submit(3, refused).result(SECONDS)
    strikes.end(refused)
    assert device.submit(4, fine).result(SECONDS) == 8


class Large:
    """Something that must not be kept."""


def test_neither_inputs_nor_outputs_are_kept_after_a_unit(strikes: Strikes) -> None:
    kept: list[weakref.ref[Large]] = []

    def compute(inputs: Iterator[Any | None]) -> Iterator[Any]:
        for value in inputs:
            if value is not None:
                found = Large()
                kept.append(weakref.ref(found))
                yield found
                del found
            del value

    device = device_of(strikes, compute)
    gc.disable()  # a cycle would be collected only by chance
    try:
        for unit in range(2):
            inputs = Large()
            kept.append(weakref.ref(inputs))
            strike = strikes.of(unit, alone=False)
            device.submit(inputs, strike).result(SECONDS)
            strikes.end(strike)
            del inputs
            deadline = time.monotonic() + SECONDS  # no other unit comes: the device lets go by itself
            while any(reference() is not None for reference in kept):
                assert time.monotonic() < deadline
                time.sleep(0.001)
    finally:
        gc.enable()
    assert len(kept) == 4


@pytest.mark.slow
def test_units_are_begun_in_the_order_of_the_queue_also_where_one_must_be_alone(strikes: Strikes) -> None:
    begun: list[int] = []
    release = threading.Semaphore(0)

    def compute(inputs: Iterator[Any | None]) -> Iterator[Any]:
        """Begins all that it is given, and ends one whenever it is released."""
        waiting = 0
        for unit in inputs:
            if unit is not None:
                begun.append(unit)
                waiting += 1
            while waiting and release.acquire(blocking=False):
                waiting -= 1
                yield None

    device = device_of(strikes, compute)
    all_strikes = [strikes.of(unit, alone=unit == 2) for unit in range(5)]
    futures = [device.submit(unit, strike) for unit, strike in enumerate(all_strikes)]

    def after(count: int) -> list[int]:
        """What was begun once so many were, and a while later."""
        deadline = time.monotonic() + SECONDS
        while len(begun) < count:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(4 * POLL_SECONDS)
        return list(begun)

    def end(unit: int) -> None:
        release.release()
        futures[unit].result(SECONDS)
        strikes.end(all_strikes[unit])

    assert after(2) == [0, 1]
    end(0)
    assert after(2) == [0, 1]
    end(1)
    assert after(3) == [0, 1, 2]
    end(2)
    assert after(5) == [0, 1, 2, 3, 4]
    for unit in (3, 4):
        end(unit)


def test_a_computation_that_ends_early_fails_what_it_had_begun(strikes: Strikes) -> None:
    def compute(inputs: Iterator[Any | None]) -> Iterator[Any]:
        for unit in inputs:
            if unit is not None:
                return
            yield from ()

    device = device_of(strikes, compute)
    assert "before all outputs" in str(device.submit(0, strikes.of(0, alone=False)).exception(SECONDS))


def test_a_failed_try_keeps_nothing(strikes: Strikes) -> None:
    """The next one may need its memory."""
    kept: list[weakref.ref[Large]] = []

    def compute(inputs: Iterator[Any | None]) -> Iterator[Any]:
        for value in inputs:
            if value is not None:
                large = Large()
                assert all(reference() is None for reference in kept)
                kept.append(weakref.ref(large))
                raise RuntimeError("enough")
            yield from ()

    device = device_of(strikes, compute)
    gc.disable()
    try:
        for unit in range(3):
            strike = strikes.of(unit, alone=False)
            assert str(device.submit(unit, strike).exception(SECONDS)) == "enough"
            strikes.end(strike)
    finally:
        gc.enable()
    assert len(kept) == 3
