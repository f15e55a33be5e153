"""What is one transcript, where its exons come from, and which transcripts are odd."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from material.genomes import gff3_line, gtf_line

from pipeline.inputs.gtf import read_features
from pipeline.inputs.transcripts import (
    APART,
    FAR,
    OUTSIDE,
    PARTS_ALONE,
    TWICE,
    UNSTRANDED,
    Assembly,
    assemble,
)

Written = Callable[..., str]

GOOD = (
    gtf_line("chr1", "transcript", 9001, 9600, gene_id="GOOD", transcript_id="GOOD.1"),
    gtf_line("chr1", "exon", 9001, 9150, gene_id="GOOD", transcript_id="GOOD.1"),
    gtf_line("chr1", "exon", 9401, 9600, gene_id="GOOD", transcript_id="GOOD.1"),
)
GOOD_GFF3 = (
    gff3_line("chr1", "mRNA", 9001, 9600, ID="GOOD.1", Parent="GOOD"),
    gff3_line("chr1", "exon", 9001, 9600, Parent="GOOD.1"),
)


def assembled(uri: str) -> Assembly:
    return assemble(read_features(uri), uri)


def exons(found: Assembly) -> dict[str, list[tuple[int, int]]]:
    """Transcript -> its exons, 0-based and half-open."""
    rows = found.transcripts.select("transcript_id", "exon_starts", "exon_ends").rows()
    return {name: list(zip(starts, ends, strict=True)) for name, starts, ends in rows}


def kinds(found: Assembly) -> dict[str, str]:
    """Transcript that was left out -> what is odd about it."""
    return dict(found.left_out.select("transcript_id", "kind").rows())


# What is one transcript


def shared(gene: str, start: int, strand: str = "+", contig: str = "chr1", *, line: bool = True) -> list[str]:
    ids = {"gene_id": gene, "transcript_id": "unknown_transcript_1"}
    exon = gtf_line(contig, "exon", start, start + 69, strand, **ids)
    return [gtf_line(contig, "transcript", start, start + 69, strand, **ids), exon] if line else [exon]


@pytest.mark.parametrize("line", [True, False])
def test_one_transcript_id_of_several_genes_is_several_transcripts(written: Written, line: bool) -> None:
    found = assembled(
        written(*shared("TRNA1", 3001, line=line), *GOOD, *shared("TRNA2", 20001, "-" if line else "+", line=line))
    )
    names = ["unknown_transcript_1@TRNA1", "unknown_transcript_1@TRNA2"]
    assert exons(found) == {
        names[0]: [(3000, 3070)],
        "GOOD.1": [(9000, 9150), (9400, 9600)],
        names[1]: [(20000, 20070)],
    }
    assert found.transcripts["gene_id"].to_list() == ["TRNA1", "GOOD", "TRNA2"]
    assert found.told_apart.to_list() == names
    assert found.left_out.is_empty()


def test_an_exon_of_another_gene_is_not_the_transcripts(written: Written) -> None:
    found = assembled(written(*shared("TRNA1", 3001), *shared("TRNA2", 3011, line=False)))
    assert exons(found) == {
        "unknown_transcript_1@TRNA1": [(3000, 3070)],
        "unknown_transcript_1@TRNA2": [(3010, 3080)],
    }


def test_one_id_with_lines_on_several_contigs_or_strands_is_several_transcripts(written: Written) -> None:
    places = [("chrX", "+"), ("chrY", "+"), ("chrY", "-")]
    found = assembled(
        written(*(line for contig, strand in places for line in shared("G", 3001, strand, contig)), *GOOD)
    )
    names = [f"unknown_transcript_1@{contig}{strand}" for contig, strand in places]
    assert exons(found) == {**{name: [(3000, 3070)] for name in names}, "GOOD.1": [(9000, 9150), (9400, 9600)]}
    assert found.transcripts.select("contig", "strand").rows()[:3] == places


def test_copies_of_several_genes_and_contigs_are_told_apart_by_both(written: Written) -> None:
    found = assembled(written(*shared("A", 3001), *shared("B", 3001), *shared("B", 3001, contig="chr2")))
    name = "unknown_transcript_1"
    assert list(exons(found)) == [f"{name}@A", f"{name}@B@chr1+", f"{name}@B@chr2+"]


def test_a_name_that_the_file_holds_itself_is_not_given_to_another(written: Written) -> None:
    ids = {"gene_id": "G", "transcript_id": "unknown_transcript_1@A"}
    own = gtf_line("chr1", "exon", 1, 9, **ids)
    found = assembled(written(*shared("A", 3001), *shared("B", 5001), own))
    assert list(exons(found)) == ["unknown_transcript_1@B"]
    assert [(kind, name) for name, kind in found.left_out.select("transcript_id", "kind").rows()] == [
        (TWICE, "unknown_transcript_1@A")
    ] * 2


def test_exons_without_a_gene_are_those_of_the_only_transcript_of_their_id(written: Written) -> None:
    found = assembled(written(GOOD[0], gtf_line("chr1", "exon", 9001, 9600, transcript_id="GOOD.1")))
    assert exons(found) == {"GOOD.1": [(9000, 9600)]}


def test_a_transcript_with_a_bare_id_has_the_gene_of_its_exons(written: Written) -> None:
    ids = {"transcript_id": "g1.t1", "gene_id": "g1"}
    bare = [gtf_line("chr1", feature, 3001, 3600) + name for feature, name in (("gene", "g1"), ("transcript", "g1.t1"))]
    parts = [(3001, 3150), (3401, 3600)]
    for feature in ("exon", "CDS"):
        found = assembled(written(*bare, *(gtf_line("chr1", feature, *part, **ids) for part in parts)))
        assert exons(found) == {"g1.t1": [(3000, 3150), (3400, 3600)]}
        row = found.transcripts.select("gene_id", "gene_name", "start", "end", "line").row(0)
        assert row == ("g1", "g1", 3000, 3600, 2)


# Exons of transcripts without exon lines


def part(feature: str, start: int, end: int, name: str = "T", **attributes: str) -> str:
    return gtf_line("chr1", feature, start, end, "-", gene_id="G", transcript_id=name, **attributes)


@pytest.mark.parametrize("utr", [("UTR", "UTR"), ("five_prime_utr", "three_prime_utr"), ("5UTR", "3UTR")])
def test_exons_are_what_coding_sequence_utr_and_codons_cover(written: Written, utr: tuple[str, str]) -> None:
    lines = (
        part("transcript", 101, 900),
        part(utr[0], 801, 900),
        part(utr[0], 701, 720),
        part("CDS", 651, 700),
        part("start_codon", 698, 700),
        part("CDS", 404, 500),
        part("stop_codon", 401, 403),
        part(utr[1], 351, 400),
        part(utr[1], 101, 200),
    )
    found = assembled(written(*lines, *GOOD))
    assert exons(found)["T"] == [(100, 200), (350, 500), (650, 720), (800, 900)]
    assert found.from_parts.to_list() == ["T"]
    assert found.without_exons.to_list() == []
    assert found.left_out.is_empty()


def test_exon_lines_win_over_parts_wherever_they_stand(written: Written) -> None:
    exon, cds = part("exon", 101, 900), part("CDS", 201, 300)
    for lines in ([part("transcript", 101, 900), cds, exon], [exon, cds, part("transcript", 101, 900)]):
        for chunk_bytes in (1, 10**6):
            uri = written(*lines)
            found = assemble(read_features(uri, chunk_bytes), uri)
            assert exons(found) == {"T": [(100, 900)]}
            assert found.from_parts.is_empty()


def test_exons_from_parts_in_gff3(written: Written) -> None:
    found = assembled(
        written(
            gff3_line("chr1", "mRNA", 101, 600, ID="t", Parent="g"),
            gff3_line("chr1", "five_prime_UTR", 101, 200, ID="u", Parent="t"),
            gff3_line("chr1", "CDS", 201, 300, ID="c", Parent="t"),
            gff3_line("chr1", "CDS", 501, 600, ID="c", Parent="t"),
            *GOOD_GFF3,
        )
    )
    assert exons(found)["t"] == [(100, 300), (500, 600)]


def test_parts_alone_make_no_transcript_among_others_and_are_named(written: Written) -> None:
    found = assembled(written(*GOOD, part("CDS", 101, 200, "ND1", gene_name="ND1"), part("CDS", 301, 400, "ND1")))
    assert list(exons(found)) == ["GOOD.1"]
    assert kinds(found) == {"ND1": PARTS_ALONE}
    assert "line 4: transcript ND1 has lines of CDS or UTR, but neither" in found.left_out["fault"][0]
    gff3 = assembled(
        written(*GOOD_GFF3, gff3_line("MT", "gene", 1, 9, ID="ND1"), gff3_line("MT", "CDS", 1, 9, Parent="ND1"))
    )
    assert kinds(gff3) == {"ND1": PARTS_ALONE}


def test_a_protein_is_no_transcript(written: Written) -> None:
    protein = gff3_line("chr1", "protein", 9001, 9600, ID="GOOD.1-Protein", Derives_from="GOOD.1")
    cds = gff3_line("chr1", "CDS", 9001, 9600, Parent="GOOD.1,GOOD.1-Protein")
    for lines in ((*GOOD_GFF3, protein, cds), (GOOD_GFF3[0], cds, protein)):
        found = assembled(written(*lines))
        assert exons(found) == {"GOOD.1": [(9000, 9600)]}
        assert found.left_out.is_empty()


def test_in_a_file_of_parts_alone_they_are_the_exons(written: Written) -> None:
    found = assembled(written(part("CDS", 101, 200), part("CDS", 301, 400), part("stop_codon", 98, 100)))
    assert exons(found) == {"T": [(97, 200), (300, 400)]}
    row = found.transcripts.select("gene_id", "strand", "start", "end", "line").row(0)
    assert row == ("G", "-", 97, 400, 1)
    assert found.from_parts.to_list() == ["T"]


def test_transcripts_without_exons_and_parts_are_told(written: Written) -> None:
    assert assembled(written(GOOD[0])).without_exons.to_list() == ["GOOD.1"]


# Odd transcripts


ODD = {"gene_id": "ODD", "transcript_id": "ODD.1"}


def odd_exons(*places: tuple[str, str], start: int = 3001) -> list[str]:
    return [
        gtf_line(contig, "exon", start + 1000 * at, start + 1000 * at + 99, strand, **ODD)
        for at, (contig, strand) in enumerate(places)
    ]


@pytest.mark.parametrize(
    ("lines", "kind", "fault"),
    [
        (
            [gtf_line("chr1", "transcript", 3001, 3600, ".", **ODD), *odd_exons(("chr1", "."))],
            UNSTRANDED,
            "transcript ODD.1 of FILE has no strand",
        ),
        (
            [gtf_line("chr1", "transcript", 3001, 5000, "?", **ODD), *odd_exons(("chr1", "-"), ("chr1", "+"))],
            APART,
            r"FILE line 5: exon chr1:3001-3100 \(-\) lies outside its transcript ODD.1, chr1:3001-5000 \(\?\)",
        ),
        (
            [gtf_line("chr1", "transcript", 3001, 5000, "-", **ODD), *odd_exons(("chr1", "-"), ("chr2", "-"))],
            APART,
            r"FILE line 6: exon chr2:4001-4100 \(-\) lies outside its transcript",
        ),
        (
            odd_exons(("chr1", "-"), ("chr1", "+")),
            APART,
            "FILE line 4: the exons of transcript ODD.1 lie on several contigs or strands",
        ),
        (
            [gtf_line("chr1", "transcript", 3001, 3099, **ODD), *odd_exons(("chr1", "+"))],
            OUTSIDE,
            r"FILE line 5: exon chr1:3001-3100 \(\+\) lies outside its transcript ODD.1, chr1:3001-3099 \(\+\)",
        ),
        (
            [gtf_line("chr1", "transcript", 2**31, 2**31 + 9, **ODD)],
            FAR,
            "FILE line 4: transcript ODD.1 ends at base 2,147,483,657 of contig chr1, but positions in the table",
        ),
    ],
)
def test_an_odd_transcript_is_left_out_and_the_others_stay(
    written: Written, lines: list[str], kind: str, fault: str
) -> None:
    uri = written(*GOOD, *lines)
    found = assembled(uri)
    assert exons(found) == {"GOOD.1": [(9000, 9150), (9400, 9600)]}
    assert kinds(found) == {"ODD.1": kind}
    assert found.left_out["gene_id"].to_list() == ["ODD"]
    assert re.match(fault, found.left_out["fault"][0].replace(uri, "FILE"))


def test_a_transcript_with_two_lines_is_left_out_whole(written: Written) -> None:
    twice = gtf_line("chr1", "transcript", 3001, 3100, **ODD)
    found = assembled(written(*GOOD, twice, *odd_exons(("chr1", "+")), twice))
    assert list(exons(found)) == ["GOOD.1"]
    assert found.left_out.select("transcript_id", "kind", "line").rows() == [("ODD.1", TWICE, 4), ("ODD.1", TWICE, 6)]
    assert "line 6: transcript ODD.1 on chr1 was already given on line 4 (chr1)" in found.left_out["fault"][0]


def test_an_exon_apart_from_both_copies_leaves_both_out(written: Written) -> None:
    lines = [*shared("G", 3001), *shared("G", 3001, contig="chr2"), *shared("G", 3001, contig="chr3", line=False)]
    assert set(kinds(assembled(written(*GOOD, *lines))).values()) == {TWICE}


@pytest.mark.slow
def test_a_part_apart_from_both_copies_leaves_both_out_wherever_a_chunk_ends(written: Written) -> None:
    copies = [shared("G", 3001)[0], shared("G", 3001, contig="chr2")[0]]
    lost = shared("G", 3001, contig="chr3", line=False)[0].replace("\texon\t", "\tCDS\t")
    for lines in ([*GOOD, *copies, lost], [*GOOD, lost, *copies]):
        for chunk_bytes in (1, 10**6):
            uri = written(*lines)
            assert set(kinds(assemble(read_features(uri, chunk_bytes), uri)).values()) == {TWICE}


def test_a_gene_and_an_mrna_of_one_id_are_left_out(written: Written) -> None:
    found = assembled(
        written(
            *GOOD_GFF3,
            gff3_line("chr1", "gene", 3001, 3600, ID="YA1"),
            gff3_line("chr1", "mRNA", 3001, 3600, ID="YA1", Parent="YA1"),
            gff3_line("chr1", "exon", 3001, 3600, Parent="YA1"),
        )
    )
    assert list(exons(found)) == ["GOOD.1"]
    assert "line 4: mRNA and gene (line 3) share the ID YA1" in found.left_out["fault"][0]
