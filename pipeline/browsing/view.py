"""A table as the page sees it: scores in bins, likely sites, what was computed, bases, named sites.

Near (up to `NEAR_BASES` bases) scores come from the tracks, read in blocks of `BLOCK_BASES` bases out of the parts
whose names say that they can hold them. Farther out the table of sites stands for the tracks: what lies below its
threshold is not shown there. What was read is kept in a cache that several tables share.

A table may be unfinished: `refresh` looks for parts that were committed since. Values that were read of earlier states
are not used again.

Coordinates are 0-based and half-open where they are `start` and `end`, 1-based where they are `pos`.

Errors: `InputError` where a part cannot be read.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.batch.storage import Store
from pipeline.browsing.arrays import Floats, Ints, ScoredRows, Stretches, joined, merged
from pipeline.browsing.cache import ByteCache
from pipeline.browsing.grid import Grid, maxima
from pipeline.coordinates import Strand
from pipeline.inputs.splice_sites import KINDS
from pipeline.tracks.layout import ShardKey
from pipeline.tracks.reader import Tracks
from sptx_core.channels import SPLICE
from sptx_core.words import counted

BLOCK_BASES = 1 << 18
NEAR_BASES = 1 << 19
MAX_PARTS = 16  # whose sites are read one by one; of more, those of the whole strand are read at once
MISSING = ord("-")

Bytes = npt.NDArray[np.uint8]


class _State(NamedTuple):
    """The committed parts at one moment; `first` and `last` are the spans (1-based) of the keys of each strand."""

    tracks: Tracks
    keys: dict[tuple[str, str], list[ShardKey]]
    spans: dict[tuple[str, str], Stretches]
    computed: dict[tuple[str, str], Stretches]

    @classmethod
    def of(cls, tracks: Tracks, pieces: pl.DataFrame) -> _State:
        keys: dict[tuple[str, str], list[ShardKey]] = {}
        for part in tracks.parts:
            keys.setdefault((part.key.chrom, part.key.strand), []).append(part.key)
        spans = {
            place: (np.array([key.first for key in some]), np.array([key.last for key in some]))
            for place, some in keys.items()
        }
        done = pieces.filter(pl.col("shard").is_in(pl.Series([part.key.index for part in tracks.parts]).implode()))
        computed = {
            (str(chrom), str(strand)): merged(some["start"].to_numpy() - 1, some["end"].to_numpy())
            for (chrom, strand), some in done.group_by("chrom", "strand")
        }
        return cls(tracks, keys, spans, computed)

    def holding(self, chrom: str, strand: str, start: int, end: int) -> list[ShardKey]:
        """Keys of the parts that may hold rows of a stretch."""
        place = (chrom, strand)
        if place not in self.keys:
            return []
        first, last = self.spans[place]
        return [self.keys[place][at] for at in np.flatnonzero((last > start) & (first <= end))]


class TableView:
    """A table of tracks; see the module's contract.

    Parameters
    ----------
    tracks : Tracks
        The table.
    cache : ByteCache
        Keeps what is read.
    """

    def __init__(self, tracks: Tracks, cache: ByteCache) -> None:
        self._first, self._cache, self._renewing = tracks, cache, threading.Lock()
        self.store: Store = tracks.store
        self.header = tracks.header
        self.tissues = [name for name in tracks.header.schema.channels if name not in SPLICE]
        pieces = tracks.plan.select("shard", "chrom", "strand", "pieces").explode("pieces")
        self._pieces = pieces.unnest("pieces").select("shard", "chrom", "strand", "start", "end")
        self._state = _State.of(tracks, self._pieces)

    @property
    def tracks(self) -> Tracks:
        """The table with the parts that are known."""
        return self._state.tracks

    @cached_property
    def lengths(self) -> dict[str, int]:
        """Bases of each contig."""
        return dict(self._first.contigs.select("chrom", "length").iter_rows())

    @property
    def block_bases(self) -> int:
        """Bases that are read of the tracks at once."""
        return BLOCK_BASES

    @property
    def unfinished(self) -> str | None:
        """How many shards there are, None for a finished table."""
        done, shards = len(self.tracks.parts), self.header.shards
        return None if done >= shards else f"{done:,} of {counted(shards, 'shard')}"

    def refresh(self) -> None:
        """See which parts an unfinished table has now; nothing where another thread is at it."""
        if self.unfinished is None or not self._renewing.acquire(blocking=False):
            return
        try:
            latest = Tracks.open(self.store.root, verify=self._first.verify)
            if len(latest.parts) != len(self.tracks.parts) and latest.fingerprint == self.header.fingerprint:
                self._state = _State.of(latest, self._pieces)
        finally:
            self._renewing.release()

    def scores(self, chrom: str, strand: str, grid: Grid) -> tuple[str, npt.NDArray[np.integer], Floats, Floats]:
        """Greatest scores in bins.

        Returns
        -------
        tuple
            "tracks" or "sites", which table was read; then bin, acceptor and donor, as `maxima` gives them.
        """
        if grid.end - grid.start > NEAR_BASES:
            sites = self.sites(chrom, strand, grid.start, grid.end)
            return "sites", *maxima(grid, sites.pos - 1, sites.acceptor, sites.donor)
        rows = self._scored(chrom, strand, grid.start, grid.end)
        return "tracks", *maxima(grid, rows.pos - 1, rows.acceptor, rows.donor)

    def computed(self, chrom: str, strand: str, start: int, end: int, gap: int = 0) -> list[tuple[int, int]]:
        """The stretches with rows, clipped to a view; those with fewer than `gap` bases between them are joined."""
        found = self._state.computed.get((chrom, strand))
        if found is None:
            return []
        some = slice(np.searchsorted(found[1], start, side="right"), np.searchsorted(found[0], end))
        starts, ends = merged(found[0][some], found[1][some], gap)
        return list(zip(np.maximum(starts, start).tolist(), np.minimum(ends, end).tolist(), strict=True))

    def is_computed(self, chrom: str, strand: str, pos: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """Whether the table has a row at each position (1-based)."""
        found = self._state.computed.get((chrom, strand))
        if found is None:
            return np.zeros(len(pos), np.bool_)
        after = np.searchsorted(found[1], pos - 1, side="right")
        within: npt.NDArray[np.bool_] = np.append(found[0], np.iinfo(np.int64).max)[after] < pos
        return within

    def sites(self, chrom: str, strand: str, start: int, end: int) -> ScoredRows:
        """Rows of the table of sites in a stretch."""
        state = self._state
        keys = state.holding(chrom, strand, start, end)
        whole = (self.store.root, len(state.tracks.parts), chrom, strand, "sites")
        if len(keys) > MAX_PARTS or whole in self._cache:
            everything = state.keys[chrom, strand] if keys else []
            return self._cache.get(whole, lambda: self._read_sites(state, everything)).within(start, end)
        parts = [
            self._cache.get((self.store.root, key, "sites"), partial(self._read_sites, state, [key])) for key in keys
        ]
        return joined(parts, len(self.tissues)).within(start, end)

    def sites_at(self, chrom: str, strand: str, pos: Ints, kind: str) -> Floats:
        """Scores of a kind at positions, from the table of sites; 0 below its threshold."""
        if not len(pos):
            return np.zeros(0, np.float32)
        return self.sites(chrom, strand, int(pos.min()) - 1, int(pos.max())).greatest_at(kind, pos)

    def tracks_at(self, chrom: str, strand: str, pos: Ints, kind: str) -> Floats:
        """The same from the tracks, for positions in few blocks."""
        found, blocks = np.zeros(len(pos), np.float32), (pos - 1) // BLOCK_BASES
        for block in np.unique(blocks).tolist():
            here = blocks == block
            found[here] = self._block(chrom, strand, block).greatest_at(kind, pos[here])
        return found

    def sequence(self, chrom: str, start: int, end: int) -> str:
        """Bases of the plus strand; `-` where no strand has a row."""
        bases = np.full(end - start, MISSING, np.uint8)
        for block in range(start // BLOCK_BASES, (end - 1) // BLOCK_BASES + 1):
            held, first = self._bases(chrom, block), block * BLOCK_BASES
            lo, hi = max(start, first), min(end, first + BLOCK_BASES)
            bases[lo - start : hi - start] = held[lo - first : hi - first]
        return bases.tobytes().decode()

    def keys(self, chrom: str, strand: str) -> list[ShardKey]:
        """The committed shards of a strand."""
        return self._state.keys.get((chrom, strand), [])

    def _scored(self, chrom: str, strand: str, start: int, end: int) -> ScoredRows:
        blocks = range(start // BLOCK_BASES, (end - 1) // BLOCK_BASES + 1)
        return joined([self._block(chrom, strand, block).within(start, end) for block in blocks], 0)

    def _block(self, chrom: str, strand: str, block: int) -> ScoredRows:
        state, start = self._state, block * BLOCK_BASES
        keys = state.holding(chrom, strand, start, start + BLOCK_BASES)

        def read() -> ScoredRows:
            inside = pl.col("pos").is_between(start + 1, start + BLOCK_BASES)
            scored = inside & ((pl.col("acceptor") > 0) | (pl.col("donor") > 0))
            rows = state.tracks.rows_where(keys, scored, columns=KINDS).select("pos", *KINDS)
            rows = rows.sort("pos") if self.header.schema.by_transcript else rows
            none = np.zeros((rows.height, 0), np.float32)
            acceptor, donor = (rows[kind].to_numpy() for kind in KINDS)
            return ScoredRows(rows["pos"].to_numpy(), acceptor, donor, none)

        return self._cache.get((self.store.root, chrom, strand, block, tuple(keys)), read)

    def _bases(self, chrom: str, block: int) -> Bytes:
        state, start = self._state, block * BLOCK_BASES
        keys = [state.holding(chrom, strand, start, start + BLOCK_BASES) for strand in Strand]

        def read() -> Bytes:
            bases = np.full(BLOCK_BASES, MISSING, np.uint8)
            for strand, some in zip(Strand, keys, strict=True):
                wanted = self.computed(chrom, strand, start, start + BLOCK_BASES)
                if all((bases[first - start : end - start] != MISSING).all() for first, end in wanted):
                    continue
                inside = pl.col("pos").is_between(start + 1, start + BLOCK_BASES)
                rows = state.tracks.rows_where(some, inside, columns=[])
                letters = np.frombuffer("".join(rows["ref"].to_list()).encode(), np.uint8)
                bases[rows["pos"].to_numpy() - 1 - start] = letters
            return bases

        return self._cache.get((self.store.root, chrom, block, tuple(map(tuple, keys))), read)

    def _read_sites(self, state: _State, keys: Sequence[ShardKey]) -> ScoredRows:
        rows = state.tracks.rows_where(keys, pl.lit(value=True), sites=True)
        rows = rows.sort("pos") if self.header.schema.by_transcript else rows
        usage = rows.select(self.tissues).to_numpy().reshape(rows.height, len(self.tissues))
        acceptor, donor = (rows[kind].to_numpy() for kind in KINDS)
        return ScoredRows(rows["pos"].to_numpy(), acceptor, donor, np.ascontiguousarray(usage))
