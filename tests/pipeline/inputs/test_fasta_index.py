"""Contigs of FASTA texts against what `samtools faidx` lists, and against a plain reading of the lines."""

from __future__ import annotations

import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from material.genomes import plainly
from material.mutations import INPUTS, mutated

from pipeline.inputs.bgzip import IndexMismatch
from pipeline.inputs.fasta_index import Contig, fai_text, find_contigs, read_fai
from sptx_core.errors import InputError

BOM = b"\xef\xbb\xbf"
LINE = b"ACGTTGCAAC" * 6 + b"\n"

# Text -> its .fai, as samtools 1.24 writes it.
AS_SAMTOOLS = {
    b">a x y\nACGT\nAC\n>b\nAC\n": "a\t6\t7\t4\t5\nb\t2\t18\t2\t3\n",
    b">a\nACGT\nACGT": "a\t8\t3\t4\t5\n",
    b">a\r\nACGT\r\nAC\r\n\r\n>b\r\nA\r\n": "a\t6\t4\t4\t6\nb\t1\t20\t1\t3\n",
    b">a\nACGT\nACG\r\n": "a\t7\t3\t4\t5\n",
    b"> a x\nACGT\n": "a\t4\t6\t4\t5\n",
    b"\n\n>a\nACGT\nAC\n\n\n>b\nAC\n\n": "a\t6\t5\t4\t5\nb\t2\t18\t2\t3\n",
    b">chr1\n" + 100 * LINE + b"\n\n": "chr1\t6000\t6\t60\t61\n",  # blank lines at the end
    b">chr1\n" + 100 * LINE + b"\n\n>chr2\n" + LINE: "chr1\t6000\t6\t60\t61\nchr2\t60\t6114\t60\t61\n",  # between
    b">chr1\n" + 100 * LINE + b"ACGTTGCAAC\n\n\n": "chr1\t6010\t6\t60\t61\n",  # after a short line
}
LETTERS = b"\n\r> \tACGTNacgtRYKM*-.x\x00\xff\xc3\xa9"


def bases(text: bytes, contig: Contig) -> bytes:
    """Bases of a contig at the places that its index names."""
    return b"".join(text[contig.byte(base) : contig.byte(base) + 1] for base in range(contig.length))


@pytest.mark.parametrize("text", AS_SAMTOOLS)
def test_contigs_are_those_of_samtools(text: bytes) -> None:
    assert fai_text(find_contigs([text], "g.fa")) == AS_SAMTOOLS[text]


@pytest.mark.skipif(shutil.which("samtools") is None, reason="samtools is not installed")
@pytest.mark.parametrize("text", AS_SAMTOOLS)
def test_samtools_says_so_itself(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "g.fa").write_bytes(text)
    subprocess.run(["samtools", "faidx", str(tmp_path / "g.fa")], check=True)
    assert (tmp_path / "g.fa.fai").read_text() == AS_SAMTOOLS[text]


def test_a_byte_order_mark_is_passed_over() -> None:
    text = BOM + b">a\nACGT\nAC\n"
    assert find_contigs([text], "g.fa") == {"a": Contig(6, 6, 4, 5)}


def test_contigs_without_a_base_are_listed() -> None:
    assert find_contigs([b">a\n>b\n\n>c\nAC\n>d\n"], "g.fa") == {
        "a": Contig(0, 3, 0, 0),
        "b": Contig(0, 6, 0, 0),
        "c": Contig(2, 10, 2, 3),
        "d": Contig(0, 16, 0, 0),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", r"g\.fa holds no base: a FASTA has"),
        (b">a\n>b\n", r"g\.fa holds no base: a FASTA has"),
        (b"\nACGT\n>a\nACGT\n", r"g\.fa line 2: text before the first contig"),
        (b"no fasta at all", r"g\.fa line 1: text before the first contig"),
        (b">a\nACGT\nACGTA\n", r"g\.fa line 3: the line is longer than those"),
        (b">a\nACGT\nAC\nACGT\n", r"g\.fa line 4: the line is longer .* follows a shorter"),
        (b">a\nACGT\n\nACGT\n", r"g\.fa line 4: the line is longer .* or blank one"),
        (b">a\n\nACGT\n", r"g\.fa line 3: the line is longer"),
        (b">a\nACGT\nACG\r\nACGT\n", r"g\.fa line 4: the line is longer"),  # as many bytes, but fewer bases
        (b">a\nACGT\n>a\nACGT\n", r"g\.fa line 3: contig a is there a second time"),
        (b">a\nACGT\n> \nACGT\n", r"g\.fa line 3: `>` without the name of a contig"),
        (b">a\nACGT\nAC T\n", r"g\.fa line 3: white space"),
        (b">a\nACGT\nAC", None),
        (b">a\nAC\x00T\n", r"g\.fa line 2: .*no letter"),
        (b">a\nACGT\xc3\xa9\n", r"g\.fa line 2: .*no letter"),
        (b">a\rACGT\r>b\rACGT\r", r"g\.fa line 1: a carriage return that no line feed follows"),
        (b">\xffa\nACGT\n", r"g\.fa line 1: the name of contig b'\\xffa' is not UTF-8 text"),
        (b">a\x00b\nACGT\n", r"g\.fa line 1: the name of contig 'a\\x00b' holds a control code"),
        (b">" + b"x" * (1 << 20) + b"x", r"g\.fa line 1: the line begins with `>`, but it is too long"),
    ],
)
def test_what_is_no_fasta_is_told_by_its_line(text: bytes, message: str | None) -> None:
    if message is None:
        assert find_contigs([text], "g.fa")
        return
    with pytest.raises(InputError, match=message):
        find_contigs([text], "g.fa")


