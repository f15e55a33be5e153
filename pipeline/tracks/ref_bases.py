"""Bases of the genome at positions, from the column `ref` of a table's parts alone.

In: a table, some of its committed shards, and positions (1-based). Out: pos and ref (base of the plus strand) of the
positions that these shards hold, each once. The plan says in which row of a part a position lies, so no other column is
read: of a whole genome about 0.3 bytes a base. Parts are read one at a time in each of a few threads.

The footers that are read on the way tell how the parts were computed: `executions`.

Errors: a part that cannot be read, or has other rows than the plan says, is an `InputError`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq

from pipeline.batch.storage import Store
from pipeline.tracks.header import Header
from pipeline.tracks.layout import TRACKS, ShardKey
from pipeline.tracks.schema import EXECUTION_KEY
from sptx_core.alphabet import BASES
from sptx_core.errors import InputError
from sptx_core.files import reason, tells_of_a_file
from sptx_core.words import counted

THREADS = 4  # that read parts: of an object store most of the time is waiting
_LETTERS = pl.Enum(list(BASES))
_NOTHING = pl.DataFrame(schema={"pos": pl.Int32, "ref": pl.String})

Ints = npt.NDArray[np.int64]


class Table(Protocol):
    """What is asked of a table: `pipeline.tracks.reader.Tracks`."""

    @property
    def store(self) -> Store:
        """Where it lies."""

    @property
    def header(self) -> Header:
        """What it says of itself."""

    @property
    def plan(self) -> pl.DataFrame:
        """Its shards with the pieces of their rows."""


class _Rows(NamedTuple):
    """Positions and the rows of a part that hold them; rows ascend."""

    pos: Ints
    row: Ints
    planned: int


class RefBases:
    """Reads bases of some shards; see the module.

    Parameters
    ----------
    table : Table
        The table.
    keys : sequence of ShardKey
        Its committed shards that may be read, of one contig and strand.

    """

    def __init__(self, table: Table, keys: Sequence[ShardKey]) -> None:
        self.executions: Counter[str] = Counter()
        """How parts say that they were computed (JSON, empty where they do not) -> how many, of those read so far."""
        self._store, self._digest = table.store, table.header.fingerprint
        self._keys = {key.index: key for key in keys}
        held = table.plan.filter(pl.col("shard").is_in(list(self._keys))).select("shard", "pieces")
        pieces = held.explode("pieces").unnest("pieces").select("shard", "start", "end")
        self._pieces: Mapping[int, pl.DataFrame] = {
            int(shard): group for (shard,), group in pieces.group_by("shard", maintain_order=True)
        }
        self._seen: set[int] = set()

    def __call__(self, positions: pl.Series) -> pl.DataFrame:
        """Read bases; rows of the result are in no order that matters."""
        wanted = np.unique(positions.drop_nulls().to_numpy()).astype(np.int64)
        touched = {shard: _rows_of(pieces, wanted) for shard, pieces in self._pieces.items()}
        tasks = [(shard, rows) for shard, rows in touched.items() if len(rows.row)]
        with ThreadPoolExecutor(THREADS) as pool:
            read = list(pool.map(lambda task: self._read(*task), tasks))
        for (shard, _), (_, execution) in zip(tasks, read, strict=True):
            if shard not in self._seen:
                self._seen.add(shard)
                self.executions[execution] += 1
        return pl.concat([_NOTHING, *(frame for frame, _ in read)]).unique("pos", maintain_order=True)

    def _read(self, shard: int, rows: _Rows) -> tuple[pl.DataFrame, str]:
        """Bases of one part, and how it was computed."""
        name = self._keys[shard].part_name(TRACKS, self._digest)
        where = self._store.uri(name)
        try:
            with (
                self._store.arrow_filesystem().open_input_file(self._store.path(name)) as source,
                pq.ParquetFile(source, read_dictionary=["ref"]) as file,
            ):
                self._require_rows(where, file.metadata.num_rows, rows.planned)
                execution = (file.metadata.metadata or {}).get(EXECUTION_KEY, b"").decode(errors="replace")
                letters = _letters(file, rows.row)
        except Exception as error:
            if isinstance(error, InputError) or not tells_of_a_file(error):
                raise
            raise InputError(f"{where} cannot be read ({reason(error)}); {self._remedy}") from error
        return pl.DataFrame({"pos": rows.pos.astype(np.int32), "ref": letters}), execution

    def _require_rows(self, where: str, rows: int, planned: int) -> None:
        if rows != planned:
            raise InputError(f"{where} has {counted(rows, 'row')} where the plan has {planned:,}; {self._remedy}")

    @property
    def _remedy(self) -> str:
        return f"`sptx verify {self._store.uri()}` names what is damaged"


def _rows_of(pieces: pl.DataFrame, wanted: Ints) -> _Rows:
    """The rows of a part that hold positions (ascending): its rows are those of its pieces, in order."""
    starts, ends = (pieces[name].to_numpy().astype(np.int64) for name in ("start", "end"))
    begins = np.cumsum(ends - starts + 1) - (ends - starts + 1)
    first, end = np.searchsorted(wanted, starts, "left"), np.searchsorted(wanted, ends, "right")
    counts = end - first
    piece = np.repeat(np.arange(len(starts)), counts)
    pos = wanted[np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[piece]]
    return _Rows(pos, begins[piece] + pos - starts[piece], int((ends - starts + 1).sum()))


def _letters(file: pq.ParquetFile, rows: Ints) -> pl.Series:
    """The column `ref` at rows, which ascend; row groups that hold none of them are not read."""
    found, begin = [], 0
    for group in range(file.metadata.num_row_groups):
        end = begin + file.metadata.row_group(group).num_rows
        inside = rows[np.searchsorted(rows, begin) : np.searchsorted(rows, end)] - begin
        if len(inside):
            column = file.read_row_group(group, columns=["ref"])["ref"].take(inside)
            found.append(pl.Series(column.cast("string").to_pylist(), dtype=_LETTERS))
        begin = end
    return pl.concat(found).cast(pl.String)
