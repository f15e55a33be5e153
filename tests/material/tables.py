"""Tables of tracks made from rows that a test gives, without planner or network: what readers of tables are tested on.

`write(root, parts)` makes a table whose scores are zero but where the `Part`s set them. `write_example(root)` makes the
example: two contigs, both strands, scores by formula (`scores`), in both kinds of rows (`flanks`).

Both write a whole table by hand, as docs/table.md describes it: run.json, settings.yaml, the tables beside it (contigs,
loci, transcripts, plan) and the parts. Loci are the stretches that the rows cover. The fingerprint is the SHA-256 of
the fields in run.json. Positions are 1-based and inclusive. What is called of the product to encode and commit parts
stands at the end of this file.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from material.genomes import Transcript

from pipeline.batch.layout import MANIFEST, RUN_FILE, held
from pipeline.batch.manifest import make_manifest
from pipeline.batch.measures import measure
from pipeline.batch.storage import Store
from pipeline.tracks.layout import SITES, TABLES, TRACKS, ShardKey, manifest_columns
from pipeline.tracks.parts import ShardRows, encode_shard
from pipeline.tracks.reader import Tracks, open_tracks
from pipeline.tracks.schema import FORMAT_VERSION, TrackSchema
from pipeline.tracks.settings import Flanks, TableSpec
from pipeline.tracks.side_tables import SIDE_TABLES
from sptx_core.alphabet import encode
from sptx_core.channels import CHANNELS, TISSUES
from sptx_core.windows import WindowSpec

THRESHOLD = 0.01
EXECUTION = {"device": "cpu", "hardware": "none", "engine": "none", "precision": "float32", "batch": 1, "threads": 1}
SETTINGS = b"fasta: /in/genome.fa\ngtf: /in/genes.gtf\ncheckpoint: /in/model.ckpt\n"
NOTHING: Mapping[int, Any] = MappingProxyType({})


# Tables of parts


class Part(NamedTuple):
    """Rows of one shard: `acceptor` and `donor` are {pos: score}, `usage` is {pos: one value a tissue}, the rest is 0.

    `transcripts` names the transcript of each row, in a table whose rows belong to transcripts; `bases` default to A.
    """

    chrom: str
    strand: str
    pos: Sequence[int]
    acceptor: Mapping[int, float] = NOTHING
    donor: Mapping[int, float] = NOTHING
    usage: Mapping[int, Sequence[float]] = NOTHING
    transcripts: Sequence[str] | None = None
    bases: str | None = None

    def rows(self) -> ShardRows:
        """Its rows as they are committed."""
        pos = np.array(self.pos, np.int32)
        scores = np.zeros((len(pos), len(CHANNELS)), np.float32)
        for kind, given in (("acceptor", self.acceptor), ("donor", self.donor)):
            for at, score in given.items():
                scores[pos == at, CHANNELS.index(kind)] = score
        for at, values in self.usage.items():
            scores[pos == at, len(CHANNELS) - len(TISSUES) :] = values
        scores[:, CHANNELS.index("no_splice")] = np.clip(1 - scores[:, 1] - scores[:, 2], 0, 1)
        return ShardRows(pos, encode(self.bases or "A" * len(pos)), scores, self.transcripts)


def write(
    root: Path | str,
    parts: Sequence[Part],
    transcripts: Sequence[Transcript] = (),
    *,
    exact: bool = False,
    shards: int | None = None,
    rows: int | None = None,
) -> Tracks:
    """Write a table with one shard a part and open it; `shards` and `rows` are those planned, if more than these."""
    flanks = "genomic" if parts[0].transcripts is None else "transcript"
    held = {
        ShardKey(index, part.chrom, part.strand, min(part.pos), max(part.pos)): part.rows()
        for index, part in enumerate(parts)
    }
    contigs = {part.chrom: (10**6, part.chrom) for part in parts}
    store = Store(root)
    _write_beside(store, held, contigs, transcripts, flanks=flanks, exact=exact, planned=(shards, rows))
    for key, some in held.items():
        commit_rows(store, key, some, flanks=flanks, exact=exact)
    return open_tracks(root)


# The example


class Shard(NamedTuple):
    """A shard of the example, and its stretches of rows: first and last position, and the transcript they belong to."""

    key: ShardKey
    stretches: tuple[tuple[int, int, str], ...]


CONTIGS = {"chr9": (2000, "chr9"), "HLA-A*01:01": (100, "HLA-A")}  # length, and name in the annotation
TRANSCRIPTS = (  # two genes are called GENE1, and the last transcript lies beyond all rows
    Transcript("ENST0001.3", "chr9", "+", [(101, 300)], gene="GENE1", own_gene_id="ENSG0001.7"),
    Transcript("ENST0002.1", "chr9", "+", [(500, 700)], gene="GENE1", own_gene_id="ENSG0001.7"),
    Transcript("ENST0003.1", "chr9", "+", [(901, 1000)], gene="GENE3", own_gene_id="ENSG0003.1"),
    Transcript("ENST0004.2", "chr9", "-", [(401, 650)], gene="GENE4", own_gene_id="ENSG0004.1"),
    Transcript("ENST0005.1", "HLA-A*01:01", "+", [(11, 60)], gene="GENE1", own_gene_id="ENSG0005.1"),
    Transcript("ENST0006.1", "chr9", "+", [(1100, 1200)], gene="CLIPPED", own_gene_id="ENSG0006.1"),
)
SHARDS = (  # with flanks: genomic
    Shard(ShardKey(0, "chr9", "+", 101, 400), ((101, 400, ""),)),
    Shard(ShardKey(1, "chr9", "+", 401, 1000), ((401, 700, ""), (901, 1000, ""))),
    Shard(ShardKey(2, "chr9", "-", 401, 650), ((401, 650, ""),)),
    Shard(ShardKey(3, "HLA-A*01:01", "+", 11, 60), ((11, 60, ""),)),
)
OWN_SHARDS = (  # with flanks: transcript
    Shard(ShardKey(0, "chr9", "+", 101, 600), ((101, 300, "ENST0001.3"), (500, 600, "ENST0002.1"))),
    Shard(ShardKey(1, "chr9", "+", 601, 1000), ((601, 700, "ENST0002.1"), (901, 1000, "ENST0003.1"))),
    Shard(ShardKey(2, "chr9", "-", 401, 650), ((401, 650, "ENST0004.2"),)),
    Shard(ShardKey(3, "HLA-A*01:01", "+", 11, 60), ((11, 60, "ENST0005.1"),)),
)


def write_example(root: object, *, flanks: str = "genomic", exact: bool = False, manifest: bool = True) -> Store:
    """Write the whole example."""
    store = Store(str(root))
    held = {shard.key: rows(shard, flanks) for shard in shards(flanks)}
    _write_beside(store, held, CONTIGS, TRANSCRIPTS, flanks=flanks, exact=exact)
    for shard in shards(flanks):
        commit(store, shard, flanks=flanks, exact=exact)
    if manifest:
        write_manifest_of(store, flanks=flanks, exact=exact)
    return store


def shards(flanks: str = "genomic") -> tuple[Shard, ...]:
    """Its shards."""
    return SHARDS if flanks == "genomic" else OWN_SHARDS


def rows(shard: Shard, flanks: str = "genomic") -> ShardRows:
    """Rows of one of its shards; new arrays each time."""
    stretches = [np.arange(first, last + 1, dtype=np.int32) for first, last, _ in shard.stretches]
    pos = np.concatenate(stretches)
    ids = np.repeat([name for *_, name in shard.stretches], [len(stretch) for stretch in stretches])
    ref = (pos % 5).astype(np.uint8)
    return ShardRows(pos, ref, scores(pos, shard.key.strand), None if flanks == "genomic" else ids)


def scores(pos: np.ndarray, strand: str) -> np.ndarray:
    """float32 [n, 18] in the order of CHANNELS: a site at every 100th position, another usage at every position."""
    phase = 0 if strand == "+" else 3
    site = np.where(pos % 100 == phase, 0.5 + (pos % 7) / 20, 0.001 + (pos % 11) / 10_000)
    acceptor, donor = np.where(pos % 200 == phase, site, 0.00013), np.where(pos % 200 == phase, 0.00011, site)
    usage = ((pos[:, None] * np.arange(1, 16)) % 997 + 0.37) / 1000
    return np.column_stack([1 - acceptor - donor, acceptor, donor, usage]).astype(np.float32)


def commit(store: Store, shard: Shard, *, flanks: str = "genomic", exact: bool = False) -> None:
    """Commit one of its shards."""
    commit_rows(store, shard.key, rows(shard, flanks), flanks=flanks, exact=exact)


# What lies beside the parts


def fields(flanks: str = "genomic", *, exact: bool = False) -> dict[str, Any]:
    """What defines a table in run.json."""
    spec = {"core": 1000, "context": 4000, "overlap": 0, "flanks": flanks, "exact": exact}
    return spec | {"sites_threshold": THRESHOLD, "channels": ",".join(CHANNELS)}


def fingerprint(flanks: str = "genomic", *, exact: bool = False) -> str:
    """Digest of the fields, 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(fields(flanks, exact=exact), sort_keys=True).encode()).hexdigest()


