"""Storage that fails for a time: operations that wait for it, and a watch that says that the run waits.

An object store refuses now and then for a minute or an hour: credentials expire and are renewed, it is overloaded, the
way to it is cut. That says nothing about the unit that is being committed. So `PatientStore` tries an operation again,
with growing pauses, until it succeeds or `patience` seconds are over; whoever called it goes on where it was.

It waits only for a store that has worked before. A store that cannot be reached at the first try, and what no waiting
changes (a full disk, a missing bucket), is told at once.

`Watch` is the driver's: while it hears nothing from its actors it asks storage itself, because a store that fails
cannot carry a note from them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from pipeline.batch.progress import Progress
from pipeline.batch.storage import StorageError, Store

FIRST_PAUSE, MAX_PAUSE = 1.0, 30.0  # seconds between two tries, doubled from one to the next
QUIET_SECONDS = 30.0  # without a receipt, before the driver asks storage

P = ParamSpec("P")
T = TypeVar("T")


class PatientStore(Store):
    """A `Store` whose operations wait for storage that fails for a time; safe to use from several threads.

    Parameters
    ----------
    root
        As of `Store`.
    patience
        Seconds for which one operation waits; then it raises the `StorageError`, and so do all others from then on,
        at once, until something has been written again.
    proven
        Whether the store is known to work. It is, in any case, once something has been written.
    notice
        Called with a sentence when waiting begins.
    pause
        Sleeps so many seconds; a test may give another clock together with it.
    clock
        Seconds that only grow.

    """

    def __init__(
        self,
        root: str | Path,
        *,
        patience: float,
        proven: bool,
        notice: Callable[[str], None] | None = None,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(root)
        self.patience, self.proven = patience, proven
        self._notice, self._pause, self._clock = notice, pause, clock
        self._given_up = False

    def exists(self, name: str) -> bool:
        """As `Store.exists`."""
        return self._patiently(super().exists, name)

    def read_bytes(self, name: str) -> bytes:
        """As `Store.read_bytes`."""
        return self._patiently(super().read_bytes, name)

    def list(self, prefix: str = "") -> dict[str, int]:
        """As `Store.list`."""
        return self._patiently(super().list, prefix)

    def write_atomic(self, name: str, content: bytes) -> None:
        """As `Store.write_atomic`."""
        self._patiently(super().write_atomic, name, content)
        self._works()

    def delete(self, name: str) -> None:
        """As `Store.delete`."""
        self._patiently(super().delete, name)

    def ensure_writable(self) -> None:
        """As `Store.ensure_writable`."""
        self._patiently(super().ensure_writable)
        self._works()

    def _patiently(self, operation: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        until, pause = None, FIRST_PAUSE
        while True:
            try:
                return operation(*arguments, **named)
            except StorageError as error:
                if error.transient and self._given_up:
                    raise self._waited(error) from error
                if not (error.transient and self.proven):
                    raise
                now = self._clock()
                if until is None:
                    until = now + self.patience
                    if self._notice:
                        self._notice(f"{error}; waiting for it for up to {_duration(self.patience)}")
                if now >= until:
                    self._given_up = True
                    raise self._waited(error) from error
                self._pause(min(pause, until - now))
                pause = min(2 * pause, MAX_PAUSE)

    def _works(self) -> None:
        self.proven, self._given_up = True, False

    def _waited(self, error: StorageError) -> StorageError:
        waited = f"(waited for {_duration(self.patience)}, the setting storage_patience)"
        return StorageError(f"{str(error).removesuffix(f' {waited}')} {waited}", transient=True)


class Watch:
    """Asks storage while nothing is heard of the actors, and shows in the progress line that the run waits for it.

    Parameters
    ----------
    store
        The root of the run; one that does not wait.
    line
        The progress line.
    quiet
        Seconds without a receipt before storage is asked, and between two questions (None: `QUIET_SECONDS`).

    """

    def __init__(self, store: Store, line: Progress, *, quiet: float | None = None) -> None:
        self._store, self._line = store, line
        self._quiet = QUIET_SECONDS if quiet is None else quiet
        self._ended = threading.Event()
        self._heard = time.monotonic()

    def __enter__(self) -> Self:
        if self._line.shown:
            threading.Thread(target=self._ask, name="storage watch", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()

    def heard(self) -> None:
        """A receipt has come: storage works."""
        self._heard = time.monotonic()
        self._line.resume()

    def _ask(self) -> None:
        asked = self._heard
        while not self._ended.wait(max(0.0, max(self._heard, asked) + self._quiet - time.monotonic())):
            if time.monotonic() < self._heard + self._quiet:  # heard meanwhile
                continue
            asked = time.monotonic()
            silent = threading.Timer(self._quiet, self._tell, [asked, f"{self._store.uri()} does not answer"])
            silent.start()
            try:
                self._store.ensure_writable()
            except StorageError as error:
                self._tell(asked, str(error))
            else:
                self._line.resume()
            finally:
                silent.cancel()

    def _tell(self, asked: float, reason: str) -> None:
        if self._heard < asked and not self._ended.is_set():
            self._line.wait(reason)


def _duration(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"
