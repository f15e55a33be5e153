"""The genes of an annotation: their spans, their annotated splice sites, and which of them a change touches.

A gene is what has one gene id on one strand of one contig; transcripts of one name but of other ids are other genes.
Coordinates are 0-based, half-open, genomic; contig names are those of the FASTA.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.inputs.splice_sites import splice_sites

GENE_COLUMNS: Mapping[str, pl.DataType] = {
    "gene": pl.UInt32(),
    "gene_id": pl.String(),
    "gene_name": pl.String(),
    "contig": pl.String(),
    "strand": pl.String(),
    "start": pl.Int64(),
    "end": pl.Int64(),
    "transcripts": pl.List(pl.String()),
    "acceptors": pl.List(pl.Int64()),
    "donors": pl.List(pl.Int64()),
}


def gene_table(transcripts: pl.DataFrame) -> pl.DataFrame:
    """One row a gene, numbered from 0.

    Parameters
    ----------
    transcripts
        Rows of an annotation (`pipeline.inputs.annotation`) with the FASTA's names of contigs.

    Returns
    -------
    polars.DataFrame
        `GENE_COLUMNS`: number, id, name, contig, strand, span, ids of its transcripts, and 0-based positions of the
        first bases after introns (acceptors) and the last ones before them (donors); ordered by contig as
        `transcripts` are, start, end and id.

    """
    key = ["gene_id", "contig", "strand"]
    genes = transcripts.group_by(key, maintain_order=True).agg(
        pl.col("gene_name").drop_nulls().first(),
        pl.col("start").min(),
        pl.col("end").max(),
        pl.col("transcript_id").unique().sort().alias("transcripts"),
    )
    described = transcripts.select(
        "transcript_id",
        pl.col("transcript_type").alias("biotype"),
        pl.col("contig").alias("chrom"),
        "strand",
        "exon_starts",
        "exon_ends",
    )
    # By row, for an id may stand on two contigs.
    described = described.with_columns(pl.int_range(pl.len()).cast(pl.String).alias("transcript_id"))
    owner = transcripts.select(pl.int_range(pl.len()).cast(pl.String).alias("transcript_id"), *key)
    sites = splice_sites(described).join(owner.select("transcript_id", "gene_id"), on="transcript_id")
    sites = sites.rename({"chrom": "contig"}).with_columns(pl.col("pos").cast(pl.Int64) - 1)
    for kind in ("acceptor", "donor"):
        found = sites.filter(pl.col("kind") == kind).group_by(key).agg(pl.col("pos").unique().sort().alias(f"{kind}s"))
        genes = genes.join(found, on=key, how="left", maintain_order="left")
    genes = genes.with_columns(pl.col("acceptors", "donors").fill_null([]))
    order = {contig: n for n, contig in enumerate(transcripts["contig"].unique(maintain_order=True))}
    rank = pl.col("contig").replace_strict(order, return_dtype=pl.Int64)
    genes = genes.sort(rank, "start", "end", "gene_id", "strand")
    numbered = genes.with_columns(pl.int_range(pl.len(), dtype=pl.UInt32).alias("gene"))
    return numbered.select(pl.col(name).cast(kind) for name, kind in GENE_COLUMNS.items())


@dataclass(frozen=True)
class GeneIndex:
    """Which genes of `gene_table` touch a stretch."""

    genes: pl.DataFrame

    def touching(self, contig: str, low: int, high: int) -> list[int]:
        """Numbers of the genes that share a base with [low, high), ascending."""
        held = self._by_contig.get(contig)
        if held is None:
            return []
        numbers, starts, ends, reach = held
        first, stop = int(np.searchsorted(reach, low, side="right")), int(np.searchsorted(starts, high, side="left"))
        return [int(numbers[n]) for n in range(first, stop) if ends[n] > low]

    @cached_property
    def _by_contig(self) -> dict[str, tuple[NDArray[np.int64], ...]]:
        """Numbers, starts, ends and the farthest end so far of a contig's genes, by start."""
        found: dict[str, tuple[NDArray[np.int64], ...]] = {}
        for (contig,), rows in self.genes.group_by("contig", maintain_order=True):
            ends = rows["end"].to_numpy()
            found[str(contig)] = (rows["gene"].to_numpy(), rows["start"].to_numpy(), ends, np.maximum.accumulate(ends))
        return found
