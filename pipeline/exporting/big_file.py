"""What bigWig and bigBed have in common: a file of compressed blocks with an index, zoom levels and a summary.

A `BigFile` is written from front to back into any binary file that can seek; `close` goes back to fill in what was not
known before, the head last. Until then nothing in the file says that it is a bigWig or bigBed. The same calls give the
same bytes: no date, name or path goes in. Positions are 0-based and half-open.

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
from collections.abc import Sequence
from itertools import pairwise
from typing import BinaryIO, NamedTuple

import numpy as np

from pipeline.exporting.block_index import BLOCK, index_bytes
from pipeline.exporting.zoom import SUMMARY, Positions, Summaries, Values, coarsen, level_bases, summarise
from sptx_core.errors import InputError

VERSION = 4
COMPRESSION = 6  # of zlib
SUMMARIES_PER_BLOCK = 1024
MAX_BASES = 2**32 - 1  # of a contig: positions have 32 bits
_CONTIGS_MAGIC, _MAX_CONTIGS_PER_NODE = 0x78CA8C91, 256
_HEAD = struct.Struct("<IHHQQQHHQQIQ")
_ZOOM_HEAD = struct.Struct("<IxxxxQQ")
_BLOCK = struct.Struct("<IIIIQQ")  # a row of BLOCK
_TOTAL = struct.Struct("<Qdddd")


class Contig(NamedTuple):
    """Name and length, in bases."""

    name: str
    length: int


class Fields(NamedTuple):
    """What a bigBed says of its columns: the autoSql, how many there are, and how many of these are BED's own."""

    autosql: str
    columns: int
    standard: int


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
        for name, length in contigs:
            if length > MAX_BASES:
                raise InputError(f"contig {name} has {length:,} bases; a bigWig or bigBed holds up to {MAX_BASES:,}")
        self._file, self._magic, self._fields = file, magic, fields
        self._levels = level_bases(max(length for _, length in contigs))
        self._blocks = bytearray()  # rows of BLOCK: millions of a genome's every base
        self._summaries: list[Summaries] = []
        self._total = [0, np.inf, -np.inf, 0.0, 0.0]
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

    def add_block(self, contig: int, start: int, end: int, content: bytes) -> None:
        """Write a block of items of one contig; `start` and `end` are their least start and greatest end."""
        self._largest = max(self._largest, len(content))
        packed = zlib.compress(content, COMPRESSION)
        self._blocks += _BLOCK.pack(contig, start, contig, end, self._file.tell(), len(packed))
        self._file.write(packed)

    def summarise(self, contig: int, starts: Positions, ends: Positions, values: Values) -> None:
        """Take runs of equal values into the summary and the zoom levels, in order."""
        if not len(starts):
            return
        width, value = (ends - starts).astype(np.float64), values.astype(np.float64)
        valid, least, greatest, total, squares = self._total
        self._total = [
            valid + int(width.sum()),
            min(least, float(value.min())),
            max(greatest, float(value.max())),
            total + float((width * value).sum()),
            squares + float((width * value**2).sum()),
        ]
        self._summaries.append(summarise(contig, starts, ends, values, self._levels[0]))

    def close(self, count: int, per_block: int) -> None:
        """Write what follows the blocks, then the head; `count` is that of the blocks, or of a bigBed's items."""
        index_at = self._write_index(self._blocks, per_block)
        heads = self._write_levels()
        file = self._file
        file.write(struct.pack("<I", self._magic))
        file.seek(self._total_at)
        file.write(_TOTAL.pack(*(self._total if self._total[0] else (0, 0.0, 0.0, 0.0, 0.0))))
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


def require_order(contig: Contig, starts: Positions, ends: Positions, after: int) -> None:
    """Check that items of a contig begin at or after `after`, ascend, are not empty and end within the contig.

    Raises
    ------
    InputError
        They do not, which only a damaged table causes.

    """
    if len(starts) and not (
        starts[0] >= after and (np.diff(starts) >= 0).all() and (starts < ends).all() and ends.max() <= contig.length
    ):
        raise InputError(
            f"rows of {contig.name} between {starts.min() + 1} and {ends.max()} do not ascend, occur twice or leave "
            f"the contig of {contig.length:,} bases; `sptx verify` names what is damaged"
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
