"""Transcripts of annotations by GENCODE, Ensembl, RefSeq and StringTie, and what is refused of them."""

from __future__ import annotations

import gzip
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from material.genomes import gff3_line, gtf_line
from material.mutations import INPUTS, mutated
from material.servers import object_store
from s3fs import S3FileSystem

from pipeline.coordinates import reconcile_contigs
from pipeline.inputs.annotation import check_spans, read_annotation, within_circles
from sptx_core.errors import InputError

ONE_TRANSCRIPT = (
    gtf_line("chr1", "transcript", 11, 40, gene_id="G1.1", transcript_id="T1.1", gene_name="ONE", gene_type="lncRNA"),
    gtf_line("chr1", "exon", 11, 20, gene_id="G1.1", transcript_id="T1.1"),
    gtf_line("chr1", "exon", 31, 40, gene_id="G1.1", transcript_id="T1.1"),
)


def row(uri: str) -> dict[str, object]:
    transcripts = read_annotation(uri).transcripts
    assert len(transcripts) == 1
    return transcripts.row(0, named=True)


def test_gencode_megabase(shared: Path):
    annotation = read_annotation(str(shared / "data" / "gencode.chr9_1Mb.gtf.gz"))
    transcripts = annotation.transcripts
    assert (annotation.style, len(transcripts), annotation.unstranded) == ("gencode", 105, ())
    assert transcripts["exon_starts"].list.len().sum() == 831
    assert transcripts.row(0, named=True) == {
        "transcript_id": "ENST00000421620.2",
        "transcript_version": None,
        "gene_id": "ENSG00000236875.3",
        "gene_version": None,
        "gene_name": "DDX11L5",
        "gene_type": "unprocessed_pseudogene",
        "transcript_type": "unprocessed_pseudogene",
        "tags": ["basic"],
        "contig": "chr9",
        "strand": "+",
        "start": 12133,
        "end": 13783,
        "line": 5,
        "exon_starts": [12133, 12290, 12725, 13087, 13337, 13565],
        "exon_ends": [12190, 12340, 12834, 13157, 13487, 13783],
    }


def test_ensembl_megabase_holds_the_same_transcripts(shared: Path):
    ensembl = read_annotation(str(shared / "data" / "ensembl91.chr9_1Mb.gtf.gz"))
    gencode = read_annotation(str(shared / "data" / "gencode.chr9_1Mb.gtf.gz"))
    assert ensembl.style == "ensembl"
    alike = ["gene_name", "gene_type", "transcript_type", "strand", "start", "end", "exon_starts", "exon_ends"]
    versioned = pl.format("{}.{}", "transcript_id", "transcript_version").alias("transcript_id")
    ours = ensembl.transcripts.select(versioned, *alike).sort("transcript_id")
    assert ours.equals(gencode.transcripts.select("transcript_id", *alike).sort("transcript_id"))
    assert set(ensembl.transcripts["contig"]) == {"9"}


@pytest.mark.slow
@given(starts=st.lists(st.integers(0, 500), min_size=1, max_size=6, unique=True), shuffle=st.randoms())
@settings(max_examples=30, deadline=None)
def test_spans_and_exons_survive_the_text(tmp_path_factory, starts, shuffle):
    exons = [(start * 10, start * 10 + 1 + start % 7) for start in sorted(starts)]
    lines = [gtf_line("c", "exon", first + 1, end, gene_id="G", transcript_id="T") for first, end in exons]
    lines.append(gtf_line("c", "transcript", exons[0][0] + 1, exons[-1][1], gene_id="G", transcript_id="T"))
    shuffle.shuffle(lines)
    path = tmp_path_factory.mktemp("text") / "a.gtf"
    path.write_text("\n".join(lines))
    transcript = row(str(path))
    assert (transcript["start"], transcript["end"]) == (exons[0][0], exons[-1][1])
    assert list(zip(transcript["exon_starts"], transcript["exon_ends"], strict=True)) == exons
    assert transcript["line"] == 1 + next(number for number, line in enumerate(lines) if "\ttranscript\t" in line)


