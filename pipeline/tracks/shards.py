"""The unit of work: a shard, its pieces of loci, and the runs of windows that serve them.

Coordinates are 0-based, half-open and genomic, except on the window axis x (see `pipeline.tracks.plan`). A shard holds
coordinates only; it travels through Ray as one row of plain columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipeline.settings import Flanks
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


@dataclass(frozen=True)
class Shard:
    """The unit of work, retry, commit and file: pieces in the order of the part's rows."""

    index: int
    chrom: str
    strand: str
    pieces: tuple[Piece, ...]
    windows: int

    @property
    def first(self) -> int:
        """Least position, 0-based."""
        return min(piece.start for piece in self.pieces)

    @property
    def last(self) -> int:
        """Largest position, 0-based."""
        return max(piece.end for piece in self.pieces) - 1

    @property
    def rows(self) -> int:
        """Bases predicted."""
        return sum(piece.end - piece.start for piece in self.pieces)

    def to_row(self) -> dict[str, Any]:
        """The shard as a row of plain columns, the form in which it travels."""
        columns = {name: [getattr(piece, name) for piece in self.pieces] for name in Piece._fields}
        return {"index": self.index, "chrom": self.chrom, "strand": self.strand, "windows": self.windows, **columns}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Shard:
        """The shard that `to_row` described."""
        columns = (row[name] for name in Piece._fields)
        pieces = tuple(
            Piece(int(locus), int(start), int(end), int(origin_start), int(origin_end), str(transcript_id))
            for locus, start, end, origin_start, origin_end, transcript_id in zip(*columns, strict=True)
        )
        return cls(int(row["index"]), str(row["chrom"]), str(row["strand"]), pieces, int(row["windows"]))


class Stretch(NamedTuple):
    """A run of consecutive windows `k_first..k_last` on the axis of `owner`, and the pieces that they serve."""

    k_first: int
    k_last: int
    pieces: tuple[Piece, ...]


def axis_span(piece: Piece, *, minus: bool, flanks: Flanks) -> tuple[int, int]:
    """`[first, end)` of the piece on its window axis."""
    if flanks is Flanks.GENOMIC:
        return piece.start, piece.end
    if minus:
        return piece.origin_end - piece.end, piece.origin_end - piece.start
    return piece.start - piece.origin_start, piece.end - piece.origin_start


def shard_stretches(shard: Shard, spec: WindowSpec, flanks: Flanks) -> list[Stretch]:
    """The shard's windows as runs of consecutive ones, each with its pieces in row order.

    In genomic mode pieces whose windows touch or are shared form one run, so a window is computed once; in
    transcript mode each piece is its own run.
    """
    minus = shard.strand == "-"
    genomic = flanks is Flanks.GENOMIC
    stretches: list[Stretch] = []
    for piece in shard.pieces:
        first, end = axis_span(piece, minus=minus, flanks=flanks)
        five_prime_low = not (genomic and minus)
        k_first = int(spec.owner(first, five_prime_low=five_prime_low))
        k_last = int(spec.owner(end - 1, five_prime_low=five_prime_low))
        if genomic and stretches and k_first <= stretches[-1].k_last + 1:
            run = stretches[-1]
            stretches[-1] = Stretch(run.k_first, max(run.k_last, k_last), (*run.pieces, piece))
        else:
            stretches.append(Stretch(k_first, k_last, (piece,)))
    return stretches
