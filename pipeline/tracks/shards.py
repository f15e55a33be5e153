"""The unit of work: a shard, its pieces of loci, and the runs of windows that serve them.

Coordinates are 0-based, half-open and genomic; window numbers count along the axis (`pipeline.tracks.axis`). A shard
holds coordinates only; it travels through Ray as one row of plain columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from pipeline.batch.units import Unit
from pipeline.tracks.axis import Axis, Origin
from pipeline.tracks.layout import ShardKey
from sptx_core.windows import WindowSpec


class Piece(NamedTuple):
    """A stretch `[start, end)` of one locus that one shard computes.

    `origin_start`, `origin_end` and `transcript_id` describe the transcript that lays the windows in transcript
    mode; in genomic mode they are 0, 0 and "".
    """

    locus: int
    start: int
    end: int
    origin_start: int
    origin_end: int
    transcript_id: str

    @property
    def origin(self) -> Origin:
        """Span of the transcript that lays the windows."""
        return Origin(self.origin_start, self.origin_end)


@dataclass(frozen=True)
class Shard:
    """The unit of work, retry, commit and file: pieces in the order of the part's rows."""

    index: int
    chrom: str
    strand: str
    pieces: tuple[Piece, ...]
    windows: int

    @property
    def rows(self) -> int:
        """Bases predicted."""
        return sum(piece.end - piece.start for piece in self.pieces)

    @property
    def key(self) -> ShardKey:
        """What names its parts."""
        first, last = min(piece.start for piece in self.pieces) + 1, max(piece.end for piece in self.pieces)
        return ShardKey(self.index, self.chrom, self.strand, first, last)

    def to_unit(self) -> Unit:
        """The shard as a unit of work."""
        key = self.key
        pieces = {name: [getattr(piece, name) for piece in self.pieces] for name in Piece._fields}
        columns = {"chrom": self.chrom, "strand": self.strand, "windows": self.windows, **pieces}
        return Unit(self.index, key.label, self.rows, key.place, columns)

    @classmethod
    def from_unit(cls, unit: Unit) -> Shard:
        """The shard that `to_unit` described."""
        row = unit.columns
        columns = (row[name] for name in Piece._fields)
        pieces = tuple(
            Piece(int(locus), int(start), int(end), int(origin_start), int(origin_end), str(transcript_id))
            for locus, start, end, origin_start, origin_end, transcript_id in zip(*columns, strict=True)
        )
        return cls(unit.index, str(row["chrom"]), str(row["strand"]), pieces, int(row["windows"]))


class Stretch(NamedTuple):
    """Consecutive windows `k_first..k_last` of the axis, and the pieces that they serve."""

    k_first: int
    k_last: int
    pieces: tuple[Piece, ...]


def shard_stretches(shard: Shard, axis: Axis, spec: WindowSpec) -> list[Stretch]:
    """The shard's windows as runs of consecutive ones, each with its pieces in row order.

    In genomic mode pieces whose windows touch or are shared form one run, so that a window is computed once; in
    transcript mode each piece is its own run.
    """
    stretches: list[Stretch] = []
    for piece in shard.pieces:
        k_first, k_last = axis.owners(piece.start, piece.end, piece.origin, spec)
        if axis.genomic and stretches and k_first <= stretches[-1].k_last + 1:
            run = stretches[-1]
            stretches[-1] = Stretch(run.k_first, max(run.k_last, k_last), (*run.pieces, piece))
        else:
            stretches.append(Stretch(k_first, k_last, (piece,)))
    return stretches