def test_all_repeated_tags_are_kept(written):
    line = gtf_line("1", "transcript", 1, 9, gene_id="G", transcript_id="T", tag=["basic", "MANE_Select", "CCDS"])
    assert row(written(line))["tags"] == ["basic", "MANE_Select", "CCDS"]


def test_names_and_biotypes_come_from_the_gene_line_or_fall_back(written):
    uri = written(
        gtf_line("1", "gene", 1, 50, gene_id="G1", gene_name="ONE", gene_biotype="lncRNA", gene_version="4"),
        gtf_line("1", "transcript", 1, 9, gene_id="G1", transcript_id="T1"),
        gtf_line("1", "transcript", 1, 9, gene_id="G2", transcript_id="T2"),
    )
    names = read_annotation(uri).transcripts.select("gene_name", "gene_version", "gene_type", "transcript_type")
    assert names.rows() == [("ONE", "4", "lncRNA", "lncRNA"), ("G2", None, "unknown", "unknown")]


def test_transcripts_without_lines_are_derived_from_their_exons(written):
    uri = written(
        gtf_line("1", "exon", 31, 40, "-", gene_id="G", transcript_id="T", gene_name="ONE", tag=["a", "b"]),
        gtf_line("1", "exon", 11, 20, "-", gene_id="G", transcript_id="T", gene_name="ONE", tag=["a", "b"]),
    )
    found = row(uri)
    assert (found["start"], found["end"], found["strand"], found["line"]) == (10, 40, "-", 1)
    assert (found["gene_name"], found["tags"], found["exon_starts"]) == ("ONE", ["a", "b"], [10, 30])


def test_transcript_without_exons_has_none(written):
    assert row(written(ONE_TRANSCRIPT[0]))["exon_starts"] == []


def test_gencode_gff3(written):
    shared_attributes = {"gene_id": "ENSG1.2", "gene_type": "lncRNA", "gene_name": "ONE"}
    uri = written(
        "##gff-version 3",
        gff3_line("chr1", "gene", 1, 90, ID="ENSG1.2", **shared_attributes),
        gff3_line(
            *("chr1", "transcript", 11, 40),
            ID="ENST1.3",
            Parent="ENSG1.2",
            transcript_id="ENST1.3",
            transcript_type="retained_intron",
            tag="basic,Ensembl_canonical",
            **shared_attributes,
        ),
        gff3_line("chr1", "exon", 11, 40, ID="exon:ENST1.3:1", Parent="ENST1.3", transcript_id="ENST1.3"),
        "##FASTA",
        ">chr1",
        "ACGT",
    )
    annotation = read_annotation(uri)
    found = row(uri)
    assert annotation.style == "gff3"
    assert (found["transcript_id"], found["gene_id"], found["gene_name"]) == ("ENST1.3", "ENSG1.2", "ONE")
    assert (found["gene_type"], found["transcript_type"]) == ("lncRNA", "retained_intron")
    assert (found["tags"], found["line"]) == (["basic", "Ensembl_canonical"], 3)


def test_ensembl_gff3(written):
    uri = written(
        "##gff-version 3",
        gff3_line("1", "chromosome", 1, 900, ".", ID="chromosome:1"),
        gff3_line(
            "1", "ncRNA_gene", 1, 90, "-", ID="gene:ENSG1", Name="ONE", biotype="lncRNA", gene_id="ENSG1", version=5
        ),
        gff3_line(
            *("1", "lnc_RNA", 11, 40, "-"),
            ID="transcript:ENST1",
            Parent="gene:ENSG1",
            Name="ONE-201",
            biotype="retained_intron",
            tag="basic",
            transcript_id="ENST1",
            version="2",
        ),
        gff3_line("1", "exon", 31, 40, "-", Parent="transcript:ENST1", Name="ENSE1", exon_id="ENSE1", version=1),
        gff3_line("1", "exon", 11, 20, "-", Parent="transcript:ENST1", Name="ENSE2", exon_id="ENSE2", version=1),
        gff3_line("1", "CDS", 11, 12, "-", ID="CDS:ENSP1", Parent="transcript:ENST1"),
    )
    found = row(uri)
    assert (found["transcript_id"], found["transcript_version"]) == ("ENST1", "2")
    assert (found["gene_id"], found["gene_version"], found["gene_name"]) == ("ENSG1", "5", "ONE")
    assert (found["gene_type"], found["transcript_type"]) == ("lncRNA", "retained_intron")
    assert (found["start"], found["end"], found["exon_starts"]) == (10, 40, [10, 30])


