"""Export a table of tracks for genome browsers: `export(tracks, store, options, say)`.

    acceptor.plus.bw, acceptor.minus.bw, donor...   probability of each base, from `least` on (bigWig)
    usage/brain.plus.bw, ...                        usage in each tissue, at likely sites alone, from `least` on
    sites.bb                                        likely sites with all their values (bigBed)
    covered.bb                                      what was computed: tells 0 from not computed (bigBed)
    igv-session.xml                                 all of these in IGV
    hub.txt                                         all of these in the UCSC Genome Browser; with a genome alone
    hub.html                                        what they are, for people (`pipeline.exporting.description`)
    export.json                                     what the export is of (`pipeline.exporting.record`)

Values are those of the table (`pipeline.exporting.rows`). Each file appears whole or not at all, on a disk and in an
object store. The same table and options give the same bytes, wherever they are written. What is there stays, so an
export that was interrupted goes on with the first file that lacks. Memory grows with the size of a part of the table,
and with the genome by 32 bytes for each 1,024 bases that hold a value, in each of the files under way (15 tissues).

The bigWigs of a large table are computed in pieces on the workbench (`pipeline.exporting.job`) and put together here,
with the same bytes. A small one is written by this process alone, because Ray takes longer to start than that lasts.

Errors: `InputError` before anything is written, or for a damaged part of the table; `UnfinishedError` when storage or
pieces fail after that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import BinaryIO

import numpy as np
import polars as pl

from pipeline.batch.patience import PatientStore
from pipeline.batch.progress import Progress
from pipeline.batch.run import run_job
from pipeline.batch.storage import StorageError, Store
from pipeline.coordinates import Strand, shortened
from pipeline.exporting.big_file import Fields
from pipeline.exporting.bigbed import BigBed
from pipeline.exporting.bigwig import BigWig
from pipeline.exporting.browsers import (
    COLOURS,
    COVERED_FILE,
    HUB,
    HUB_PAGE,
    SESSION,
    SITES_FILE,
    Signal,
    hub_text,
    session_text,
    tags_of,
)
from pipeline.exporting.description import description
from pipeline.exporting.job import SPLICE_PIECES, USAGE_PIECES, PiecesJob, require_pieces
from pipeline.exporting.pieces import append_pieces
from pipeline.exporting.record import RECORD, WORK, Options, Record, begin, require_record, withdraw
from pipeline.exporting.rows import Place, Stretch, rows_of
from pipeline.exporting.scope import Scope
from pipeline.inputs.splice_sites import KINDS
from pipeline.settings import JobSettings
from pipeline.tracks.reader import Tracks
from sptx_core.errors import InputError, UnfinishedError
from sptx_core.words import counted

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

WORKBENCH_BASES = 300_000_000  # half a minute of one core, or three: beyond it actors are worth their start

Say = Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """What an export did: names of the files that it wrote and of those that it found and kept."""

    written: tuple[str, ...]
    kept: tuple[str, ...]
    unfinished: str
    """What is missing of the table, in a few words; empty when nothing is."""


def export(
    tracks: Tracks,
    store: Store,
    options: Options,
    say: Say,
    *,
    progress: bool = True,
    workbench: JobSettings | None = None,
) -> Exported:
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
    workbench : JobSettings, optional
        How Ray computes the bigWigs. When None, this process does, unless they hold more than `WORKBENCH_BASES`.

    Returns
    -------
    Exported

    Raises
    ------
    InputError
        The table lacks what is asked for or cannot be read, or the place cannot be written or holds something else.
    UnfinishedError
        Storage failed on the way, or pieces on the workbench did. The same call goes on.

    """
    if store.root == tracks.store.root:
        raise InputError(f"--to {store.uri()} is the table itself; give another folder")
    scope = Scope(tracks, options)
    if scope.unnamed:
        say(f"UCSC's names are not known of {shortened(scope.unnamed)}: these contigs keep the names that they have")
    record = Record.of(tracks, options)
    if not any(scope.stretches.values()):
        _refuse_nothing(tracks, options, record.unfinished)
    store.ensure_writable()
    is_new = not store.exists(RECORD)
    if not is_new:  # else hidden files there are not ours
        store.sweep()
    names = [signal.file for signal in scope.signals] + [SITES_FILE, COVERED_FILE, SESSION]
    names += [HUB, HUB_PAGE] if options.genome else []
    kept = begin(store, record, names, say)
    missing = [name for name in names if name not in kept]
    files = _Files(scope, store, record)
    lacking = [signal for signal in scope.signals if signal.file in missing]
    try:
        if workbench is None and scope.bases({signal.strand for signal in lacking}) <= WORKBENCH_BASES:
            files.write_signals(lacking, progress=progress)
        elif lacking:
            _by_pieces(files, lacking, workbench or JobSettings(threads=1), say, progress=progress)
        files.write_others(missing)
        if store.list(f"{WORK}/"):
            store.delete_folder(WORK)
    except StorageError as error:
        raise UnfinishedError(
            f"{error}; the export has ended early: the files that it has written stay, and the same command goes on"
        ) from error
    except InputError:
        if is_new:
            withdraw(store, record)
        raise
    return Exported(tuple(missing), tuple(sorted(kept)), record.unfinished)


