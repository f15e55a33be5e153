"""Rows of one committed part of a table, some of its columns and, where wanted, some of its rows.

Errors: `InputError` for a part that cannot be read.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pyarrow as pa

from pipeline.tracks.reader import ShardPart, Tracks
from pipeline.tracks.scan import scan_parts
from sptx_core.errors import InputError


def read_part(
    tracks: Tracks, part: ShardPart, columns: Sequence[str], *, at: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Read a part.

    Parameters
    ----------
    tracks : Tracks
        The table.
    part : ShardPart
        One of its parts.
    columns : sequence of str
        Columns to read besides the key columns.
    at : DataFrame, optional
        Values of some of the key columns: only rows that match one of its rows are returned.

    Returns
    -------
    DataFrame
        The key columns chrom, strand, transcript_id (with flanks: transcript) and pos (int32, 1-based), then `columns`;
        in stored order.

    Raises
    ------
    InputError
        The part cannot be read.

    """
    schema = tracks.header.schema
    names = ["chrom", "strand", *(["transcript_id"] if schema.by_transcript else []), "pos", *columns]
    frame = scan_parts(tracks.store, schema, [(part.key, part.name)]).select(names)
    if at is not None:
        frame = frame.join(at.lazy(), on=at.columns, how="semi", maintain_order="left")
    try:
        return frame.collect()
    except (OSError, pl.exceptions.PolarsError, pa.ArrowException) as error:
        raise InputError(f"{tracks.store.uri(part.name)} cannot be read ({error}); see `sptx verify`") from None
