"""Text files with numbered lines: gzip is recognised by content, and errors name the file and the line.

The readers of GTF, GFF3, `SJ.out.tab` and usage tables share this module. A file is gzip (bgzip included) when it
begins with the magic bytes of RFC 1952, whatever its name is. A byte order mark of UTF-8, with which some editors begin
a file, is left out. Lines count from 1, as an editor shows them.

A line has a limit, because readers hold a whole line in memory and a gzip file of a few megabytes can hold one of
gigabytes.

Errors: `InputError` for a gzip file that is damaged or cut short, for text in UTF-16, and for a line beyond the limit.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator

import polars as pl

from sptx_core.errors import InputError

CHUNK_BYTES = 32 << 20  # of text held at a time; reading a GTF in larger chunks is not faster
MAX_LINE_BYTES = 2 * CHUNK_BYTES  # far more than any line of an annotation
GZIP_MAGIC = b"\x1f\x8b"
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def decompressed(stream: io.BufferedReader, uri: str, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Read a stream to its end in chunks, decompressing it when it is gzip.

    Parameters
    ----------
    stream : io.BufferedReader
        The open file, at its beginning.
    uri : str
        Name of the file, for messages.
    chunk_bytes : int
        Size of a chunk after decompression; the last one may be smaller.

    Yields
    ------
    bytes
        Never empty; a byte order mark is left out.

    Raises
    ------
    InputError
        If gzip data is damaged or ends too early, or the text is UTF-16.
    """
    text: io.BufferedIOBase = stream
    if stream.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC):
        text = gzip.GzipFile(fileobj=stream)
    head = _read(text, len(codecs.BOM_UTF8), uri)
    if head.startswith(_UTF16_MARKS):
        raise InputError(f"{uri} is text in UTF-16; save it as UTF-8")
    if head == codecs.BOM_UTF8:
        head = b""
    while chunk := head[:chunk_bytes] + _read(text, max(0, chunk_bytes - len(head)), uri):
        head = head[chunk_bytes:]
        yield chunk


def in_lines(chunks: Iterable[bytes], uri: str, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[bytes]:
    """Pass chunks of text on, unchanged, as long as a line that goes on from chunk to chunk keeps to a limit.

    Parameters
    ----------
    chunks : iterable of bytes
        The text; lines within a chunk are as short as it is.
    uri : str
        Name of the file, for messages.
    max_line_bytes : int
        Largest size of a line without its end.

    Yields
    ------
    bytes
        The chunks.

    Raises
    ------
    InputError
        With the number of the line that is too long, before the chunk that makes it so is passed on.
    """
    number, unfinished = 1, 0
    for chunk in chunks:
        first, last = chunk.find(b"\n"), chunk.rfind(b"\n")
        unfinished += len(chunk) if first < 0 else first
        if unfinished > max_line_bytes:
            raise InputError(
                f"{uri} line {number}: the line is longer than {max_line_bytes:,} bytes, which no line of such a file "
                "is; give another file, or one whose lines end in LF or CRLF"
            )
        if first >= 0:
            number += chunk.count(b"\n")
            unfinished = len(chunk) - last - 1
        yield chunk


def _read(text: io.BufferedIOBase, size: int, uri: str) -> bytes:
    """Up to `size` bytes; fewer only at the end of the file."""
    try:
        return text.read(size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{uri} is a damaged or cut gzip file ({error}); copy it again") from error


def raise_for_first(lines: pl.DataFrame, faulty: pl.Series, uri: str, problem: str) -> None:
    """Raise an error for the first faulty line, if there is one.

    Parameters
    ----------
    lines : polars.DataFrame
        One row a line, with its number in the column `line`.
    faulty : polars.Series
        Boolean, one value a row of `lines`.
    uri : str
        Name of the file, for the message.
    problem : str
        What is wrong, a `str.format` template in which `{name}` stands for the line's value in that column.

    Raises
    ------
    InputError
        `<uri> line <number>: <problem>`.
    """
    if faulty.any():
        first = lines.filter(faulty).row(0, named=True)
        raise InputError(f"{uri} line {first['line']}: {problem.format(**first)}")
