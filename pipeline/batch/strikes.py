"""The ledger of strikes: which units were being computed when a process died.

A unit that kills its process (out of memory, a crash in native code) cannot report it. So a note in storage, a strike,
says which units a process has in its hands; what it had when it died is what notes are left of. The rules:

1. A strike is an empty object `strikes/<unit>-<random>` in storage. It says: the device has this unit, or soon will.
2. It is placed before the device begins the unit. It is removed when the try has ended: the unit is committed, or an
   error was raised. It stays only where the process dies in between.
3. Before each unit the strikes that stayed are counted. With `max_attempts` of them the unit is given up untried.
4. Units wait for the device in a queue. The strike of a waiting unit is placed as it is queued, by the thread that
   queues it, so that the device never waits for storage. A process that dies thus leaves strikes of units that only
   waited or were being written: one strike does not prove a unit guilty.
5. A unit that has a strike or has raised an error before is computed alone. The device begins it only when no other
   unit of the process has a strike, and begins no other before it has ended. So an innocent unit gets one strike in a
   run at most, from a neighbour, and is then computed alone.
6. While a unit that is to be alone waits or is computed, rule 4 is off: units are queued without a strike, and the
   device places each as it begins the unit.
7. Where two crews work on the same units (`pipeline.batch.claims`), strikes of the second crew are marked. Each crew
   counts its own: a unit that is too large for a node without a GPU may fit one with a GPU.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.batch.layout import strike_name
from pipeline.batch.storage import Store

SECOND_MARK = "second-"  # in the names of strikes of the second crew


@dataclass(eq=False)
class Strike:
    """A strike to be placed for a unit; `placed` tells whether storage holds it."""

    name: str
    alone: bool
    """Whether the unit must be computed while no other has a strike (rule 5)."""
    placed: bool = False


class Strikes:
    """The strikes that one process places; safe to use from several threads."""

    def __init__(self, store: Store, *, second: bool = False) -> None:
        self._store, self._mark = store, SECOND_MARK if second else ""
        self._queueing, self._lock = threading.Lock(), threading.Lock()
        self._begun: list[Strike] = []  # of units that the device has begun and that have not ended
        self._alone = 0  # units that must be alone, from when they are queued to when they end

    def count(self, unit: int) -> int:
        """How many strikes of a unit are left from processes that died, of this crew."""
        names = self._store.list(strike_name(unit, self._mark))
        return len(names) if self._mark else sum(SECOND_MARK not in name for name in names)

    def of(self, unit: int, *, alone: bool) -> Strike:
        """A new strike of a unit, not placed yet."""
        return Strike(strike_name(unit, self._mark + uuid.uuid4().hex[:8]), alone)

    @contextmanager
    def queueing(self, strike: Strike) -> Iterator[None]:
        """Place the strike of a unit that is queued within the block (rules 4 and 6); one unit is queued at a time."""
        with self._queueing:  # storage may be slow, so the device never takes this lock
            with self._lock:
                self._alone += strike.alone
                wanted = self._alone == 0
            if wanted:
                self._store.write_atomic(strike.name, b"")
                strike.placed = True
            yield

    def may_begin(self, strike: Strike) -> bool:
        """Whether the device may begin the unit now (rule 5); if so it counts as begun."""
        with self._lock:
            if self._begun and (strike.alone or self._begun[-1].alone):
                return False
            self._begun.append(strike)
            return True

    def begin(self, strike: Strike) -> None:
        """The device begins the unit: place its strike unless storage holds it (rule 2)."""
        if not strike.placed:
            self._store.write_atomic(strike.name, b"")
            strike.placed = True

    def end(self, strike: Strike) -> None:
        """The try has ended, by a commit or an error: remove the strike."""
        try:
            self._store.delete(strike.name)
        finally:
            with self._lock:
                self._alone -= strike.alone
                if strike in self._begun:
                    self._begun.remove(strike)
