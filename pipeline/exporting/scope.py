"""What an export takes of a table, and under which names: `Scope(tracks, options)`.

It knows the wanted bases, the contigs of the files in their order, the bigWigs to write, and the stretches that have
rows. It pickles, with the parts that the table had when it was made, so that processes elsewhere take the same rows.

Errors: `InputError` where the table lacks what is asked for, or a contig is too long for the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property

import numpy as np
import polars as pl

from pipeline.coordinates import Strand
from pipeline.exporting.big_file import Contig, require_lengths
from pipeline.exporting.bigwig import runs_of
from pipeline.exporting.browsers import Signal, signals_of
from pipeline.exporting.record import Options
from pipeline.exporting.rows import Choice, Place, Stretch, covered, rows_of
from pipeline.exporting.ucsc_names import ucsc_names
from pipeline.exporting.zoom import Positions, Values
from pipeline.tracks.reader import Tracks
from sptx_core.channels import SPLICE


class Scope:
    """See the module."""

    def __init__(self, tracks: Tracks, options: Options) -> None:
        self.tracks, self.options = tracks, options
        self.choice = Choice.of(tracks, options.genes, options.regions)
        lengths = dict(tracks.contigs.select("chrom", "length").iter_rows())
        named = ucsc_names(lengths, options.genome) if options.genome else None
        self.unnamed = named.unknown if named else ()
        names = named.of if named else {name: name for name in lengths}
        self.chroms = {names[chrom]: chrom for chrom in sorted(lengths, key=lambda chrom: names[chrom].encode())}
        """Name in the files -> name in the table, in the order of the files."""
        self.contigs = [Contig(name, lengths[chrom]) for name, chrom in self.chroms.items()]
        require_lengths(self.contigs)
        self.tissues = [channel for channel in tracks.channels if channel not in SPLICE]
        self.signals = signals_of(self.tissues)

    @cached_property
    def stretches(self) -> dict[Place, list[Stretch]]:
        """Name in the files and strand -> what has rows."""
        return {
            (name, strand.value): covered(self.tracks, self.choice, (chrom, strand.value))
            for name, chrom in self.chroms.items()
            for strand in Strand
        }

    def bases(self, strands: Iterable[Strand]) -> int:
        """Bases of these strands that have rows."""
        wanted = set(strands)
        spans = [span for (_, strand), held in self.stretches.items() if strand in wanted for span in held]
        return sum(last - first + 1 for first, last in spans)

    def frames(
        self, number: int, strand: Strand, signals: Iterable[Signal], *, sites: bool, within: Iterable[Stretch] | None
    ) -> Iterator[pl.DataFrame]:
        """Rows of a contig, by its number, and strand, for bigWigs of its channels; `within` as of `rows_of`."""
        place = (self.chroms[self.contigs[number].name], strand.value)
        channels = [signal.channel for signal in signals]
        return rows_of(self.tracks, self.choice, place, channels, sites=sites, within=within)

    def runs(self, signal: Signal, rows: pl.DataFrame) -> tuple[Positions, Positions, Values]:
        """What a bigWig holds of rows of a contig: runs of equal values from `least` on."""
        least = np.float32(self.options.least)  # as the table holds it: 0.001 is a value from 0.001 on
        values = rows[signal.channel].to_numpy()
        kept = ~(values < least)  # what is no number is for the writer to refuse
        pos = rows["pos"].to_numpy().astype(np.int64)
        return runs_of(pos[kept], values[kept])
