"""Rows of two tables side by side, a window of positions at a time: what `pipeline.tracks.difference` sums up.

Rows are the same row if they are of one contig, strand and position (and transcript, in tables with flanks:
transcript). Windows hold at most `WINDOW` positions, so memory does not grow with the genome, and end where shards do
if that is near, so that most parts are read once. Parts of one plan whose bytes are equal are not decoded.

Errors: a part that cannot be read is an `InputError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.inputs.splice_sites import KINDS
from pipeline.tracks.layout import TABLES, ShardKey
from pipeline.tracks.reader import Tracks
from sptx_core.channels import SPLICE

WINDOW = 2_000_000  # positions that are read at a time: 0.15 GB of each table
WINDOW_BY_TRANSCRIPT = 200_000  # where a position has a row for each transcript
LARGEST = 10  # rows that are kept, of splice channels and of usage; and sites that are gained or lost
STEPS = (0.0, 1e-4, 1e-3, 0.01, 0.1, 0.5, 1.0)
"""Upper bounds of the steps by which differences are counted; the first step is that of equal rows."""
DECIMALS = 6  # of a difference between steps
TOLERANCE = 2e-7  # of float32: 0.51 and 0.5 differ by a little less than 0.01

Floats = npt.NDArray[np.float32]
Place = tuple[str, str]
"""Contig and strand."""
Spans = Mapping[Place, Sequence[tuple[int, int]]]
"""Stretches, 1-based inclusive, that do not overlap."""
Pair = tuple[Tracks, Tracks]
Take = Callable[[pl.DataFrame], None]
Keys = Sequence[Sequence[ShardKey]]
"""Shards of the first table, and of the second."""

_KEY = {**dict.fromkeys(("chrom", "strand", "transcript_id"), pl.String()), "pos": pl.Int32()}
_VALUES = dict.fromkeys(("first", "second", "difference"), pl.Float32())
_NO_ROWS = pl.DataFrame(schema={**_KEY, "ref": pl.String(), "channel": pl.String(), **_VALUES})
_NO_SITES = pl.DataFrame(schema={**_KEY, "kind": pl.String(), "change": pl.String(), **_VALUES})


class Comparison:
    """A comparison under way; `add` sums up one strand of a contig after another.

    Parameters
    ----------
    tables
        The two tables, both with rows of transcripts or both without.
    spans
        What is compared; None for all.
    least
        Least difference of a row that is listed.
    threshold
        Least score of a called site.
    take
        Called with all rows that are listed, some at a time.

    Attributes
    ----------
    channels : list of str
        Those that both tables have.
    shared, other_bases : int
        Rows that both hold, and those of them that have another reference base.
    greatest, sums : float64 [channels]
        The greatest difference of each channel, and the sum of all.
    steps : int64 [2, len(STEPS)]
        Shared rows by their greatest difference of splice channels, and of usage.
    sites : dict
        Kind -> int64 [5]: called sites of the first table, of the second, of both, gained, lost; of shared rows.
    largest : list of polars.DataFrame
        Rows that differ most by a splice channel, and by usage.
    changed : polars.DataFrame
        Gained and lost sites that differ most.
    """

    def __init__(self, tables: Pair, spans: Spans | None, least: float, threshold: float, take: Take) -> None:
        first, second = self.tables = tables
        self.spans, self.least, self.threshold, self.take = spans, least, threshold, take
        self.channels = [name for name in first.channels if name in second.channels]
        by_transcript = first.header.schema.by_transcript
        self.key = ["transcript_id", "pos"] if by_transcript else ["pos"]
        self.window = WINDOW_BY_TRANSCRIPT if by_transcript else WINDOW
        self.is_splice = np.array([name in SPLICE for name in self.channels])
        self.shared = self.other_bases = 0
        self.greatest, self.sums = np.zeros(len(self.channels)), np.zeros(len(self.channels))
        self.steps = np.zeros((2, len(STEPS)), np.int64)  # of splice channels, of usage
        self.sites = {kind: np.zeros(5, np.int64) for kind in KINDS}
        self.largest: list[pl.DataFrame] = [_NO_ROWS, _NO_ROWS]
        self.changed = _NO_SITES
        self._same = self._same_parts()

    def _same_parts(self) -> frozenset[int]:
        """Shards of one plan whose parts are equal, byte for byte."""
        first, second = self.tables
        if first.fingerprint != second.fingerprint:
            return frozenset()
        others = {part.key: part for part in second.parts}
        return frozenset(
            part.key.index
            for part in first.parts
            if part.key in others and self._is_wanted(part.key) and self._equal(part.key)
        )

    def _equal(self, key: ShardKey) -> bool:
        first, second = self.tables
        names = [key.part_name(table, first.fingerprint) for table in TABLES]
        try:
            return all(first.store.read_bytes(name) == second.store.read_bytes(name) for name in names)
        except FileNotFoundError:  # which reading the rows tells
            return False

    def _is_wanted(self, key: ShardKey) -> bool:
        if self.spans is None:
            return True
        spans = self.spans.get((key.chrom, key.strand), ())
        return any(key.first <= end and key.last >= start for start, end in spans)

    def add(self, place: Place) -> None:
        """Compare one strand of a contig."""
        keys = [
            [part.key for part in tracks.parts if (part.key.chrom, part.key.strand) == place] for tracks in self.tables
        ]
        equal = [key for key in keys[0] if key.index in self._same]
        self._add_equal(equal)
        different = [[key for key in some if key.index not in self._same] for some in keys]
        for start, end in self._windows(place, different):
            touched = [[key for key in some if key.first <= end and key.last >= start] for some in different]
            if all(touched):
                self._add_window(place, touched, start, end)

    def _windows(self, place: Place, keys: Keys) -> Iterator[tuple[int, int]]:
        """Windows that hold all rows that both tables may have, first and last position."""
        if not all(keys):
            return
        start = max(min(key.first for key in some) for some in keys)
        last = min(max(key.last for key in some) for some in keys)
        edges = np.unique([key.first for some in keys for key in some])
        spans = [(start, last)] if self.spans is None else sorted(self.spans.get(place, ()))
        while start <= last:
            end = min(start + self.window - 1, last)
            edge = int(edges[np.searchsorted(edges, end, side="right") - 1])
            if start < edge and end < last:
                end = edge - 1
            yield from ((max(start, begin), min(end, stop)) for begin, stop in spans if begin <= end and stop >= start)
            start = end + 1

    def _add_equal(self, keys: Sequence[ShardKey]) -> None:
        """Take in shards whose parts are equal."""
        if not keys:
            return
        first, _ = self.tables
        rows = rows_within(first, keys, self.spans)
        self.shared += rows
        self.steps[:, 0] += rows
        for start, end in self._bounds(keys):
            called = self._called(first, keys, start, end)
            for kind in KINDS:
                count = called.filter(kind=kind).height
                self.sites[kind] += np.array([count, count, count, 0, 0])

    def _bounds(self, keys: Sequence[ShardKey]) -> Sequence[tuple[int, int]]:
        place = keys[0].chrom, keys[0].strand
        everything = [(1, max(key.last for key in keys))]
        return everything if self.spans is None else self.spans.get(place, ())

    def _called(self, tracks: Tracks, keys: Sequence[ShardKey], start: int, end: int) -> pl.DataFrame:
        """Called sites: the key columns, kind and score."""
        holds = pl.col("pos").is_between(start, end) & (pl.max_horizontal(KINDS) >= self.threshold)
        rows = tracks.rows_where(keys, holds, columns=KINDS, sites=True)
        frames = [
            rows.filter(pl.col(kind) >= self.threshold).select(
                *self.key, pl.lit(kind).alias("kind"), pl.col(kind).alias("score")
            )
            for kind in KINDS
        ]
        return pl.concat(frames)

    def _add_window(self, place: Place, keys: Keys, start: int, end: int) -> None:
        """Compare the rows between two positions."""
        inside = pl.col("pos").is_between(start, end)
        one, other = (
            tracks.rows_where(some, inside, columns=self.channels, sites=False)
            for tracks, some in zip(self.tables, keys, strict=True)
        )
        if not one.select(self.key).equals(other.select(self.key)):
            pairs = (
                one.select(self.key)
                .with_row_index("one")
                .join(other.select(self.key).with_row_index("other"), on=self.key, maintain_order="left")
            )
            one, other = one[pairs["one"]], other[pairs["other"]]
        self.shared += one.height
        self.other_bases += int((one["ref"] != other["ref"]).sum())
        self._add_values(one, other)
        self._add_sites(place, keys, one, other, start, end)

    def _add_values(self, one: pl.DataFrame, other: pl.DataFrame) -> None:
        """Compare rows that stand side by side."""
        by_group = np.zeros((2, one.height), np.float32)
        most = np.zeros((2, one.height), np.int16)  # the channel of that difference
        for at, name in enumerate(self.channels):
            apart = np.abs(one[name].to_numpy() - other[name].to_numpy())
            greatest = float(apart.max(initial=0))
            if not greatest:
                continue
            self.greatest[at] = max(self.greatest[at], greatest)
            self.sums[at] += float(apart.sum(dtype=np.float64))
            group = 0 if self.is_splice[at] else 1
            # Of equal ones the first: no_splice changes as much as the kind of site that does.
            larger = (apart > by_group[group] + TOLERANCE) | ((by_group[group] == 0) & (apart > 0))
            by_group[group][larger], most[group][larger] = apart[larger], at
        bounds = np.array([STEPS[0], *(step + TOLERANCE for step in STEPS[1:-1])], np.float32)
        far = (by_group > 0) & (by_group >= self.least - TOLERANCE)
        for group in range(2):
            self.steps[group] += np.bincount(np.searchsorted(bounds, by_group[group]), minlength=len(STEPS))
            listed = np.flatnonzero(far[group])
            best = listed[np.argsort(-by_group[group][listed], kind="stable")[:LARGEST]]
            found = self._rows(one, other, best, most[group][best])
            self.largest[group] = _first(pl.concat([self.largest[group], found], how="diagonal"), LARGEST)
        listed = np.flatnonzero(far.any(axis=0))
        if len(listed):
            group_of = by_group[:, listed].argmax(axis=0)
            self.take(self._rows(one, other, listed, most[group_of, listed]))

    def _rows(
        self, one: pl.DataFrame, other: pl.DataFrame, rows: npt.NDArray[np.intp], channel: npt.NDArray[np.int16]
    ) -> pl.DataFrame:
        """Some rows with the channel that differs most."""
        values = []
        for frame in (one, other):
            taken = frame[rows].select(self.channels).to_numpy().reshape(len(rows), len(self.channels))
            values.append(taken[np.arange(len(rows)), channel])
        return (
            one[rows]
            .select("chrom", "strand", *self.key, "ref")
            .with_columns(
                pl.Series("channel", self.channels, pl.String).gather(channel.astype(np.int64)),
                pl.Series("first", values[0], pl.Float32),
                pl.Series("second", values[1], pl.Float32),
                pl.Series("difference", self._apart(*values), pl.Float32),
            )
        )

    def _apart(self, one: Floats, other: Floats) -> npt.NDArray[np.float64]:
        """Differences as they are told: of steps whole ones, which float32 blurs."""
        apart = np.abs(one.astype(np.float64) - other.astype(np.float64))
        return apart if any(tracks.header.spec.exact for tracks in self.tables) else apart.round(DECIMALS)

    def _add_sites(
        self,
        place: Place,
        keys: Keys,
        one: pl.DataFrame,
        other: pl.DataFrame,
        start: int,
        end: int,
    ) -> None:
        """Compare the called sites of shared rows."""
        shared = one.select(self.key)
        called = [
            self._called(tracks, some, start, end).join(shared, on=self.key, how="semi")
            for tracks, some in zip(self.tables, keys, strict=True)
        ]
        on = [*self.key, "kind"]
        both = called[0].join(called[1], on=on, how="semi")
        lost, gained = (
            _with_other(called[at].join(called[1 - at], on=on, how="anti"), frame, self.key)
            for at, frame in ((0, other), (1, one))
        )
        for kind in KINDS:
            counted = (*called, both, gained, lost)
            self.sites[kind] += np.array([frame.filter(kind=kind).height for frame in counted])
        frames = [
            lost.rename({"score": "first", "value": "second"}).with_columns(pl.lit("lost").alias("change")),
            gained.rename({"score": "second", "value": "first"}).with_columns(pl.lit("gained").alias("change")),
        ]
        columns = ["chrom", "strand", *self.key, "kind", "change", "first", "second"]
        placed = [
            frame.with_columns(pl.lit(place[0]).alias("chrom"), pl.lit(place[1]).alias("strand")).select(columns)
            for frame in frames
        ]
        apart = (pl.col("first") - pl.col("second")).abs()
        found = pl.concat(placed).sort(*self.key, "kind").with_columns(apart.alias("difference"))
        self.changed = _first(pl.concat([self.changed, found], how="diagonal"), LARGEST)


def rows_within(tracks: Tracks, keys: Sequence[ShardKey], spans: Spans | None) -> int:
    """Rows of shards that lie in spans, as the plan has them."""
    held = tracks.plan.filter(pl.col("shard").is_in([key.index for key in keys]))
    pieces = held.select("chrom", "strand", "pieces").explode("pieces").unnest("pieces")
    if spans is None:
        return int((pieces["end"] - pieces["start"] + 1).sum())
    count = 0
    for (chrom, strand), group in pieces.group_by("chrom", "strand"):
        starts, ends = group["start"].to_numpy().astype(np.int64), group["end"].to_numpy().astype(np.int64)
        for start, end in spans.get((str(chrom), str(strand)), ()):
            count += int(np.clip(np.minimum(ends, end) - np.maximum(starts, start) + 1, 0, None).sum())
    return count


def _first(rows: pl.DataFrame, count: int) -> pl.DataFrame:
    """The rows of the greatest difference; of equal ones those that came first."""
    return rows.sort("difference", descending=True, maintain_order=True).head(count)


def _with_other(sites: pl.DataFrame, rows: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Sites with the score of their kind in the rows of the other table, as `value`."""
    few = rows.select(*key, *KINDS).join(sites.select(key).unique(), on=key, how="semi")
    kinds = [few.select(*key, pl.lit(kind).alias("kind"), pl.col(kind).alias("value")) for kind in KINDS]
    return sites.join(pl.concat(kinds), on=[*key, "kind"], maintain_order="left")
