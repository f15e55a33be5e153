"""The bigWigs of an export on the workbench: pieces of contigs and strands, computed anywhere, committed once, resumed.

    run.json, manifest.parquet, ...   the record of the run (`pipeline.batch.layout`)
    splice/<part>                     sections of acceptor and donor of a unit (`pipeline.exporting.pieces`)
    usage/<part>                      sections of each tissue

lie in a folder of their own below the root of the export, `.pieces/<digest of the export>`. A unit is a stretch of one
contig and strand, as long as a few parts of the table. Its sections are those that a process makes which writes the
whole export by itself, so the files have the same bytes.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np
import polars as pl

from pipeline.batch.cluster import Pool
from pipeline.batch.job import Job, Say, Worker
from pipeline.batch.layout import RUN_FILE, held
from pipeline.batch.manifest import read_manifest
from pipeline.batch.record import Execution, fingerprint
from pipeline.batch.run import Outcome
from pipeline.batch.storage import Store
from pipeline.batch.units import Unit
from pipeline.coordinates import Strand
from pipeline.exporting.big_file import Section, joined
from pipeline.exporting.bigwig import runs_section
from pipeline.exporting.browsers import Signal
from pipeline.exporting.pieces import Piece, to_parquet
from pipeline.exporting.record import Record
from pipeline.exporting.rows import Stretch, cuts
from pipeline.exporting.scope import Scope
from pipeline.settings import JobSettings
from sptx_core.errors import InputError, UnfinishedError
from sptx_core.words import counted

SPLICE_PIECES, USAGE_PIECES = "splice", "usage"
UNIT_BASES = 4_000_000  # of a unit, at least one part of the table: 50 MB of rows, some seconds of a core
PIECES_FORMAT = 1

Rows = dict[str, list[pl.DataFrame]]
"""Table of pieces -> rows, frame by frame."""


class Span(NamedTuple):
    """What a unit covers: number of the contig, strand, cuts of the table, and bases that have rows."""

    contig: int
    strand: Strand
    cuts: tuple[Stretch, ...]
    bases: int


class PiecesJob(Job):
    """The bigWigs of an export in pieces; `settings.output` is where these go."""

    tables: ClassVar[tuple[str, ...]] = (SPLICE_PIECES, USAGE_PIECES)
    called: ClassVar[str] = "piece"
    counted: ClassVar[str] = "base"

    def __init__(self, scope: Scope, record: Record, settings: JobSettings) -> None:
        self.scope, self.settings = scope, settings
        self.fields = {"job": "export", "pieces": PIECES_FORMAT, **asdict(record)}
        self.units, self.size = len(self.spans), sum(span.bases for span in self.spans)

    @cached_property
    def spans(self) -> list[Span]:
        """Of all units, in the order of the files: by contig, strand and position."""
        places = [(number, strand) for number in range(len(self.scope.contigs)) for strand in Strand]
        return [span for place in places for span in _spans(self.scope, *place)]

    def iter_units(self, wanted: list[int]) -> Iterator[Unit]:
        """The units of these indices."""
        for index in wanted:
            number, strand, held_cuts, bases = self.spans[index]
            firsts, lasts = (list(ends) for ends in zip(*held_cuts, strict=True))
            label = f"{number}-{strand.partition}-{firsts[0]}-{lasts[-1]}"
            columns = {"contig": number, "strand": strand.value, "firsts": firsts, "lasts": lasts}
            yield Unit(index, label, bases, columns=columns)

    def make_worker(self, execution: Execution) -> Callable[[], Worker]:
        """What makes a worker in an actor."""
        return partial(PieceWorker, self.scope, execution)

    def describe(self) -> str:
        """How much is exported."""
        return f"export of {counted(self.size, 'base')}"

    def local_inputs(self) -> list[str]:
        """The table, where it lies on a disk."""
        store = self.scope.tracks.store
        return [store.path(RUN_FILE)] if store.is_local else []

    def choose_execution(self, pool: Pool, stored: Execution | None, say: Say) -> Execution:  # noqa: ARG002
        """Any processor gives the same bytes."""
        return Execution("cpu", platform.machine(), "", "", 1, pool.threads)

    def pieces(self, store: Store, table: str, strand: Strand) -> list[Piece]:
        """The committed pieces of a complete run at `store`, in order; `FileNotFoundError` where one is missing."""
        manifest = read_manifest(store)
        measures = manifest.measures(self.tables) if manifest else {}
        done = held(store, self.tables, fingerprint(self.fields)).done
        wanted = [unit for unit, span in enumerate(self.spans) if span.strand is strand]
        at = self.tables.index(table)
        if missing := [unit for unit in wanted if unit not in done or unit not in measures]:
            raise FileNotFoundError(f"piece {missing[0]} of {store.uri()}")
        return [Piece(done[unit][at].name, measures[unit][at].sha256) for unit in wanted]


class PieceWorker(Worker):
    """Rows of a unit -> its pieces."""

    def __init__(self, scope: Scope, execution: Execution) -> None:
        self.scope, self.execution = scope, execution

    def read(self, unit: Unit) -> tuple[Unit, Rows]:
        """Rows of both tables."""
        columns = unit.columns
        within = list(zip(columns["firsts"], columns["lasts"], strict=True))
        number, strand = columns["contig"], Strand(columns["strand"])
        return unit, {
            table: list(self.scope.frames(number, strand, signals, sites=table == USAGE_PIECES, within=within))
            for table, signals in self._signals(strand).items()
            if signals
        }

    def compute(self, inputs: Iterator[tuple[Unit, Rows] | None]) -> Iterator[Any]:
        """Sections of one unit after another."""
        for given in inputs:
            if given is not None:
                try:
                    yield self._sections(*given)
                except InputError as error:
                    yield error

    def encode(self, unit: Unit, inputs: Any, outputs: Mapping[str, Mapping[str, Section]]) -> Mapping[str, bytes]:  # noqa: ARG002
        """Pieces as they are stored."""
        return {table: to_parquet(sections) for table, sections in outputs.items()}

    def _sections(self, unit: Unit, rows: Rows) -> dict[str, dict[str, Section]]:
        number = int(unit.columns["contig"])
        contig = self.scope.contigs[number]
        signals = self._signals(Strand(unit.columns["strand"]))
        return {
            table: {
                signal.channel: joined(
                    [runs_section(number, contig, *self.scope.runs(signal, frame)) for frame in rows[table]]
                )
                for signal in wanted
            }
            for table, wanted in signals.items()
        }

    def _signals(self, strand: Strand) -> dict[str, list[Signal]]:
        """Table of pieces -> its bigWigs of a strand; none of a network without tissues."""
        return {
            table: [one for one in self.scope.signals if one.strand is strand and one.is_usage is usage]
            for table, usage in ((SPLICE_PIECES, False), (USAGE_PIECES, True))
        }


def require_pieces(outcome: Outcome, store: Store) -> None:
    """Raise `UnfinishedError` where pieces are missing, with the error of the first that failed."""
    if outcome.complete:
        return
    piece, error = min(outcome.failed.items(), default=(None, ""))
    first = f", the first of them ({piece}) by {error}" if error else ""
    raise UnfinishedError(
        f"{store.uri()}: {outcome.done:,} of {counted(outcome.units, 'piece')} of the export done, "
        f"{len(outcome.failed):,} failed{first}; the same command goes on with what is missing"
    )


def _spans(scope: Scope, number: int, strand: Strand) -> list[Span]:
    """Units of a contig and strand: as many cuts each as make `UNIT_BASES`."""
    name = scope.contigs[number].name
    stretches = scope.stretches[name, strand.value]
    every = cuts(scope.tracks, (scope.chroms[name], strand.value))
    if not stretches or not every:
        return []
    before = _bases_up_to(stretches, [every[0][0] - 1, *(last for _, last in every)])
    found = [(cut, end - begin) for cut, (begin, end) in zip(every, pairwise(before), strict=True) if end > begin]
    spans: list[Span] = []
    for cut, bases in found:
        if spans and spans[-1].bases + bases <= UNIT_BASES:
            spans[-1] = Span(number, strand, (*spans[-1].cuts, cut), spans[-1].bases + bases)
        else:
            spans.append(Span(number, strand, (cut,), bases))
    return spans


def _bases_up_to(stretches: Sequence[Stretch], positions: Sequence[int]) -> list[int]:
    """How many bases of the stretches lie at or before each position."""
    firsts, lasts = np.array(stretches, np.int64).T
    held = np.cumsum([0, *(lasts - firsts + 1)])
    at = np.searchsorted(firsts, positions, side="right")
    beyond = np.maximum(lasts[np.maximum(at, 1) - 1] - np.array(positions), 0)
    return [int(bases) for bases in held[at] - np.where(at > 0, beyond, 0)]
