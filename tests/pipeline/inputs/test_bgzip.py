"""Blocks of bgzip files and their index, against files that Biopython writes; and files that are damaged or cut."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from Bio import bgzf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.inputs.bgzip import BlockIndex, IndexMismatch, index_of, is_bgzip, iter_blocks, read_gzi, read_text
from sptx_core.errors import InputError

TEXT = b">a\n" + b"ACGTTGCA\n" * 40
END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def write(path: Path, text: bytes, block: int) -> Path:
    with bgzf.BgzfWriter(str(path), "wb") as file:
        for start in range(0, len(text), block):
            file.write(text[start : start + block])
            file.flush()
    return path


def blocks_of(path: Path) -> list[tuple[int, bytes]]:
    with path.open("rb") as file:
        return [(block.offset, block.text) for block in iter_blocks(file, str(path))]


def indexed(path: Path) -> BlockIndex:
    return index_of([(offset, len(text)) for offset, text in blocks_of(path)])


@pytest.mark.parametrize("block", [1, 13, 200, 60_000])
def test_blocks_are_those_of_the_file(tmp_path: Path, block: int) -> None:
    path = write(tmp_path / "x.gz", TEXT, block)
    assert is_bgzip(path, "x.gz")
    blocks = blocks_of(path)
    assert b"".join(text for _, text in blocks) == TEXT
    with path.open("rb") as file:
        listed = [(start, size) for start, _, _, size in bgzf.BgzfBlocks(file) if size]
    assert [(offset, len(text)) for offset, text in blocks] == listed


def test_the_index_is_written_as_htslib_writes_it(tmp_path: Path) -> None:
    path = write(tmp_path / "x.gz", TEXT, 150)
    (_, second, third), index = [offset for offset, _ in blocks_of(path)], indexed(path)
    assert index.to_gzi() == struct.pack("<5Q", 2, second, 150, third, 300)
    (tmp_path / "x.gz.gzi").write_bytes(index.to_gzi())
    again = read_gzi(tmp_path / "x.gz.gzi", path.stat().st_size)
    assert all(np.array_equal(one, other) for one, other in zip(again, index, strict=True))


def test_the_index_of_the_real_megabase_is_that_of_bgzip(shared: Path) -> None:
    path = shared / "data" / "GRCh38.chr9_1Mb.fa.gz"
    assert indexed(path).to_gzi() == Path(f"{path}.gzi").read_bytes()


@settings(max_examples=60, deadline=None)
@given(first=st.integers(0, len(TEXT) + 5), length=st.integers(0, len(TEXT) + 5), block=st.sampled_from([13, 90, 400]))
def test_any_stretch_of_the_text_is_read(
    tmp_path_factory: pytest.TempPathFactory, first: int, length: int, block: int
) -> None:
    path = write(tmp_path_factory.mktemp("bgzip") / "x.gz", TEXT, block)
    with path.open("rb") as file:
        assert read_text(file, indexed(path), first, first + length) == TEXT[first : first + length]


def test_empty_blocks_within_a_file_are_passed_over(tmp_path: Path) -> None:
    one, two = write(tmp_path / "1.gz", TEXT, 90).read_bytes(), write(tmp_path / "2.gz", TEXT, 200).read_bytes()
    path = tmp_path / "x.gz"
    path.write_bytes(one + two)  # `cat` leaves the end of the first in the middle
    assert b"".join(text for _, text in blocks_of(path)) == TEXT + TEXT
    index = indexed(path)
    (tmp_path / "x.gz.gzi").write_bytes(index.to_gzi())
    with path.open("rb") as file:
        found = read_text(file, read_gzi(tmp_path / "x.gz.gzi", path.stat().st_size), len(TEXT) - 5, len(TEXT) + 5)
    assert found == TEXT[-5:] + TEXT[:5]


def test_a_file_cut_anywhere_is_damaged(tmp_path: Path) -> None:
    path = write(tmp_path / "x.gz", TEXT, 120)
    content = path.read_bytes()
    for kept in range(1, len(content)):
        path.write_bytes(content[:kept])
        with pytest.raises(
            InputError, match=r"x\.gz (is a damaged or cut bgzip file|lacks the empty block at the end)"
        ):
            blocks_of(path)


def test_a_file_that_ends_between_blocks_says_what_it_lacks(tmp_path: Path) -> None:
    path = write(tmp_path / "x.gz", TEXT, 120)
    path.write_bytes(path.read_bytes().removesuffix(END))
    with pytest.raises(InputError, match=r"x\.gz lacks the empty block at the end of a bgzip file, so it may be cut"):
        blocks_of(path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[:30] + bytes([content[30] ^ 64]) + content[31:],  # within compressed text
        lambda content: content[:16] + b"\x00\x00" + content[18:],  # a block of one byte
        lambda content: content[:16] + b"\xff\xff" + content[18:],
        lambda content: content + b"text",
        lambda content: content + gzip.compress(b"more"),
        lambda content: content[:-8] + b"12345678",  # checksum and size of the last block
    ],
)
def test_damage_is_told_by_its_place(tmp_path: Path, spoil: object) -> None:
    path = write(tmp_path / "x.gz", TEXT, 120)
    path.write_bytes(spoil(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(
        InputError, match=r"x\.gz is a damaged or cut bgzip file \(block at byte [\d,]+: .*copy it again"
    ):
        blocks_of(path)


def gzi(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}Q", *numbers)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"123",
        gzi(9),
        gzi(1, 11),
        gzi(1, 0, 50),  # the second block where the first is
        gzi(2, 90, 150, 80, 300),
        gzi(2, 80, 300, 90, 150),
        gzi(1, 2**63, 150),
        gzi(1, 80, 2**63),
        gzi(1, 80, 70_000),  # more text than a block can hold
        gzi(1, 400, 150),  # beyond the end of the file
    ],
)
def test_an_index_of_another_file_does_not_fit(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.gz.gzi").write_bytes(content)
    with pytest.raises(IndexMismatch, match=r"x\.gz\.gzi"):
        read_gzi(tmp_path / "x.gz.gzi", 300)


def test_an_index_that_leaves_out_most_of_a_file_does_not_fit(tmp_path: Path) -> None:
    (tmp_path / "x.gz.gzi").write_bytes(gzi(0))
    read_gzi(tmp_path / "x.gz.gzi", 60_000)
    with pytest.raises(IndexMismatch, match="lists other blocks"):
        read_gzi(tmp_path / "x.gz.gzi", 600_000)


@pytest.mark.parametrize(
    "change", [lambda at: (at + 1, 0), lambda at: (at - 1, 0), lambda at: (at, 1), lambda at: (at, -1)]
)
def test_no_text_is_taken_from_a_place_that_is_not_the_indexs(tmp_path: Path, change: object) -> None:
    path = write(tmp_path / "x.gz", TEXT, 100)
    packed, plain = indexed(path)
    at, shift = change(int(packed[1]))  # type: ignore[operator]
    packed, plain = packed.copy(), plain.copy()
    packed[1], plain[1] = at, plain[1] + shift
    with path.open("rb") as file, pytest.raises(IndexMismatch):
        read_text(file, BlockIndex(packed, plain), 120, 130)


@pytest.mark.parametrize(
    ("head", "found"), [(b">a\nACGT\n", False), (b"", False), (b"\x1f", False), (END, True), (END[:18], True)]
)
def test_bgzip_is_told_from_plain_text_by_its_first_bytes(tmp_path: Path, head: bytes, found: bool) -> None:
    (tmp_path / "x").write_bytes(head)
    assert is_bgzip(tmp_path / "x", "x") is found


@pytest.mark.parametrize("head", [gzip.compress(TEXT, mtime=0), END[:10], b"\x1f\x8b\x08\x04" + 14 * b"x"])
def test_plain_gzip_is_refused_with_a_remedy(tmp_path: Path, head: Sequence[int]) -> None:
    (tmp_path / "x").write_bytes(bytes(head))
    with pytest.raises(InputError, match=r"/data/x\.gz is plain gzip.*\| bgzip >"):
        is_bgzip(tmp_path / "x", "/data/x.gz")
