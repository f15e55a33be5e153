"""bgzip files (BGZF): blocks of gzip that can be read at random places, and their index `.gzi`.

Formats: the SAM specification, section 4.1 "The BGZF compression format" (each block is a gzip member of at most 64 KiB
whose extra field BC holds its size, and the file ends in an empty block), and htslib's `.gzi` (bgzip(1)): the number of
entries, then for every block with text but the first its offset in the compressed file and in the text, all uint64,
little-endian.

Offsets are in bytes. Errors: `InputError` for plain gzip and for a file that is damaged or cut short, also between two
blocks; `IndexMismatch` for an index that does not fit.
"""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.inputs.text import GZIP_MAGIC
from sptx_core.errors import InputError

_MAGIC = GZIP_MAGIC + b"\x08\x04"  # gzip with an extra field
_SUBFIELD = b"BC\x02\x00"  # the first in it: its name, and the bytes of its value
_HEADER = struct.Struct("<4s6x2x4sH")  # magic, time and flags, length of the extra field, subfield, bytes of block - 1
_GZIP = 16 + zlib.MAX_WBITS  # for zlib: with the header and the checksum of gzip
_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")  # section 4.1.2
_MAX_BLOCK = 1 << 16  # bytes of a block, compressed and as text
_DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile, struct.error)


class IndexMismatch(Exception):  # noqa: N818  # no error for the caller: the index is then built anew
    """An index does not fit its file."""


class Block(NamedTuple):
    """A block: its offset in the file, and its text."""

    offset: int
    text: bytes


class BlockIndex(NamedTuple):
    """Offsets of all blocks in the compressed file and in the text, int64, ascending; the first are 0."""

    packed: npt.NDArray[np.int64]
    plain: npt.NDArray[np.int64]

    @property
    def text_limit(self) -> int:
        """Bytes that the text has at most."""
        return int(self.plain[-1]) + _MAX_BLOCK

    def to_gzi(self) -> bytes:
        """The content of a `.gzi`."""
        entries = np.column_stack([self.packed, self.plain])[1:].astype("<u8")
        return struct.pack("<Q", len(entries)) + entries.tobytes()


