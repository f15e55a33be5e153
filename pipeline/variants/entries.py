"""Entries: what the variants job knows of each allele before anything is computed.

An entry is an allele of a record, or of a haplotype: as it is written, what became of it (`Status`; `scored` where it
is going to be), its normal form, and the genes that it touches. `Annotator` makes them from records. Frames of entries
have the columns `ENTRY_COLUMNS`.

`pos` is 1-based and as written; `start` is 0-based and that of the normal form (`pipeline.variants.alleles`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import polars as pl

from pipeline.inputs.genome import Genome
from pipeline.tracks.layout import is_folder
from pipeline.variants.alleles import Allele, Fetch, Status, is_sequence, normalise, unscorable
from pipeline.variants.genes import GeneIndex
from pipeline.variants.settings import Outside
from sptx_core.alphabet import Codes

ENTRY_COLUMNS: Mapping[str, pl.DataType] = {
    "record": pl.Int64(),
    "alt_index": pl.Int32(),
    "chrom": pl.String(),
    "pos": pl.Int64(),
    "id": pl.String(),
    "ref": pl.String(),
    "alt": pl.String(),
    "status": pl.String(),
    "contig": pl.String(),
    "start": pl.Int64(),
    "norm_ref": pl.String(),
    "norm_alt": pl.String(),
    "shift": pl.Int64(),
    "before": pl.String(),
    "after": pl.String(),
    "genes": pl.List(pl.UInt32()),
    "both_strands": pl.Boolean(),
    "sample": pl.String(),
    "haplotype": pl.Int32(),
    "phase_set": pl.String(),
    "joint": pl.Boolean(),
}
CHUNK = 50_000  # entries that stand as Python objects at once
_BLOCK = 1 << 16  # bases that are read at once
_MISSING = "."  # of a VCF


class Written(NamedTuple):
    """An allele as a file has it; `record` counts the file's records from 0, `alt_index` a record's ALTs from 1."""

    record: int
    alt_index: int
    chrom: str
    pos: int
    id: str
    ref: str
    alt: str
    fault: Status | None = None
    """What is wrong already."""
    sample: str | None = None
    haplotype: int | None = None
    phase_set: str | None = None
    joint: bool = False


@dataclass
class Annotator:
    """Makes entries of written alleles.

    Parameters
    ----------
    genome
        Reads the reference.
    contigs
        From names in the file to the FASTA's; None where it has none.
    index
        The genes.
    outside
        What is done with alleles that touch no gene.
    max_length
        Bases of the longest change that is scored.

    """

    genome: Genome
    contigs: Mapping[str, str | None]
    index: GeneIndex
    outside: Outside
    max_length: int

    def __post_init__(self) -> None:
        self._lengths = self.genome.lengths
        self._fetchers: dict[str, Fetch] = {}

    def frames(self, written: Iterable[Written]) -> Iterator[pl.DataFrame]:
        """Frames of at most `CHUNK` entries, in the order given."""
        rest = iter(written)
        while chunk := list(islice(rest, CHUNK)):
            rows = [self.entry(one) for one in chunk]
            columns = {name: [row[n] for row in rows] for n, name in enumerate(ENTRY_COLUMNS)}
            yield pl.DataFrame(columns, schema=dict(ENTRY_COLUMNS))

    def entry(self, one: Written) -> tuple[Any, ...]:
        """Values of `ENTRY_COLUMNS` for an allele."""
        status, contig, allele = self.judged(one)
        genes: list[int] = []
        if allele is not None and contig is not None:
            unchanged = allele.ref == allele.alt
            stretch = (one.pos - 1, one.pos - 1 + len(one.ref)) if unchanged else allele.touched
            genes = self.index.touching(contig, *stretch)
            if not genes and status is Status.SCORED and self.outside is Outside.SKIP:
                status = Status.OUTSIDE_GENES
        both = status is Status.SCORED and not genes
        form = (None,) * 6
        if allele is not None:
            form = (allele.start, allele.ref, allele.alt, allele.shift, allele.before, allele.after)  # type: ignore[assignment]
        # Rows lie in folders of their contigs; a line that is no record may have anything in place of one.
        chrom = one.chrom if contig is not None or is_folder(one.chrom) else _MISSING
        return (
            *(one.record, one.alt_index, chrom, one.pos, one.id, one.ref, one.alt, status.value, contig, *form),
            *(genes, both, one.sample, one.haplotype, one.phase_set, one.joint),
        )

    def judged(self, one: Written) -> tuple[Status, str | None, Allele | None]:
        """What becomes of an allele as far as it alone decides it, its contig in the FASTA, and its normal form."""
        contig = self.contigs.get(one.chrom)
        fault = one.fault or unscorable(one.alt)
        if fault is None and not is_sequence(one.ref):
            fault = Status.MALFORMED
        if fault is not None:
            return fault, contig, None
        if contig is None:
            return Status.UNKNOWN_CONTIG, None, None
        allele = normalise(one.pos - 1, one.ref, one.alt, self._fetcher(contig), self._lengths[contig])
        if allele is None:
            return Status.REF_MISMATCH, contig, None
        return Status.TOO_LONG if allele.length > self.max_length else Status.SCORED, contig, allele

    def _fetcher(self, contig: str) -> Fetch:
        if contig not in self._fetchers:
            self._fetchers[contig] = blockwise(lambda start, end: self.genome.fetch(contig, start, end))
        return self._fetchers[contig]


def blockwise(fetch: Fetch) -> Fetch:
    """`fetch`, but of large blocks, the last of which is kept: neighbouring alleles are read from one."""
    held: dict[str, Any] = {"start": 0, "codes": None}

    def read(start: int, end: int) -> Codes:
        codes: Codes | None = held["codes"]
        if codes is None or start < held["start"] or end > held["start"] + len(codes):
            first = start - _BLOCK // 4
            codes = fetch(first, max(end, first + _BLOCK))
            held["start"], held["codes"] = first, codes
        return codes[start - held["start"] : end - held["start"]]

    return read


def allele_of(row: Mapping[str, Any]) -> Allele:
    """The normal form of an entry that has one."""
    return Allele(row["start"], row["norm_ref"], row["norm_alt"], row["shift"], row["before"], row["after"])


def counts(entries: Sequence[str] | pl.Series) -> dict[str, int]:
    """How many entries have each status, in the order of `Status`, without those that none has."""
    found = pl.Series(entries).value_counts(sort=False)
    by_name: dict[str, int] = dict(found.iter_rows())
    return {status.value: by_name[status.value] for status in Status if by_name.get(status.value)}
