"""Transcripts -> their splice sites: one meaning of donor and acceptor for evaluation and training.

A donor is the last base of an exon that an intron follows, an acceptor the first base of an exon that follows an
intron, both in transcription order: the labels of SpliceAI and SpTransformer, and the meaning of the table's columns.
With exons `[s1, e1)` and `[s2, e2)` (0-based, half-open, s2 > e1) the two bases beside the intron are, 1-based, e1 and
s2 + 1: on the plus strand donor and acceptor, on the minus strand acceptor and donor. Exons of a transcript that touch
or overlap have no intron between them. So an intron of a minus-strand gene shows its donor at the larger position.

In: a frame with transcript_id, biotype, chrom, strand, exon_starts and exon_ends as in `pipeline.inputs.annotation`. Out:
transcript_id, biotype, chrom, strand, pos (int32, 1-based) and kind (`KINDS`), a row for each transcript and site.
"""

from __future__ import annotations

import polars as pl

KINDS = ("acceptor", "donor")


def splice_sites(transcripts: pl.DataFrame) -> pl.DataFrame:
    """The sites of transcripts; see the module's contract."""
    keys = ["transcript_id", "biotype", "chrom", "strand"]
    exons = (
        transcripts.filter(pl.col("exon_starts").list.len() > 1)
        .select(*keys, "exon_starts", "exon_ends")
        .explode("exon_starts", "exon_ends")
        .with_columns(pl.col("exon_ends").cum_max().shift().over("transcript_id").alias("reached"))
    )
    introns = exons.filter(pl.col("exon_starts") > pl.col("reached"))
    left, right = pl.col("reached"), pl.col("exon_starts") + 1
    return pl.concat(
        introns.select(
            *keys,
            pos.cast(pl.Int32).alias("pos"),
            pl.when(pl.col("strand") == donor_on).then(pl.lit("donor")).otherwise(pl.lit("acceptor")).alias("kind"),
        )
        for pos, donor_on in ((left, "+"), (right, "-"))
    )
