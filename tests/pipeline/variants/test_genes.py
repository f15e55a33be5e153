"""Genes of an annotation: what is one gene, its annotated sites, and which genes a stretch touches."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
from material.genomes import Transcript, gtf_line, write_gtf

from pipeline.inputs.annotation import read_annotation
from pipeline.variants.genes import GENE_COLUMNS, GeneIndex, gene_table


def genes_of(tmp_path: Path, *transcripts: Transcript) -> pl.DataFrame:
    return gene_table(read_annotation(write_gtf(tmp_path / "a.gtf", transcripts)).transcripts)


def test_a_gene_is_an_id_on_a_strand_of_a_contig(tmp_path: Path) -> None:
    found = genes_of(
        tmp_path,
        Transcript("T3", "chr2", "-", [(51, 90)], gene="B", own_gene_id="G2"),
        Transcript("T1", "chr1", "+", [(101, 200), (301, 400)], gene="A", own_gene_id="G1"),
        Transcript("T2", "chr1", "+", [(151, 200), (351, 500)], gene="A", own_gene_id="G1"),
        Transcript("T4", "chr1", "+", [(11, 20)], gene="A", own_gene_id="G3"),
        Transcript("T5", "chrX", "+", [(11, 20), (31, 40)], gene="PAR", own_gene_id="G5"),
        Transcript("T6", "chrY", "+", [(111, 120), (151, 160)], gene="PAR", own_gene_id="G5"),
    )
    assert found.schema == GENE_COLUMNS
    assert found["gene"].to_list() == list(range(5))
    assert found.select("gene_id", "contig", "start", "end").rows() == [
        ("G2", "chr2", 50, 90),  # contigs as the annotation has them
        ("G3", "chr1", 10, 20),
        ("G1", "chr1", 100, 500),
        ("G5", "chrX", 10, 40),
        ("G5", "chrY", 110, 160),
    ]
    first = found.row(2, named=True)
    assert (first["transcripts"], first["donors"], first["acceptors"]) == (["T1", "T2"], [199], [300, 350])
    assert found.filter(pl.col("gene_id") == "G5")["donors"].to_list() == [[19], [119]]
    assert found.row(0, named=True)["donors"] == []


def test_sites_of_the_minus_strand_are_turned_round(tmp_path: Path) -> None:
    (found,) = genes_of(tmp_path, Transcript("T", "chr1", "-", [(101, 200), (301, 400)])).rows(named=True)
    assert (found["donors"], found["acceptors"]) == ([300], [199])


def test_a_transcript_without_exons_has_a_span_and_no_sites(tmp_path: Path) -> None:
    path = tmp_path / "a.gtf"
    path.write_text(gtf_line("chr1", "transcript", 11, 90, gene_id="G", transcript_id="T") + "\n")
    (found,) = gene_table(read_annotation(str(path)).transcripts).rows(named=True)
    assert (found["start"], found["end"], found["transcripts"], found["donors"]) == (10, 90, ["T"], [])


def test_genes_are_numbered_alike_in_whatever_order_the_file_has_them(tmp_path: Path) -> None:
    some = [Transcript(f"T{n}", "chr1", "+-"[n % 2], [(100 - n, 300 + n)], own_gene_id=f"G{n}") for n in range(5)]
    assert genes_of(tmp_path, *some).equals(genes_of(tmp_path, *some[::-1]))


def test_genes_that_a_stretch_touches_are_those_that_share_a_base_with_it(tmp_path: Path) -> None:
    chance = random.Random(0)
    some = []
    for number in range(60):
        start = chance.randrange(1, 1000)
        end = start + chance.choice([0, 5, 50, 900])
        some.append(Transcript(f"T{number}", "chr1", "+", [(start, end)]))
    table = genes_of(tmp_path, *some)
    index = GeneIndex(table)
    for _ in range(300):
        low = chance.randrange(-5, 2000)
        high = low + chance.choice([1, 2, 30])
        plainly = table.filter((pl.col("start") < high) & (pl.col("end") > low))["gene"].to_list()
        assert index.touching("chr1", low, high) == plainly
    assert index.touching("chr2", 0, 10) == []
