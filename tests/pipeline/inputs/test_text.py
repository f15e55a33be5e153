"""Chunks of plain and gzip files, and errors that name the line."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.inputs.gtf import read_features
from pipeline.inputs.junctions import read_junctions
from pipeline.inputs.text import GZIP_MAGIC, MAX_LINE_BYTES, decompressed, in_lines, raise_for_first
from pipeline.inputs.usage import read_usage
from sptx_core.errors import InputError


def read(path: Path, chunk_bytes: int) -> list[bytes]:
    with path.open("rb") as stream:
        return list(decompressed(stream, str(path), chunk_bytes))


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=300), chunk_bytes=st.integers(1, 400), members=st.integers(0, 3))
def test_chunks_are_the_content(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, chunk_bytes: int, members: int
) -> None:
    """Plain, or gzip of one or more members, as `cat` of gzip files makes them."""
    cuts = [len(content) * at // max(1, members) for at in range(members + 1)]
    packed = b"".join(gzip.compress(content[start:end]) for start, end in pairwise(cuts)) if members else content
    assume(members or not content.startswith(GZIP_MAGIC))
    path = tmp_path_factory.mktemp("text") / "file"
    path.write_bytes(packed)
    chunks = read(path, chunk_bytes)
    assert b"".join(chunks) == content
    assert all(0 < len(chunk) <= chunk_bytes for chunk in chunks)


@pytest.mark.parametrize("kept", [slice(-9), slice(3), slice(None, None, 2)])
def test_damaged_gzip_is_named(tmp_path: Path, kept: slice) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(b"\x1f\x8b" + gzip.compress(b"content of a file")[2:][kept])
    with pytest.raises(InputError, match=r"file\.gz is a damaged or cut gzip file"):
        read(path, 100)


def test_the_first_faulty_line_is_named_with_its_values() -> None:
    lines = pl.DataFrame({"line": [4, 7, 9], "start": ["1", "x", "y"]})
    with pytest.raises(InputError, match=r"^genes\.gtf line 7: start is 'x', not a number$"):
        raise_for_first(lines, lines["start"] != "1", "genes.gtf", "start is {start!r}, not a number")
    raise_for_first(lines, lines["start"] == "z", "genes.gtf", "never said")


@settings(max_examples=100, deadline=None)
@given(lines=st.lists(st.integers(0, 12), max_size=8), chunk_bytes=st.integers(1, 8), limit=st.integers(8, 12))
def test_a_line_may_be_as_long_as_the_limit(lines: list[int], chunk_bytes: int, limit: int) -> None:
    content = b"\n".join(b"x" * size for size in lines)
    chunks = [content[at : at + chunk_bytes] for at in range(0, len(content), chunk_bytes)]
    longer = [number for number, size in enumerate(lines, 1) if size > limit]
    if longer:
        with pytest.raises(InputError, match=rf"^genes\.gtf line {longer[0]}: the line is longer than {limit} bytes"):
            list(in_lines(chunks, "genes.gtf", limit))
    else:
        assert list(in_lines(chunks, "genes.gtf", limit)) == chunks


def test_of_a_line_without_end_no_more_is_read_than_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(b"a\n" + b"x" * 100_000))
    read: list[int] = []

    def counted(chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            read.append(len(chunk))
            yield chunk

    with path.open("rb") as stream, pytest.raises(InputError, match=r"file\.gz line 2: the line is longer than 5,000"):
        list(in_lines(counted(decompressed(stream, str(path), 1000)), str(path), 5000))
    assert sum(read) == 6000


@pytest.mark.slow
@pytest.mark.parametrize("reader", [read_features, read_junctions, read_usage])
def test_a_reader_refuses_a_line_without_end(reader: Callable[[str], object], endless: Path) -> None:
    with pytest.raises(InputError, match=r"endless\.gz line 1: the line is longer than 67,108,864 bytes, which"):
        reader(str(endless))


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One line beyond the limit, in a few hundred kilobytes of gzip."""
    path = tmp_path_factory.mktemp("endless") / "endless.gz"
    path.write_bytes(gzip.compress(b"x" * (MAX_LINE_BYTES + 1), 1))
    return path
