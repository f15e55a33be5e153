"""Parts of the table: encode and commit a shard, list what is committed, write the manifest.

A shard is committed as two Parquet objects: `sites/...` (rows that are likely splice sites, unrounded) and then
`tracks/...` (all rows). The tracks part is the receipt: its name holds the shard, its span and the run's
fingerprint, so one listing tells what is done. Both names and bytes follow from the shard alone; a shard that is done
is not written again.

Positions are 1-based and inclusive here, in names and in columns. Rows keep the order in which they are given, that
of the plan's pieces. Errors: a score outside [0, 1] or not finite, and more rows than a part may hold, are bugs
upstream and raise `ValueError` naming the shard.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple
from urllib.parse import quote, unquote

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.batch.storage import Store
from pipeline.coordinates import Strand
from pipeline.tracks.schema import (
    FORMAT_VERSION,
    MAX_PART_ROWS,
    ROW_GROUP_ROWS,
    TrackSchema,
    ref_letters,
    round_to_steps,
)
from sptx_core.errors import InputError

TRACKS, SITES = "tracks", "sites"
RUN_FILE = "run.json"
MANIFEST = "manifest.parquet"
READERS = 4  # parts read at once, each in memory whole
NAME_DIGITS = 12  # of the fingerprint in a part's name

_PART_NAME = re.compile(
    r"(?P<table>tracks|sites)/chrom=(?P<chrom>[^/]+)/strand=(?P<strand>plus|minus)/"
    r"(?P<shard>\d{6,})-(?P<first>\d+)-(?P<last>\d+)-(?P<fingerprint>[0-9a-f]{12})\.parquet"
)
_STRANDS = {strand.partition: strand.value for strand in Strand}


@dataclass(frozen=True, order=True)
class ShardKey:
    """What names a shard's parts: `first` and `last` are its least and largest position, 1-based."""

    index: int
    chrom: str
    strand: str
    first: int
    last: int

    def part_name(self, fingerprint: str) -> str:
        """Name of the tracks part below the root."""
        return self._name(TRACKS, fingerprint)

    def sites_name(self, fingerprint: str) -> str:
        """Name of the sites part below the root."""
        return self._name(SITES, fingerprint)

    def _name(self, table: str, fingerprint: str) -> str:
        # Contigs such as HLA-A*01:01 are percent-encoded, which every reader of Hive partitions decodes.
        folder = f"{table}/chrom={quote(self.chrom, safe='')}/strand={Strand(self.strand).partition}"
        return f"{folder}/{self.index:06d}-{self.first}-{self.last}-{fingerprint[:NAME_DIGITS]}.parquet"


@dataclass(frozen=True)
class ShardRows:
    """Rows of a shard in stored order.

    pos            int32 [n], 1-based
    ref            uint8 codes [n] of the plus strand
    scores         float32 [n, channels], probabilities in the network's order of channels
    transcript_id  n strings, or None with flanks: genomic
    """

    pos: npt.NDArray[np.int32]
    ref: npt.NDArray[np.uint8]
    scores: npt.NDArray[np.float32]
    transcript_id: Sequence[str] | npt.NDArray[np.str_] | None = None

    def __len__(self) -> int:
        return len(self.pos)

    def take(self, rows: slice | npt.NDArray[np.intp]) -> ShardRows:
        """The rows at `rows`."""
        ids = None if self.transcript_id is None else np.asarray(self.transcript_id)[rows]
        return replace(self, pos=self.pos[rows], ref=self.ref[rows], scores=self.scores[rows], transcript_id=ids)


class ManifestLine(NamedTuple):
    """What `manifest.parquet` says of a shard's two parts."""

    shard: int
    chrom: str
    strand: str
    path: str
    rows: int
    bytes: int
    sha256: str
    sites_path: str
    sites_rows: int
    sites_bytes: int
    sites_sha256: str


class Header(NamedTuple):
    """What `run.json` says of the table."""

    fingerprint: str
    schema: TrackSchema
    sites_threshold: float
    shards: int
    rows: int