def test_refseq_gff3_with_a_pseudoautosomal_copy_and_shared_exon(written):
    def copy(contig: str, suffix: str) -> list[str]:
        rna = f"rna-NM_1.4{suffix}"
        return [
            gff3_line(
                contig,
                "gene",
                1,
                90,
                ID=f"gene-SHOX{suffix}",
                Name="SHOX%2C",
                gene="SHOX%2C",
                gene_biotype="protein_coding",
            ),
            gff3_line(
                contig, "mRNA", 1, 50, ID=rna, Parent=f"gene-SHOX{suffix}", gene="SHOX%2C", transcript_id="NM_1.4"
            ),
            gff3_line(contig, "primary_transcript", 1, 50, ID=f"rna-NR_2.1{suffix}", Parent=f"gene-SHOX{suffix}"),
            gff3_line(
                contig, "exon", 1, 50, ID=f"exon-1{suffix}", Parent=f"{rna},rna-NR_2.1{suffix}", transcript_id="NM_1.4"
            ),
        ]

    uri = written("##gff-version 3", *copy("NC_23", ""), *copy("NC_24", "-2"))
    found = read_annotation(uri).transcripts
    assert found["transcript_id"].to_list() == ["NM_1.4", "NR_2.1", "NM_1.4-2", "NR_2.1-2"]
    assert found["gene_name"].unique().to_list() == ["SHOX,"]
    assert found["gene_type"].unique().to_list() == ["protein_coding"]
    assert found["exon_ends"].to_list() == [[50]] * 4


def test_gff3_gene_with_exons_of_its_own_is_its_own_transcript(written):
    uri = written(
        gff3_line("1", "pseudogene", 1, 90, ID="gene-ONE", Name="ONE", gene_biotype="pseudogene"),
        gff3_line("1", "exon", 1, 90, ID="e", Parent="gene-ONE"),
    )
    found = row(uri)
    assert (found["transcript_id"], found["gene_id"], found["gene_name"]) == ("ONE", "ONE", "ONE")
    assert found["transcript_type"] == "pseudogene"


def test_pseudoautosomal_copies_of_gencode_are_two_transcripts(written):
    uri = written(
        gtf_line("chrX", "transcript", 1, 9, gene_id="G.1", transcript_id="T.1"),
        gtf_line("chrX", "exon", 1, 9, gene_id="G.1", transcript_id="T.1"),
        gtf_line("chrY", "transcript", 1, 9, gene_id="G.1_PAR_Y", transcript_id="T.1_PAR_Y"),
        gtf_line("chrY", "exon", 1, 9, gene_id="G.1_PAR_Y", transcript_id="T.1_PAR_Y"),
    )
    assert read_annotation(uri).transcripts["transcript_id"].to_list() == ["T.1", "T.1_PAR_Y"]


def test_flybase_gene_symbol_and_a_semicolon_in_a_name(written):
    ids = {"gene_id": "FBgn2", "transcript_id": "FBtr2", "product": "the gene 5 protein; gene_name x"}
    for key, name in (("gene_symbol", "wgx"), ("gene_name", "CYX3;1"), ("gene", "CYX3")):
        assert row(written(gtf_line("1", "exon", 1, 9, **ids, **{key: name})))["gene_name"] == name
        of_gene = gtf_line("1", "gene", 1, 9, gene_id="FBgn2", **{key: name})
        assert row(written(of_gene, gtf_line("1", "transcript", 1, 9, **ids)))["gene_name"] == name