def _by_pieces(files: _Files, lacking: Sequence[Signal], settings: JobSettings, say: Say, *, progress: bool) -> None:
    """Have pieces of bigWigs computed on the workbench, and put the bigWigs together."""
    work = f"{files.store.root}/{WORK}/{files.record.digest}"
    job = PiecesJob(files.scope, files.record, settings.model_copy(update={"output": work, "gpus_per_worker": 0.0}))
    pieces = PatientStore(work, patience=settings.storage_patience, proven=True, notice=say)
    try:
        require_pieces(run_job(job, say, progress=progress), pieces)
        say(f"putting {counted(len(lacking), 'bigWig')} together")
        files.put_together(lacking, job, pieces)
    except (FileNotFoundError, InputError, UnfinishedError) as error:
        held = files.store.list()
        if all(signal.file in held for signal in lacking):
            return  # another process was at the same export, and has removed the pieces because it was done
        if isinstance(error, FileNotFoundError):
            raise UnfinishedError(f"{error} is not there any more; the same command goes on") from error
        raise


def _refuse_nothing(tracks: Tracks, options: Options, unfinished: str) -> None:
    """Say that there is nothing to export."""
    asked = shortened(options.genes or options.regions)
    nothing = f"{tracks.store.uri()} has no rows{asked and f' of {asked}'}"
    if unfinished:
        raise UnfinishedError(f"{nothing} ({unfinished}); finish it with the same `sptx run`, then export it")
    raise InputError(f"{nothing}; ask for what its loci cover (loci.parquet)")


