"""A small table built by hand from the layout alone: two contigs, both strands, scores by formula.

`build(root)` writes the side tables and commits the shards; nothing of the planner or of the network is used.
`object_store()` is a place for it behind the S3 protocol.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

from pipeline.batch.storage import Store
from pipeline.tracks.parts import PartReceipt, ShardKey, ShardRows, commit_shard, write_manifest
from pipeline.tracks.schema import FORMAT_VERSION, TrackSchema
from sptx_core.channels import CHANNELS

FINGERPRINT = "0123456789abcdef" * 4
THRESHOLD = 0.01
EXECUTION = {"execution": '{"device": "cpu"}'}


class Piece(NamedTuple):
    locus: int
    start: int  # 1-based inclusive, as `end`
    end: int


class Shard(NamedTuple):
    key: ShardKey
    pieces: tuple[Piece, ...]


# locus, chrom, strand, start, end, transcripts
LOCI = [
    (0, "chr9", "+", 101, 700, 2),
    (1, "chr9", "+", 901, 1000, 1),
    (2, "chr9", "-", 401, 650, 1),
    (3, "HLA-A*01:01", "+", 11, 60, 1),
]
SHARDS = [
    Shard(ShardKey(0, "chr9", "+", 101, 400), (Piece(0, 101, 400),)),
    Shard(ShardKey(1, "chr9", "+", 401, 1000), (Piece(0, 401, 700), Piece(1, 901, 1000))),
    Shard(ShardKey(2, "chr9", "-", 401, 650), (Piece(2, 401, 650),)),
    Shard(ShardKey(3, "HLA-A*01:01", "+", 11, 60), (Piece(3, 11, 60),)),
]
# transcript_id, gene_id, gene_name, chrom, strand, start, end, loci; GENE1 is the name of two genes.
TRANSCRIPTS = [
    ("ENST0001.3", "ENSG0001.7", "GENE1", "chr9", "+", 101, 300, [0]),
    ("ENST0002.1", "ENSG0001.7", "GENE1", "chr9", "+", 500, 700, [0]),
    ("ENST0003.1", "ENSG0003.1", "GENE3", "chr9", "+", 901, 1000, [1]),
    ("ENST0004.2", "ENSG0004.1", "GENE4", "chr9", "-", 401, 650, [2]),
    ("ENST0005.1", "ENSG0005.1", "GENE1", "HLA-A*01:01", "+", 11, 60, [3]),
    ("ENST0006.1", "ENSG0006.1", "CLIPPED", "chr9", "+", 1100, 1200, []),
]
# With flanks: transcript every transcript is a locus of its own, and shards hold them in the order of their ids.
OWN_LOCI = [(locus, *TRANSCRIPTS[locus][3:7], 1) for locus in range(5)]
OWN_SHARDS = [
    Shard(ShardKey(0, "chr9", "+", 101, 600), (Piece(0, 101, 300), Piece(1, 500, 600))),
    Shard(ShardKey(1, "chr9", "+", 601, 1000), (Piece(1, 601, 700), Piece(2, 901, 1000))),
    Shard(ShardKey(2, "chr9", "-", 401, 650), (Piece(3, 401, 650),)),
    Shard(ShardKey(3, "HLA-A*01:01", "+", 11, 60), (Piece(4, 11, 60),)),
]


@contextmanager
def object_store(bucket: str) -> Iterator[str]:
    """URI of a new bucket on a server of the S3 protocol on this machine, found through the environment alone."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        S3FileSystem.clear_instance_cache()
        S3FileSystem().mkdir(bucket)
        yield f"s3://{bucket}"
    S3FileSystem.clear_instance_cache()
    server.stop()


def schema(*, flanks: str = "genomic", exact: bool = False) -> TrackSchema:
    return TrackSchema.make(CHANNELS, flanks=flanks, exact=exact)


def shards(flanks: str = "genomic") -> list[Shard]:
    return SHARDS if flanks == "genomic" else OWN_SHARDS


def scores(pos: np.ndarray, strand: str) -> np.ndarray:
    """[n, 18] float32 in the order of CHANNELS; a site at every 100th position, usage that tells positions apart."""
    phase = 0 if strand == "+" else 3
    site = np.where(pos % 100 == phase, 0.5 + (pos % 7) / 20, 0.001 + (pos % 11) / 10_000)
    acceptor, donor = np.where(pos % 200 == phase, site, 0.00013), np.where(pos % 200 == phase, 0.00011, site)
    usage = ((pos[:, None] * np.arange(1, 16)) % 997 + 0.37) / 1000
    return np.column_stack([1 - acceptor - donor, acceptor, donor, usage]).astype(np.float32)


