"""Committed parts as a Polars LazyFrame: chrom, strand ("+" or "-"), then the columns of the files.

Types come from the schema, so no footer is read for them. On a disk Polars reads the files itself. Elsewhere a
pyarrow dataset over fsspec does: it reaches whatever fsspec reaches, with the same credentials, and knows the
chromosome, strand and span of every part from its name, so that a filter on these leaves parts unopened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from pipeline.batch.parquet import part_format
from pipeline.batch.storage import Store
from pipeline.coordinates import Strand
from pipeline.tracks.layout import ShardKey
from pipeline.tracks.schema import TrackSchema

if TYPE_CHECKING:
    import pyarrow.dataset as ds

_POLARS: dict[pa.DataType, pl.DataType] = {pa.string(): pl.String(), pa.int32(): pl.Int32(), pa.float32(): pl.Float32()}
_PARTITIONS: dict[str, pl.DataType] = {"chrom": pl.String(), "strand": pl.String()}


def frame_types(schema: TrackSchema) -> dict[str, pl.DataType]:
    """Name -> type of each column of a scanned frame."""
    return _PARTITIONS | {column.name: _POLARS[column.type] for column in schema.columns}


def scan_parts(store: Store, schema: TrackSchema, parts: Sequence[tuple[ShardKey, str]]) -> pl.LazyFrame:
    """Rows of `parts` (key and name of each) in the order given; an empty frame for no parts."""
    types = frame_types(schema)
    if not parts:
        return pl.LazyFrame(schema=types)
    # Polars takes every name=value of a path for a partition, also those above the root.
    if store.is_local and "=" not in store.path():
        frame = _scan_files(schema, [store.path(name) for _, name in parts])
    else:
        frame = _scan_dataset(store, schema, parts)
    return frame.select(*types)


def _scan_files(schema: TrackSchema, paths: list[str]) -> pl.LazyFrame:
    types = {column.name: _POLARS[column.type] for column in schema.columns}
    frame = pl.scan_parquet(paths, schema=types, hive_partitioning=True, hive_schema=_PARTITIONS, glob=False)
    plus = pl.col("strand") == Strand.PLUS.partition
    return frame.with_columns(pl.when(plus).then(pl.lit("+")).otherwise(pl.lit("-")).alias("strand"))


def _scan_dataset(store: Store, schema: TrackSchema, parts: Sequence[tuple[ShardKey, str]]) -> pl.LazyFrame:
    import pyarrow.dataset as ds  # late: loads pandas, a third of the time in which a table on a disk is opened

    files, form = store.arrow_filesystem(), part_format(store)
    fields = [(name, pa.string()) for name in _PARTITIONS] + [(column.name, column.type) for column in schema.columns]
    fragments = [
        form.make_fragment(store.path(name), filesystem=files, partition_expression=_holds(key)) for key, name in parts
    ]
    return pl.scan_pyarrow_dataset(ds.FileSystemDataset(fragments, pa.schema(fields), form, files))


def _holds(key: ShardKey) -> ds.Expression:
    """What is true of every row of the part."""
    import pyarrow.dataset as ds

    pos = ds.field("pos")
    return (
        (ds.field("chrom") == key.chrom) & (ds.field("strand") == key.strand) & (pos >= key.first) & (pos <= key.last)
    )
