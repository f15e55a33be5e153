"""Export a table of tracks for genome browsers: `export(tracks, store, options, say)`.

    acceptor.plus.bw, acceptor.minus.bw, donor...   probability of each base, from `least` on (bigWig)
    usage/brain.plus.bw, ...                        usage in each tissue, at likely sites alone, from `least` on
    sites.bb                                        likely sites with all their values (bigBed)
    covered.bb                                      what was computed: tells 0 from not computed (bigBed)
    igv-session.xml                                 all of these in IGV
    hub.txt                                         all of these in the UCSC Genome Browser; with a genome alone
    export.json                                     what the export is of (`pipeline.exporting.record`)

Values are those of the table (`pipeline.exporting.rows`). Each file appears whole or not at all, on a disk and in an
object store. The same table and options give the same bytes, wherever they are written. What is there stays, so an
export that was interrupted goes on with the first file that lacks. Memory grows with the size of a part of the table,
and with the genome by 32 bytes for each 1,024 bases that hold a value, in each of the files under way (15 tissues).

Errors: `InputError` before anything is written; `UnfinishedError` when storage fails after that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import BinaryIO

import numpy as np
import polars as pl

from pipeline.batch.progress import Progress
from pipeline.batch.storage import StorageError, Store
from pipeline.coordinates import Strand, shortened
from pipeline.exporting.big_file import Contig, Fields
from pipeline.exporting.bigbed import BigBed
from pipeline.exporting.bigwig import BigWig, runs_of
from pipeline.exporting.browsers import (
    COLOURS,
    COVERED_FILE,
    HUB,
    SESSION,
    SITES_FILE,
    Signal,
    hub_text,
    session_text,
    signals_of,
    tags_of,
)
from pipeline.exporting.record import RECORD, Options, Record, begin
from pipeline.exporting.rows import Choice, Place, Stretch, covered, rows_of
from pipeline.exporting.ucsc_names import ucsc_names
from pipeline.inputs.splice_sites import KINDS
from pipeline.tracks.reader import Tracks
from sptx_core.channels import SPLICE
from sptx_core.errors import InputError, UnfinishedError

SITE_SCORE = 1000  # of a bigBed: a probability of 1
DECIMALS, DECIMALS_EXACT = 4, 6  # of the values in sites.bb
_BED_FIELDS = (
    ("string", "chrom", "contig"),
    ("uint", "chromStart", "first base, counted from 0"),
    ("uint", "chromEnd", "base after the last one, counted from 0"),
    ("string", "name", "name"),
    ("uint", "score", "greater of acceptor and donor probability, times 1000"),
    ("char[1]", "strand", "+ or -"),
    ("uint", "thickStart", "as chromStart"),
    ("uint", "thickEnd", "as chromEnd"),
    ("uint", "reserved", "colour"),
)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """What an export did: names of the files that it wrote and of those that it found and kept."""

    written: tuple[str, ...]
    kept: tuple[str, ...]
    unfinished: str
    """What is missing of the table, in a few words; empty when nothing is."""


def export(tracks: Tracks, store: Store, options: Options, say: Say, *, progress: bool = True) -> Exported:
    """Write the files of an export, or those that lack.

    Parameters
    ----------
    tracks : Tracks
        The table; may be unfinished.
    store : Store
        Where the files go.
    options : Options
        What of the table.
    say : callable
        Called with sentences for a person.
    progress : bool
        Whether to show the progress line, on standard error.

    Returns
    -------
    Exported

    Raises
    ------
    InputError
        The table lacks what is asked for or cannot be read, or the place cannot be written or holds something else.
    UnfinishedError
        Storage failed on the way. The same call goes on.

    """
    if store.root == tracks.store.root:
        raise InputError(f"--to {store.uri()} is the table itself; give another folder")
    job = _Export(tracks, store, options)
    if job.unnamed:
        say(f"UCSC's names are not known of {shortened(job.unnamed)}: these contigs keep the names that they have")
    record = Record.of(tracks, options)
    if not any(job.stretches.values()):
        _refuse_nothing(tracks, options, record.unfinished)
    store.ensure_writable()
    if store.exists(RECORD):  # else hidden files there are not ours
        store.sweep()
    names = [signal.file for signal in job.signals] + [SITES_FILE, COVERED_FILE, SESSION]
    names += [HUB] if options.genome else []
    kept = begin(store, record, names, say)
    missing = [name for name in names if name not in kept]
    try:
        job.write(missing, record.unfinished, progress=progress)
    except StorageError as error:
        raise UnfinishedError(
            f"{error}; the export has ended early: the files that it has written stay, and the same command goes on"
        ) from error
    return Exported(tuple(missing), tuple(sorted(kept)), record.unfinished)


def _refuse_nothing(tracks: Tracks, options: Options, unfinished: str) -> None:
    """Say that there is nothing to export."""
    asked = shortened(options.genes or options.regions)
    nothing = f"{tracks.store.uri()} has no rows{asked and f' of {asked}'}"
    if unfinished:
        raise UnfinishedError(f"{nothing} ({unfinished}); finish it with the same `sptx run`, then export it")
    raise InputError(f"{nothing}; ask for what its loci cover (loci.parquet)")


class _Export:
    """An export under way: which bases go to which contigs, and the writers of its files."""

    def __init__(self, tracks: Tracks, store: Store, options: Options) -> None:
        self.tracks, self.store, self.genome = tracks, store, options.genome
        self.least = np.float32(options.least)  # as the table holds it: 0.001 is a value from 0.001 on
        self.choice = Choice.of(tracks, options.genes, options.regions)
        lengths = dict(tracks.contigs.select("chrom", "length").iter_rows())
        named = ucsc_names(lengths, options.genome) if options.genome else None
        self.unnamed = named.unknown if named else ()
        names = named.of if named else {name: name for name in lengths}
        self.chroms = {names[chrom]: chrom for chrom in sorted(lengths, key=lambda chrom: names[chrom].encode())}
        """Name in the files -> name in the table, in the order of the files."""
        self.contigs = [Contig(name, lengths[chrom]) for name, chrom in self.chroms.items()]
        self.tissues = [channel for channel in tracks.channels if channel not in SPLICE]
        self.signals = signals_of(self.tissues)
        self.stretches = {
            (name, strand.value): covered(tracks, self.choice, (chrom, strand.value))
            for name, chrom in self.chroms.items()
            for strand in Strand
        }
        """Name in the files and strand -> what has rows."""

    def write(self, missing: Sequence[str], unfinished: str, *, progress: bool) -> None:
        """Write the files of these names; those that are filled from the same rows together."""
        stretches = self.stretches
        lacking = [signal for signal in self.signals if signal.file in missing]
        of_bases = {signal.strand for signal in lacking if not signal.is_usage}
        spans = [span for (_, strand), held in stretches.items() if strand in of_bases for span in held]
        bases = sum(last - first + 1 for first, last in spans)
        with Progress(bases, 0, counted="bases", shown=progress and bases > 0) as line:
            for strand in Strand:
                for sites in (False, True):
                    wanted = [one for one in lacking if one.strand is strand and one.is_usage is sites]
                    if wanted:
                        self._write_signals(wanted, strand, None if sites else line)
        if SITES_FILE in missing:
            self._write_sites()
        if COVERED_FILE in missing:
            self._write_covered()
        shown = [signal for signal in self.signals if any(stretches[name, signal.strand] for name in self.chroms)]
        if HUB in missing and self.genome:
            self.store.write_atomic(HUB, hub_text(self.genome, shown, unfinished).encode())
        if SESSION in missing:
            text = session_text(self.genome, _longest(stretches), shown)
            self.store.write_atomic(SESSION, text.encode())

    @contextmanager
    def _file(self, name: str) -> Iterator[BinaryIO]:
        """A file that appears under its name when all is written."""
        with self.store.replacing(name) as path, path.open("xb") as file:
            yield file

    def _write_signals(self, signals: Sequence[Signal], strand: Strand, line: Progress | None) -> None:
        """Write bigWigs of one strand in one pass over its rows; without a progress line over its likely sites."""
        with ExitStack() as stack:
            files = [stack.enter_context(self._file(signal.file)) for signal in signals]
            writers = [BigWig(file, self.contigs) for file in files]
            channels = [signal.channel for signal in signals]
            for name, chrom in self.chroms.items():
                for rows in rows_of(self.tracks, self.choice, (chrom, strand.value), channels, sites=line is None):
                    pos = rows["pos"].to_numpy().astype(np.int64)
                    for writer, channel in zip(writers, channels, strict=True):
                        values = rows[channel].to_numpy()
                        kept = ~(values < self.least)  # what is no number is for the writer to refuse
                        writer.add(name, *runs_of(pos[kept], values[kept]))
                    if line:
                        line.advance(len(rows), failures=0)
            for writer in writers:
                writer.close()

    def _write_sites(self) -> None:
        columns = [*KINDS, *self.tissues]
        extra = [
            ("float", tag, tag if channel in KINDS else f"usage in {tag}")
            for channel, tag in zip(columns, tags_of(columns), strict=True)
        ]
        fields = _fields("sites", "Likely splice sites with their probabilities and usage", extra)
        decimals = DECIMALS_EXACT if self.tracks.header.spec.exact else DECIMALS
        with self._file(SITES_FILE) as file:
            writer = BigBed(file, self.contigs, fields)
            for name, chrom in self.chroms.items():
                frames = [
                    rows.with_columns(strand=pl.lit(strand.value))
                    for strand in Strand
                    for rows in rows_of(self.tracks, self.choice, (chrom, strand.value), columns, sites=True)
                ]
                if frames:
                    rows = pl.concat(frames).sort("pos", maintain_order=True)
                    pos = rows["pos"].to_numpy().astype(np.int64)
                    writer.add(name, pos - 1, pos, _site_texts(rows, columns, decimals))
            writer.close()

    def _write_covered(self) -> None:
        fields = _fields("covered", "Bases that were computed", [], columns=6)
        with self._file(COVERED_FILE) as file:
            writer = BigBed(file, self.contigs, fields)
            for name in self.chroms:
                held = sorted((*span, strand) for strand in Strand for span in self.stretches[name, strand.value])
                places = np.array([(first - 1, last) for first, last, _ in held], np.int64).reshape(-1, 2)
                texts = [f"{strand.partition}\t{SITE_SCORE}\t{strand}" for _, _, strand in held]
                writer.add(name, places[:, 0], places[:, 1], texts)
            writer.close()


def _site_texts(rows: pl.DataFrame, columns: Iterable[str], decimals: int) -> list[str]:
    """The columns after the third of sites.bb."""
    acceptor, donor = (pl.col(kind) for kind in KINDS)
    is_acceptor = acceptor >= donor
    by_kind = [
        pl.when(is_acceptor).then(pl.lit(left)).otherwise(pl.lit(right))
        for left, right in (KINDS, [COLOURS[kind] for kind in KINDS])
    ]
    score = (pl.max_horizontal(acceptor, donor) * SITE_SCORE).round().cast(pl.Int32)
    values = [pl.col(name).cast(pl.Float64).round(decimals) for name in columns]
    place = [pl.col("pos") - 1, pl.col("pos")]
    texts = pl.concat_str(by_kind[0], score, "strand", *place, by_kind[1], *values, separator="\t")
    return rows.select(texts.alias("text"))["text"].to_list()


def _fields(name: str, title: str, extra: Sequence[tuple[str, str, str]], columns: int = len(_BED_FIELDS)) -> Fields:
    """What a bigBed says of its columns: `columns` of BED's own, then others, each with type, name and comment."""
    lines = [f'    {kind} {field}; "{comment}"' for kind, field, comment in (*_BED_FIELDS[:columns], *extra)]
    return Fields("\n".join([f"table {name}", f'"{title}"', "    (", *lines, "    )\n"]), columns + len(extra), columns)


def _longest(stretches: Mapping[Place, Sequence[Stretch]]) -> str:
    """The longest stretch as text, 1-based inclusive, the first of several; all of the genome where there is none."""
    found = [
        (last - first, f"{name}:{first}-{last}") for (name, _), spans in stretches.items() for first, last in spans
    ]
    return max(found, key=itemgetter(0), default=(0, "All"))[1]
