"""Transcripts -> their splice sites: the definition of donor and acceptor that evaluation and fine-tuning share.

A donor is the last base of an exon that an intron follows, and an acceptor is the first base of an exon that an intron
precedes, both in transcription order. So label SpliceAI and SpTransformer, and so mean the columns of the table.

With exons `[s1, e1)` and `[s2, e2)` (0-based, half-open, s2 > e1) the two exon bases beside the intron are, 1-based, e1
and s2 + 1. On the plus strand they are donor and acceptor, on the minus strand acceptor and donor: there the donor has
the larger position. Exons of a transcript that touch or overlap have no intron between them.
"""

from __future__ import annotations

import polars as pl

KINDS = ("acceptor", "donor")


def splice_sites(transcripts: pl.DataFrame) -> pl.DataFrame:
    """List the splice sites of transcripts.

    Parameters
    ----------
    transcripts : polars.DataFrame
        transcript_id, biotype, chrom, strand (str); exon_starts and exon_ends (list of int, 0-based half-open,
        ascending starts), as in `pipeline.inputs.annotation`.

    Returns
    -------
    polars.DataFrame
        One row for each transcript and site: transcript_id, biotype, chrom, strand, pos (int32, 1-based), and kind
        (one of `KINDS`).
    """
    keys = ["transcript_id", "biotype", "chrom", "strand"]
    exons = (
        transcripts.filter(pl.col("exon_starts").list.len() > 1)
        .select(*keys, "exon_starts", "exon_ends")
        .explode("exon_starts", "exon_ends")
        .with_columns(pl.col("exon_ends").cum_max().shift().over("transcript_id").alias("end_so_far"))
    )
    # A running maximum, because a later exon may end before an earlier one.
    introns = exons.filter(pl.col("exon_starts") > pl.col("end_so_far"))
    left, right = pl.col("end_so_far"), pl.col("exon_starts") + 1
    return pl.concat(
        introns.select(
            *keys,
            pos.cast(pl.Int32).alias("pos"),
            pl.when(pl.col("strand") == donor_on).then(pl.lit("donor")).otherwise(pl.lit("acceptor")).alias("kind"),
        )
        for pos, donor_on in ((left, "+"), (right, "-"))
    )