def test_gffread_gff3_without_gene_lines(written):
    lines = [gff3_line("chr1", "transcript", 1, 9, ID=f"STRG.66.{at}", geneID="STRG.66") for at in (1, 2)]
    found = read_annotation(written("##gff-version 3", *lines)).transcripts
    assert found.select("transcript_id", "gene_id", "gene_name").rows() == [
        ("STRG.66.1", "STRG.66", "STRG.66"),
        ("STRG.66.2", "STRG.66", "STRG.66"),
    ]


def test_encoded_contigs_and_ids(written):
    found = row(
        written(
            gff3_line("chr%7C1", "gene", 1, 90, ID="my%20gene", Name="GN"),
            gff3_line("chr%7C1", "mRNA", 1, 90, ID="t%2c1", Parent="my%20gene"),
            gff3_line("chr%7C1", "exon", 1, 90, Parent="t%2C1"),
        )
    )
    assert (found["contig"], found["transcript_id"], found["gene_id"]) == ("chr|1", "t,1", "my gene")
    assert (found["gene_name"], found["exon_ends"]) == ("GN", [90])


@pytest.mark.parametrize("strand", [".", "?"])
def test_transcripts_of_unknown_strand_are_left_out_and_named(written, strand):
    lone = gtf_line("chr1", "transcript", 1, 9, strand, gene_id="G2", transcript_id="T2")
    annotation = read_annotation(written(*ONE_TRANSCRIPT, lone))
    assert annotation.transcripts["transcript_id"].to_list() == ["T1.1"]
    assert annotation.unstranded == ("T2",)
    assert annotation.left_out.select("transcript_id", "gene_id", "line").rows() == [("T2", "G2", 4)]


def test_nothing_is_remarked_of_an_ordinary_annotation(written):
    assert read_annotation(written(*ONE_TRANSCRIPT)).remarks == ()


def test_what_is_odd_or_unusual_is_counted_and_named_once_a_kind(written):
    def lone(name: str, strand: str = ".", gene: str = "G2", feature: str = "transcript") -> str:
        return gtf_line("chr1", feature, 1, 9, strand, gene_id=gene, transcript_id=name)

    uri = written(
        *ONE_TRANSCRIPT,
        lone("T2"),
        lone("T3", "?"),
        *(lone("T4", strand, feature="exon") for strand in "+-"),
        *(line for gene in ("A", "B") for line in (lone("T5", "+", gene), lone("T5", "+", gene, "exon"))),
        *(lone("T6", "-", feature=feature) for feature in ("transcript", "CDS")),
        lone("T7", "+"),
    )
    assert read_annotation(uri).remarks == (
        f"left out of {uri}: 2 transcripts without a strand (T2, T3)",
        f"left out of {uri}: 1 transcript with exons on several contigs or strands (T4)",
        f"{uri}: 1 transcript without exon lines; CDS and UTR give the exons (T6)",
        f"{uri}: 1 transcript without exons, of which no splice site is known (T7)",
        f"{uri}: 2 transcripts with an id that others share, named anew (T5@A, T5@B)",
    )


def test_many_names_are_shortened(written):
    lone = (gtf_line("1", "transcript", 1, 9, ".", gene_id="G", transcript_id=f"T{at}") for at in range(1200))
    (remark,) = read_annotation(written(*ONE_TRANSCRIPT, *lone)).remarks
    assert remark.endswith(": 1,200 transcripts without a strand (T0, T1, T2, T3, T4, T5, T6, T7, ... (1200 in all))")