FINGERPRINT = fingerprint()


class _Locus(NamedTuple):
    """A stretch of one strand that rows cover, of one transcript where rows belong to transcripts."""

    chrom: str
    strand: str
    start: int
    end: int
    transcript: str

    def holds(self, one: Transcript) -> bool:
        if self.transcript:
            return self.transcript == one.name
        same_strand = (self.chrom, self.strand) == (one.contig, one.strand)
        return same_strand and self.start <= one.end and one.start <= self.end


def _stretches(some: ShardRows) -> Iterator[tuple[int, int, str]]:
    """Consecutive positions of one transcript: first, last and the transcript's name."""
    names = np.full(len(some), "") if some.transcript_id is None else np.asarray(some.transcript_id)
    begins = np.flatnonzero((np.diff(some.pos, prepend=some.pos[:1] - 2) != 1) | (names != np.roll(names, 1)))
    for begin, end in zip(begins, [*begins[1:], len(some)], strict=True):
        yield int(some.pos[begin]), int(some.pos[end - 1]), str(names[begin])


def _write_beside(
    store: Store,
    held: Mapping[ShardKey, ShardRows],
    contigs: Mapping[str, tuple[int, str]],
    transcripts: Sequence[Transcript],
    *,
    flanks: str,
    exact: bool,
    planned: tuple[int | None, int | None] = (None, None),
) -> None:
    """Write run.json, settings.yaml and the tables of a run with these shards."""
    loci: list[_Locus] = []
    plan = []
    for key, some in held.items():
        pieces = []
        for start, end, name in _stretches(some):
            locus = _Locus(key.chrom, key.strand, start, end, name)
            if loci and loci[-1] == locus._replace(start=loci[-1].start, end=start - 1):
                loci[-1] = loci[-1]._replace(end=end)  # a locus that a shard before this one began
            else:
                loci.append(locus)
            pieces.append({"locus": len(loci) - 1, "start": start, "end": end})
        place = {"chrom": key.chrom, "strand": key.strand, "first": key.first, "last": key.last}
        plan.append({"shard": key.index, **place, "windows": 1, "rows": len(some), "pieces": pieces})
    run = {
        "format_version": FORMAT_VERSION,
        "fingerprint": fingerprint(flanks, exact=exact),
        "fields": fields(flanks, exact=exact),
        "execution": EXECUTION,
        "flanks": flanks,
        "channels": CHANNELS,
        "exact": exact,
        "sites_threshold": THRESHOLD,
        "shards": planned[0] or len(held),
        "rows": planned[1] or sum(map(len, held.values())),
    }
    frames = {
        "contigs": pl.DataFrame(
            [(name, *of_contig) for name, of_contig in contigs.items()], CONTIG_COLUMNS, orient="row"
        ),
        "loci": _loci_frame(loci, transcripts, flanks),
        "transcripts": _transcripts_frame(transcripts, loci),
        "plan": pl.DataFrame(plan, PLAN_COLUMNS),
    }
    for name, frame in frames.items():
        put(store, f"{name}.parquet", frame)
    put(store, "settings.yaml", SETTINGS + f"flanks: {flanks}\nexact: {str(exact).lower()}\n".encode())
    put(store, "run.json", json.dumps(run).encode())


