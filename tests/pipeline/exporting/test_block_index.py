"""The index finds the blocks that hold a region, and no others, however many levels it has."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import pytest

from pipeline.exporting.block_index import BLOCK, MAX_CHILDREN, index_bytes

OFFSET = 1000  # of the index in its file


def blocks(count: int, contigs: int, *, overlapping: bool) -> np.ndarray:
    """Blocks of ascending contigs and starts; overlapping ones as of a bigBed."""
    random = np.random.default_rng(count)
    found = np.zeros(count, BLOCK)
    contig = np.sort(random.integers(0, contigs, count))
    start = np.concatenate([np.arange((contig == number).sum()) * 10 for number in range(contigs)])
    found["first_contig"] = found["last_contig"] = contig
    found["start"], found["end"] = start, start + (random.integers(1, 500, count) if overlapping else 10)
    found["offset"], found["size"] = np.arange(count) * 7, 7
    return found


def search(tree: bytes, contig: int, start: int, end: int) -> Iterator[int]:
    """Offsets of the blocks that a reader would load, by the format's description."""

    def walk(at: int) -> Iterator[int]:
        is_leaf, count = struct.unpack_from("<BxH", tree, at - OFFSET)
        form = "<IIIIQQ" if is_leaf else "<IIIIQ"
        for number in range(count):
            item = struct.unpack_from(form, tree, at - OFFSET + 4 + number * struct.calcsize(form))
            if (item[0], item[1]) < (contig, end) and (item[2], item[3]) > (contig, start):
                yield from [item[4]] if is_leaf else walk(item[4])

    yield from walk(OFFSET + 48)


@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize(
    ("count", "contigs"), [(0, 1), (1, 1), (255, 3), (256, 3), (257, 3), (MAX_CHILDREN**2 + 1, 40)]
)
def test_a_search_loads_the_blocks_that_hold_a_region(count: int, contigs: int, overlapping: bool) -> None:
    held = blocks(count, contigs, overlapping=overlapping)
    tree = index_bytes(held, OFFSET, 512)
    random = np.random.default_rng(1)
    for _ in range(10):
        contig, start = int(random.integers(0, contigs)), int(random.integers(0, 10 * count // contigs + 10))
        end = start + int(random.integers(1, 100))
        wanted = held[(held["first_contig"] == contig) & (held["start"] < end) & (held["end"] > start)]
        assert list(search(tree, contig, start, end)) == wanted["offset"].tolist()


def test_the_head_tells_the_span_of_all_blocks() -> None:
    held = blocks(300, 2, overlapping=True)
    held["end"][-2] = 10**6  # not the last one ends last
    magic, children, count, *span, end, per_block, _ = struct.unpack_from("<IIQIIIIQII", index_bytes(held, OFFSET, 512))
    assert (magic, children, count, end, per_block) == (0x2468ACE0, 256, 300, OFFSET, 512)
    assert span == [0, 0, 1, 10**6]
