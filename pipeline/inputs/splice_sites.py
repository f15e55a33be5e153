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
    found = introns(transcripts.select(*keys, "exon_starts", "exon_ends"))
    left, right = pl.col("first") - 1, pl.col("last") + 1
    return pl.concat(
        found.select(
            *keys,
            pos.alias("pos"),
            pl.when(pl.col("strand") == donor_on).then(pl.lit("donor")).otherwise(pl.lit("acceptor")).alias("kind"),
        )
        for pos, donor_on in ((left, "+"), (right, "-"))
    )


def introns(transcripts: pl.DataFrame) -> pl.DataFrame:
    """List the introns of transcripts.

    Parameters
    ----------
    transcripts : polars.DataFrame
        transcript_id, strand (str); exon_starts and exon_ends (list of int, 0-based half-open, ascending starts), as in
        `pipeline.inputs.annotation`. Other columns are kept.

    Returns
    -------
    polars.DataFrame
        One row for each transcript and intron, without the lists of exons: first and last (int32, 1-based), the bases
        of the intron; left_exon and right_exon (int32), the numbers of the exons beside it. Exons are numbered from 1
        in transcription order, those that touch or overlap one by one.
    """
    number = pl.when(pl.col("strand") == "+").then(pl.col("index") + 1).otherwise(pl.col("exons") - pl.col("index"))
    is_longest = (pl.col("exon_ends") > pl.col("exon_ends").cum_max().shift()).fill_null(value=True)
    others = pl.exclude("index", "exons", "exon", "exon_starts", "exon_ends", "end_so_far", "left_exon")
    # A running maximum, because a later exon may end before an earlier one.
    return (
        transcripts.filter(pl.col("exon_starts").list.len() > 1)
        .with_columns(
            pl.col("exon_starts").list.len().cast(pl.Int32).alias("exons"),
            pl.int_ranges(pl.col("exon_starts").list.len(), dtype=pl.Int32).alias("index"),
        )
        .explode("exon_starts", "exon_ends", "index")
        .with_columns(number.alias("exon"))
        .with_columns(
            pl.col("exon_ends").cum_max().shift().over("transcript_id").alias("end_so_far"),
            pl.when(is_longest).then(pl.col("exon")).forward_fill().shift().over("transcript_id").alias("left_exon"),
        )
        .filter(pl.col("exon_starts") > pl.col("end_so_far"))
        .select(
            others,
            (pl.col("end_so_far") + 1).cast(pl.Int32).alias("first"),
            pl.col("exon_starts").cast(pl.Int32).alias("last"),
            "left_exon",
            pl.col("exon").alias("right_exon"),
        )
    )
