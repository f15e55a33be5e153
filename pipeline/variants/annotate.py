"""A finished table of variants back into the VCF that it was made of: `sptx variants --to`.

The table's rows are read a stretch of records at a time, so that memory stays bounded where the VCF is sorted: shards
then hold neighbouring records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from operator import itemgetter
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from pipeline.variants.reader import Variants
from pipeline.variants.vcf_notes import RecordNotes, SpTxEntry, VcfNotes
from pipeline.variants.vcf_writer import WrittenVcf, write_vcf
from sptx_core.errors import InputError

RECORDS = 20_000
"""Records whose rows are held at once."""
FOOTERS = 16  # read at once

Row = Mapping[str, Any]


def annotate(
    table: Variants, vcf: str, to: str, contig_lengths: Mapping[str, int], spliceai_field: str | None
) -> WrittenVcf:
    """Write a VCF again, with what a finished table says of its records.

    Parameters
    ----------
    table
        The table; it must be complete.
    vcf, to
        Path or URI of the VCF that was scored, and of the new one.
    contig_lengths
        Bases of contigs by the names that the VCF uses.
    spliceai_field
        Name of a further INFO field with SpliceAI's ten subfields; None for none.

    Raises
    ------
    InputError
        The table is not complete, or see `write_vcf`.

    """
    if len(table.parts) < table.header.shards:
        raise InputError(f"{table.store.uri()} is not complete: run the same command again first")
    fields = table.header.fields
    notes = VcfNotes(
        checkpoint=fields["checkpoint"],
        distance=fields["distance"],
        mask="none; masked scores are subfields of their own",
        flanks=fields["flanks"],
        precision=fields["precision"],
        more={"Windows": fields["windows"], "Genome": fields["genome"], "Fingerprint": table.header.fingerprint},
        contig_lengths=contig_lengths,
        spliceai_field=spliceai_field,
    )
    return write_vcf(vcf, to, notes, record_notes(table))


def record_notes(table: Variants) -> Iterator[RecordNotes]:
    """What became of each record, in the order of the file."""
    spans = _spans(table)
    total = max((last for _, last in spans), default=-1) + 1
    for first in range(0, total, RECORDS):
        end = first + RECORDS
        parts = [part for part, (low, high) in zip(table.parts, spans, strict=True) if low < end and high >= first]
        rows = table.collected(table.of(parts).filter(pl.col("record").is_between(first, end - 1)))
        rows = rows.sort("record", "alt_index", "joint", "haplotype", maintain_order=True)
        expected = first
        for record, group in groupby(rows.iter_rows(named=True), key=itemgetter("record")):
            if record != expected:
                raise InputError(f"{table.store.uri()} has no row of record {expected + 1} of the VCF")
            expected += 1
            yield _notes(list(group))


def _notes(rows: list[Row]) -> RecordNotes:
    """Of the rows of a record."""
    statuses = {row["alt_index"]: row["status"] for row in rows if not row["joint"]}
    return RecordNotes(list(statuses.values()), [SpTxEntry.of_row(row) for row in rows])


def _spans(table: Variants) -> list[tuple[int, int]]:
    """Least and largest record of each part, from its footer."""
    files = table.store.arrow_filesystem()

    def span(name: str) -> tuple[int, int]:
        with files.open_input_file(table.store.path(name)) as file:
            footer = pq.read_metadata(file)
        column = footer.schema.names.index("record")
        found = [footer.row_group(n).column(column).statistics for n in range(footer.num_row_groups)]
        return min(one.min for one in found), max(one.max for one in found)

    with ThreadPoolExecutor(FOOTERS) as readers:
        return list(readers.map(lambda part: span(part[1]), table.parts))
