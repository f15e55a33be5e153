"""The manifest of a complete run: rows, bytes and SHA-256 of every part, in `manifest.parquet` below the root.

One row a unit: `shard` (its index), the job's own columns (for tracks chrom and strand), then path, rows, bytes and
sha256 of its part in the job's first table, and the same for every other table, with the table's name before them
(sites_path, sites_rows, ...).

The file's key-value metadata hold two entries that older versions did not write: `sptx.side_files`, a JSON object with
the SHA-256 of run.json and of the job's own files beside it, and `sptx.seal`, the SHA-256 of all rows and
of these, so that an edited manifest does not pass for damaged parts.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.batch.layout import MANIFEST, Part
from pipeline.batch.measures import Measure, Measures
from pipeline.batch.parquet import from_parquet
from pipeline.batch.storage import Store
from sptx_core.errors import InputError
from sptx_core.files import reading

SEAL, SIDE_FILES = "sptx.seal", "sptx.side_files"


class Manifest(NamedTuple):
    """A manifest that was read: its rows, and name -> SHA-256 of files beside the parts (none in older tables)."""

    frame: pl.DataFrame
    side_files: Mapping[str, str]

    def to_parquet(self) -> bytes:
        """The bytes of the file; the same rows and digests give the same bytes."""
        digests = json.dumps(dict(sorted(self.side_files.items())))
        buffer = io.BytesIO()
        self.frame.write_parquet(buffer, metadata={SIDE_FILES: digests, SEAL: _seal(self.frame, digests)})
        return buffer.getvalue()

    def measures(self, tables: Sequence[str]) -> dict[int, Measures]:
        """What the rows say of each unit's parts; empty where they lack the columns of a table."""
        columns = [f"{_prefix(tables, table)}{field}" for table in tables for field in Measure._fields]
        if not {"shard", *columns} <= set(self.frame.columns):
            return {}
        size = len(Measure._fields)
        return {
            unit: tuple(Measure(*values[start : start + size]) for start in range(0, len(values), size))
            for unit, *values in self.frame.select("shard", *columns).iter_rows()
        }

    def parts(self) -> Iterator[tuple[str, int]]:
        """Name and bytes of each part, of every table."""
        for path in self.frame.columns:
            size = f"{path.removesuffix('path')}bytes"
            if path.endswith("path") and size in self.frame.columns:
                yield from self.frame.select(path, size).iter_rows()

    def lists(self, tables: Sequence[str], done: Mapping[int, tuple[Part, ...]]) -> bool:
        """Whether its rows are those of just these parts, by their names and sizes."""
        if self.frame.columns[:1] != ["shard"] or self.frame["shard"].to_list() != list(done):
            return False
        for place, table in enumerate(tables):
            wanted = [(parts[place].name, parts[place].bytes) for parts in done.values()]
            names = [f"{_prefix(tables, table)}path", f"{_prefix(tables, table)}bytes"]
            if not set(names) <= set(self.frame.columns) or self.frame.select(names).rows() != wanted:
                return False
        return True


def make_manifest(
    tables: Sequence[str],
    done: Mapping[int, tuple[Part, ...]],
    measures: Mapping[int, Measures],
    columns: Callable[[Part], Mapping[str, Any]],
    side_files: Mapping[str, str],
) -> Manifest:
    """Put the manifest together.

    Parameters
    ----------
    tables
        Names of the job's tables, the one with the receipts first.
    done
        Unit -> its part in each table, in the order of units.
    measures
        Of every unit.
    columns
        What the job says of a unit, given its part in the first table.
    side_files
        Name -> SHA-256 of each file beside the parts.

    """
    lines = []
    for unit, parts in done.items():
        line: dict[str, Any] = {"shard": unit, **columns(parts[0])}
        for table, part, measure in zip(tables, parts, measures[unit], strict=True):
            values = {"path": part.name, **measure._asdict()}
            line |= {f"{_prefix(tables, table)}{name}": value for name, value in values.items()}
        lines.append(line)
    return Manifest(pl.DataFrame(lines).with_columns(pl.col("shard").cast(pl.Int32)), side_files)


def read_manifest(store: Store) -> Manifest | None:
    """The manifest below the root, None where there is none.

    Raises
    ------
    InputError
        It cannot be read, or was edited. Storage that does not answer is a `StorageError`.

    """
    try:
        content = store.read_bytes(MANIFEST)
    except FileNotFoundError:
        return None
    where = store.uri(MANIFEST)
    with reading(where):
        frame = from_parquet(content)
        stored = pq.read_metadata(pa.BufferReader(content)).metadata or {}
    if SEAL.encode() not in stored:
        return Manifest(frame, {})
    digests = stored.get(SIDE_FILES.encode(), b"").decode(errors="replace")
    if stored[SEAL.encode()].decode(errors="replace") != _seal(frame, digests):
        raise InputError(f"{where} was edited or damaged: its rows do not match its own checksum")
    return Manifest(frame, json.loads(digests))


def _prefix(tables: Sequence[str], table: str) -> str:
    return "" if table == tables[0] else f"{table}_"


def _seal(frame: pl.DataFrame, digests: str) -> str:
    digest = hashlib.sha256(json.dumps([digests, frame.columns]).encode())
    for row in frame.iter_rows():
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()
