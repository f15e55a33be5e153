"""Digests of what is predicted, which are fields of a table's fingerprint: of its transcripts, and of its loci.

Coordinates are 0-based, half-open and genomic; columns are those of `pipeline.tracks.plan`.
"""

from __future__ import annotations

import hashlib

import polars as pl


def transcripts_digest(transcripts: pl.DataFrame) -> str:
    """SHA-256 over id, contig, strand and span of the selected transcripts, whatever their order in the file."""
    digest = hashlib.sha256()
    columns = ["transcript_id", "contig", "strand", "start", "end"]
    for row in transcripts.select(columns).sort(columns).iter_rows():
        digest.update(("\t".join(map(str, row)) + "\n").encode())
    return digest.hexdigest()


def loci_digest(loci: pl.DataFrame) -> str:
    """SHA-256 over the stretches that are predicted; tells clipped runs apart."""
    digest = hashlib.sha256()
    for row in loci.select("chrom", "strand", "start", "end", "transcript_id").iter_rows():
        digest.update(("\t".join(map(str, row)) + "\n").encode())
    return digest.hexdigest()