@dataclass(frozen=True)
class PartReceipt:
    """What `commit_shard` wrote."""

    index: int
    rows: int
    bytes: int
    sites_rows: int
    sites_bytes: int


class PartInfo(NamedTuple):
    """A committed tracks part as its listing shows it."""

    key: ShardKey
    path: str
    bytes: int


def commit_shard(
    store: Store,
    key: ShardKey,
    rows: ShardRows,
    schema: TrackSchema,
    *,
    fingerprint: str,
    sites_threshold: float,
    provenance: Mapping[str, str],
) -> PartReceipt:
    """Write the shard's sites part, then its tracks part, each whole or not at all.

    A shard that is there already is left as it is: an actor that outlived its driver may have been faster.
    `provenance` says how the shard was computed (for instance `execution`); it goes into the parts' metadata.
    """
    _require_sound(key, rows, schema)
    likely = np.flatnonzero(is_site(rows.scores, schema, sites_threshold))
    sites = encode_part(
        rows.take(likely), schema, schema.metadata(fingerprint, key.index, provenance, rounded=False), rounded=False
    )
    rounded = not schema.exact
    part = encode_part(
        rows, schema, schema.metadata(fingerprint, key.index, provenance, rounded=rounded), rounded=rounded
    )
    name = key.part_name(fingerprint)
    if name not in store.list(name):
        store.put_atomic(key.sites_name(fingerprint), sites)
        store.put_atomic(name, part)
    return PartReceipt(key.index, len(rows), len(part), len(likely), len(sites))


def is_site(scores: npt.NDArray[np.float32], schema: TrackSchema, threshold: float) -> npt.NDArray[np.bool_]:
    """Rows [n] of unrounded `scores` whose acceptor or donor reaches `threshold` (compared as float32)."""
    acceptor, donor = (scores[:, schema.channels.index(name)] for name in ("acceptor", "donor"))
    mask: npt.NDArray[np.bool_] = np.maximum(acceptor, donor) >= np.float32(threshold)
    return mask


def encode_part(rows: ShardRows, schema: TrackSchema, metadata: Mapping[str, str], *, rounded: bool) -> bytes:
    """Parquet bytes of `rows`, with scores to the schema's steps or as they are; equal input, equal bytes."""
    sink = pa.BufferOutputStream()
    encoded = schema.encoded()
    with pq.ParquetWriter(sink, encoded, **schema.writer_options(rounded=rounded)) as writer:
        for start in range(0, len(rows), ROW_GROUP_ROWS):
            group = rows.take(slice(start, start + ROW_GROUP_ROWS))
            writer.write_table(pa.Table.from_arrays([*_arrays(group, schema, rounded=rounded)], schema=encoded))
        writer.add_key_value_metadata(dict(metadata))
    content: bytes = sink.getvalue().to_pybytes()
    return content


def committed(store: Store, fingerprint: str) -> dict[int, PartInfo]:
    """Shard -> its tracks part, for every committed shard of the run, in the order of shards; one listing."""
    parts = (_parse(path, size) for path, size in store.list(f"{TRACKS}/").items())
    own = [part for part, digits in filter(None, parts) if digits == fingerprint[:NAME_DIGITS]]
    return {part.key.index: part for part in sorted(own)}


def read_header(store: Store) -> Header:
    """The table's header; `InputError` where there is none, or one of another format version."""
    if not store.exists(RUN_FILE):
        raise InputError(f"{store.root} holds no table: there is no {RUN_FILE}; give the --output of a run")
    try:
        run = json.loads(store.read_bytes(RUN_FILE))
        if run["format_version"] != FORMAT_VERSION:
            raise InputError(
                f"{store.root} has format version {run['format_version']}; this program reads {FORMAT_VERSION}"
            )
        schema = TrackSchema.make(run["channels"], flanks=run["flanks"], exact=run["exact"])
        return Header(run["fingerprint"], schema, run["sites_threshold"], run["shards"], run["rows"])
    except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{store.uri(RUN_FILE)} is not the record of a run ({error!r})") from None


