"""Committed parts as a Polars LazyFrame whose every part is checked before its rows count.

The columns are those of `pipeline.tracks.scan`. A part is read whole, checked as `sptx verify` checks it (against the
manifest where it has a line, and by itself), and filtered in memory, one part after the other. Errors, when rows are
asked for: `InputError` that names the part and what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import polars as pl
from polars.io.plugins import register_io_source

from pipeline.batch.measures import Measures
from pipeline.batch.storage import Store
from pipeline.tracks.header import Header
from pipeline.tracks.layout import TABLES
from pipeline.tracks.scan import frame_types
from pipeline.tracks.shard_check import Planned, part_problems
from sptx_core.errors import InputError
from sptx_core.files import reading


def scan_checked(
    store: Store, header: Header, table: str, shards: Sequence[Planned], recorded: Mapping[int, Measures]
) -> pl.LazyFrame:
    """Rows of the parts of `shards` in `table`, in the order given; `recorded` is what the manifest says of them."""
    types = frame_types(header.schema)

    def parts(
        columns: list[str] | None, predicate: pl.Expr | None, limit: int | None, _: int | None
    ) -> Iterator[pl.DataFrame]:
        for shard in shards:
            if limit == 0:
                return
            rows = _checked(store, header, table, shard, recorded.get(shard.key.index))
            if limit is not None:
                rows = rows.head(limit)
                limit -= len(rows)
            if predicate is not None:
                rows = rows.filter(predicate)
            yield rows.select(columns or list(types))

    return register_io_source(parts, schema=types)


def _checked(store: Store, header: Header, table: str, shard: Planned, measures: Measures | None) -> pl.DataFrame:
    name = shard.part(table)
    with reading(store.uri(name)):
        content = store.read_bytes(name)
    recorded_part = None if measures is None else measures[TABLES.index(table)]
    problems, rows = part_problems(content, header, shard, table, recorded_part)
    if problems or rows is None:
        raise InputError(f"{store.uri(name)}: {'; '.join(problems)}; `sptx verify {store.uri()}` checks the others")
    return rows.with_columns(chrom=pl.lit(shard.key.chrom), strand=pl.lit(shard.key.strand))
