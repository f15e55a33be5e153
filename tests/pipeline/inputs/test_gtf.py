"""Lines of GTF and GFF3: what is kept of them in whatever chunks they are read, and each fault in one sentence."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from material.genomes import gff3_line, gtf_line

from pipeline.inputs.gtf import PARTS, Features, read_features
from sptx_core.errors import InputError

Written = Callable[..., str]

ONE_TRANSCRIPT = (
    gtf_line("chr1", "gene", 11, 40, gene_id="G1", gene_name="ONE"),
    gtf_line("chr1", "transcript", 11, 40, gene_id="G1", transcript_id="T1", gene_name="ONE"),
    gtf_line("chr1", "exon", 11, 20, gene_id="G1", transcript_id="T1"),
    gtf_line("chr1", "CDS", 11, 20, gene_id="G1", transcript_id="T1"),
    gtf_line("chr1", "exon", 31, 40, gene_id="G1", transcript_id="T1"),
)


def same(one: Features, other: Features) -> bool:
    """Whether all is the same but the exons and parts in `named`, which depend on where a chunk ends."""
    is_part = pl.col("feature").is_in(["exon", *PARTS])
    named, other_named = (features.named.filter(~is_part) for features in (one, other))
    return one.dialect == other.dialect and named.equals(other_named) and one.exons.equals(other.exons)


def test_genes_transcripts_and_exons_with_their_lines(written: Written) -> None:
    features = read_features(written("# header", "", *ONE_TRANSCRIPT))
    assert features.dialect == "gtf"
    named = features.named.select("feature", "key", "parent", "gene_name", "start", "end", "line").rows()
    assert named == [("gene", "G1", "G1", "ONE", 10, 40, 3), ("transcript", "T1", "G1", "ONE", 10, 40, 4)]
    exons = features.exons.select("key", "parent", "contig", "strand", "start", "end", "line").rows()
    assert exons == [("T1", "G1", "chr1", "+", 10, 20, 5), ("T1", "G1", "chr1", "+", 30, 40, 7)]


def test_a_transcript_without_a_line_is_named_by_its_first_exon(written: Written) -> None:
    features = read_features(written(*(line for line in ONE_TRANSCRIPT if "\texon\t" in line)))
    assert features.named.select("feature", "key", "start", "end", "line").rows() == [("exon", "T1", 10, 20, 1)]


def test_an_exon_of_several_transcripts_is_a_row_for_each(written: Written) -> None:
    features = read_features(
        written(
            "##gff-version 3",
            gff3_line("1", "mRNA", 1, 9, ID="a", Parent="g"),
            gff3_line("1", "mRNA", 1, 9, ID="b", Parent="g"),
            gff3_line("1", "exon", 1, 9, ID="e", Parent="a,b"),
            gff3_line("1", "CDS", 1, 9, ID="c", Parent="a"),
        )
    )
    assert (features.dialect, features.exons["key"].to_list()) == ("gff3", ["a", "b"])
    assert features.named["key"].to_list() == ["a", "b"]


def test_parts_are_kept_of_transcripts_without_exons(written: Written) -> None:
    ids = {"gene_id": "G2", "transcript_id": "T2"}
    features = read_features(
        written(
            *ONE_TRANSCRIPT,
            gtf_line("chr1", "five_prime_utr", 51, 55, **ids),
            gtf_line("chr1", "CDS", 56, 60, **ids, gene_name="TWO"),
            gtf_line("chr1", "Selenocysteine", 57, 59, **ids),
        )
    )
    assert features.parts.select("key", "parent", "start", "end", "line").rows() == [
        ("T2", "G2", 50, 55, 6),
        ("T2", "G2", 55, 60, 7),
    ]
    named = features.named.filter(pl.col("key") == "T2").select("feature", "parent", "line").rows()
    assert named == [("five_prime_utr", "G2", 6)]


def test_a_transcript_is_named_by_its_id_and_its_gene(written: Written) -> None:
    features = read_features(
        written(ONE_TRANSCRIPT[1], *(gtf_line("1", "exon", 1, 9, gene_id=g, transcript_id="T1") for g in ("G1", "G2")))
    )
    assert features.named.select("feature", "key", "parent").rows() == [
        ("transcript", "T1", "G1"),
        ("exon", "T1", "G2"),
    ]


def test_gffread_names_the_gene_by_its_id(written: Written) -> None:
    named = read_features(
        written(
            gff3_line("1", "transcript", 1, 9, ID="t", geneID="g"),
            gff3_line("1", "transcript", 1, 9, ID="u", Parent="p,q", geneID="g"),
            gff3_line("1", "exon", 1, 9, Parent="v"),
            gff3_line("1", "CDS", 1, 9, Parent="w,x"),
        )
    ).named
    expected = [("t", "g"), ("u", "p"), ("v", None), ("w", None), ("x", None)]
    assert named.select("key", "parent").rows() == expected


def test_circular_contigs_are_those_whose_landmark_says_so(written: Written) -> None:
    features = read_features(
        written(
            "##gff-version 3",
            gff3_line("MT", "region", 1, 900, ID="MT", Is_circular="true"),
            gff3_line("p%7C1", "region", 1, 900, Is_circular="true", ID="p"),
            gff3_line("chr1", "region", 1, 900, ID="chr1", Is_circular="false"),
            gff3_line("chr1", "circRNA", 5, 90, ID="c", Is_circular="true"),
        )
    )
    assert features.circular == ("MT", "p|1")


def test_the_dialect_is_that_of_the_first_line_with_attributes(written: Written) -> None:
    empty = "1\ttest\tregion\t1\t9\t.\t.\t.\t."
    for line, dialect in ((ONE_TRANSCRIPT[1], "gtf"), (gff3_line("1", "mRNA", 1, 9, ID="t"), "gff3")):
        for chunk_bytes in (1, 10**6):
            features = read_features(written(empty, line), chunk_bytes)
            assert (features.dialect, len(features.named)) == (dialect, 1)


def test_spaces_around_columns_and_attributes_change_nothing(written: Written) -> None:
    def spread(line: str) -> str:
        *columns, attributes = line.split("\t")
        return "\t".join([*(f" {column} " for column in columns), f" {attributes.replace('; ', ' ;   ')} "])

    plain = read_features(written(*ONE_TRANSCRIPT))
    assert same(read_features(written(*map(spread, ONE_TRANSCRIPT))), plain)
    gff3 = (gff3_line("1", "mRNA", 1, 9, ID="t", Parent="g"), gff3_line("1", "exon", 1, 9, ID="e", Parent="t,u"))
    plain = read_features(written(*gff3))
    spaced = (spread(line).replace(";", " ; ").replace(",", " , ") for line in gff3)
    assert same(read_features(written(*spaced)), plain)


def test_attributes_are_told_apart_from_those_that_contain_their_name(written: Written) -> None:
    ids = {"havana_gene_id": "X", "gene_id": "G", "ref_transcript_id": "Y", "transcript_id": "T", "stag": "Z"}
    found = read_features(written(gtf_line("1", "transcript", 1, 9, **ids))).named.row(0, named=True)
    assert (found["gene_id"], found["transcript_id"], found["tags"]) == ("G", "T", [])


@pytest.mark.parametrize(
    ("lines", "tags"),
    [
        ([gtf_line("1", "transcript", 1, 9, transcript_id="T", tag=["basic", "CCDS"])], ["basic", "CCDS"]),
        ([gff3_line("1", "mRNA", 1, 9, ID="T", tag="basic,CCDS")], ["basic", "CCDS"]),
        ([gff3_line("1", "mRNA", 1, 9, ID="T")], []),
    ],
)
def test_tags(written: Written, lines: list[str], tags: list[str]) -> None:
    assert read_features(written(*lines)).named["tags"].to_list() == [tags]


def test_gff3_is_percent_decoded(written: Written) -> None:
    features = read_features(
        written(
            gff3_line("c%7C1", "mRNA", 1, 9, ID="t%2c1", Parent="g%2C1", Name="A%2CB", tag="x%2Cy,z"),
            gff3_line("c|1", "exon", 1, 9, Parent="t%2C1,t2"),
        )
    )
    found = features.named.select("contig", "key", "parent", "Name", "tags").row(0)
    assert found == ("c|1", "t,1", "g,1", "A,B", ["x,y", "z"])
    assert features.exons.select("contig", "key").rows() == [("c|1", "t,1"), ("c|1", "t2")]


@pytest.mark.slow
@pytest.mark.parametrize("chunk_bytes", [1, 7, 200])
def test_text_read_in_pieces_is_the_same(written: Written, chunk_bytes: int) -> None:
    gene, *rest = ONE_TRANSCRIPT
    uri = written(*(f"# comment {number}" for number in range(5)), "", *rest, gene)
    whole = read_features(uri)
    assert same(read_features(uri, chunk_bytes), whole)
    assert whole.named["line"].to_list() == [7, 11]


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        gzip.compress,
        lambda text: gzip.compress(text[:200]) + gzip.compress(text[200:]),
        lambda text: text.replace(b"\n", b"\r\n").removesuffix(b"\r\n"),
        lambda text: text + b"##FASTA\n>chr1\nACGT\n",
        lambda text: text + b"##FASTA \n>chr1\nACGT\n",
        lambda text: text + b">chr1\nACGT\n",
        lambda text: text + b">chr1 with\ttabs\nACGT",
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text + b"# a comment\twith" + b"\tmore" * 20 + b"\n",
        lambda text: text + b"# no UTF-8: \xff\n",
        lambda text: text + b"\n \n\n",
        lambda text: gzip.compress(b"\xef\xbb\xbf" + text),
    ],
)
def test_gzip_line_ends_and_a_sequence_at_the_end_change_nothing(
    written: Written, change: Callable[[bytes], bytes]
) -> None:
    uri = written(*ONE_TRANSCRIPT)
    plain = read_features(uri)
    Path(uri).write_bytes(change(Path(uri).read_bytes()))
    assert same(read_features(uri), plain)
    assert same(read_features(uri, chunk_bytes=1), plain)


GOOD = ONE_TRANSCRIPT[1]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([GOOD, "chr1\thand\texon"], "line 2: 3 tab-separated columns where GTF and GFF3 have 9"),
        ([GOOD, gtf_line("chr1", "exon", "x1", 9, transcript_id="T")], "line 2: start is 'x1', not a whole number"),
        ([GOOD, gtf_line("chr1", "exon", 1, 9.5, transcript_id="T")], "line 2: end is '9.5', not a whole number"),
        ([GOOD, gtf_line("chr1", "exon", 0, 9, transcript_id="T")], "line 2: start is 0, but positions count from 1"),
        ([GOOD, gtf_line("chr1", "exon", 9, 8, transcript_id="T")], "line 2: end 8 lies before start 9"),
        ([GOOD, gtf_line("chr1", "exon", 1, 9, "plus", transcript_id="T")], "line 2: strand is 'plus', which is neith"),
        ([GOOD, gtf_line("chr1", "exon", 1, 9, gene_id="G")], "line 2: exon without transcript_id"),
        ([GOOD, gtf_line("chr1", "exon", 1, 9, transcript_id="")], "line 2: exon without transcript_id"),
        ([GOOD, gtf_line("chr1", "transcript", 1, 9, gene_id="G")], "line 2: transcript without transcript_id"),
        ([gff3_line("chr1", "exon", 1, 9, ID="e")], "line 1: exon without Parent"),
        ([GOOD, gtf_line("", "exon", 1, 9, transcript_id="T")], "line 2: the name of the contig is empty"),
        ([GOOD, gtf_line("1", "exon", 1, 9) + 'transcript_id "T'], "line 2: attributes cannot be read from 'transcr"),
        ([GOOD, gtf_line("1", "CDS", 0, 9, transcript_id="T")], "line 2: start is 0"),
        ([">chr1", "ACGT"], "line 1: 1 tab-separated column where GTF and GFF3 have 9; it looks like FASTA"),
        (["# nothing"], "holds no annotation: every line is empty or a comment"),
    ],
)
def test_faults_are_named_with_file_and_line(written: Written, lines: list[str], message: str) -> None:
    uri = written(*lines)
    with pytest.raises(InputError, match=message) as error:
        read_features(uri)
    assert str(error.value).startswith(uri)


def test_line_numbers_count_comments_and_chunks(written: Written) -> None:
    uri = written("# one", "", *ONE_TRANSCRIPT, "# eight", gtf_line("chr1", "exon", 0, 9, transcript_id="T"))
    with pytest.raises(InputError, match="line 9: start is 0"):
        read_features(uri, chunk_bytes=64)


def test_files_that_are_no_text(tmp_path: Path) -> None:
    binary, cut = tmp_path / "genome.2bit", tmp_path / "cut.gtf.gz"
    binary.write_bytes(bytes(range(256)) * 9)
    cut.write_bytes(gzip.compress("\n".join(ONE_TRANSCRIPT).encode())[:-20])
    for path, message in ((binary, "is not text"), (cut, "damaged or cut gzip")):
        with pytest.raises(InputError, match=message) as error:
            read_features(str(path))
        assert str(error.value).startswith(str(path))
