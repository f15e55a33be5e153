"""VCF files as they are found: every line is passed on, every record is told, what is no VCF is refused."""

from __future__ import annotations

import gzip
import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from Bio import bgzf
from hypothesis import given, settings
from hypothesis import strategies as st
from material.mutations import INPUTS, mutated

from pipeline.batch.storage import Store
from pipeline.inputs.vcf import MAX_POS, VcfRecord, header_fields, is_record, open_vcf
from sptx_core.errors import InputError

META = b"##fileformat=VCFv4.2\n"
COLUMNS = b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
SAMPLES = COLUMNS[:-1] + b"\tFORMAT\tmother\tchild\n"
LINE = b"chr1\t101\trs1\tA\tC,<DEL>\t.\tPASS\tDP=3;AF=0.5\n"
GENOTYPES = LINE[:-1] + b"\tGT:PS\t0/1:.\t1|2:90\n"


def write(folder: Path, content: bytes, name: str = "in.vcf") -> str:
    path = folder / name
    path.write_bytes(content)
    return str(path)


def blocked(content: bytes) -> bytes:
    """The content as bgzip, in blocks of a few lines."""
    stream = io.BytesIO()
    stream.close = lambda: None  # type: ignore[method-assign]  # the writer would
    with bgzf.BgzfWriter(fileobj=stream) as file:
        for start in range(0, len(content), 200):
            file.write(content[start : start + 200])
            file.flush()
    return stream.getvalue()


def records(uri: str) -> list[VcfRecord]:
    with open_vcf(uri) as vcf:
        return list(vcf.records())


def lines(uri: str) -> list[bytes]:
    with open_vcf(uri) as vcf:
        return [*vcf.header.lines, *vcf.lines()]


# Records


def test_a_record_is_what_its_line_says(tmp_path: Path) -> None:
    second = LINE.replace(b"101", b"0").replace(b"\tA\tC,<DEL>", b"\tnRy\tA]1:5]A,*,.,??,")
    found = records(write(tmp_path, META + COLUMNS + LINE + b"# a comment\n\n" + second))
    assert found[0] == (0, 3, "chr1", 101, "rs1", "A", ("C", "<DEL>"), LINE, None)
    assert found[1] == (1, 6, "chr1", 0, "rs1", "nRy", ("A]1:5]A", "*", ".", "??", ""), second, None)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"chr1\t101\t.\tA\tC\t.\tPASS", "7 tab-separated columns where a VCF has at least 8"),
        (b"chr1 101 . A C . PASS .", "1 tab-separated column where a VCF has at least 8"),
        (LINE.replace(b"chr1", b""), "CHROM is empty"),
        (LINE.replace(b"101", b"x"), f"POS is 'x', not a whole number up to {MAX_POS:,}"),
        (LINE.replace(b"101", b"1_0"), "POS is '1_0', not a whole number"),
        (LINE.replace(b"101", b"-1"), "POS is '-1', not a whole number"),
        (LINE.replace(b"101", b""), "POS is '', not a whole number"),
        (LINE.replace(b"101", b"2147483648"), "POS is '2147483648', not a whole number"),
        (LINE.replace(b"101", b"9" * 5000), f"POS is '{'9' * 30}...', not a whole number"),
        (LINE.replace(b"\tA\t", b"\t\t"), "REF is empty"),
        (LINE.replace(b"\tA\t", b"\t.\t"), "REF is '.', not bases"),
        (LINE.replace(b"\tA\t", b"\tA-\t"), "REF is 'A-', not bases"),
    ],
)
def test_an_odd_line_is_a_record_with_its_problem(tmp_path: Path, line: bytes, problem: str) -> None:
    first, odd, last = records(write(tmp_path, COLUMNS + LINE + line.rstrip(b"\n") + b"\n" + LINE))
    assert odd.problem is not None
    assert odd.problem.startswith(problem)
    assert (first.problem, last.problem) == (None, None)
    assert (odd.raw, odd.number, odd.line, last.line) == (line.rstrip(b"\n") + b"\n", 1, 3, 4)


def test_text_that_is_not_utf8_keeps_its_bytes(tmp_path: Path) -> None:
    (found,) = records(write(tmp_path, COLUMNS + LINE.replace(b"rs1", b"\xff")))
    assert (found.id, found.raw) == ("\ufffd", LINE.replace(b"rs1", b"\xff"))