def is_bgzip(path: Path, uri: str) -> bool:
    """Whether a file is bgzip rather than plain text.

    Parameters
    ----------
    path : Path
        The file.
    uri : str
        Its name in messages.

    Raises
    ------
    InputError
        It is plain gzip.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
    if not head.startswith(GZIP_MAGIC):
        return False
    if _begins_block(head):
        return True
    raise InputError(
        f"{uri} is plain gzip, which cannot be read at random places; "
        f"recompress it with htslib's bgzip: gunzip -c {uri} | bgzip > genome.fa.gz"
    )


def has_end(path: Path) -> bool:
    """Whether a bgzip file has the empty block in which it must end; one that lacks it was cut short."""
    with path.open("rb") as file:
        return ends_whole(file)


def is_blocked(stream: io.BufferedReader) -> bool:
    """Whether an open file, at its beginning, is bgzip; nothing is taken from it."""
    return _begins_block(stream.peek(_HEADER.size))


def ends_whole(file: BinaryIO) -> bool:
    """As `has_end`, of an open file, which is left at its end; True for one that cannot be read from there."""
    if not file.seekable():
        return True
    file.seek(max(0, file.seek(0, io.SEEK_END) - len(_END)))
    return file.read() == _END


def _begins_block(head: bytes) -> bool:
    return head.startswith(_MAGIC) and head[12:14] == _SUBFIELD[:2]


def iter_blocks(file: BinaryIO, uri: str) -> Iterator[Block]:
    """Read a file from its beginning to its end.

    Parameters
    ----------
    file : BinaryIO
        The open file, at its beginning.
    uri : str
        Its name in messages.

    Yields
    ------
    Block
        Those with text.

    Raises
    ------
    InputError
        The file is damaged, or lacks its end.
    """
    offset, ended = 0, False
    while head := file.read(_HEADER.size):
        try:
            magic, subfield, size = _HEADER.unpack(head)
            if (magic, subfield) != (_MAGIC, _SUBFIELD) or size < len(head):
                raise gzip.BadGzipFile("no block begins there")
            text = _unpacked(head + file.read(size + 1 - len(head)))
        except _DAMAGE as error:
            raise InputError(
                f"{uri} is a damaged or cut bgzip file (block at byte {offset:,}: {error}); copy it again"
            ) from error
        ended = not text
        if text:
            yield Block(offset, text)
        offset += size + 1
    if not ended:
        raise InputError(
            f"{uri} lacks the empty block at the end of a bgzip file, so it may be cut short; copy it again, or "
            f"recompress it if it is whole: gunzip -c {uri} | bgzip > genome.fa.gz"
        )


def _unpacked(block: bytes) -> bytes:
    """Text of a block that holds one member of gzip and nothing else; zlib checks its checksum and size."""
    member = zlib.decompressobj(wbits=_GZIP)
    text = member.decompress(block)
    if not member.eof or member.unused_data:
        raise EOFError("it does not end where it says")
    return text


def _members(compressed: memoryview) -> bytes:
    """Text of members of gzip, one after the other; zlib checks the checksum and size of each."""
    text, rest = b"", bytes(compressed)
    while rest:
        member = zlib.decompressobj(wbits=_GZIP)
        text += member.decompress(rest)
        if not member.eof:
            raise EOFError("it ends within a block")
        rest = member.unused_data.lstrip(b"\0")  # zeros may follow the last one, as in any gzip file
    return text


def index_of(blocks: Sequence[tuple[int, int]]) -> BlockIndex:
    """The index of blocks given as offset in the file and bytes of text, in the order of the file."""
    packed = np.array([offset for offset, _ in blocks] or [0], np.int64)
    plain = np.cumsum([0, *(size for _, size in blocks)], dtype=np.int64)[: len(packed)]
    return BlockIndex(packed, plain)


def read_gzi(path: Path, file_bytes: int) -> BlockIndex:
    """Read a `.gzi`.

    Parameters
    ----------
    path : Path
        The index.
    file_bytes : int
        Size of the file that it is the index of.

    Returns
    -------
    BlockIndex

    Raises
    ------
    IndexMismatch
        It is no `.gzi`, or not of a file of that size.
    OSError
        As the file system raises it.
    """
    content = path.read_bytes()
    numbers = np.frombuffer(content[: len(content) // 8 * 8], dtype="<u8")
    if not len(numbers) or len(content) != 8 * (1 + 2 * int(numbers[0])):
        raise IndexMismatch(f"{path} is no index of a bgzip file")
    entries = np.concatenate([np.zeros((1, 2), "<u8"), numbers[1:].reshape(-1, 2)])
    if (entries > file_bytes * _MAX_BLOCK).any():
        raise IndexMismatch(f"{path} does not fit: it points beyond the end of the file")
    packed, plain = entries.astype(np.int64).T
    steps = np.diff([*packed, file_bytes])
    texts = np.diff(plain)
    # Empty blocks, such as the one at the end, need not be listed.
    if (steps <= 0).any() or (steps > 2 * _MAX_BLOCK).any():
        raise IndexMismatch(f"{path} does not fit: it lists other blocks than the file has")
    if (texts < 0).any() or (texts > _MAX_BLOCK).any():
        raise IndexMismatch(f"{path} does not fit: its blocks hold more text than a block can")
    return BlockIndex(packed, plain)


def read_text(file: BinaryIO, index: BlockIndex, first: int, end: int) -> bytes:
    """Read a stretch of the text.

    Parameters
    ----------
    file : BinaryIO
        The open file.
    index : BlockIndex
        Its index.
    first, end : int
        Offsets in the text, half-open.

    Returns
    -------
    bytes
        Fewer than asked for where the text ends before `end`.

    Raises
    ------
    IndexMismatch
        The index does not fit, or the file is damaged there.
    """
    packed, plain = index
    low, high = int(np.searchsorted(plain, first, "right")) - 1, int(np.searchsorted(plain, end, "left"))
    file.seek(int(packed[low]))
    inside = high < len(packed)
    compressed = memoryview(file.read(int(packed[high] - packed[low])) if inside else file.read())
    bounds = [*(packed[low:high] - packed[low]).tolist(), len(compressed)]
    try:
        # Block by block: given all at once, zlib copies the rest after each.
        text = b"".join(_members(compressed[start:stop]) for start, stop in pairwise(bounds))
    except _DAMAGE as error:
        raise IndexMismatch(
            f"its index .gzi does not fit, or the file is damaged ({error}); delete the index"
        ) from error
    if inside and len(text) != plain[high] - plain[low]:
        raise IndexMismatch("its index .gzi does not fit, blocks hold more or less text than it says; delete the index")
    return text[first - int(plain[low]) : end - int(plain[low])]