GOOD = ONE_TRANSCRIPT[0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            [GOOD, gtf_line("chr1", "exon", 11, 41, transcript_id="T1.1")],
            r"line 2: exon chr1:11-41 \(\+\) lies outside",
        ),
        (
            [GOOD, gtf_line("chr2", "exon", 11, 20, transcript_id="T1.1")],
            r"line 2: exon chr2:11-20 \(\+\) lies outside",
        ),
        (
            [GOOD, gtf_line("chr1", "exon", 11, 20, "-", transcript_id="T1.1")],
            r"line 2: exon chr1:11-20 \(-\) lies outside",
        ),
        ([GOOD, GOOD], r"line 2: transcript T1.1 on chr1 was already given on line 1 \(chr1\)"),
        (
            [gtf_line(contig, "exon", 1, 9, transcript_id="T") for contig in ("chrX", "chrY")],
            "line 1: the exons of transcript T lie on several contigs or strands",
        ),
        ([gtf_line("chr1", "gene", 1, 9, gene_id="G")], "holds no transcripts"),
        (
            [
                gff3_line("chr1", "gene", 1, 9, ID="YA1"),
                gff3_line("chr1", "mRNA", 1, 9, ID="YA1", Parent="YA1"),
                gff3_line("chr1", "exon", 1, 9, Parent="YA1"),
            ],
            "line 2: mRNA and gene .line 1. share the ID YA1; in GFF3 each feature needs an ID of its own",
        ),
        ([gtf_line("chr1", "exon", 1, 9, ".", transcript_id="T")], "holds no transcript with a strand, such as T"),
    ],
)
def test_faults_are_named_with_file_and_line(written, lines, message):
    uri = written(*lines)
    with pytest.raises(InputError, match=message) as error:
        read_annotation(uri)
    assert uri in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("chunk_bytes", [1, 7, 200])
def test_text_read_in_pieces_is_the_same(written: Callable[..., str], chunk_bytes: int) -> None:
    uri = written(*(f"# comment {number}" for number in range(5)), "", *ONE_TRANSCRIPT)
    whole = read_annotation(uri).transcripts
    assert read_annotation(uri, chunk_bytes).transcripts.equals(whole)
    assert whole["line"].to_list() == [7]


@pytest.mark.slow
def test_annotation_in_object_storage(written: Callable[..., str]) -> None:
    uri = written(*ONE_TRANSCRIPT)
    with object_store("annotations") as bucket:
        S3FileSystem().pipe_file(f"{bucket}/a.gtf.gz", gzip.compress(Path(uri).read_bytes()))
        found = read_annotation(f"{bucket}/a.gtf.gz").transcripts
    assert found.equals(read_annotation(uri).transcripts)


def test_transcript_beyond_its_contig_is_named(written):
    annotation = read_annotation(written(*ONE_TRANSCRIPT))
    contigs = reconcile_contigs(["chr1"], ["1"])
    check_spans(annotation.transcripts, contigs, {"1": 40}, annotation.uri)
    with pytest.raises(InputError, match=r"line 1: transcript T1.1 ends at chr1:40, but contig 1 .* has 39 bases"):
        check_spans(annotation.transcripts, contigs, {"1": 39}, annotation.uri)


CIRCLE = (
    gff3_line("MT", "region", 1, 900, ID="MT", Is_circular="true"),
    gff3_line("MT", "mRNA", 801, 1000, ID="across", Parent="g1"),
    gff3_line("MT", "exon", 801, 1000, Parent="across"),
)


