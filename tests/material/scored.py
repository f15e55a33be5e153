"""Tables with scores that a test sets, and annotations to hold them against.

`table(root, parts)` commits `Part`s as shards of a table that has no more than `sptx evaluate` reads; `gtf(path,
transcripts)` writes `Transcript`s; `record(tracks, parts, transcripts)` adds the side tables that name them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import polars as pl

from pipeline.batch.storage import Store
from pipeline.tracks.parts import ShardKey, ShardRows, commit_shard
from pipeline.tracks.reader import Tracks, open_tracks
from pipeline.tracks.schema import FORMAT_VERSION, TrackSchema
from sptx_core.channels import CHANNELS, TISSUES

FINGERPRINT = "fedcba9876543210" * 4
NOWHERE: Mapping[int, float] = MappingProxyType({})


class Part(NamedTuple):
    """Rows of one shard; scores are zero but where `acceptor`, `donor` and `usage` ({pos: [tissues]}) set them."""

    chrom: str
    strand: str
    pos: Sequence[int]
    acceptor: Mapping[int, float] = NOWHERE
    donor: Mapping[int, float] = NOWHERE
    usage: Mapping[int, Sequence[float]] = NOWHERE
    transcripts: Sequence[str] | None = None
    bases: str | None = None


class Transcript(NamedTuple):
    """Exons are 1-based inclusive, as in a GTF."""

    name: str
    contig: str
    strand: str
    exons: Sequence[tuple[int, int]]
    biotype: str = "protein_coding"
    gene: str | None = None
    tags: Sequence[str] = ()

    @property
    def gene_name(self) -> str:
        return self.gene or self.name


def table(
    root: Path | str, parts: Sequence[Part], *, exact: bool = False, shards: int | None = None, rows: int | None = None
) -> Tracks:
    flanks = "genomic" if parts[0].transcripts is None else "transcript"
    schema = TrackSchema.make(CHANNELS, flanks=flanks, exact=exact)
    store = Store(root)
    header = {
        "format_version": FORMAT_VERSION,
        "fingerprint": FINGERPRINT,
        "flanks": flanks,
        "channels": CHANNELS,
        "exact": exact,
        "sites_threshold": 0.01,
        "shards": len(parts) if shards is None else shards,
        "rows": sum(len(part.pos) for part in parts) if rows is None else rows,
    }
    store.write_atomic("run.json", json.dumps(header).encode())
    names = list(dict.fromkeys(part.chrom for part in parts))
    contigs = pl.DataFrame({"chrom": names, "length": [10**6] * len(names), "annotation_name": names})
    buffer = io.BytesIO()
    contigs.write_parquet(buffer)
    store.write_atomic("contigs.parquet", buffer.getvalue())
    for number, part in enumerate(parts):
        key = ShardKey(number, part.chrom, part.strand, min(part.pos), max(part.pos))
        commit_shard(store, key, _rows(part), schema, fingerprint=FINGERPRINT, sites_threshold=0.01, provenance={})
    return open_tracks(root)


def record(tracks: Tracks, parts: Sequence[Part], transcripts: Sequence[Transcript]) -> Tracks:
    """Name the transcripts; every part is a locus of its own."""
    rows = [
        {
            "transcript_id": transcript.name,
            "gene_id": f"G_{transcript.gene_name}",
            "gene_name": transcript.gene_name,
            "gene_type": "x",
            "transcript_type": transcript.biotype,
            "tags": list(transcript.tags),
            "chrom": transcript.contig,
            "strand": transcript.strand,
            "start": transcript.exons[0][0],
            "end": transcript.exons[-1][1],
            "exon_starts": [first for first, _ in transcript.exons],
            "exon_ends": [last for _, last in transcript.exons],
            "locus": [at for at, part in enumerate(parts) if transcript.name in (part.transcripts or [])],
        }
        for transcript in transcripts
    ]
    numbers = pl.List(pl.Int32)
    types = {"tags": pl.List(pl.String), "start": pl.Int32, "end": pl.Int32}
    named = pl.DataFrame(rows, schema_overrides=types | dict.fromkeys(("exon_starts", "exon_ends", "locus"), numbers))
    pieces = [[{"locus": at, "start": min(part.pos), "end": max(part.pos)}] for at, part in enumerate(parts)]
    for name, frame in (("transcripts", named), ("plan", pl.DataFrame({"shard": range(len(parts)), "pieces": pieces}))):
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        tracks.store.write_atomic(f"{name}.parquet", buffer.getvalue())
    return open_tracks(tracks.store.root)


def _rows(part: Part) -> ShardRows:
    pos = np.array(part.pos, np.int32)
    scores = np.zeros((len(pos), len(CHANNELS)), np.float32)
    for kind in ("acceptor", "donor"):
        for at, score in getattr(part, kind).items():
            scores[pos == at, CHANNELS.index(kind)] = score
    for at, values in part.usage.items():
        scores[pos == at, len(CHANNELS) - len(TISSUES) :] = values
    scores[:, CHANNELS.index("no_splice")] = np.clip(1 - scores[:, 1] - scores[:, 2], 0, 1)
    bases = part.bases or "A" * len(pos)
    codes = np.array(["ACGTN".index(base) for base in bases], np.uint8)
    return ShardRows(pos, codes, scores, part.transcripts)


def gtf(path: Path, transcripts: Sequence[Transcript]) -> str:
    lines = []
    for transcript in transcripts:
        name = f'gene_id "G_{transcript.gene_name}"; transcript_id "{transcript.name}"; gene_type "x"; '
        name += f'transcript_type "{transcript.biotype}";'
        spans = [("transcript", transcript.exons[0][0], transcript.exons[-1][1])]
        spans += [("exon", first, last) for first, last in transcript.exons]
        lines += [
            "\t".join((transcript.contig, "test", feature, str(first), str(last), ".", transcript.strand, ".", name))
            for feature, first, last in spans
        ]
    path.write_text("\n".join(lines) + "\n")
    return str(path)
