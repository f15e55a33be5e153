"""Two crews that work on the same units from opposite ends: who commits a unit, and what the other crew answers.

Actors on GPUs and actors on CPUs round differently, so the parts of one unit must come from one of them alone. An actor
therefore claims a unit right before it commits it, and tells when it is committed. The other crew then gives the same
receipt as its own answer, computed or not. One `Claims` serves both crews of a run; it knows nothing of storage.

1. Whoever claims a unit first commits it. Actors of one crew have a claim together: a unit that is tried again after
   the death of its actor is still the crew's.
2. A crew that is refused waits until the other one has committed or has given the claim back.
3. An actor renews its claim while it commits, which may take long where storage fails. A claim that was not renewed for
   `lease` seconds counts for nothing: its actor has died, and may have no successor.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

FIRST, SECOND = "first", "second"  # crews; what the first one cannot compute has failed
LEASE_SECONDS = 30.0  # longer than a network is usually cut
RENEW_SECONDS = 5.0
ASK_SECONDS = 0.5  # between two questions whether the other crew has committed

Answer = Mapping[str, Any]
"""A receipt as a row."""


class Claims:
    """Which crew commits which unit, and the receipts of those that are committed."""

    def __init__(self, lease: float = LEASE_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease, self._clock = lease, clock
        self._held: dict[int, tuple[str, float]] = {}
        self._answers: dict[int, tuple[str, Answer]] = {}

    def answer(self, unit: int, crew: str) -> Answer | None:
        """The receipt of a unit that the other crew has committed; None if it has not."""
        by, answer = self._answers.get(unit, (crew, None))
        return None if by == crew else answer

    def claim(self, unit: int, crew: str) -> bool:
        """Whether `crew` may commit the unit now, or goes on doing so; ask for its `answer` first."""
        now = self._clock()
        by, since = self._held.get(unit, (crew, now))
        mine = by == crew or now - since > self._lease
        if mine:
            self._held[unit] = crew, now
        return mine

    def give_back(self, unit: int, crew: str) -> None:
        """The crew has not committed the unit that it had claimed."""
        if self._held.get(unit, ("", 0.0))[0] == crew:
            del self._held[unit]

    def committed(self, unit: int, crew: str, answer: Answer) -> None:
        """The crew has committed the unit, with this receipt."""
        self._answers.setdefault(unit, (crew, answer))


class Desk(Protocol):
    """Calls a method of the run's `Claims`, wherever that is; pickles."""

    def __call__(self, method: str, *arguments: Any) -> Any:
        """What the method returns."""


@dataclass(frozen=True)
class Crew:
    """One of the two crews, as its actors hold it."""

    name: str
    desk: Desk

    def answer(self, unit: int) -> Answer | None:
        """As `Claims.answer`."""
        found: Answer | None = self.desk("answer", unit, self.name)
        return found

    def claim(self, unit: int) -> Answer | None:
        """Wait until this crew may commit the unit (None) or the other one has, whose receipt it is."""
        while True:
            answer = self.answer(unit)
            if answer is not None or self.desk("claim", unit, self.name):
                return answer
            time.sleep(ASK_SECONDS)

    @contextmanager
    def committing(self, unit: int) -> Iterator[None]:
        """Renew the claim within the block, which commits the unit; give it back if the block raises."""
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait(RENEW_SECONDS):
                with suppress(Exception):  # the desk cannot be reached now: told by the next call that needs it
                    self.desk("claim", unit, self.name)

        threading.Thread(target=renew, name="claim", daemon=True).start()
        try:
            yield
        except Exception:
            ended.set()
            with suppress(Exception):  # the claim ends by itself; the error of the block says more
                self.desk("give_back", unit, self.name)
            raise
        finally:
            ended.set()

    def committed(self, unit: int, answer: Answer) -> None:
        """As `Claims.committed`."""
        self.desk("committed", unit, self.name, answer)