# Genotypes


def test_genotypes_of_a_sample(tmp_path: Path) -> None:
    cut = LINE[:-1] + b"\tGT:PS\t0/1:.\r\n"
    with open_vcf(write(tmp_path, SAMPLES + GENOTYPES + cut + LINE)) as vcf:
        mother, child = (vcf.header.sample(name) for name in ("mother", "child"))
        found = [(record.genotype(mother), record.genotype(child)) for record in vcf.records()]
    assert [one.alleles for one, _ in found] == [(0, 1), (0, 1), ()]
    assert [one.alleles for _, one in found] == [(1, 2), (), ()]
    assert (found[0][1].phased, found[0][1].phase_set, found[1][0].phase_set) == (True, "90", None)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (SAMPLES, "has no sample 'father'; it has mother, child$"),
        (COLUMNS, "has no samples, so no 'father'"),
        (
            SAMPLES.replace(b"child", b"father\tfather"),
            "has more than one sample 'father' among mother, father, father",
        ),
    ],
)
def test_a_sample_that_is_not_there(tmp_path: Path, columns: bytes, message: str) -> None:
    path = write(tmp_path, columns)
    with open_vcf(path) as vcf, pytest.raises(InputError, match=message) as refused:
        vcf.header.sample("father")
    assert str(refused.value).startswith(path)


# The header


def test_what_the_header_says(tmp_path: Path) -> None:
    contigs = (
        b"##contig=<ID=chr1,length=248956422,assembly=GRCh38>\n"
        b'##contig=<ID="2",note="a, length=5 > b",length=7>\n##contig=<ID=HLA:01*01>\n##contig=<ID=X,length=-5>\n'
        b"##contig=<length=5>\n"
    )
    with open_vcf(write(tmp_path, META + contigs + b'##INFO=<ID=X,Description="##contig=<ID=no>">\n' + SAMPLES)) as vcf:
        header = vcf.header
    assert header.contigs == {"chr1": 248956422, "2": 7, "HLA:01*01": None, "X": None}
    assert header.samples == ("mother", "child")
    assert header.text.splitlines()[0] == "##fileformat=VCFv4.2"
    assert list(records(write(tmp_path, META + SAMPLES))) == []


def test_fields_of_a_structured_line() -> None:
    line = r'##INFO=<ID=A,Number=.,Description="x \"y\", z=<1>",Source="sptx">'
    assert header_fields(line) == {"ID": "A", "Number": ".", "Description": r"x \"y\", z=<1>", "Source": "sptx"}
    assert header_fields("##fileformat=VCFv4.2") == {}


# Files


def test_every_way_to_keep_a_file_gives_the_same(tmp_path: Path) -> None:
    content = META + SAMPLES + GENOTYPES * 9
    expected = records(write(tmp_path, content))
    Store("memory://vcf").write_atomic("in.vcf", blocked(content))
    mark = b"\xef\xbb\xbf"
    kept = {"a.gz": gzip.compress(content), "b.txt": blocked(content), "c": content, "d": mark + content}
    uris = [write(tmp_path, kept_as, name) for name, kept_as in kept.items()]
    for uri in (*uris, "memory://vcf/in.vcf"):
        assert records(uri) == expected
        assert b"".join(lines(uri)) == content


