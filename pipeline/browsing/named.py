"""Named sites of a view, read in tiles that are kept: the rows of `open_tracks(...).sites(named=True)`.

A tile is `TILE_BASES` bases of one strand. A view of more than `MAX_BASES` gets no rows: its sites are only counted.
Positions of rows are 1-based; `start` and `end` are 0-based and half-open.

Errors: `InputError` where a part cannot be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import polars.selectors as cs

from pipeline.browsing.cache import ByteCache
from pipeline.browsing.models import Models
from pipeline.browsing.view import TableView
from pipeline.coordinates import Interval, Strand
from pipeline.tracks.layout import ShardKey
from pipeline.tracks.named_sites import called_from, frame_schema, strand_sites
from pipeline.tracks.reader import Tracks
from pipeline.tracks.scan import frame_types

TILE_BASES = 1 << 18
MAX_BASES = 1 << 20
DIGITS, USAGE_DIGITS = 4, 3
_OF_USAGE = ("tau",)


class _Rows(NamedTuple):
    """Rows that are kept."""

    rows: pl.DataFrame

    @property
    def nbytes(self) -> int:
        return int(self.rows.estimated_size())


class _KeptTable:
    """What naming sites asks of a table, which reads each part of the table of sites once."""

    def __init__(self, tracks: Tracks, kept: ByteCache) -> None:
        self._tracks, self._kept = tracks, kept
        self.store, self.header, self.transcripts = tracks.store, tracks.header, tracks.transcripts

    def contigs_of(self, names: Sequence[str]) -> dict[str, str]:
        return self._tracks.contigs_of(names)

    def rows_where(
        self, keys: Sequence[ShardKey], holds: pl.Expr, *, columns: Sequence[str] | None = None, sites: bool
    ) -> pl.DataFrame:
        if not sites:
            return self._tracks.rows_where(keys, holds, columns=columns)
        held = [self._kept.get((self.store.root, key, "rows"), partial(self._part, key)).rows for key in keys]
        rows = pl.concat(held) if held else pl.DataFrame(schema=frame_types(self.header.schema))
        return rows.filter(holds) if columns is None else rows.filter(holds).select("chrom", "strand", "pos", *columns)

    def _part(self, key: ShardKey) -> _Rows:
        return _Rows(self._tracks.rows_where([key], pl.lit(value=True), sites=True))


class NamedSites:
    """See the module.

    Parameters
    ----------
    view : TableView
        The table.
    models : Models
        The transcripts that name the sites.
    kept : ByteCache
        Keeps tiles.
    """

    def __init__(self, view: TableView, models: Models, kept: ByteCache) -> None:
        self._view, self._models, self._kept = view, models, kept
        self._pool = ThreadPoolExecutor(len(Strand), "sptx-sites")  # both at once: two thirds of the time on two cores
        self._threshold = called_from(None, view.header)

    @cached_property
    def columns(self) -> list[str]:
        """Names of the columns, without that of the contig."""
        return [name for name in frame_schema(self._view.header.schema) if name != "chrom"]

    def within(self, chrom: str, start: int, end: int, least: float, most: int) -> dict[str, Any]:
        """Sites with a score of at least `least`, in order of position; of more than `most` the strongest."""
        if end - start > MAX_BASES:
            return {"more": self._count(chrom, start, end, least), "columns": self.columns, "rows": []}
        inside = pl.col("pos").is_between(start + 1, end) & (pl.col("score") >= least)
        tiles = range(start // TILE_BASES, (end - 1) // TILE_BASES + 1)
        both = self._pool.map(lambda strand: self._tiles(chrom, strand, tiles), Strand)
        parts = [part.filter(inside) for some in both for part in some]
        found = pl.concat(parts)
        more = max(found.height - most, 0)
        shown = found.sort("score", descending=True, maintain_order=True).head(most) if more else found
        rows = shown.sort("pos", "strand", "kind").select(self.columns).with_columns(self._rounded())
        return {"more": more, "columns": self.columns, "rows": [list(row) for row in rows.iter_rows()]}

    def _rounded(self) -> list[pl.Expr]:
        """float32 as it is printed: rounded as float64."""
        usage = cs.by_name(*_OF_USAGE, *self._view.tissues)
        return [
            (cs.float() - usage).as_expr().cast(pl.Float64).round(DIGITS),
            (cs.float() & usage).as_expr().cast(pl.Float64).round(USAGE_DIGITS),
        ]

    def _tiles(self, chrom: str, strand: Strand, tiles: range) -> list[pl.DataFrame]:
        """Named sites of consecutive tiles; those that are not kept are read together, which takes half the time."""
        keys = self._view.keys(chrom, strand)
        names = {tile: (self._view.store.root, chrom, strand.value, tile, "named", len(keys)) for tile in tiles}
        lacking = [tile for tile, name in names.items() if name not in self._kept]
        together = range(lacking[0], lacking[-1] + 1) if lacking else range(0)
        read = cache(partial(self._read, chrom, strand, keys))

        def rows_of(tile: int) -> _Rows:  # one of the others may have gone from the cache by now
            return _Rows(_in_tile(read(together if tile in together else range(tile, tile + 1)), tile))

        return [self._kept.get(name, partial(rows_of, tile)).rows for tile, name in names.items()]

    def _read(self, chrom: str, strand: Strand, keys: Sequence[ShardKey], tiles: range) -> pl.DataFrame:
        """Named sites of a stretch of tiles."""
        start, end = tiles.start * TILE_BASES, tiles.stop * TILE_BASES
        known = self._models.known(chrom, strand.value)
        sites = self._view.sites(chrom, strand.value, start, end)
        is_called = np.maximum(sites.acceptor, sites.donor) >= np.float32(self._threshold)
        annotated = known.sites["pos"].to_numpy()
        if not is_called.any() and not ((annotated > start) & (annotated <= end)).any():
            return pl.DataFrame(schema=frame_schema(self._view.header.schema))
        table, place = _KeptTable(self._view.tracks, self._kept), Interval(chrom, start, end)
        batches = strand_sites(table, keys, known, threshold=self._threshold, regions=[place])
        return pl.concat(batch.sites for batch in batches)

    def _count(self, chrom: str, start: int, end: int, least: float) -> int:
        """Called sites of a view, acceptors and donors each for themselves."""
        counted = 0
        for strand in Strand:
            sites = self._view.sites(chrom, strand.value, start, end)
            bound = max(least, self._threshold)
            counted += sum(int(np.count_nonzero(scores >= bound)) for scores in (sites.acceptor, sites.donor))
        return counted


def _in_tile(rows: pl.DataFrame, tile: int) -> pl.DataFrame:
    """The rows of a tile."""
    return rows.filter(pl.col("pos").is_between(tile * TILE_BASES + 1, (tile + 1) * TILE_BASES))
