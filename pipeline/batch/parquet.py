"""Small Parquet tables in memory: bytes to a frame, whatever is wrong with the bytes.

Polars itself panics at some damaged files, which is no `Exception`; Arrow raises an error at each.
"""

from __future__ import annotations

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq


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
