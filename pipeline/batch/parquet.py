"""Small Parquet tables in memory: bytes to a frame, whatever is wrong with the bytes. And how parts far away are read.

Polars itself panics at some damaged files, which is no `Exception`; Arrow raises an error at each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.batch import web
from pipeline.batch.storage import Store

if TYPE_CHECKING:
    import pyarrow.dataset as ds

HOLE_BYTES = 256 << 10  # between two ranges that are read as one: a request costs as much as so many bytes


def part_format(store: Store) -> ds.ParquetFileFormat:
    """How pyarrow reads parts of a table: from a web server or the hub in few requests, with the pages' checksums."""
    import pyarrow.dataset as ds  # late: loads pandas

    if store.protocol not in web.READ_ONLY:
        return ds.ParquetFileFormat()
    options = ds.ParquetFragmentScanOptions(
        cache_options=pa.CacheOptions(hole_size_limit=HOLE_BYTES), page_checksum_verification=True
    )
    return ds.ParquetFileFormat(default_fragment_scan_options=options)


def from_parquet(content: bytes) -> pl.DataFrame:
    """The rows of a small table.

    Raises
    ------
    OSError, UnicodeError, pyarrow.ArrowException
        The bytes are damaged, or no Parquet.

    """
    table = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True).read()
    table.validate(full=True)
    table.column_names  # noqa: B018  # raises where one is no text
    frame = pl.from_arrow(table.replace_schema_metadata(None))  # Polars panics where it is no text
    assert isinstance(frame, pl.DataFrame)
    return frame