_PLACE = {"chrom": pl.String, "strand": pl.String, "start": pl.Int32, "end": pl.Int32}
CONTIG_COLUMNS = {"chrom": pl.String, "length": pl.Int64, "annotation_name": pl.String}
LOCUS_COLUMNS = {"locus": pl.Int32, **_PLACE, "transcripts": pl.Int32}
TRANSCRIPT_COLUMNS = {
    **dict.fromkeys(("transcript_id", "gene_id", "gene_name", "gene_type", "transcript_type"), pl.String),
    "tags": pl.List(pl.String),
    **_PLACE,
    **dict.fromkeys(("exon_starts", "exon_ends", "locus"), pl.List(pl.Int32)),
}
PLAN_COLUMNS = {
    "shard": pl.Int32,
    "chrom": pl.String,
    "strand": pl.String,
    "first": pl.Int32,
    "last": pl.Int32,
    "windows": pl.Int32,
    "rows": pl.Int64,
    "pieces": pl.List(pl.Struct({"locus": pl.Int32, "start": pl.Int32, "end": pl.Int32})),
}


def _loci_frame(loci: Sequence[_Locus], transcripts: Sequence[Transcript], flanks: str) -> pl.DataFrame:
    lines = [(at, *locus[:4], sum(map(locus.holds, transcripts))) for at, locus in enumerate(loci)]
    frame = pl.DataFrame(lines, LOCUS_COLUMNS, orient="row")
    if flanks == "transcript":
        frame = frame.with_columns(pl.Series("transcript_id", [locus.transcript for locus in loci], pl.String))
    return frame