@settings(max_examples=60, deadline=None)
@given(text=st.sampled_from(sorted(AS_SAMTOOLS, key=len)[:6]), cuts=st.sets(st.integers(0, 40)), mark=st.booleans())
def test_contigs_are_the_same_in_whatever_pieces_the_text_comes(text: bytes, cuts: set[int], mark: bool) -> None:
    text = BOM * mark + text
    ends = sorted({0, len(text), *(cut for cut in cuts if len(BOM) <= cut < len(text))})
    pieces = [text[start:end] for start, end in pairwise(ends)]
    assert find_contigs(pieces, "g.fa", chunk_bytes=1) == find_contigs([text], "g.fa")


@settings(max_examples=INPUTS, deadline=None)
@given(text=mutated(sorted(AS_SAMTOOLS, key=len)[:6], LETTERS), size=st.integers(3, 60))
def test_any_text_is_read_as_its_lines_say_or_refused_with_its_line(text: bytes, size: int) -> None:
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    try:
        found = find_contigs(pieces, "g.fa", chunk_bytes=1)
    except InputError:
        with pytest.raises(InputError, match=r"^g\.fa (line \d+: |holds no base)"):
            find_contigs([text], "g.fa")
        return
    assert found == find_contigs([text], "g.fa")
    assert {name: bases(text, contig) for name, contig in found.items()} == plainly(text)


def test_an_index_is_read_back(tmp_path: Path) -> None:
    contigs = find_contigs([b">a\nACGT\nAC\n>b\n>caf\xc3\xa9\nAC\n"], "g.fa")
    for newline in ("\n", "\r\n"):
        (tmp_path / "g.fa.fai").write_bytes(fai_text(contigs).replace("\n", newline).encode())
        assert read_fai(tmp_path / "g.fa.fai") == contigs


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"chr1\n",
        b"chr1\tx\t1\t2\t3\n",
        b"chr1\t5\t6\t0\t0\n",
        b"chr1\t5\t6\t5\t4\n",
        b"chr1\t5\t6\t5\t6\t7\n",
        b"chr1\t5\t6\t5\t6\nchr1\t5\t60\t5\t6\n",
        b"chr1\t\xd9\xa5\t6\t5\t6\n",  # a digit, but none of ASCII
        b"chr1\t" + b"9" * 5000 + b"\t6\t5\t6\n",
        b"\xff\xfe\x00c",
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_what_is_no_index_does_not_fit(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "g.fa.fai").write_bytes(content)
    with pytest.raises(IndexMismatch, match=r"g\.fa\.fai is"):
        read_fai(tmp_path / "g.fa.fai")


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_a_line_of_white_space_is_a_blank_line(size: int) -> None:
    text = b">c1\nACGT\n  \t\n>c2\r\nAC\r\n \t"
    chunks = [text[at : at + size] for at in range(0, len(text), size)]
    found = find_contigs(chunks, "g.fa", size)
    assert found == {"c1": Contig(4, 4, 4, 5), "c2": Contig(2, 18, 2, 4)}  # as samtools faidx 1.16 has them
    with pytest.raises(InputError, match=r"line 4: the line is longer .* or follows a shorter or blank one"):
        find_contigs([b">c1\nACGT\n  \nACGT\n"], "g.fa")