def test_crlf_and_a_last_line_without_end(tmp_path: Path) -> None:
    content = (META + COLUMNS + LINE + LINE.rstrip(b"\n")).replace(b"\n", b"\r\n")
    path = write(tmp_path, content)
    found = records(path)
    assert b"".join(lines(path)) == content
    assert [(one.pos, one.alts, one.problem, one.raw[-2:]) for one in found] == [
        (101, ("C", "<DEL>"), None, b"\r\n"),
        (101, ("C", "<DEL>"), None, b".5"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no VCF: it is empty"),
        (META, "is no VCF: it has no header line #CHROM"),
        (META + LINE, "line 2: no header line #CHROM stands above it"),
        (META + COLUMNS.replace(b"\t", b" "), "line 2: the columns are not #CHROM POS ID REF ALT QUAL FILTER INFO"),
        (COLUMNS.replace(b"\tINFO", b""), "line 1: the columns are not"),
        (SAMPLES.replace(b"FORMAT", b"mother"), "line 1: the ninth column is 'mother', not FORMAT"),
        (META + b"PK\x03\x04\0\0", "is not text: give a VCF"),
        (b"BAM\x01\0\0", "is not text: give a VCF"),
        ((META + COLUMNS).decode().encode("utf-16"), "is text in UTF-16"),
        (gzip.compress(META + COLUMNS + LINE, mtime=0)[:-9], "is a damaged or cut gzip file"),
        (blocked(META + COLUMNS + LINE)[:-28], "lacks the empty block at the end of a bgzip file"),
        (blocked(META + COLUMNS + LINE)[:-40], "is a damaged or cut gzip file"),
        (gzip.compress(META + COLUMNS, mtime=0) + b"rubbish", "is a damaged or cut gzip file"),
        (b"\x1f\x8brubbish", "is a damaged or cut gzip file"),
    ],
)
def test_faults(tmp_path: Path, content: bytes, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(InputError, match=message) as refused:
        records(path)
    assert str(refused.value).startswith(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("uri", ["none.vcf", "memory://vcf/none.vcf", "."])
def test_what_is_not_there_is_named(uri: str) -> None:
    with pytest.raises(InputError, match=r"does not exist|is a folder"):
        records(uri)


def test_an_error_of_whoever_reads_stays_its_own(tmp_path: Path) -> None:
    def read_elsewhere() -> None:
        with open_vcf(write(tmp_path, COLUMNS + LINE)) as vcf:
            for _ in vcf.records():
                (tmp_path / "elsewhere").read_bytes()

    with pytest.raises(FileNotFoundError):
        read_elsewhere()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(META + COLUMNS + (LINE[:-1] + b";X=" + b"a" * 2000 + b"\n") * 20_000, 1))
    tracemalloc.start()
    with open_vcf(path) as vcf:
        count = sum(1 for _ in vcf.records())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 24 << 20  # of 41 MB of text


# Whatever a file holds

FIELD = st.sampled_from([b"chr1", b"7", b".", b"A", b"acN", b"<DEL>", b"*", b"PASS", b"DP=3", b"0|1"])
BODY = st.one_of(
    st.lists(FIELD, min_size=1, max_size=12).map(b"\t".join), st.sampled_from([b"", b"  ", b"#", b"## x", b"#CHROM\tx"])
)


@settings(max_examples=INPUTS)
@given(
    body=st.lists(BODY, max_size=9),
    end=st.sampled_from([b"\n", b"\r\n"]),
    last=st.booleans(),
    packed=st.sampled_from([bytes, gzip.compress, blocked]),
)
def test_no_line_is_lost_or_changed(
    tmp_path_factory: pytest.TempPathFactory, body: list[bytes], end: bytes, last: bool, packed: Callable[[bytes], Any]
) -> None:
    content = end.join([META.strip(), COLUMNS.strip(), *body]) + (end if last else b"")
    path = write(tmp_path_factory.mktemp("vcf"), packed(content))
    assert b"".join(lines(path)) == content
    found = records(path)
    told = [line for line in body if line.strip() and not line.startswith(b"#")]
    assert [one.raw.rstrip(b"\r\n") for one in found] == told
    assert [one.number for one in found] == list(range(len(told)))
    assert all(one.problem for one in found if one.raw.count(b"\t") < 7)
    held = content.split(b"\n")
    assert all(held[one.line - 1] + b"\n" == one.raw or not one.raw.endswith(b"\n") for one in found)


@settings(max_examples=INPUTS)
@given(
    content=mutated(
        [META + SAMPLES + GENOTYPES * 2, gzip.compress(META + COLUMNS + LINE, mtime=0), blocked(META + COLUMNS + LINE)],
        b" \t\n\r.,#<>[]*ACGT0123456789\x00\xef\xbb\xbf\xff\x1f\x8b",
    )
)
def test_no_file_ends_in_anything_but_its_records_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = write(tmp_path_factory.mktemp("fuzz"), content)
    refused = ""
    try:
        with open_vcf(path) as vcf:
            found = list(vcf.records())
            columns = range(9, 9 + len(vcf.header.samples))
    except InputError as error:
        refused = str(error)
    if refused:
        assert refused.startswith(path)
        assert "\n" not in refused
        return
    for record in found:
        assert record.problem is not None or (record.chrom and record.ref.isalpha() and 0 <= record.pos <= MAX_POS)
        assert record.alts
        assert is_record(record.raw)
        for column in columns:
            assert record.genotype(column).ploidy <= 2
