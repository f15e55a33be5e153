"""The manifest of a complete run: rows, bytes and SHA-256 of every part, in `manifest.parquet` below the root.

One row a unit: `shard` (its index), the job's own columns (for tracks chrom and strand), then path, rows, bytes and
sha256 of its part in the job's first table, and the same for every other table, with the table's name before them
(sites_path, sites_rows, ...).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.batch.layout import MANIFEST, Part, part_name
from pipeline.batch.storage import Store
from sptx_core.errors import InputError
from sptx_core.files import writing

READERS = 4  # parts that are read at once, each in memory whole


def write_manifest(
    store: Store,
    fingerprint: str,
    tables: Sequence[str],
    parts: Iterable[Part],
    columns: Callable[[Part], Mapping[str, Any]],
) -> None:
    """Read every part back and write the manifest.

    Parameters
    ----------
    store
        The root of the run.
    fingerprint
        Digest of all that defines the run, 64 hexadecimal digits.
    tables
        Names of the job's tables, the one with the receipts first.
    parts
        The committed parts of the first table, in the order of units.
    columns
        What the job says of a unit, given its part in the first table.

    Raises
    ------
    InputError
        A part cannot be read.

    """

    def line(part: Part) -> dict[str, Any]:
        values: dict[str, Any] = {"shard": part.unit, **columns(part)}
        for table in tables:
            name = part_name(table, part.place, part.unit, part.label, fingerprint)
            prefix = "" if table == tables[0] else f"{table}_"
            rows, size, digest = _measure(store, name, part.name)
            values |= {f"{prefix}path": name, f"{prefix}rows": rows, f"{prefix}bytes": size, f"{prefix}sha256": digest}
        return values

    with ThreadPoolExecutor(READERS) as pool:
        lines = list(pool.map(line, parts))
    buffer = io.BytesIO()
    pl.DataFrame(lines).with_columns(pl.col("shard").cast(pl.Int32)).write_parquet(buffer)
    with writing(store.uri(MANIFEST)):
        store.write_atomic(MANIFEST, buffer.getvalue())


def _measure(store: Store, name: str, receipt: str) -> tuple[int, int, str]:
    """Rows, bytes and SHA-256 of a part; without `receipt` its unit would be computed again."""
    try:
        content = store.read_bytes(name)
        rows = pq.read_metadata(pa.BufferReader(content)).num_rows
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"{store.uri(name)} cannot be read ({error}); delete {store.uri(receipt)} and run the same command again: "
            "it computes this part anew"
        ) from None
    return rows, len(content), hashlib.sha256(content).hexdigest()
