"""What bigWig and bigBed have in common: a file of compressed blocks with an index, zoom levels and a summary.

A `Section` is a stretch of a contig as it goes into the file: compressed blocks, with what index, zoom levels and
summary need to know of them. It may be made anywhere, and kept. A `BigFile` takes sections in the order of the genome
and is written from front to back into any binary file that can seek; `close` goes back to fill in what was not known
before, the head last. Until then nothing in the file says that it is a bigWig or bigBed. The same sections give the
same bytes, whether they come by themselves or joined: no date, name or path goes in. Positions are 0-based and
half-open.

Why a writer of our own. pyBigWig 0.3.29 ends the process when the disk is full or the folder is missing, leaves a file
that looks valid and lacks its end after an exception midway, and takes values beyond the end of a contig. pybigtools
0.3.0 prints errors and returns as if all were well, writes to local paths alone, and ends on a full disk with a panic.
This one raises, and what it writes is read by both, and by UCSC's own code, as the table has it.

Format: Kent et al., Bioinformatics 26 (2010) 2204, supplement. In the order of the file: head (table 5), heads of zoom
levels (6), autoSql of a bigBed, summary (7), contigs as a B+ tree (8 to 11), number of blocks or items, blocks, index,
zoom levels with an index each, the magic number again. libBigWig reads a bigBed only if its autoSql lies here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.exporting.block_index import BLOCK, Blocks, index_bytes
from pipeline.exporting.zoom import FIRST_BASES, SUMMARY, Positions, Summaries, Values, coarsen, level_bases, summarise
from sptx_core.errors import InputError
from sptx_core.words import counted

VERSION = 4
COMPRESSION = 6  # of zlib
SUMMARIES_PER_BLOCK = 1024
MAX_BASES = 2**32 - 1  # of a contig: positions have 32 bits
_CONTIGS_MAGIC, _MAX_CONTIGS_PER_NODE = 0x78CA8C91, 256
_HEAD = struct.Struct("<IHHQQQHHQQIQ")
_ZOOM_HEAD = struct.Struct("<IxxxxQQ")
_BLOCK = struct.Struct("<IIIIQQ")  # a row of BLOCK
_TOTAL = struct.Struct("<Qdddd")
TOTAL = np.dtype([(name, "<f8") for name in ("valid", "least", "greatest", "sum", "squares")])
"""Bases with a value, and of these values the least, the greatest, the sum and the sum of squares."""


class Contig(NamedTuple):
    """Name and length, in bases."""

    name: str
    length: int


class Fields(NamedTuple):
    """What a bigBed says of its columns: the autoSql, how many there are, and how many of these are BED's own."""

    autosql: str
    columns: int
    standard: int


class Section(NamedTuple):
    """A stretch of one contig as it goes into a file.

    `content` are its compressed blocks one after the other, `blocks` a row of `BLOCK` for each, whose offset counts
    from the beginning of `content`, and `largest` the most bytes that one has uncompressed. `summaries` are rows of
    `SUMMARY` in bins of `FIRST_BASES`, `totals` one row of `TOTAL` for each section that was joined to it.
    """

    content: bytes
    blocks: Blocks
    summaries: Summaries
    totals: npt.NDArray[np.void]
    largest: int


NOTHING = Section(b"", np.zeros(0, BLOCK), np.zeros(0, SUMMARY), np.zeros(0, TOTAL), 0)


def section(
    contig: int, blocks: Iterable[tuple[int, int, bytes]], starts: Positions, ends: Positions, values: Values
) -> Section:
    """Make a section.

    Parameters
    ----------
    contig
        Its number in the file.
    blocks
        Least start, greatest end and content of each block, in order.
    starts, ends, values
        Runs of equal values, ascending and apart from each other, at least one: what summary and zoom levels tell.

    """
    packed, rows, offset, largest = [], bytearray(), 0, 0
    for start, end, content in blocks:
        packed.append(zlib.compress(content, COMPRESSION))
        rows += _BLOCK.pack(contig, start, contig, end, offset, len(packed[-1]))
        offset += len(packed[-1])
        largest = max(largest, len(content))
    width, value = (ends - starts).astype(np.float64), values.astype(np.float64)
    spread = (value.min(), value.max(), (width * value).sum(), (width * value**2).sum())
    total = np.array([(width.sum(), *spread)], TOTAL)
    summaries = summarise(contig, starts, ends, values, FIRST_BASES)
    return Section(b"".join(packed), np.frombuffer(bytes(rows), BLOCK), summaries, total, largest)


