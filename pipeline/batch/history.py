"""How long a run has been worked on: `history/<token>.json`, one small object for each start that computed anything.

Keys: `began` (UTC, ISO 8601), `seconds` (wall time from the first unit sent out to the last receipt), `units` and
`size` (committed in that time; for tracks shards and bases), `workers` and `execution` (what computed, in words). The
object is written again each minute, so a killed driver loses a minute of its history and nothing else. What is read
here is for people: no byte of a table depends on it, and a table without it is as good.
"""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from pipeline.batch.layout import HISTORY
from pipeline.batch.storage import StorageError, Store
from sptx_core.words import counted

SAVE_SECONDS = 60.0


@dataclass(frozen=True)
class Start:
    """One start of a run; the module says what the fields are."""

    began: str
    seconds: float
    units: int
    size: int
    workers: int
    execution: str


class History:
    """Writes the history of this start; `close` it however the run ends."""

    def __init__(self, store: Store, workers: int, execution: str) -> None:
        self._store, self._workers, self._execution = store, workers, execution
        self._name = f"{HISTORY}{uuid.uuid4().hex[:8]}.json"
        self._began = datetime.now(UTC).isoformat(timespec="seconds")
        self._clock = self._saved = time.monotonic()
        self._units = self._size = 0

    def add(self, size: int) -> None:
        """Count a unit that was committed."""
        self._units, self._size = self._units + 1, self._size + size
        if time.monotonic() - self._saved >= SAVE_SECONDS:
            self.close()

    def close(self) -> None:
        """Write what is known so far; nothing where no unit was committed."""
        if not self._units:
            return
        self._saved = time.monotonic()
        seconds = round(self._saved - self._clock, 1)
        start = Start(self._began, seconds, self._units, self._size, self._workers, self._execution)
        try:
            self._store.write_atomic(self._name, (json.dumps(asdict(start), indent=1) + "\n").encode())
        except (StorageError, OSError):
            return  # people miss a line; that storage fails is told by those who need it


def read_history(store: Store) -> tuple[Start, ...]:
    """The starts of a run in the order in which they began; those that cannot be read are left out."""
    starts = []
    for name in store.list(HISTORY):
        try:
            starts.append(_checked(Start(**json.loads(store.read_bytes(name)))))
        except StorageError:
            raise
        except (OSError, ValueError, TypeError):
            continue
    return tuple(sorted(starts, key=lambda start: start.began))


def _checked(start: Start) -> Start:
    """A start whose values are of their kinds; `ValueError` else."""
    texts, counts = (start.began, start.execution), (start.units, start.size, start.workers)
    whole = all(type(count) is int and count >= 0 for count in counts)
    timed = type(start.seconds) in (int, float) and 0 <= start.seconds < math.inf
    if not (whole and timed and all(isinstance(text, str) for text in texts)):
        raise ValueError("no start of a run")
    return start


def in_words(starts: Sequence[Start]) -> str:
    """The sum of the starts, as in "1 h 02 min in 3 starts"; empty for none."""
    if not starts:
        return ""
    seconds = sum(start.seconds for start in starts)
    minutes = round(seconds / 60)
    if seconds < 120:
        spent = f"{seconds:.0f} s"
    else:
        spent = f"{minutes} min" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02d} min"
    return f"{spent} in {counted(len(starts), 'start')}"
