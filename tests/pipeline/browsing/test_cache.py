"""What is kept, what goes, and that two who ask at once wait for one reading."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from pipeline.browsing.cache import ByteCache


def kilobytes(count: int) -> np.ndarray:
    return np.zeros(count * 1000, np.uint8)


def test_the_least_recently_used_goes_first() -> None:
    cache = ByteCache(10_000)
    for key in "abc":
        cache.get(key, lambda: kilobytes(3))
    cache.get("a", lambda: kilobytes(9))  # is held, and so not read
    cache.get("d", lambda: kilobytes(3))
    assert [key in cache for key in "abcd"] == [True, False, True, True]
    assert cache.bytes == 9_000


def test_the_newest_is_kept_whatever_its_size() -> None:
    cache = ByteCache(10_000)
    cache.get("a", lambda: kilobytes(3))
    cache.get("b", lambda: kilobytes(50))
    assert "b" in cache
    assert "a" not in cache
    assert cache.bytes == 50_000


def test_two_who_ask_at_once_wait_for_one_reading() -> None:
    cache, asked, go_on, read = ByteCache(10_000), threading.Event(), threading.Event(), []

    def slowly() -> np.ndarray:
        read.append(1)
        asked.set()
        assert go_on.wait(10)
        return kilobytes(1)

    found: list[np.ndarray] = []
    first = threading.Thread(target=lambda: found.append(cache.get("a", slowly)))
    first.start()
    assert asked.wait(10)
    second = threading.Thread(target=lambda: found.append(cache.get("a", slowly)))
    second.start()
    go_on.set()
    first.join(10)
    second.join(10)
    assert len(read) == 1
    assert found[0] is found[1]


def test_an_error_is_raised_and_not_kept() -> None:
    cache = ByteCache(10_000)

    def broken() -> np.ndarray:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        cache.get("a", broken)
    assert len(cache.get("a", lambda: kilobytes(1))) == 1000
