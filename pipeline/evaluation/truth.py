"""An annotation -> the true splice sites that a table is compared with, under the contig names of the table.

In: an `Annotation` and an opened table. Which base is a donor or an acceptor: `pipeline.inputs.splice_sites`.

Out: a `Truth`; positions are 1-based. A contig of the annotation that the table does not have keeps its name, and its
sites lie outside the table.

Errors: `InputError` when annotation and table have no contig in common, and when no transcript has an intron.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from pipeline.coordinates import shortened
from pipeline.inputs.annotation import Annotation
from pipeline.inputs.splice_sites import splice_sites
from pipeline.tracks.reader import Tracks
from sptx_core.errors import InputError


class Truth(NamedTuple):
    """Splice sites and transcripts of an annotation.

    Attributes
    ----------
    sites : DataFrame
        transcript_id, biotype (the transcript's), chrom, strand, pos (int32, 1-based) and kind; a row for each
        transcript that has the site.
    transcripts : DataFrame
        transcript_id, gene_id, biotype, chrom, strand, first and last (int32, 1-based inclusive).
    contigs : dict of str to str
        Name in the annotation -> name in the table, of the contigs that both have.

    """

    sites: pl.DataFrame
    transcripts: pl.DataFrame
    contigs: dict[str, str]


def read_truth(annotation: Annotation, tracks: Tracks) -> Truth:
    """Derive the true sites from an annotation.

    Parameters
    ----------
    annotation : Annotation
        Transcripts with their exons; all of them count, whichever of them the table was made for.
    tracks : Tracks
        The table, for the names of its contigs.

    Returns
    -------
    Truth
        Sites and transcripts of the whole annotation.

    Raises
    ------
    InputError
        Annotation and table have no contig in common, or the annotation has no intron.

    """
    names = annotation.transcripts["contig"].unique(maintain_order=True).to_list()
    contigs = tracks.contigs_of(names)
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
        *("transcript_id", "gene_id", "biotype", "chrom", "strand"),
        (pl.col("start") + 1).cast(pl.Int32).alias("first"),
        pl.col("end").cast(pl.Int32).alias("last"),
    )
    return Truth(sites, spans, contigs)