def test_a_transcript_across_the_origin_of_a_circular_contig_is_left_out(written):
    inside = gff3_line("MT", "mRNA", 801, 900, ID="inside", Parent="g2")
    linear = gff3_line("chr1", "mRNA", 801, 1000, ID="linear", Parent="g3")
    annotation = read_annotation(written(*CIRCLE, inside, linear))
    contigs = reconcile_contigs(["MT", "chr1"], ["chrM", "chr1"])
    found = within_circles(annotation, contigs, {"chrM": 900, "chr1": 900})
    assert found.transcripts["transcript_id"].to_list() == ["inside", "linear"]
    assert found.left_out["transcript_id"].to_list() == ["across"]
    assert "line 2: transcript across ends at MT:1000, but the circular contig has 900" in found.left_out["fault"][0]
    assert "1 transcript beyond the end of a circular contig (across)" in found.remarks[0]
    assert within_circles(annotation, contigs, {"chrM": 1000, "chr1": 900}) is annotation
    with pytest.raises(InputError, match="line 5: transcript linear ends at chr1:1000, but contig chr1"):
        check_spans(found.transcripts, contigs, {"chrM": 900, "chr1": 900}, found.uri)


def test_an_annotation_of_transcripts_across_the_origin_alone_is_refused(written):
    annotation = read_annotation(written(*CIRCLE))
    with pytest.raises(InputError, match="line 2: transcript across ends at MT:1000"):
        within_circles(annotation, reconcile_contigs(["MT"], ["MT"]), {"MT": 900})


# Whatever a file holds


class Written(NamedTuple):
    """A transcript as a test writes it; exons are 1-based and inclusive."""

    name: str
    gene: str
    gene_name: str
    contig: str
    strand: str
    exons: list[tuple[int, int]]
    has_line: bool
    part: str


ODD_LETTERS = string.ascii_letters + string.digits + " ;=,.:|'()-_/&%#>"
NAMES = (
    st.text(ODD_LETTERS, min_size=1, max_size=8)
    .map(str.strip)
    .filter(lambda name: name.strip(".") and name[:2] != "id")
)
NOTES = st.sampled_from(["gene 5 protein; gene_id x", "a; transcript_id b; c", "tag q; ID=x;Parent=y", "plain"])


@st.composite
def annotated(draw: st.DrawFn) -> list[Written]:
    """Transcripts with odd names, some without a line of their own, some with coding sequence for exons."""
    rows = []
    for name in draw(st.lists(NAMES, min_size=1, max_size=3, unique=True)):
        starts = sorted(draw(st.sets(st.integers(1, 90), min_size=1, max_size=4)))
        exons = [(start * 10, start * 10 + draw(st.integers(0, 8))) for start in starts]
        place = (draw(st.sampled_from(["chr1", "HLA-A*01:01"])), draw(st.sampled_from("+-")))
        has_line = draw(st.booleans())
        part = draw(st.sampled_from(["exon", "exon", "CDS"])) if has_line else "exon"
        rows.append(Written(name, draw(NAMES), draw(NAMES), *place, exons, has_line, part))
    return rows


def gtf_lines(one: Written, note: str, shuffle: Any) -> list[str]:
    pairs = list({"gene_id": one.gene, "transcript_id": one.name, "gene_name": one.gene_name, "note": note}.items())
    spans = [("transcript", (one.exons[0][0], one.exons[-1][1]))] * one.has_line
    lines = []
    for feature, span in [*spans, *((one.part, exon) for exon in one.exons)]:
        shuffle.shuffle(pairs)
        lines.append(gtf_line(one.contig, feature, *span, one.strand, **dict(pairs)))
    return lines


def gff3_lines(one: Written, note: str, shuffle: Any) -> list[str]:
    def line(feature: str, span: tuple[int, int], **pairs: str) -> str:
        order = [(key, quote(value, safe=".:|'()-_/ ")) for key, value in pairs.items()]
        shuffle.shuffle(order)
        return gff3_line(quote(one.contig, safe=""), feature, *span, one.strand, **dict(order))

    span = one.exons[0][0], one.exons[-1][1]
    own = [line("mRNA", span, ID=one.name, gene_id=one.gene, gene_name=one.gene_name, Note=note)]
    return own + [line(one.part, exon, Parent=one.name, Note=note) for exon in one.exons]


