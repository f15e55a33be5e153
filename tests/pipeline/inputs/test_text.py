"""Chunks of plain and gzip files, and errors that name the line."""

from __future__ import annotations

import gzip
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.inputs.text import GZIP_MAGIC, decompressed, raise_for_first
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
