"""A shard's rows -> the bytes of its two parts.

`tracks` holds all rows, rounded unless the table is exact; `sites` the rows whose acceptor or donor reaches the table's
threshold, unrounded. Equal rows give equal bytes. Positions are 1-based and inclusive here. Rows keep the order in
which they are given, that of the plan's pieces.

Errors: a score outside [0, 1] or not finite, and more rows than a part may hold, are faults of what computed them, and
raise `ValueError` naming the shard.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.inputs.splice_sites import KINDS
from pipeline.tracks.layout import SITES, TRACKS, ShardKey
from pipeline.tracks.schema import ROW_GROUP_ROWS, TrackSchema, ref_letters, round_to_steps
from pipeline.tracks.settings import MAX_PART_ROWS


@dataclass(frozen=True)
class ShardRows:
    """Rows of a shard in stored order.

    Parameters
    ----------
    pos
        int32 [n], 1-based.
    ref
        uint8 codes [n] of the plus strand.
    scores
        float32 [n, channels], probabilities in the network's order of channels.
    transcript_id
        n strings, or None with flanks: genomic.

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


def encode_shard(
    key: ShardKey, rows: ShardRows, schema: TrackSchema, *, fingerprint: str, provenance: Mapping[str, str]
) -> dict[str, bytes]:
    """Table -> Parquet bytes of the shard's part.

    Parameters
    ----------
    key
        What names the shard.
    rows
        Its rows; their positions must be those of `key`.
    schema
        Columns and encodings.
    fingerprint
        Digest of all that defines the table, 64 hexadecimal digits.
    provenance
        How the shard was computed (for instance `execution`); goes into the parts' metadata.

    Raises
    ------
    ValueError
        The rows are not those of a part; see the module.

    """
    _require_sound(key, rows, schema)
    likely = rows.take(np.flatnonzero(is_site(rows.scores, schema)))

    def encoded(some: ShardRows, *, rounded: bool) -> bytes:
        metadata = schema.metadata(fingerprint, key.index, provenance, rounded=rounded)
        return encode_part(some, schema, metadata, rounded=rounded)

    return {TRACKS: encoded(rows, rounded=not schema.spec.exact), SITES: encoded(likely, rounded=False)}


def is_site(scores: npt.NDArray[np.float32], schema: TrackSchema) -> npt.NDArray[np.bool_]:
    """Rows [n] of unrounded `scores` whose acceptor or donor reaches the table's threshold (compared as float32)."""
    acceptor, donor = (scores[:, schema.channels.index(name)] for name in KINDS)
    mask: npt.NDArray[np.bool_] = np.maximum(acceptor, donor) >= np.float32(schema.spec.sites_threshold)
    return mask


def encode_part(rows: ShardRows, schema: TrackSchema, metadata: Mapping[str, str], *, rounded: bool) -> bytes:
    """Parquet bytes of `rows`, with scores rounded to the schema's steps or as they are."""
    sink = pa.BufferOutputStream()
    encoded = schema.encoded()
    with pq.ParquetWriter(sink, encoded, **schema.writer_options(rounded=rounded)) as writer:
        for start in range(0, len(rows), ROW_GROUP_ROWS):
            group = rows.take(slice(start, start + ROW_GROUP_ROWS))
            writer.write_table(pa.Table.from_arrays([*_arrays(group, schema, rounded=rounded)], schema=encoded))
        writer.add_key_value_metadata(dict(metadata))
    content: bytes = sink.getvalue().to_pybytes()
    return content


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