def rows(shard: Shard, flanks: str = "genomic") -> ShardRows:
    pos = np.concatenate([np.arange(piece.start, piece.end + 1, dtype=np.int32) for piece in shard.pieces])
    ids = [(TRANSCRIPTS[piece.locus][0], piece.end - piece.start + 1) for piece in shard.pieces]
    return ShardRows(
        pos=pos,
        ref=(pos % 5).astype(np.uint8),
        scores=scores(pos, shard.key.strand),
        transcript_id=None if flanks == "genomic" else np.repeat(*zip(*ids, strict=True)),
    )


def commit(store: Store, shard: Shard, *, flanks: str = "genomic", exact: bool = False) -> PartReceipt:
    return commit_shard(
        store,
        shard.key,
        rows(shard, flanks),
        schema(flanks=flanks, exact=exact),
        fingerprint=FINGERPRINT,
        sites_threshold=THRESHOLD,
        provenance=EXECUTION,
    )


def build(root: object, *, flanks: str = "genomic", exact: bool = False, manifest: bool = True) -> Store:
    """The whole table at `root`."""
    store = Store(str(root))
    _write_side_tables(store, flanks, exact)
    for shard in shards(flanks):
        commit(store, shard, flanks=flanks, exact=exact)
    if manifest:
        write_manifest(store, FINGERPRINT)
    return store


def _write_side_tables(store: Store, flanks: str, exact: bool) -> None:
    genomic = flanks == "genomic"
    run = {
        "format_version": FORMAT_VERSION,
        "fingerprint": FINGERPRINT,
        "flanks": flanks,
        "channels": CHANNELS,
        "exact": exact,
        "sites_threshold": THRESHOLD,
        "shards": len(shards(flanks)),
        "rows": sum(piece.end - piece.start + 1 for shard in shards(flanks) for piece in shard.pieces),
    }
    store.write_atomic("run.json", json.dumps(run).encode())
    store.write_atomic("settings.yaml", b"fasta: /in/genome.fa\ngtf: /in/genes.gtf\ncheckpoint: /in/model.ckpt\n")
    loci = pl.DataFrame(
        LOCI if genomic else OWN_LOCI,
        schema={"locus": pl.Int32, "chrom": pl.String, "strand": pl.String, "start": pl.Int32, "end": pl.Int32}
        | {"transcripts": pl.Int32},
        orient="row",
    )
    if not genomic:
        loci = loci.with_columns(pl.Series("transcript_id", [line[0] for line in TRANSCRIPTS[:5]]))
    transcripts = pl.DataFrame(
        [line if genomic else (*line[:-1], line[-1] and [number]) for number, line in enumerate(TRANSCRIPTS)],
        schema={"transcript_id": pl.String, "gene_id": pl.String, "gene_name": pl.String, "chrom": pl.String}
        | {"strand": pl.String, "start": pl.Int32, "end": pl.Int32, "locus": pl.List(pl.Int32)},
        orient="row",
    )
    contigs = pl.DataFrame(
        {"chrom": ["chr9", "HLA-A*01:01"], "length": [2000, 100], "annotation_name": ["chr9", "HLA-A"]}
    )
    frames = {"contigs": contigs, "loci": loci, "transcripts": transcripts, "plan": _plan(shards(flanks))}
    for name, frame in frames.items():
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        store.write_atomic(f"{name}.parquet", buffer.getvalue())


def _plan(planned: list[Shard]) -> pl.DataFrame:
    piece = pl.Struct({"locus": pl.Int32, "start": pl.Int32, "end": pl.Int32})
    return pl.DataFrame(
        [
            (
                key.index,
                key.chrom,
                key.strand,
                key.first,
                key.last,
                1,
                sum(piece.end - piece.start + 1 for piece in pieces),
                [piece._asdict() for piece in pieces],
            )
            for key, pieces in planned
        ],
        schema={"shard": pl.Int32, "chrom": pl.String, "strand": pl.String, "first": pl.Int32, "last": pl.Int32}
        | {"windows": pl.Int32, "rows": pl.Int64, "pieces": pl.List(piece)},
        orient="row",
    )
