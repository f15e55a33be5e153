"""Rows, bytes and SHA-256 of parts: measured as they are committed, so that nobody reads them back for the manifest.

An actor measures the parts that it commits and tells it in the unit's receipt. The driver keeps what it hears and, now
and then, saves it as one small object, `receipts/<token>.parquet` (shard, and a list of rows, bytes and sha256 each, in
the order of the job's tables). What a killed driver did not save, and what an older version committed, is measured by
reading the parts (`measure_parts`). Measures that contradict each other, or the sizes in a listing, count for nothing.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.batch.layout import RECEIPTS, Part
from pipeline.batch.parquet import from_parquet
from pipeline.batch.readback import UNREAD, Workbench, answers
from pipeline.batch.storage import StorageError, Store
from sptx_core.errors import InputError
from sptx_core.files import reason

SAVE_SECONDS = 60.0  # what a killed driver loses is read back, so this need not be often
WORKBENCH_BYTES = 2 << 30  # a few seconds of reading on a disk: beyond it actors read faster, their start included


class Measure(NamedTuple):
    """What the manifest says of a part's content."""

    rows: int
    bytes: int
    sha256: str


Measures = tuple[Measure, ...]
"""Of a unit's parts, in the order of the job's tables."""


def measure(content: bytes) -> Measure:
    """The measure of a part; `pyarrow.ArrowException` or `OSError` where `content` is damaged or no Parquet."""
    rows = pq.read_metadata(pa.BufferReader(content)).num_rows
    return Measure(rows, len(content), hashlib.sha256(content).hexdigest())


def to_text(contents: Sequence[bytes]) -> str:
    """The measures of a unit's parts as a receipt carries them; empty where a part is not Parquet."""
    try:
        return json.dumps([measure(content) for content in contents])
    except (OSError, pa.ArrowException):
        return ""


def from_text(text: str) -> Measures | None:
    """The measures that `to_text` wrote; None for none."""
    return tuple(Measure(*values) for values in json.loads(text)) if text else None


class MeasureBook:
    """What a driver has heard of the parts that its actors committed; `close` it however the run ends."""

    def __init__(self, store: Store) -> None:
        self.heard: dict[int, Measures] = {}
        self._store, self._name = store, f"{RECEIPTS}{uuid.uuid4().hex[:8]}.parquet"
        self._saved, self._time = 0, time.monotonic()

    def add(self, unit: int, text: str) -> None:
        """Keep the measures of a unit that a receipt told."""
        measures = from_text(text)
        if measures is not None:
            self.heard[unit] = measures
        if time.monotonic() - self._time >= SAVE_SECONDS:
            self.close()

    def close(self) -> None:
        """Save what is not saved yet."""
        self._time = time.monotonic()
        if len(self.heard) == self._saved:
            return
        columns = [(unit, *map(list, zip(*measures, strict=True))) for unit, measures in self.heard.items()]
        buffer = io.BytesIO()
        pl.DataFrame(columns, ["shard", *Measure._fields], orient="row").write_parquet(buffer)
        try:
            self._store.write_atomic(self._name, buffer.getvalue())
        except (StorageError, OSError):
            return  # what is not saved is measured by reading; that storage fails is told by those who need it
        self._saved = len(self.heard)


def saved_measures(store: Store) -> list[dict[int, Measures]]:
    """What drivers before this one have saved, each its own."""
    books = []
    for name in store.list(RECEIPTS):
        try:
            frame = from_parquet(store.read_bytes(name)).select("shard", *Measure._fields)
            books.append(
                {unit: tuple(map(Measure._make, zip(*lists, strict=True))) for unit, *lists in frame.iter_rows()}
            )
        except StorageError:
            raise
        except (OSError, ValueError, TypeError, pa.ArrowException, pl.exceptions.PolarsError):
            continue  # damaged, or removed by another driver: what it said is measured by reading
    return books


def agreed(books: Sequence[Mapping[int, Measures]], done: Mapping[int, tuple[Part, ...]]) -> dict[int, Measures]:
    """What is known of the units that are done: measures that no other book and no listed size contradicts."""
    known: dict[int, Measures] = {}
    for unit, parts in done.items():
        found = {book[unit] for book in books if unit in book}
        if len(found) == 1:
            (measures,) = found
            if [measure.bytes for measure in measures] == [part.bytes for part in parts]:
                known[unit] = measures
    return known


def measure_parts(store: Store, units: Mapping[int, tuple[Part, ...]], workbench: Workbench) -> dict[int, Measures]:
    """Read the parts of `units` and measure them: few in this process, many on the workbench.

    Raises
    ------
    InputError
        A part cannot be read or is damaged; the message says what to do.

    """
    rows = [{"index": unit, "names": [part.name for part in parts]} for unit, parts in units.items()]
    size = sum(part.bytes for parts in units.values() for part in parts)
    spread = workbench if size > WORKBENCH_BYTES else None
    found: dict[int, Measures] = {}
    for answer in answers(rows, partial(_Reader, store.root), spread):
        if answer["error"]:
            raise StorageError(answer["error"], transient=True) if answer[UNREAD] else InputError(answer["error"])
        found[int(answer["index"])] = from_text(answer["measures"]) or ()
    return found


class _Reader:
    """Measures the parts of one unit after another, in an actor or a thread."""

    def __init__(self, root: str) -> None:
        self.store = Store(root)

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        names = [str(name) for name in row["names"]]
        measures, error, unread = "", "", False
        try:
            measures = json.dumps([self._measured(name, names[0]) for name in names])
        except StorageError as failure:
            error, unread = f"{failure}; all is computed, and the same command writes the manifest", True
        except InputError as damage:
            error = str(damage)
        return {"index": row["index"], "measures": measures, "error": error, UNREAD: unread}

    def _measured(self, name: str, receipt: str) -> Measure:
        where = self.store.uri(name)
        try:
            content = self.store.read_bytes(name)
        except OSError as error:
            raise StorageError(f"{where} cannot be read ({reason(error)})") from None
        try:
            return measure(content)
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"{where} is damaged ({reason(error)}); delete {self.store.uri(receipt)} and run the same command "
                "again: it computes this part anew"
            ) from None
