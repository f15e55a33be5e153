"""Pieces of bigWigs: read back as they were written, put together in their order, refused when damaged."""

from __future__ import annotations

import hashlib
import io
from itertools import pairwise

import numpy as np
import pytest

from pipeline.batch.storage import Store
from pipeline.exporting import pieces
from pipeline.exporting.big_file import NOTHING, Contig, Section, joined
from pipeline.exporting.bigwig import BigWig, runs_section
from pipeline.exporting.pieces import Piece, append_pieces, from_parquet, to_parquet
from sptx_core.errors import InputError

CHR1 = Contig("chr1", 100_000)


def runs(begin: int, end: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    starts = np.arange(begin, end, 3)
    return starts, starts + 2, ((starts % 997) / 1000).astype(np.float32)


def section(begin: int, end: int) -> Section:
    return runs_section(0, CHR1, *runs(begin, end))


def commit(store: Store, name: str, content: bytes) -> Piece:
    store.write_atomic(name, content)
    return Piece(name, hashlib.sha256(content).hexdigest())


@pytest.fixture
def store(tmp_path: object) -> Store:
    return Store(str(tmp_path))


def test_a_piece_is_read_as_it_was_written() -> None:
    held = {"donor": joined([section(0, 9_000), section(9_000, 30_000)]), "acceptor": NOTHING}
    found = from_parquet(to_parquet(held))
    assert found.keys() == held.keys()
    for channel, wanted in held.items():
        for one, other in zip(found[channel], wanted, strict=True):
            assert np.array_equal(one, other)
    assert to_parquet(held) == to_parquet(from_parquet(to_parquet(held)))
    assert from_parquet(to_parquet({})) == {}


def test_pieces_that_are_put_together_are_the_file_written_at_once(store: Store) -> None:
    edges = list(range(0, 90_001, 6_000))
    assert len(edges) > 3 * pieces.READ_AHEAD
    at_once, put_together = io.BytesIO(), io.BytesIO()
    writer = BigWig(at_once, [CHR1])
    for span in pairwise(edges):
        writer.add("chr1", *runs(*span))
    writer.close()
    held = [commit(store, f"{span[0]}", to_parquet({"donor": section(*span)})) for span in pairwise(edges)]
    writer = BigWig(put_together, [CHR1])
    append_pieces(store, held, {"donor": writer})
    writer.close()
    assert put_together.getvalue() == at_once.getvalue()


def test_pieces_in_another_order_are_refused(store: Store) -> None:
    held = [commit(store, f"{at}", to_parquet({"donor": section(at, at + 900)})) for at in (900, 0)]
    with pytest.raises(InputError, match="do not ascend"):
        append_pieces(store, held, {"donor": BigWig(io.BytesIO(), [CHR1])})


def test_a_damaged_piece_is_named(store: Store) -> None:
    piece = commit(store, "damaged.parquet", to_parquet({"donor": section(0, 900)}))
    content = bytearray(store.read_bytes(piece.name))
    content[50] ^= 1
    store.write_atomic(piece.name, bytes(content))
    with pytest.raises(InputError, match=r"damaged.parquet is damaged; delete it and run the same command again"):
        append_pieces(store, [piece], {"donor": BigWig(io.BytesIO(), [CHR1])})
    store.delete(piece.name)
    with pytest.raises(FileNotFoundError):
        append_pieces(store, [piece], {"donor": BigWig(io.BytesIO(), [CHR1])})