def _transcripts_frame(transcripts: Sequence[Transcript], loci: Sequence[_Locus]) -> pl.DataFrame:
    lines = [
        (
            *(one.name, one.gene_id, one.gene_name, one.biotype, one.biotype, list(one.tags)),
            *(one.contig, one.strand, one.start, one.end),
            [first for first, _ in one.exons],
            [last for _, last in one.exons],
            [at for at, locus in enumerate(loci) if locus.holds(one)],
        )
        for one in transcripts
    ]
    return pl.DataFrame(lines, TRANSCRIPT_COLUMNS, orient="row")


# What is called of the product


def schema(*, flanks: str = "genomic", exact: bool = False) -> TrackSchema:
    """Columns and encodings."""
    return TrackSchema(TableSpec(CHANNELS, Flanks(flanks), exact, THRESHOLD, WindowSpec()))


def commit_rows(store: Store, key: ShardKey, some: ShardRows, *, flanks: str = "genomic", exact: bool = False) -> None:
    """Commit the parts of a shard with these rows."""
    digest, provenance = fingerprint(flanks, exact=exact), {"execution": json.dumps(EXECUTION)}
    parts = encode_shard(key, some, schema(flanks=flanks, exact=exact), fingerprint=digest, provenance=provenance)
    for table in (SITES, TRACKS):
        store.write_atomic(key.part_name(table, digest), parts[table])


def write_manifest_of(store: Store, *, flanks: str = "genomic", exact: bool = False, sealed: bool = True) -> None:
    """Write the manifest of a table; without `sealed` as older versions did, without checksums of itself and others."""
    digest = fingerprint(flanks, exact=exact)
    done = held(store, TABLES, digest).done
    measures = {unit: tuple(measure(store.read_bytes(part.name)) for part in parts) for unit, parts in done.items()}
    names = [RUN_FILE, *SIDE_TABLES] if sealed else []
    digests = {name: hashlib.sha256(store.read_bytes(name)).hexdigest() for name in names}
    manifest = make_manifest(TABLES, done, measures, manifest_columns, digests)
    put(store, MANIFEST, manifest.to_parquet() if sealed else manifest.frame)


def put(store: Store, name: str, content: bytes | pl.DataFrame) -> None:
    """Write a file below the root, a frame as Parquet."""
    if isinstance(content, pl.DataFrame):
        buffer = io.BytesIO()
        content.write_parquet(buffer)
        content = buffer.getvalue()
    store.write_atomic(name, content)
