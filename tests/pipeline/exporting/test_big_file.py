"""What bigWig and bigBed share: a file is none before it is complete, and what the format cannot hold is refused."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest

from pipeline.exporting.big_file import BigFile, Contig, joined, require_order, section
from sptx_core.errors import InputError

MAGIC = 0x888FFC26


def test_the_head_comes_last() -> None:
    file = io.BytesIO()
    big = BigFile(file, [Contig("chr1", 10**6)], MAGIC)
    big.append(section(0, [(0, 10, b"content")], np.array([0]), np.array([10]), np.array([0.5], np.float32)))
    assert file.getvalue().startswith(bytes(64))
    big.close(1, 1)
    assert file.getvalue()[:4] == file.getvalue()[-4:] == MAGIC.to_bytes(4, "little")


def test_a_contig_that_is_too_long_is_refused() -> None:
    with pytest.raises(InputError, match=re.escape("contig chr1 has 4,294,967,296 bases; a bigWig or bigBed holds")):
        BigFile(io.BytesIO(), [Contig("chr1", 2**32)], MAGIC)


@pytest.mark.parametrize("names", [("chr2", "chr1"), ("chr1", "chr1")])
def test_contigs_stand_in_the_order_of_their_names(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="order"):
        BigFile(io.BytesIO(), [Contig(name, 100) for name in names], MAGIC)


@pytest.mark.parametrize(("starts", "ends"), [([5, 4], [6, 5]), ([5], [5]), ([95], [101]), ([-1], [9])], ids=str)
def test_items_that_a_contig_cannot_hold_are_refused(starts: list[int], ends: list[int]) -> None:
    with pytest.raises(InputError, match="`sptx verify` names what is damaged"):
        require_order(Contig("chr1", 100), np.array(starts), np.array(ends))
    require_order(Contig("chr1", 100), np.array([4, 99]), np.array([5, 100]))


def test_sections_that_are_joined_give_the_same_file() -> None:
    random = np.random.default_rng(1)
    sections = []
    for begin in (0, 5_000, 40_000):
        starts = begin + np.arange(0, 4_000, 2)
        blocks = [(int(starts[at]), int(starts[at]) + 1, random.bytes(at + 1)) for at in (0, 999, 1_999)]
        sections.append(section(0, blocks, starts, starts + 1, random.random(len(starts)).astype(np.float32)))
    files = []
    for pieces in (sections, [joined(sections)], [joined(sections[:2]), joined([]), joined(sections[2:])]):
        file = io.BytesIO()
        big = BigFile(file, [Contig("chr1", 10**6)], MAGIC)
        for piece in pieces:
            big.append(piece)
        big.close(9, 1)
        files.append(file.getvalue())
    assert files[0] == files[1] == files[2]