def joined(sections: Sequence[Section]) -> Section:
    """Sections that follow each other as one; a file that takes it has the bytes that it has of them."""
    if not sections:
        return NOTHING
    rows = np.concatenate([held.blocks for held in sections])
    before = np.cumsum([0, *(len(held.content) for held in sections[:-1])])
    rows["offset"] += np.repeat(before, [len(held.blocks) for held in sections]).astype(np.uint64)
    return Section(
        b"".join(held.content for held in sections),
        rows,
        np.concatenate([held.summaries for held in sections]),
        np.concatenate([held.totals for held in sections]),
        max(held.largest for held in sections),
    )


class BigFile:
    """A bigWig or bigBed in the making.

    Parameters
    ----------
    file
        Empty, binary, seekable; it is not closed.
    contigs
        In the order of their names' bytes, as readers search them.
    magic
        The number that tells the kind of file.
    fields
        Of a bigBed.

    Raises
    ------
    InputError
        A contig is too long for the format.

    """

    def __init__(self, file: BinaryIO, contigs: Sequence[Contig], magic: int, fields: Fields | None = None) -> None:
        self.contigs = tuple(contigs)
        names = [contig.name.encode() for contig in contigs]
        if names != sorted(set(names)):
            raise ValueError("contigs are each there once, in the order of their names")
        require_lengths(contigs)
        self._file, self._magic, self._fields = file, magic, fields
        self._levels = level_bases(max(length for _, length in contigs))
        self._blocks = bytearray()  # rows of BLOCK: millions of a genome's every base
        self._summaries: list[Summaries] = []
        self._total: tuple[float, ...] = (0.0, np.inf, -np.inf, 0.0, 0.0)  # as TOTAL
        self._largest = SUMMARIES_PER_BLOCK * SUMMARY.itemsize  # bytes of a block before it is compressed
        file.write(bytes(_HEAD.size + _ZOOM_HEAD.size * len(self._levels)))
        self._autosql_at = file.tell() if fields else 0
        file.write(fields.autosql.encode() + b"\0" if fields else b"")
        self._total_at = file.tell()
        file.write(bytes(_TOTAL.size))
        self._contigs_at = file.tell()
        file.write(_contig_tree(self.contigs, self._contigs_at))
        self._data_at = file.tell()
        file.write(bytes(8))

    def append(self, held: Section) -> None:
        """Write a section; sections come in the order of contigs and positions."""
        rows = held.blocks.copy()
        rows["offset"] += self._file.tell()
        self._blocks += rows.tobytes()
        self._file.write(held.content)
        self._largest = max(self._largest, held.largest)
        self._summaries.append(held.summaries)
        for valid, least, greatest, total, squares in held.totals.tolist():  # one by one: sums depend on their order
            before = self._total
            self._total = (
                before[0] + valid,
                min(before[1], least),
                max(before[2], greatest),
                before[3] + total,
                before[4] + squares,
            )

    def close(self, count: int, per_block: int) -> None:
        """Write what follows the blocks, then the head; `count` is that of the blocks, or of a bigBed's items."""
        index_at = self._write_index(self._blocks, per_block)
        heads = self._write_levels()
        file = self._file
        file.write(struct.pack("<I", self._magic))
        file.seek(self._total_at)
        valid, *others = self._total if self._total[0] else [0.0] * 5
        file.write(_TOTAL.pack(int(valid), *others))
        file.seek(self._data_at)
        file.write(struct.pack("<Q", count))
        file.seek(_HEAD.size)
        file.write(b"".join(heads))
        fields = self._fields or Fields("", 0, 0)
        offsets = (self._contigs_at, self._data_at, index_at, fields.columns, fields.standard, self._autosql_at)
        file.seek(0)
        file.write(_HEAD.pack(self._magic, VERSION, len(heads), *offsets, self._total_at, self._largest, 0))

    def _write_index(self, blocks: bytearray, per_block: int) -> int:
        """Write the index of blocks and return its place."""
        offset = self._file.tell()
        self._file.write(index_bytes(np.frombuffer(blocks, BLOCK), offset, per_block))
        return offset

    def _write_levels(self) -> list[bytes]:
        """Write the zoom levels and return their heads."""
        heads = []
        summaries = np.concatenate([np.zeros(0, SUMMARY), *self._summaries])
        for bases in self._levels:
            summaries = coarsen(summaries, bases)
            data_at = self._file.tell()
            self._file.write(struct.pack("<I", len(summaries)))
            blocks = bytearray()
            for held in _cut(summaries):
                packed = zlib.compress(held.tobytes(), COMPRESSION)
                first, last = held[0], held[-1]
                span = (first["contig"], first["start"], last["contig"], last["end"])
                blocks += _BLOCK.pack(*span, self._file.tell(), len(packed))
                self._file.write(packed)
            heads.append(_ZOOM_HEAD.pack(bases, data_at, self._write_index(blocks, SUMMARIES_PER_BLOCK)))
        return heads