def disguised(lines: list[str], shuffle: Any) -> bytes:
    """The file with its lines in another order and with what changes nothing: blank lines, comments, line ends."""
    shuffle.shuffle(lines)
    for extra in ("", "# a comment", "   ", "#!genome-build x"):
        if shuffle.random() < 0.5:
            lines.insert(shuffle.randrange(len(lines) + 1), extra)
    newline, end = shuffle.choice(["\n", "\r\n"]), shuffle.choice([";", "; ", " "])
    lines = [line + end if "\t" in line else line for line in lines]
    content = newline.join(lines).encode() + shuffle.choice([b"", b"\n", b"\n>chr1\nACGT\n", b"\n##FASTA\n>a\n"])
    content = shuffle.choice([b"", b"\xef\xbb\xbf"]) + content
    return gzip.compress(content) if shuffle.random() < 0.3 else content


@pytest.mark.slow
@pytest.mark.parametrize("lines_of", [gtf_lines, gff3_lines])
@settings(max_examples=INPUTS // 2, deadline=None)
@given(rows=annotated(), note=NOTES, shuffle=st.randoms(use_true_random=False), chunk_bytes=st.sampled_from([7, 10**6]))
def test_the_transcripts_are_those_written_however_they_are_written(
    tmp_path_factory: Any, lines_of: Any, rows: list[Written], note: str, shuffle: Any, chunk_bytes: int
) -> None:
    path = tmp_path_factory.mktemp("disguised") / "a"
    path.write_bytes(disguised([line for one in rows for line in lines_of(one, note, shuffle)], shuffle))
    annotation = read_annotation(str(path), chunk_bytes)
    columns = ("transcript_id", "gene_id", "gene_name", "contig", "strand", "start", "end", "exon_starts", "exon_ends")
    expected = [
        (
            *(one.name, one.gene, one.gene_name, one.contig, one.strand, one.exons[0][0] - 1, one.exons[-1][1]),
            *([first - 1 for first, _ in one.exons], [last for _, last in one.exons]),
        )
        for one in rows
    ]
    assert sorted(annotation.transcripts.select(columns).rows()) == sorted(expected)
    assert annotation.left_out.is_empty()


SEEDS = [
    "".join(f"{line}\n" for line in lines).encode()
    for lines in (
        ONE_TRANSCRIPT,
        [
            gtf_line("c", "gene", 1, 90) + "g1",
            gtf_line("c", "transcript", 1, 90) + "g1.t1",
            'c\t.\tCDS\t1\t90\t.\t+\t0\ttranscript_id "g1.t1"; gene_id "g1";',
        ],
        [gtf_line("c", "exon", 9, 90, s, gene_id=g, transcript_id="u_1", gene_name="A;1") for g in "AB" for s in "+-"],
        [
            gtf_line("c", f, 9, 90, "?", gene_id="g", transcript_id="t", note="gene 5; x")
            for f in ("transcript", "exon")
        ],
    )
]
GFF3_SEEDS = [
    "".join(f"{line}\n" for line in ("##gff-version 3", *lines)).encode()
    for lines in (
        (*CIRCLE, ">MT", "ACGT"),
        [gff3_line("c%7C1", "mRNA", 1, 90, ID="t%2c1", geneID="g"), gff3_line("c|1", "exon", 1, 9, Parent="t%2C1, t2")],
        [gff3_line("c", f, 1, 90, ID="YA1", Parent="YA1", tag="a,b") for f in ("gene", "mRNA", "CDS", "exon")],
    )
]
NOTE = 'note "gene_id x; transcript_id y"; '
GTF_WORDS = tuple(
    f'{note}{gene}transcript_id "{name}";'
    for note in ("", NOTE)
    for gene in ('gene_id "A"; ', 'gene_id "B"; ', "")
    for name in "TU"
)
GFF3_WORDS = (
    *("ID=T;Parent=A", "ID=U;Parent=A", "ID=A", "Parent=T", "Parent=T", "Parent=U", "Parent=T, U", "Parent=A"),
    *("ID=A%2C1", "Parent=A%2c1", "ID=c;Is_circular=true"),
)
FEATURES = ("gene", "transcript", "mRNA", "exon", "exon", "CDS", "three_prime_UTR", "region")


@st.composite
def arbitrary(draw: st.DrawFn, words: tuple[str, ...]) -> list[str]:
    """Lines of the right form that agree with each other or not."""
    place = st.tuples(
        st.sampled_from(["c", "c", "d"]), st.sampled_from(FEATURES), st.integers(1, 9), st.integers(9, 20)
    )
    line = st.tuples(place, st.sampled_from("+++-.?"), st.sampled_from(words))
    return [
        f"{contig}\t.\t{feature}\t{start}\t{end}\t.\t{strand}\t.\t{text}"
        for (contig, feature, start, end), strand, text in draw(st.lists(line, min_size=1, max_size=7))
    ]


def outcome(path: Path, lines: list[str], chunk_bytes: int) -> tuple[object, ...] | None:
    """What does not depend on the order of the lines; None if the file is refused."""
    path.write_text("\n".join(lines))
    try:
        annotation = read_annotation(str(path), chunk_bytes)
    except InputError:
        return None
    columns = ("transcript_id", "gene_id", "contig", "strand", "start", "end", "exon_starts", "exon_ends")
    left_out = annotation.left_out.select("transcript_id", "kind").rows()
    return sorted(annotation.transcripts.select(columns).rows()), sorted(left_out), set(annotation.circular)


@pytest.mark.slow
@pytest.mark.parametrize("words", [GTF_WORDS, GFF3_WORDS], ids=["gtf", "gff3"])
@settings(max_examples=INPUTS // 2, deadline=None)
@given(data=st.data(), shuffle=st.randoms(use_true_random=False))
def test_the_order_of_lines_does_not_matter(
    tmp_path_factory: Any, words: tuple[str, ...], data: st.DataObject, shuffle: Any
) -> None:
    path = tmp_path_factory.mktemp("order") / "a"
    lines = data.draw(arbitrary(words))
    header = ["##gff-version 3"] if words is GFF3_WORDS else []
    found = outcome(path, header + lines, 10**6)
    shuffle.shuffle(lines)
    assert outcome(path, header + lines, shuffle.choice([7, 200, 10**6])) == found


LETTERS = b" \t\n\r;\"',=%#>.+-?0123456789abcdegijnortxEGTU@\x00\xef\xbb\xbf\xff\x1f\x8b"


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "words"), [(SEEDS, GTF_WORDS), (GFF3_SEEDS, GFF3_WORDS)], ids=["gtf", "gff3"])
@settings(max_examples=INPUTS // 2, deadline=None)
@given(data=st.data())
def test_no_file_ends_in_anything_but_its_transcripts_or_one_sentence(
    tmp_path_factory: Any, seeds: list[bytes], words: tuple[str, ...], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "a"
    semantic = arbitrary(words).map(lambda lines: "\n".join(lines).encode())
    path.write_bytes(data.draw(mutated(seeds, LETTERS) | semantic))
    refused = ""
    try:
        annotation = read_annotation(str(path))
    except InputError as error:
        refused = str(error)
    if refused:
        assert str(path) in refused
        assert "\n" not in refused
        return
    found = annotation.transcripts
    assert found["transcript_id"].is_unique().all()
    assert not found.select(pl.exclude("transcript_version", "gene_version")).null_count().sum_horizontal().item()
    assert set(found["strand"]) <= {"+", "-"}
    assert (found["start"] < found["end"]).all()
    exons = found.explode("exon_starts", "exon_ends").drop_nulls("exon_starts")
    assert ((exons["start"] <= exons["exon_starts"]) & (exons["exon_ends"] <= exons["end"])).all()
    assert (exons["exon_starts"] < exons["exon_ends"]).all()
    assert len(annotation.remarks) >= annotation.left_out["kind"].n_unique()
    assert not annotation.left_out["fault"].null_count()
