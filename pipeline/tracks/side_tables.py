"""A plan -> the small tables beside the parts, for people: contigs, loci, transcripts and plan (one row a shard).

Positions in them are 1-based and inclusive. `pipeline.tracks.header.read_table` reads them back, `same_table` compares.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from pipeline.batch.parquet import from_parquet
from pipeline.tracks.layout import CONTIGS, LOCI, PLAN, TRANSCRIPTS
from pipeline.tracks.settings import Flanks

if TYPE_CHECKING:
    from pipeline.tracks.plan import Plan

SIDE_TABLES = tuple(f"{name}.parquet" for name in (CONTIGS, LOCI, TRANSCRIPTS, PLAN))
# What the fingerprint covers; an annotation with other names, types or exons makes the same table.
_COVERED = {
    f"{CONTIGS}.parquet": ("chrom", "length"),
    f"{TRANSCRIPTS}.parquet": ("transcript_id", "chrom", "strand", "start", "end", "locus"),
}


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


def same_table(name: str, stored: bytes, expected: bytes) -> bool:
    """Whether a small table in storage is the one that a plan gives, as far as the fingerprint covers it."""
    wanted = from_parquet(expected)
    try:
        held = from_parquet(stored)
        if not set(wanted.columns) <= set(held.columns):
            return False
        covered = [pl.col(column).cast(wanted.schema[column]) for column in _COVERED.get(name, wanted.columns)]
        frames = [frame.select(covered) for frame in (held, wanted)]
        if not _is_whole(name, held):
            return False
    except (OSError, UnicodeError, pa.ArrowException, pl.exceptions.PolarsError):
        return False
    if name == f"{TRANSCRIPTS}.parquet":  # in the order of the annotation
        frames = [frame.sort("transcript_id", "chrom", "strand", "start", "end") for frame in frames]
    return frames[0].equals(frames[1])


def _is_whole(name: str, held: pl.DataFrame) -> bool:
    """Whether what the fingerprint does not cover is at least there, as `verify` asks of tables without checksums."""
    if name == f"{CONTIGS}.parquet":
        return not held["annotation_name"].null_count()
    if name == f"{TRANSCRIPTS}.parquet":
        return bool((held["exon_starts"].list.len() == held["exon_ends"].list.len()).all())
    return True


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
