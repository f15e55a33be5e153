"""The plan: entries sorted along the genome, cut into shards, each a unit of work that carries its own entries.

Contigs stand in the FASTA's order, those that it lacks behind them; entries by the start of their normal form, so that
those which share windows are in one shard. A unit's columns are the contig's name in the FASTA, and entries and genes
as Arrow IPC (https://arrow.apache.org/docs/format/Columnar.html), so that a plan of millions of alleles stays small.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from pipeline.batch.units import Unit
from pipeline.tracks.layout import require_folder
from pipeline.variants.alleles import Status
from pipeline.variants.entries import counts
from pipeline.variants.layout import ShardKey

MAX_ROWS = 20_000
"""Entries of a shard, few of which are scored."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What is computed.

    Parameters
    ----------
    entries
        Frame of entries (`ENTRY_COLUMNS`) and their `shard`, sorted by it.
    genes
        Frame of genes (`GENE_COLUMNS`).

    """

    entries: pl.DataFrame
    genes: pl.DataFrame

    @property
    def units(self) -> int:
        """How many shards there are."""
        return len(self._bounds)

    @property
    def contigs(self) -> list[str]:
        """FASTA names of the contigs on which alleles are scored, in order."""
        scored = self.entries.filter(pl.col("status") == Status.SCORED.value)
        return [str(name) for name in scored["contig"].unique(maintain_order=True)]

    @cached_property
    def statuses(self) -> dict[str, int]:
        """How many entries have each status."""
        return counts(self.entries["status"])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of entries and of the genes that they touch."""
        content = hashlib.sha256()
        used = self.entries["genes"].explode().drop_nulls().unique().sort()
        for frame in (self.entries.drop("shard"), self.genes[used.to_list()] if len(used) else self.genes.clear()):
            for chunk in frame.iter_slices(100_000):
                content.update(chunk.write_ndjson().encode())
        return content.hexdigest()

    def iter_units(self, wanted: Sequence[int]) -> Iterator[Unit]:
        """The units of these indices."""
        for index in wanted:
            offset, length = self._bounds[index]
            entries = self.entries[offset : offset + length]
            used = entries["genes"].explode().drop_nulls().unique().sort().to_list()
            first, last = entries["pos"].min(), entries["pos"].max()
            key = ShardKey(index, entries["chrom"][0], int(first), int(last))  # type: ignore[arg-type]  # integers
            yield Unit(
                index,
                label=key.label,
                size=length,
                place=key.place,
                columns={
                    "contig": entries["contig"][0] or "",
                    "entries": _packed(entries.drop("shard")),
                    "genes": _packed(self.genes[used] if used else self.genes.clear()),
                },
            )

    @cached_property
    def _bounds(self) -> list[tuple[int, int]]:
        """First row and number of rows of each shard."""
        lengths = self.entries.group_by("shard", maintain_order=True).len()["len"].to_list()
        bounds, done = [], 0
        for length in lengths:
            bounds.append((done, length))
            done += length
        return bounds


def make_plan(entries: pl.DataFrame, genes: pl.DataFrame, contigs: Sequence[str], alleles_per_shard: int) -> Plan:
    """Sort entries along the genome and cut them into shards.

    Parameters
    ----------
    entries, genes
        Frames of both.
    contigs
        The FASTA's names, in its order.
    alleles_per_shard
        Alleles to be scored in a shard.

    """
    for name in entries["chrom"].unique():
        require_folder(name)
    order = {name: rank for rank, name in enumerate(contigs)}
    unknown = len(order)
    rank = pl.col("contig").replace_strict(order, default=unknown, return_dtype=pl.Int64).fill_null(unknown)
    place = pl.coalesce(pl.col("start"), pl.col("pos") - 1)
    order_of_rows = (rank, "chrom", place, "record", "alt_index", "joint", "haplotype", "phase_set")
    entries = entries.sort(*order_of_rows, nulls_last=True, maintain_order=True)
    scored = (pl.col("status") == Status.SCORED.value).cast(pl.Int64)
    before = scored.cum_sum() - scored  # scored entries of the contig before this one
    row = pl.int_range(pl.len())
    entries = entries.with_columns(
        (before.over("chrom") // alleles_per_shard).alias("_by_work"), (row.over("chrom") // MAX_ROWS).alias("_by_rows")
    )
    # `rle_id` counts on where any of them changes.
    entries = entries.with_columns(pl.struct("chrom", "_by_work", "_by_rows").rle_id().alias("shard"))
    return Plan(entries.drop("_by_work", "_by_rows"), genes)


def shard_of(unit: Unit) -> tuple[str | None, list[dict[str, Any]], dict[int, dict[str, Any]]]:
    """The contig's name in the FASTA, the entries, and the genes by number, of a unit."""
    entries = pl.read_ipc(io.BytesIO(unit.columns["entries"]))
    genes = pl.read_ipc(io.BytesIO(unit.columns["genes"]))
    by_number = {int(gene["gene"]): gene for gene in genes.iter_rows(named=True)}
    return unit.columns["contig"] or None, list(entries.iter_rows(named=True)), by_number


def _packed(frame: pl.DataFrame) -> bytes:
    content = io.BytesIO()
    frame.rechunk().write_ipc(content, compression="zstd")
    return content.getvalue()
