"""The progress line of a run: how much is done of all, how much a second, time left, failures.

On a terminal a live line (rich); elsewhere a plain line about every `PLAIN_SECONDS`, made for logs. Rates count only
what this run computed, not what it found done. While the run waits for storage the line says so, and since when; this
may be told from another thread. Written to standard error.
"""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from sptx_core.words import counted

PLAIN_SECONDS = 15.0


class Progress:
    """Context manager that shows how far a run is.

    Parameters
    ----------
    total
        Size of the whole job.
    done
        What of it was done before this run.
    noun
        What sizes count, one of it: "base"; several have an s.
    shown
        False prints nothing.

    """

    def __init__(self, total: int, done: int, *, noun: str, shown: bool = True) -> None:
        self.total, self.found, self.done = total, done, done
        self.noun, self.shown = noun, shown
        self.failures = 0
        self.waiting = ""
        self._lock = threading.Lock()
        self.started = self.printed = time.monotonic()
        self.bar: RichProgress | None = None
        if shown and sys.stderr.isatty():
            self.bar = RichProgress(
                BarColumn(),
                TextColumn(f"{{task.completed:,.0f}} of {counted(total, noun)}, {{task.fields[rate]}}/s,"),
                TimeRemainingColumn(compact=True),
                TextColumn("left, {task.fields[failures]}{task.fields[waiting]}", markup=False),
                console=Console(stderr=True),
            )
            self.task = self.bar.add_task(
                "", total=total, completed=done, rate=_shown(0.0), failures=_failures(0), waiting=""
            )

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar:
            self.bar.stop()
        elif kind is None:
            self._line()

    def advance(self, size: int, *, failures: int) -> None:
        """So much more is done; `failures` units have failed so far."""
        with self._lock:
            self.done += size
            self.failures = failures
            if self.bar:
                self.bar.update(self.task, completed=self.done, rate=_shown(self.rate), failures=_failures(failures))
            elif time.monotonic() - self.printed >= PLAIN_SECONDS:
                self._line()

    def wait(self, reason: str) -> None:
        """The run waits for storage, which fails by this reason; told again, it is still the same wait."""
        with self._lock:
            begins = not self.waiting
            if begins:
                self.waiting = f", waiting for storage since {time.strftime('%H:%M:%S')}"
            if self.bar:
                self.bar.update(self.task, waiting=self.waiting)
            if self.bar and begins:
                self.bar.console.print(reason, markup=False, highlight=False)
            elif not self.bar:
                self._line(f": {reason}")

    def resume(self) -> None:
        """Storage answers, as it does until `wait` is told."""
        with self._lock:
            if not self.waiting:
                return
            self.waiting = ""
            if self.bar:
                self.bar.update(self.task, waiting="")
            else:
                self._line()

    @property
    def rate(self) -> float:
        """What this run computed, a second."""
        return (self.done - self.found) / max(time.monotonic() - self.started, 1e-9)

    def _line(self, reason: str = "") -> None:
        if not self.shown:
            return
        self.printed = time.monotonic()
        left = (self.total - self.done) / self.rate if self.rate else float("inf")
        eta = f"{left / 60:,.1f} min left" if left < float("inf") else "time left unknown"
        print(
            f"{self.done:,} of {counted(self.total, self.noun)} ({self.done / max(self.total, 1):.1%}), "
            f"{_shown(self.rate)} {self.noun}s/s, "
            f"{eta}, {_failures(self.failures)}{self.waiting}{reason}",
            file=sys.stderr,
            flush=True,
        )


def _failures(number: int) -> str:
    return counted(number, "failure")


def _shown(rate: float) -> str:
    """A rate in whole units, a small one with two digits: alleles may take seconds each."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
