"""Pieces of bigWigs: the sections of some bigWigs in one Parquet file, and the bigWigs put together from such files.

A piece has a row a bigWig: `channel`, then the fields of its `Section`, arrays as their bytes. It is not compressed,
for its content is. `append_pieces` writes pieces in the order of the genome to bigWigs that are under way; it holds a
few pieces in memory at once.

Errors: `InputError` where a piece is damaged, `FileNotFoundError` where it is not there.
"""

from __future__ import annotations

import hashlib
import io
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.batch.storage import Store
from pipeline.exporting.big_file import TOTAL, Section
from pipeline.exporting.bigwig import BigWig
from pipeline.exporting.block_index import BLOCK
from pipeline.exporting.zoom import SUMMARY
from sptx_core.errors import InputError

READ_AHEAD = 4  # pieces that are fetched while one is written: an object store answers late
_ARRAYS = {"blocks": BLOCK, "summaries": SUMMARY, "totals": TOTAL}
_COLUMNS = pa.schema(
    [
        pa.field("channel", pa.string()),
        pa.field("content", pa.large_binary()),
        *(pa.field(name, pa.large_binary()) for name in _ARRAYS),
        pa.field("largest", pa.int64()),
    ]
)


class Piece(NamedTuple):
    """A committed piece: its name in a store and the SHA-256 that it must have."""

    name: str
    sha256: str


def to_parquet(sections: Mapping[str, Section]) -> bytes:
    """The sections of some channels as one piece, the same bytes for the same sections."""
    rows = [
        {
            "channel": channel,
            "content": held.content,
            **{name: getattr(held, name).tobytes() for name in _ARRAYS},
            "largest": held.largest,
        }
        for channel, held in sections.items()
    ]
    buffer = io.BytesIO()
    pq.write_table(
        pa.Table.from_pylist(rows, _COLUMNS), buffer, compression="none", use_dictionary=False, write_statistics=False
    )
    return buffer.getvalue()


def from_parquet(content: bytes) -> dict[str, Section]:
    """Channel -> section of a piece."""
    table = pq.ParquetFile(pa.BufferReader(content)).read()
    return {
        row.pop("channel"): Section(**row | {name: np.frombuffer(row[name], kind) for name, kind in _ARRAYS.items()})
        for row in table.to_pylist()
    }


def append_pieces(store: Store, pieces: Iterable[Piece], writers: Mapping[str, BigWig]) -> None:
    """Append pieces, in their order, to the bigWigs of some of their channels."""
    for content in _read_ahead(store, pieces):
        sections = from_parquet(content)
        for channel, writer in writers.items():
            writer.append(sections[channel])


def _read_ahead(store: Store, pieces: Iterable[Piece]) -> Iterator[bytes]:
    """Contents of pieces in their order, the next ones being read meanwhile."""
    coming: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(READ_AHEAD) as threads:
        for piece in pieces:
            coming.append(threads.submit(_content, store, piece))
            if len(coming) > READ_AHEAD:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def _content(store: Store, piece: Piece) -> bytes:
    content = store.read_bytes(piece.name)
    if hashlib.sha256(content).hexdigest() != piece.sha256:
        raise InputError(
            f"{store.uri(piece.name)} is damaged; delete it and run the same command again: it computes this piece anew"
        )
    return content