class _Files:
    """An export under way: the writers of its files."""

    def __init__(self, scope: Scope, store: Store, record: Record) -> None:
        self.scope, self.store, self.record = scope, store, record

    def write_others(self, missing: Sequence[str]) -> None:
        """Write the files of these names that are no bigWigs."""
        scope = self.scope
        if SITES_FILE in missing:
            self._write_sites()
        if COVERED_FILE in missing:
            self._write_covered()
        shown = [one for one in scope.signals if any(scope.stretches[name, one.strand] for name in scope.chroms)]
        require_record(self.store, self.record)
        if HUB in missing and scope.options.genome:
            self.store.write_atomic(HUB, hub_text(scope.options.genome, shown, self.record.unfinished).encode())
        if HUB_PAGE in missing:
            header, tissues = scope.tracks.header, scope.tissues
            self.store.write_atomic(HUB_PAGE, description(scope.options, header, tissues, self.record.unfinished))
        if SESSION in missing:
            text = session_text(scope.options.genome, _longest(scope.stretches), shown)
            self.store.write_atomic(SESSION, text.encode())

    def write_signals(self, lacking: Sequence[Signal], *, progress: bool) -> None:
        """Write bigWigs in this process; those that are filled from the same rows together."""
        bases = self.scope.bases({signal.strand for signal in lacking if not signal.is_usage})
        with Progress(bases, 0, noun="base", shown=progress and bases > 0) as line:
            for signals, strand, sites in _together(lacking):
                with self._bigwigs(signals) as writers:
                    for number, (contig, _) in enumerate(self.scope.contigs):
                        for rows in self.scope.frames(number, strand, signals, sites=sites, within=None):
                            for signal in signals:
                                writers[signal.channel].add(contig, *self.scope.runs(signal, rows))
                            if not sites:
                                line.advance(len(rows), failures=0)

    def put_together(self, lacking: Sequence[Signal], job: PiecesJob, pieces: Store) -> None:
        """Write bigWigs from the pieces that `job` has committed."""
        for signals, strand, sites in _together(lacking):
            with self._bigwigs(signals) as writers:
                append_pieces(pieces, job.pieces(pieces, USAGE_PIECES if sites else SPLICE_PIECES, strand), writers)

    @contextmanager
    def _bigwigs(self, signals: Sequence[Signal]) -> Iterator[dict[str, BigWig]]:
        """Channel -> a bigWig, each of which appears when all are written."""
        with ExitStack() as stack:
            files = {signal.channel: stack.enter_context(self._file(signal.file)) for signal in signals}
            writers = {channel: BigWig(file, self.scope.contigs) for channel, file in files.items()}
            yield writers
            for writer in writers.values():
                writer.close()

    @contextmanager
    def _file(self, name: str) -> Iterator[BinaryIO]:
        """A file that appears under its name when all is written."""
        with self.store.replacing(name) as path:
            with path.open("xb") as file:
                yield file
            require_record(self.store, self.record)

    def _write_sites(self) -> None:
        scope, columns = self.scope, [*KINDS, *self.scope.tissues]
        extra = [
            ("float", tag, tag if channel in KINDS else f"usage in {tag}")
            for channel, tag in zip(columns, tags_of(columns), strict=True)
        ]
        fields = _fields("sites", "Likely splice sites with their probabilities and usage", extra)
        decimals = DECIMALS_EXACT if scope.tracks.header.spec.exact else DECIMALS
        with self._file(SITES_FILE) as file:
            writer = BigBed(file, scope.contigs, fields)
            for name, chrom in scope.chroms.items():
                frames = [
                    rows.with_columns(strand=pl.lit(strand.value))
                    for strand in Strand
                    for rows in rows_of(scope.tracks, scope.choice, (chrom, strand.value), columns, sites=True)
                ]
                if frames:
                    rows = pl.concat(frames).sort("pos", maintain_order=True)
                    pos = rows["pos"].to_numpy().astype(np.int64)
                    writer.add(name, pos - 1, pos, _site_texts(rows, columns, decimals))
            writer.close()

    def _write_covered(self) -> None:
        fields = _fields("covered", "Bases that were computed", [], columns=6)
        with self._file(COVERED_FILE) as file:
            writer = BigBed(file, self.scope.contigs, fields)
            for name in self.scope.chroms:
                held = sorted((*span, strand) for strand in Strand for span in self.scope.stretches[name, strand.value])
                places = np.array([(first - 1, last) for first, last, _ in held], np.int64).reshape(-1, 2)
                texts = [f"{strand.partition}\t{SITE_SCORE}\t{strand}" for _, _, strand in held]
                writer.add(name, places[:, 0], places[:, 1], texts)
            writer.close()


def _together(signals: Iterable[Signal]) -> Iterator[tuple[list[Signal], Strand, bool]]:
    """Those that are filled from the same rows, their strand, and whether the rows are of likely sites alone."""
    held = list(signals)
    for strand in Strand:
        for usage in (False, True):
            if wanted := [one for one in held if one.strand is strand and one.is_usage is usage]:
                yield wanted, strand, usage


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
