"""Two tables of one genome -> how they differ: `compare(first, second)`.

Rows that both tables hold are compared, whatever their plans (`pipeline.tracks.comparison` says which rows are the
same); those that only one holds are counted. Values are those of the tracks, so rounded unless a table is exact. The
difference of a row is its greatest one over the channels that are compared: all that both tables have.

A site is *gained* if the second table calls it and the first, which has its row, does not; *lost* the other way round.
What is called is decided by the table of sites, unrounded; the score below the threshold is that of the tracks.

Errors: `InputError` for tables that have no contig in common or one with two lengths, of which one has rows of
transcripts and the other has not, for a gene or region that neither has, for a threshold below that of a table of
sites, and for a part that cannot be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from pipeline.batch.record import read_record
from pipeline.coordinates import Interval, Strand, shortened
from pipeline.tracks.comparison import STEPS, Comparison, Spans, Take, rows_within
from pipeline.tracks.lookup import genes_called, merged_spans
from pipeline.tracks.named_sites import called_from
from pipeline.tracks.reader import Tracks
from pipeline.tracks.schema import FORMAT_VERSION
from sptx_core.errors import InputError
from sptx_core.words import counted

LEAST = 0.01
"""The least difference of a row that is listed."""
_SHOWN_DIGITS = 12  # of a digest
_DIGEST_DIGITS = 64
_SITES = {"kind": pl.String(), **dict.fromkeys(("first", "second", "both", "gained", "lost"), pl.Int64())}


class Channel(NamedTuple):
    """Differences of one channel: the greatest one, and the mean over all shared rows."""

    name: str
    greatest: float
    mean: float


@dataclass(frozen=True)
class Difference:
    """How two tables differ.

    Attributes
    ----------
    settings : tuple of (str, str, str)
        Fields of the fingerprint that differ, with both values; digests are shortened.
    only_first, only_second : tuple of str
        Contigs and channels that only one table has, such as "contig chr3".
    shared, rows_first, rows_second : int
        Rows that both hold, and that each holds, within what is compared.
    other_bases : int
        Shared rows with another reference base, of which tables of one genome have none.
    channels : tuple of Channel
        The channels that are compared, in the order of the first table.
    steps : polars.DataFrame
        above, up_to, splice, usage: shared rows by their greatest difference of the splice channels, and of usage.
    largest : polars.DataFrame
        The rows that differ most, first by a splice channel and then by usage, from `least` on: chrom, strand,
        transcript_id (if rows have one), pos, ref, channel (that differs most), first, second, difference.
    sites : polars.DataFrame
        kind, first, second, both, gained, lost: called sites, of shared rows.
    changed : polars.DataFrame
        The gained and lost sites that differ most: chrom, strand, transcript_id, pos, kind, change, first, second.
    threshold : float
        Least score of a called site.
    unfinished : tuple of str
        What is missing of the first and of the second table, in a few words; empty when nothing is.
    """

    settings: tuple[tuple[str, str, str], ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    shared: int
    rows_first: int
    rows_second: int
    other_bases: int
    channels: tuple[Channel, ...]
    steps: pl.DataFrame
    largest: pl.DataFrame
    sites: pl.DataFrame
    changed: pl.DataFrame
    threshold: float
    unfinished: tuple[str, str]

    @property
    def is_none(self) -> bool:
        """Whether both hold the same rows with the same values, bases and called sites."""
        same = self.shared == self.rows_first == self.rows_second and not self.other_bases
        return same and not (self.only_first or self.only_second or self.rows_differ)

    @property
    def rows_differ(self) -> bool:
        """Whether shared rows differ in a value, or in what is called: sites are unrounded, the rows may not be."""
        return any(one.greatest for one in self.channels) or not self.changed.is_empty()


def compare(
    first: Tracks,
    second: Tracks,
    *,
    gene: str | None = None,
    region: str | None = None,
    least: float = LEAST,
    threshold: float | None = None,
    take: Take | None = None,
) -> Difference:
    """Compare two tables.

    Parameters
    ----------
    first, second : Tracks
        The tables; may be unfinished.
    gene, region : str, optional
        Rows between the ends of a gene on its strand, or of a region on both strands, alone.
    least : float
        Least difference of a row that is listed and given to `take`.
    threshold : float, optional
        Least score of a called site; 0.1 when None, or that of the tables of sites where it is higher.
    take : callable, optional
        Called with the rows that differ by `least` or more, some at a time, in the order of the first table; their
        columns are those of `Difference.largest`.

    Returns
    -------
    Difference

    Raises
    ------
    InputError
        See the module's docstring.
    """
    contigs = _shared_contigs(first, second)
    kinds = {tracks.header.schema.by_transcript for tracks in (first, second)}
    if len(kinds) > 1:
        raise InputError("rows of one table belong to transcripts (--flanks transcript), those of the other do not")
    called = called_from(threshold, first.header, second.header)
    spans = _spans(first, second, gene, region)
    work = Comparison((first, second), spans, least, called, take or (lambda _: None))
    for chrom in contigs:
        for strand in Strand:
            work.add((chrom, strand.value))
    rows = [rows_within(tracks, [part.key for part in tracks.parts], spans) for tracks in (first, second)]
    if not any(rows):
        raise InputError(f"neither table has a row of {gene or region or 'what is compared'}")
    return Difference(
        settings=_settings(first, second),
        only_first=_only(first, second, whole=spans is None),
        only_second=_only(second, first, whole=spans is None),
        shared=work.shared,
        rows_first=rows[0],
        rows_second=rows[1],
        other_bases=work.other_bases,
        channels=_channels(work),
        steps=_steps(work),
        largest=pl.concat(work.largest).select(*_place(work), "ref", "channel", "first", "second", "difference"),
        sites=pl.DataFrame([(kind, *counts.tolist()) for kind, counts in work.sites.items()], _SITES, orient="row"),
        changed=work.changed.select(*_place(work), "kind", "change", "first", "second"),
        threshold=called,
        unfinished=(_unfinished(first), _unfinished(second)),
    )


def _place(work: Comparison) -> list[str]:
    """The columns that say where a row is."""
    return ["chrom", "strand", *work.key]


def _channels(work: Comparison) -> tuple[Channel, ...]:
    rows = max(1, work.shared)
    return tuple(
        Channel(name, float(greatest), float(total) / rows)
        for name, greatest, total in zip(work.channels, work.greatest, work.sums, strict=True)
    )


def _steps(work: Comparison) -> pl.DataFrame:
    splice, usage = work.steps.tolist()
    return pl.DataFrame({"above": [None, *STEPS[:-1]], "up_to": STEPS, "splice": splice, "usage": usage})


def _only(one: Tracks, other: Tracks, *, whole: bool) -> tuple[str, ...]:
    """What only one table has: channels, and contigs where tables are compared as a whole."""
    contigs = {*other.contigs["chrom"]}
    found = [f"contig {name}" for name in one.contigs["chrom"] if whole and name not in contigs]
    return (*found, *(f"channel {name}" for name in one.channels if name not in other.channels))


def _shared_contigs(first: Tracks, second: Tracks) -> list[str]:
    """Contigs of both tables, in the order of the first."""
    one, other = (dict(tracks.contigs.select("chrom", "length").iter_rows()) for tracks in (first, second))
    shared = [name for name in one if name in other]
    for name in shared:
        if one[name] != other[name]:
            raise InputError(
                f"contig {name} has {counted(one[name], 'base')} in {first.store.uri()} and {other[name]:,} in "
                f"{second.store.uri()}: these are tables of two genomes"
            )
    if not shared:
        raise InputError(
            f"{first.store.uri()} and {second.store.uri()} have no contig in common: {shortened([*one])}; "
            f"{shortened([*other])}"
        )
    return shared


def _spans(first: Tracks, second: Tracks, gene: str | None, region: str | None) -> Spans | None:
    """What is to be compared, None for all."""
    if gene is not None and region is not None:
        raise InputError("--gene and --region exclude each other: give one of them")
    if region is not None:
        found = first.find(region)
        if not isinstance(found, Interval):
            raise InputError(f"--region {region}: this is a gene or transcript; give --gene")
        end = found.end or int(first.contigs.filter(chrom=found.contig)["length"].item())
        return {(found.contig, strand.value): [(found.start + 1, end)] for strand in Strand}
    if gene is None:
        return None
    columns = ["chrom", "strand", "start", "end"]
    of_both = [genes_called(tracks.transcripts, gene).select(columns) for tracks in (first, second)]
    if all(frame.is_empty() for frame in of_both):
        first.gene(gene, columns=[])  # which tells the nearest name
    return {(chrom, strand): merged_spans(group) for (chrom, strand), group in pl.concat(of_both).group_by(columns[:2])}


def _settings(first: Tracks, second: Tracks) -> tuple[tuple[str, str, str], ...]:
    """Fields of the fingerprints that differ."""
    records = [read_record(tracks.store, FORMAT_VERSION) for tracks in (first, second)]
    one, other = (record.fields if record else {} for record in records)
    names = [*one, *(name for name in other if name not in one)]
    return tuple(
        (name, _short(one.get(name)), _short(other.get(name))) for name in names if one.get(name) != other.get(name)
    )


def _short(value: object) -> str:
    text = "not given" if value is None else str(value)
    return text[:_SHOWN_DIGITS] if len(text) == _DIGEST_DIGITS else text


def _unfinished(tracks: Tracks) -> str:
    done, planned = len(tracks.parts), tracks.header.shards
    return f"unfinished: {done:,} of {counted(planned, 'shard')}" if done < planned else ""
