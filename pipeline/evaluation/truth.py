"""An annotation -> the splice sites that a table is held against.

What a site is: `pipeline.inputs.splice_sites`. Out: `Truth`, with contig names of the table. A contig of the annotation that
the table does not know keeps its name: its sites lie outside the table. Errors: `InputError` when annotation and table
share no contig, or it has no intron.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from pipeline.coordinates import reconcile_contigs, shortened
from pipeline.inputs.annotation import Annotation
from pipeline.inputs.splice_sites import splice_sites
from pipeline.tracks.reader import Tracks
from sptx_core.errors import InputError


class Truth(NamedTuple):
    """Sites and transcripts of an annotation, with contig names of the table.

    `sites`: transcript_id, biotype (the transcript's), chrom, strand, pos (int32, 1-based), kind; a row for each
    transcript that has the site. `transcripts`: transcript_id, biotype, chrom, strand, first, last (1-based inclusive).
    `contigs`: annotation name -> table name.
    """

    sites: pl.DataFrame
    transcripts: pl.DataFrame
    contigs: dict[str, str]


def read_truth(annotation: Annotation, tracks: Tracks) -> Truth:
    """The truth for a table; see the module's contract."""
    names = annotation.transcripts["contig"].unique(maintain_order=True).to_list()
    contigs = table_contigs(tracks, names)
    if not contigs:
        raise InputError(
            f"{annotation.uri} has no contig of the table: it has {shortened(names)}, "
            f"{tracks.store.root} has {shortened(tracks.contigs['chrom'].to_list())}"
        )
    transcripts = annotation.transcripts.with_columns(
        pl.col("contig").replace(contigs).alias("chrom"), pl.col("transcript_type").alias("biotype")
    )
    sites = splice_sites(transcripts)
    if sites.is_empty():
        raise InputError(f"{annotation.uri} holds no splice site: no transcript has two exons with an intron between")
    spans = transcripts.select(
        *("transcript_id", "biotype", "chrom", "strand"),
        (pl.col("start") + 1).cast(pl.Int32).alias("first"),
        pl.col("end").cast(pl.Int32).alias("last"),
    )
    return Truth(sites, spans, contigs)


def table_contigs(tracks: Tracks, names: Sequence[str]) -> dict[str, str]:
    """Name -> the table's name of it, for every name that the table knows, itself, by alias or from its annotation."""
    mapping = reconcile_contigs(names, tracks.contigs["chrom"]).mapping
    taken = set(mapping.values())
    recorded = dict(tracks.contigs.select("annotation_name", "chrom").iter_rows())
    return mapping | {
        name: recorded[name]
        for name in names
        if name not in mapping and name in recorded and recorded[name] not in taken
    }
