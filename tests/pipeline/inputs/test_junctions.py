"""Junctions of STAR: what is read, summed and refused, and the command that measures usage from them."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from material.mutations import INPUTS, mutated

from pipeline.inputs.junction_usage import usage_of_sites
from pipeline.inputs.junctions import files_by_tissue, measure_usage, read_junctions, sum_junctions
from pipeline.inputs.usage import read_usage
from sptx_core.errors import InputError

LINE = "chr1\t101\t200\t1\t1\t1\t7\t3\t40\n"
MINUS = "chr1\t101\t200\t2\t2\t0\t5\t0\t12\n"


def write(folder: Path, content: bytes | str, name: str = "SJ.out.tab") -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def rows(frame: pl.DataFrame) -> set[tuple[object, ...]]:
    return set(frame.select("contig", "strand", "donor", "acceptor", "reads").rows())


# Reading


def test_donor_and_acceptor_are_the_bases_beside_the_intron(tmp_path: Path) -> None:
    read = read_junctions(write(tmp_path, LINE + MINUS))
    assert rows(read.frame) == {("chr1", "+", 100, 201, 7), ("chr1", "-", 201, 100, 5)}
    assert read.unstranded == 0
    shortest = LINE.replace("101\t200", "2\t2")  # of one base, where an intron can begin at the earliest
    assert rows(read_junctions(write(tmp_path, shortest)).frame) == {("chr1", "+", 1, 3, 7)}


def test_gzip_other_line_ends_and_empty_lines(tmp_path: Path) -> None:
    for content in (gzip.compress(LINE.encode()), LINE.replace("\n", "\r\n"), LINE + "\n", LINE.strip()):
        assert rows(read_junctions(write(tmp_path, content)).frame) == {("chr1", "+", 100, 201, 7)}


def test_a_byte_order_mark_is_no_part_of_the_contig(tmp_path: Path) -> None:
    mark = b"\xef\xbb\xbf"
    for content in (mark + LINE.encode(), gzip.compress(mark + LINE.encode())):
        assert rows(read_junctions(write(tmp_path, content)).frame) == {("chr1", "+", 100, 201, 7)}


def test_undefined_strands_are_counted_and_multimappers_ignored(tmp_path: Path) -> None:
    undefined = "chr1\t301\t400\t0\t0\t0\t9\t0\t30\n"
    only_multi = "chr1\t501\t600\t1\t1\t0\t0\t9\t30\n"
    read = read_junctions(write(tmp_path, undefined + LINE + only_multi))
    assert rows(read.frame) == {("chr1", "+", 100, 201, 7)}
    assert read.unstranded == 1


def test_replicates_are_summed(tmp_path: Path) -> None:
    other = "chr1\t301\t400\t0\t0\t0\t9\t0\t30\n" + MINUS
    read = sum_junctions(
        [write(tmp_path, LINE + other, "a"), write(tmp_path, LINE + other, "b"), write(tmp_path, LINE)]
    )
    assert rows(read.frame) == {("chr1", "+", 100, 201, 21), ("chr1", "-", 201, 100, 10)}
    assert read.unstranded == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no junction: it is empty"),
        (LINE + LINE.replace("\t40", ""), "line 2: SJ.out.tab of STAR has 9 tab-separated columns, and this line 8"),
        (LINE.replace("\t", " "), "line 1: SJ.out.tab of STAR has 9 tab-separated columns, and this line 1"),
        (
            LINE + LINE.replace("\t40", "\t40\t"),
            "line 2: SJ.out.tab of STAR has 9 tab-separated columns, and this line 10",
        ),
        (LINE.replace("chr1", ""), "line 1: contig is empty"),
        (LINE + LINE.replace("101", "x"), "line 2: start is 'x', not a whole number"),
        (LINE.replace("200", "200.5"), r"line 1: end is '200\.5', not a whole number"),
        ("\n" + LINE.replace("\t7", "\t"), "line 2: reads is '', not a whole number"),
        (LINE.replace("\t7", "\t-7"), "line 1: reads is -7, below 0"),
        (LINE.replace("\t40", "\tmany"), "line 1: overhang is 'many', not a whole number"),
        (LINE.replace("200\t1", "200\t3"), "line 1: strand is 3, not a code from 0 to 2"),
        (LINE.replace("200\t1", "200\t+"), r"line 1: strand is '\+', not a whole number"),
        (LINE.replace("200\t1\t1", "200\t1\t7"), "line 1: motif is 7, not a code from 0 to 6"),
        (LINE.replace("1\t7", "2\t7"), "line 1: annotated is 2, not a code from 0 to 1"),
        (LINE.replace("101", "1"), "line 1: start is 1, but an exon lies before an intron"),
        (LINE.replace("200", "100"), "line 1: end 100 lies before start 101"),
        (LINE.replace("200", "2147483647"), "line 1: end is 2147483647, farther than any contig reaches"),
        (b"BAM\x01\0\0", "is not text: give SJ.out.tab of STAR"),
        (gzip.compress(LINE.encode(), mtime=0)[:-9], "is a damaged or cut gzip file"),
    ],
)
def test_faults(tmp_path: Path, content: bytes | str, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(InputError, match=message) as refused:
        read_junctions(path)
    assert str(refused.value).startswith(path)


# The command


GENE = {(101, 200): 300, (101, 400): 20, (101, 600): 80, (301, 400): 60, (301, 600): 240, (501, 600): 80}


def star_lines(introns: Mapping[tuple[int, int], int], strand: int = 1, contig: str = "chr1") -> str:
    """Lines of introns (first base, last base) -> unique reads."""
    return "".join(
        f"{contig}\t{first}\t{last}\t{strand}\t1\t0\t{reads}\t0\t30\n" for (first, last), reads in introns.items()
    )


@pytest.mark.parametrize("name", ["usage.parquet", "usage.tsv"])
def test_the_written_table_reads_back(tmp_path: Path, sptx_here: Callable[..., Any], name: str) -> None:
    half = star_lines({intron: reads // 2 for intron, reads in GENE.items()})
    undefined = LINE.replace("\t1\t1\t1", "\t0\t0\t0")
    a, b = write(tmp_path, half, "a"), write(tmp_path, gzip.compress((half + undefined).encode()), "b")
    c = write(tmp_path, star_lines({(101, 200): 30, (301, 400): 30, (101, 400): 10}, 2, "chr2"), "c")
    flags = ["--junctions", f"brain={a},{b}", "--junctions", f"liver = {c}", "--to", tmp_path / name]
    code, _, err = sptx_here("usage", *flags, code=None)
    assert code == 0
    assert "brain: 2 files, 6 junctions, 780 unique reads; 1 line of undefined strand left out" in err
    assert "10 splice sites in 2 tissues written to" in err
    whole = read_junctions(write(tmp_path, star_lines(GENE), "whole")).frame
    expected = usage_of_sites({"brain": whole, "liver": read_junctions(c).frame})
    assert read_usage(str(tmp_path / name)).equals(expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a", "b", "c", "whole", name])


def test_min_reads_of_the_command(tmp_path: Path, sptx_here: Callable[..., Any]) -> None:
    path, to = write(tmp_path, star_lines({(101, 200): 9})), tmp_path / "usage.tsv"
    flags = ["usage", "--junctions", f"brain={path}", "--to", to]
    few = sptx_here(*flags, code=None)
    assert (few.code, to.exists()) == (2, False)
    assert "no splice site has 10 reads in any tissue; lower --min-reads or give more files" in few.err
    assert sptx_here(*flags, "--min-reads", 9).code == 0
    assert len(read_usage(str(to))) == 2
    assert "--min-reads 0: give 1 or more" in sptx_here(*flags, "--min-reads", 0, code=None).err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["brain"], "--junctions brain: give TISSUE=FILE"),
        (["=a"], "--junctions =a: give TISSUE=FILE"),
        (["brain=,"], "--junctions brain=,: give TISSUE=FILE"),
        (["s3://bucket/x=1/SJ.out.tab"], "give TISSUE=FILE"),
        (["strand=a"], "strand is no name for a tissue"),
        (["chrom=a"], "chrom is no name for a tissue"),
        (["brain=a", "brain=b"], "names brain twice; give all its files at once"),
        (["brain=/a,/b,/a"], "--junctions gives /a twice"),
        (["brain=/a", "liver=/b,/a"], "--junctions gives /a twice"),
    ],
)
def test_tissues_that_are_refused(given: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        files_by_tissue(given)


def test_equal_signs_in_a_uri_belong_to_it() -> None:
    assert files_by_tissue(["brain=s3://bucket/run=1/a,/b"]) == {"brain": ["s3://bucket/run=1/a", "/b"]}


def test_the_target_is_checked_before_any_file_is_read(tmp_path: Path, sptx_here: Callable[..., Any]) -> None:
    code, _, err = sptx_here(
        "usage", "--junctions", f"brain={tmp_path / 'none'}", "--to", tmp_path / "usage.csv", code=None
    )
    assert code == 2
    assert "is neither named .parquet nor .tsv" in err


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.tab"):
        measure_usage({"brain": [str(tmp_path / "none.tab")]})


# Whatever a file holds

JUNCTIONS = st.tuples(
    st.sampled_from(["chr1", "1", "HLA:01"]), st.integers(2, 9), st.integers(9, 99), st.sampled_from([0, 1, 2])
)


@settings(max_examples=INPUTS, deadline=None)
@given(lines=st.lists(st.tuples(JUNCTIONS, st.integers(0, 9)), min_size=1, max_size=9), shuffle=st.randoms())
def test_order_blank_lines_line_ends_and_gzip_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[tuple[str, int, int, int], int]], shuffle: Any
) -> None:
    reads: dict[tuple[object, ...], int] = {}
    for (contig, start, end, strand), count in lines:
        if strand and count:
            places = (start - 1, end + 1) if strand == 1 else (end + 1, start - 1)
            key = (contig, " +-"[strand], *places)
            reads[key] = reads.get(key, 0) + count
    texts = ["\t".join(map(str, (*place, 1, 0, count, 5, 30))) for place, count in lines] + ["", "  "]
    shuffle.shuffle(texts)
    content = shuffle.choice(["\n", "\r\n"]).join(texts).encode()
    content = shuffle.choice([b"", b"\xef\xbb\xbf"]) + content
    path = write(tmp_path_factory.mktemp("junctions"), gzip.compress(content) if shuffle.random() < 0.5 else content)
    found = read_junctions(path)
    assert rows(found.frame) == {(*key, count) for key, count in reads.items()}
    assert found.unstranded == sum(strand == 0 for (_, _, _, strand), _ in lines)


@settings(max_examples=INPUTS, deadline=None)
@given(
    content=mutated([(LINE + MINUS).encode(), MINUS.encode()], b" \t\n\r.+-0123456789chrx\x00\xef\xbb\xbf\xff\x1f\x8b")
)
def test_no_file_ends_in_anything_but_its_junctions_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = write(tmp_path_factory.mktemp("fuzz"), content)
    refused = ""
    try:
        frame = read_junctions(path).frame
    except InputError as error:
        refused = str(error)
    if refused:
        assert refused.startswith(path)
        assert "\n" not in refused
    else:
        assert set(frame["strand"]) <= {"+", "-"}
        assert (frame["reads"] > 0).all()
        assert (frame.select("donor", "acceptor").min_horizontal() >= 1).all()
