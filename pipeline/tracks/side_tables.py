"""A plan -> the small tables beside the parts, for people: contigs, loci, transcripts and plan (one row a shard).

Positions in them are 1-based and inclusive. `pipeline.tracks.header.read_table` reads them back.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from pipeline.tracks.layout import CONTIGS, LOCI, PLAN, TRANSCRIPTS
from pipeline.tracks.settings import Flanks

if TYPE_CHECKING:
    from pipeline.tracks.plan import Plan


def tables_of(plan: Plan) -> dict[str, bytes]:
    """Name -> bytes of the small tables of a plan."""
    one_based = (pl.col("start") + 1).cast(pl.Int32).alias("start"), pl.col("end").cast(pl.Int32)
    transcript = ["transcript_id"] if plan.flanks is Flanks.TRANSCRIPT else []
    loci = plan.loci.select("locus", "chrom", "strand", *one_based, "transcripts", *transcript)
    pieces = plan.pieces.group_by("shard", maintain_order=True).agg(
        pl.struct(pl.col("locus"), *one_based).alias("pieces")
    )
    shards = plan.shards.join(pieces, on="shard", maintain_order="left").with_columns(
        (pl.col("first", "last") + 1).cast(pl.Int32)
    )
    frames = {CONTIGS: plan.contigs, LOCI: loci, TRANSCRIPTS: _transcript_table(plan), PLAN: shards}
    contents = {}
    for name, frame in frames.items():
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd")
        contents[f"{name}.parquet"] = buffer.getvalue()
    return contents


def _transcript_table(plan: Plan) -> pl.DataFrame:
    """Selected transcripts with the loci that hold them."""
    if plan.flanks is Flanks.TRANSCRIPT:
        held = plan.loci.group_by("transcript_id").agg(pl.col("locus"))
    else:
        held = _covering_loci(plan.transcripts, plan.loci)
    return plan.transcripts.join(held, on="transcript_id", how="left", maintain_order="left").select(
        "transcript_id",
        "gene_id",
        "gene_name",
        "gene_type",
        "transcript_type",
        "tags",
        pl.col("contig").alias("chrom"),
        "strand",
        (pl.col("start") + 1).cast(pl.Int32).alias("start"),
        pl.col("end").cast(pl.Int32),
        pl.col("exon_starts").list.eval(pl.element() + 1).cast(pl.List(pl.Int32)),
        pl.col("exon_ends").cast(pl.List(pl.Int32)),
        pl.col("locus").fill_null([]),
    )


def _covering_loci(transcripts: pl.DataFrame, loci: pl.DataFrame) -> pl.DataFrame:
    """transcript_id -> the loci it overlaps; loci of a contig and strand are disjoint and sorted."""
    frames = []
    for (chrom, strand), group in loci.group_by("chrom", "strand", maintain_order=True):
        own = transcripts.filter((pl.col("contig") == chrom) & (pl.col("strand") == strand))
        first = np.searchsorted(group["end"].to_numpy(), own["start"].to_numpy(), side="right")
        end = np.searchsorted(group["start"].to_numpy(), own["end"].to_numpy(), side="left")
        base = int(group["locus"].item(0))
        frames.append(
            own.select("transcript_id").with_columns(
                pl.int_ranges(pl.Series(first + base), pl.Series(end + base), eager=True)
                .cast(pl.List(pl.Int32))
                .alias("locus")
            )
        )
    return pl.concat(frames)