def write_manifest(store: Store, fingerprint: str) -> None:
    """Write `manifest.parquet`: rows, bytes and SHA-256 of every committed part, read back from storage."""
    parts = committed(store, fingerprint).values()
    with ThreadPoolExecutor(READERS) as pool:
        lines = list(pool.map(partial(_manifest_line, store, fingerprint), parts))
    buffer = io.BytesIO()
    frame = pl.DataFrame(lines, schema=ManifestLine._fields, orient="row").with_columns(pl.col("shard").cast(pl.Int32))
    frame.write_parquet(buffer)
    store.put_atomic(MANIFEST, buffer.getvalue())


def read_side_table(store: Store, name: str) -> pl.DataFrame:
    """One of the small tables beside the parts, `name` without its ending; `InputError` if it cannot be read."""
    path = f"{name}.parquet"
    try:
        return pl.read_parquet(io.BytesIO(store.read_bytes(path)))
    except (FileNotFoundError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{store.uri(path)} cannot be read ({error})") from None


def sweep(store: Store) -> tuple[str, ...]:
    """Remove what killed writers left on a disk; returns the names."""
    return store.sweep()


def _manifest_line(store: Store, fingerprint: str, part: PartInfo) -> ManifestLine:
    key = part.key
    sites = key.sites_name(fingerprint)
    tracks_part, sites_part = _measure(store, part.path), _measure(store, sites)
    return ManifestLine(key.index, key.chrom, key.strand, part.path, *tracks_part, sites, *sites_part)


def _measure(store: Store, name: str) -> tuple[int, int, str]:
    """Rows, bytes and SHA-256 of a part."""
    try:
        content = store.read_bytes(name)
        rows = pq.read_metadata(pa.BufferReader(content)).num_rows
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"{store.uri(name)} cannot be read ({error}); delete the shard's tracks part and the same `sptx run` "
            "computes it again"
        ) from None
    return rows, len(content), hashlib.sha256(content).hexdigest()


def _arrays(rows: ShardRows, schema: TrackSchema, *, rounded: bool) -> Iterator[pa.Array]:
    channels = np.ascontiguousarray(rows.scores.T)
    for column in schema.columns:
        if column.name == "transcript_id":
            yield pa.array(rows.transcript_id, pa.string()).dictionary_encode()
        elif column.name == "pos":
            yield pa.array(rows.pos)
        elif column.name == "ref":
            yield ref_letters(rows.ref)
        else:
            values = channels[schema.channels.index(column.name)]
            yield pa.array(round_to_steps(values, column.steps if rounded else 0))


def _require_sound(key: ShardKey, rows: ShardRows, schema: TrackSchema) -> None:
    where = f"shard {key.index} ({key.chrom}:{key.first}-{key.last} {key.strand})"
    if not 0 < len(rows) <= MAX_PART_ROWS:
        raise ValueError(f"{where} has {len(rows)} rows; a part holds 1 to {MAX_PART_ROWS}")
    if rows.scores.shape != (len(rows), len(schema.channels)) or len(rows.ref) != len(rows):
        raise ValueError(f"{where}: scores {rows.scores.shape} and {len(rows.ref)} bases for {len(rows)} rows")
    if not (rows.scores.min() >= 0 and rows.scores.max() <= 1):  # false for NaN too
        raise ValueError(f"{where} holds a score that is not a probability")
    if (int(rows.pos.min()), int(rows.pos.max())) != (key.first, key.last):
        raise ValueError(f"{where} holds positions {rows.pos.min()} to {rows.pos.max()}")


def _parse(path: str, size: int) -> tuple[PartInfo, str] | None:
    match = _PART_NAME.fullmatch(path)
    if match is None:
        return None
    chrom, strand = unquote(match["chrom"]), _STRANDS[match["strand"]]
    key = ShardKey(int(match["shard"]), chrom, strand, int(match["first"]), int(match["last"]))
    return PartInfo(key, path, size), match["fingerprint"]
