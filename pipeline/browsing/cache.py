"""What was read of tables, kept up to a number of bytes: the least recently used goes first.

Threads share a `ByteCache`. Two that ask for the same key at once wait for one reading; an error reaches both and is
not kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar


class Sized(Protocol):
    """What can be kept."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes."""


Kept = TypeVar("Kept", bound=Sized)


class ByteCache:
    """At most `limit` bytes of values, and always the newest."""

    def __init__(self, limit: int) -> None:
        self.limit, self.bytes = limit, 0
        self._lock = threading.Lock()
        self._held: OrderedDict[Hashable, Any] = OrderedDict()
        self._reading: dict[Hashable, Future[Any]] = {}

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._held

    def get(self, key: Hashable, read: Callable[[], Kept]) -> Kept:
        """The value of a key; `read` makes one that is not held."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                found: Kept = self._held[key]
                return found
            others = self._reading.get(key)
            mine: Future[Any] = Future()
            if others is None:
                self._reading[key] = mine
        if others is not None:
            waited: Kept = others.result()
            return waited
        try:
            value = read()
        except BaseException as error:
            with self._lock:
                del self._reading[key]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._reading[key]
            self._keep(key, value)
        mine.set_result(value)
        return value

    def _keep(self, key: Hashable, value: Any) -> None:
        self._held[key] = value
        self.bytes += value.nbytes
        while self.bytes > self.limit and len(self._held) > 1:
            _, oldest = self._held.popitem(last=False)
            self.bytes -= oldest.nbytes
