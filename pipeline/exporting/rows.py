"""The rows that an export takes of a table: by contig and strand, in order, each base once.

`Choice` says which bases are wanted: all, or those of genes, transcripts and regions. `rows_of` gives frames of `pos`
(1-based, ascending) and score columns, one for each part, so that memory is bounded by that of a part; `cuts` are the
stretches that a part's rows lie in, by which an export can be divided. Values are those
of the table: rows of the sites table are rounded to its steps, as the same rows of the tracks are, unless it is exact.
Where rows belong to transcripts, a base has the greatest value of all transcripts there.

`covered` are the stretches of rows that there are: planned pieces of committed parts.

Errors: what is asked for and not there, and a part that cannot be read, are `InputError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from pipeline.coordinates import Interval, Strand
from pipeline.tracks.reader import Tracks
from pipeline.tracks.schema import round_to_steps
from sptx_core.errors import InputError

Stretch = tuple[int, int]
"""First and last base, 1-based inclusive."""
Place = tuple[str, str]
"""Contig and strand."""


@dataclass(frozen=True)
class Choice:
    """The wanted bases; `spans` has the merged stretches of each place, None for all of the table."""

    spans: Mapping[Place, Sequence[Stretch]] | None = None

    @classmethod
    def of(cls, tracks: Tracks, genes: Sequence[str] = (), regions: Sequence[str] = ()) -> Choice:
        """The bases of genes, or of regions on both strands; all without either.

        Raises
        ------
        InputError
            Both are given, or the table lacks one of them.

        """
        if genes and regions:
            raise InputError("--genes and --regions exclude each other: give one of them")
        if not genes and not regions:
            return cls()
        found: dict[Place, list[Stretch]] = {}
        for name in genes:
            rows = tracks.find(name)
            if isinstance(rows, Interval):
                raise InputError(f"--genes {name} is a contig or region of {tracks.store.uri()}; give it as --regions")
            for chrom, strand, start, end in rows.select("chrom", "strand", "start", "end").iter_rows():
                found.setdefault((chrom, strand), []).append((start, end))
        lengths = dict(tracks.contigs.select("chrom", "length").iter_rows())
        for region in regions:
            at = tracks.find(region)
            if not isinstance(at, Interval):
                raise InputError(f"--regions {region} is a gene or transcript of {tracks.store.uri()}; give --genes")
            end = lengths[at.contig] if at.end is None else at.end
            for strand in Strand:
                found.setdefault((at.contig, strand.value), []).append((at.start + 1, end))
        return cls({place: merged(spans) for place, spans in found.items()})

    def within(self, place: Place, stretch: Stretch) -> list[Stretch]:
        """The wanted pieces of a stretch, in order."""
        if self.spans is None:
            return [stretch]
        first, last = stretch
        spans = self.spans.get(place, ())
        return [(max(first, begin), min(last, end)) for begin, end in spans if begin <= last and end >= first]


def cuts(tracks: Tracks, place: Place) -> list[Stretch]:
    """Stretches that hold all rows, each with about those of a part: parts that belong to transcripts overlap."""
    keys = [part.key for part in tracks.parts if (part.key.chrom, part.key.strand) == place]
    if not keys:
        return []
    firsts = sorted({key.first for key in keys})
    ends = [first - 1 for first in firsts[1:]] + [max(key.last for key in keys)]
    return list(zip(firsts, ends, strict=True))


def rows_of(
    tracks: Tracks,
    choice: Choice,
    place: Place,
    columns: Sequence[str],
    *,
    sites: bool = False,
    within: Iterable[Stretch] | None = None,
) -> Iterator[pl.DataFrame]:
    """Rows of a contig and strand, in order of position; see the module.

    Parameters
    ----------
    tracks
        The table.
    choice
        Which bases.
    place
        Contig and strand.
    columns
        Score columns.
    sites
        Whether to take the likely sites alone.
    within
        Some of the `cuts`, in order; all of them when None.

    """
    chrom, strand = place
    for stretch in cuts(tracks, place) if within is None else within:
        for first, last in choice.within(place, stretch):
            interval = Interval(chrom, first - 1, last)
            rows = tracks.region(interval, strand=strand, columns=list(columns), sites=sites)
            rows = rows.select("pos", *columns)
            if tracks.header.schema.by_transcript:
                rows = rows.group_by("pos").max().sort("pos")
            yield _rounded(tracks, rows) if sites else rows


def covered(tracks: Tracks, choice: Choice, place: Place) -> list[Stretch]:
    """The wanted stretches of a contig and strand that have rows, merged where they touch."""
    held = [part.key.index for part in tracks.parts if (part.key.chrom, part.key.strand) == place]
    pieces = tracks.plan.filter(pl.col("shard").is_in(held)).select("pieces").explode("pieces").unnest("pieces")
    stretches = merged(pieces.select("start", "end").iter_rows())
    return [wanted for stretch in stretches for wanted in choice.within(place, stretch)]


def merged(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Stretches in order, joined where they overlap or touch."""
    joined: list[Stretch] = []
    for first, last in sorted(stretches):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined


def _rounded(tracks: Tracks, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of the sites table in the steps of the tracks."""
    if tracks.header.spec.exact:
        return rows
    steps = {column.name: column.steps for column in tracks.header.schema.scores}
    return rows.with_columns(
        pl.Series(name, round_to_steps(rows[name].to_numpy(), steps[name])) for name in rows.columns if name in steps
    )
