"""Text files with numbered lines: gzip is recognised by content, and errors name the file and the line.

The readers of GTF, GFF3, `SJ.out.tab` and usage tables share this module. A file is gzip (bgzip included) when it
begins with the magic bytes of RFC 1952, whatever its name is. Lines count from 1, as an editor shows them.

Errors: `InputError` for a gzip file that is damaged or cut short.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator

import polars as pl

from sptx_core.errors import InputError

CHUNK_BYTES = 32 << 20  # of text held at a time; reading a GTF in larger chunks is not faster
GZIP_MAGIC = b"\x1f\x8b"


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
        Never empty.

    Raises
    ------
    InputError
        If gzip data is damaged or ends too early.
    """
    text: io.BufferedIOBase = stream
    if stream.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC):
        text = gzip.GzipFile(fileobj=stream)
    while True:
        try:
            chunk = text.read(chunk_bytes)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{uri} is a damaged or cut gzip file ({error}); copy it again") from error
        if not chunk:
            return
        yield chunk


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
