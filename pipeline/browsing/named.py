"""Named sites of a view, read in tiles that are kept: the rows of `open_tracks(...).sites(named=True)`.

A tile is `TILE_BASES` bases of one strand. A view of more than `MAX_BASES` gets no rows: its sites are only counted.
Positions of rows are 1-based; `start` and `end` are 0-based and half-open.

Errors: `InputError` where a part cannot be read.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import polars.selectors as cs

from pipeline.browsing.cache import ByteCache
from pipeline.browsing.models import Models
from pipeline.browsing.view import TableView
from pipeline.coordinates import Interval, Strand
from pipeline.tracks.named_sites import THRESHOLD, frame_schema, strand_sites

TILE_BASES = 1 << 18
MAX_BASES = 1 << 20
DIGITS, USAGE_DIGITS = 4, 3
_OF_USAGE = ("tau",)


class _Tile(NamedTuple):
    """Named sites of a tile."""

    rows: pl.DataFrame

    @property
    def nbytes(self) -> int:
        return int(self.rows.estimated_size())


class NamedSites:
    """See the module.

    Parameters
    ----------
    view : TableView
        The table.
    models : Models
        The transcripts that name the sites.
    cache : ByteCache
        Keeps tiles.
    """

    def __init__(self, view: TableView, models: Models, cache: ByteCache) -> None:
        self._view, self._models, self._cache = view, models, cache
        self._threshold = max(THRESHOLD, view.header.spec.sites_threshold)

    @cached_property
    def columns(self) -> list[str]:
        """Names of the columns, without that of the contig."""
        return [name for name in frame_schema(self._view.header.schema) if name != "chrom"]

    def within(self, chrom: str, start: int, end: int, least: float, most: int) -> dict[str, Any]:
        """Sites with a score of at least `least`, in order of position; of more than `most` the strongest."""
        if end - start > MAX_BASES:
            return {"more": self._count(chrom, start, end, least), "columns": self.columns, "rows": []}
        inside = pl.col("pos").is_between(start + 1, end) & (pl.col("score") >= least)
        tiles = [
            self._tile(chrom, strand, tile).filter(inside)
            for tile in range(start // TILE_BASES, (end - 1) // TILE_BASES + 1)
            for strand in Strand
        ]
        found = pl.concat(tiles)
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

    def _tile(self, chrom: str, strand: Strand, tile: int) -> pl.DataFrame:
        keys = self._view.keys(chrom, strand)
        place = Interval(chrom, tile * TILE_BASES, (tile + 1) * TILE_BASES)
        key = (self._view.store.root, chrom, strand.value, tile, "named", len(keys))

        def read() -> _Tile:
            known = self._models.known(chrom, strand.value)
            batches = strand_sites(self._view.tracks, keys, known, threshold=self._threshold, regions=[place])
            return _Tile(pl.concat(batch.sites for batch in batches))

        return self._cache.get(key, read).rows

    def _count(self, chrom: str, start: int, end: int, least: float) -> int:
        """Called sites of a view, acceptors and donors each for themselves."""
        counted = 0
        for strand in Strand:
            sites = self._view.sites(chrom, strand.value, start, end)
            bound = max(least, self._threshold)
            counted += sum(int(np.count_nonzero(scores >= bound)) for scores in (sites.acceptor, sites.donor))
        return counted