def require_lengths(contigs: Sequence[Contig]) -> None:
    """Raise `InputError` where a contig is too long for the format."""
    for name, length in contigs:
        if length > MAX_BASES:
            raise InputError(f"contig {name} has {length:,} bases; a bigWig or bigBed holds up to {MAX_BASES:,}")


def require_order(contig: Contig, starts: Positions, ends: Positions) -> None:
    """Check that items of a contig ascend, are not empty and lie within it.

    Raises
    ------
    InputError
        They do not, which only a damaged table causes.

    """
    if len(starts) and not (
        starts[0] >= 0 and (np.diff(starts) >= 0).all() and (starts < ends).all() and ends.max() <= contig.length
    ):
        raise InputError(
            f"rows of {contig.name} between {starts.min() + 1} and {ends.max()} do not ascend, occur twice or leave "
            f"the contig of {counted(contig.length, 'base')}; `sptx verify` names what is damaged"
        )


def _cut(summaries: Summaries) -> list[Summaries]:
    """Summaries in pieces of one contig and at most `SUMMARIES_PER_BLOCK`."""
    edges = np.flatnonzero(np.diff(summaries["contig"].astype(np.int64), prepend=-1))
    return [
        summaries[at : min(at + SUMMARIES_PER_BLOCK, end)]
        for begin, end in pairwise([*edges.tolist(), len(summaries)])
        for at in range(begin, end, SUMMARIES_PER_BLOCK)
    ]


def _contig_tree(contigs: Sequence[Contig], offset: int) -> bytes:
    """The B+ tree of contigs that begins at `offset`: name -> number and length."""
    key = max(len(contig.name.encode()) for contig in contigs)
    children = min(_MAX_CONTIGS_PER_NODE, len(contigs))
    room = 4 + children * (key + 8)
    names = [contig.name.encode().ljust(key, b"\0") for contig in contigs]
    leaves = [name + struct.pack("<II", at, contigs[at].length) for at, name in enumerate(names)]
    levels, steps = [leaves], [1]  # entries of each level from the root on, and how many contigs each stands for
    while len(levels[0]) > children:
        steps.insert(0, steps[0] * children)
        levels.insert(0, names[:: steps[0]])
    head = struct.pack("<IIIIQQ", _CONTIGS_MAGIC, children, key, 8, len(contigs), 0)
    pieces, here = [head], offset + len(head)
    for depth, entries in enumerate(levels):
        is_leaf = depth == len(levels) - 1
        here += room * -(-len(entries) // children)  # where the level below begins
        if not is_leaf:
            entries = [entry + struct.pack("<Q", here + at * room) for at, entry in enumerate(entries)]
        for begin in range(0, len(entries), children):
            held = entries[begin : begin + children]
            pieces.append((struct.pack("<BxH", is_leaf, len(held)) + b"".join(held)).ljust(room, b"\0"))
    return b"".join(pieces)
