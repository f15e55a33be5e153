"""Splice sites of annotations by hand, on both strands, and against the motifs of the example's genome."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from material import genomes, tables

from pipeline.evaluation.truth import Truth, read_truth
from pipeline.inputs.annotation import read_annotation
from sptx_core.errors import InputError

Part, Transcript = tables.Part, genomes.Transcript
COMPLEMENT = str.maketrans("ACGT", "TGCA")


def truth(folder: Path, *transcripts: Any, chrom: str = "chr1") -> Truth:
    tracks = tables.write(folder / "table", [Part(chrom, "+", [1, 2])])
    return read_truth(read_annotation(genomes.write_gtf(folder / "x.gtf", transcripts)), tracks)


def sites(found: Truth) -> set[tuple[str, int, str]]:
    return set(found.sites.select("strand", "pos", "kind").iter_rows())


EXONS = [(101, 120), (151, 160), (201, 230)]


def test_on_the_plus_strand_a_donor_ends_an_exon_and_an_acceptor_begins_one(tmp_path: Path) -> None:
    found = truth(tmp_path, Transcript("A", "chr1", "+", EXONS))
    assert sites(found) == {("+", 120, "donor"), ("+", 151, "acceptor"), ("+", 160, "donor"), ("+", 201, "acceptor")}


def test_on_the_minus_strand_the_transcript_runs_the_other_way(tmp_path: Path) -> None:
    found = truth(tmp_path, Transcript("A", "chr1", "-", EXONS))
    assert sites(found) == {("-", 120, "acceptor"), ("-", 151, "donor"), ("-", 160, "acceptor"), ("-", 201, "donor")}


def test_exons_that_touch_or_overlap_have_no_intron(tmp_path: Path) -> None:
    exons = [(1, 10), (11, 20), (15, 18), (22, 30)]
    found = truth(tmp_path, Transcript("A", "chr1", "+", exons), Transcript("B", "chr1", "+", [(5, 40)]))
    assert sites(found) == {("+", 20, "donor"), ("+", 22, "acceptor")}


def test_every_transcript_has_its_own_rows_and_biotype(tmp_path: Path) -> None:
    transcripts = [Transcript("A", "chr1", "+", EXONS[:2], "lncRNA"), Transcript("B", "chr1", "+", EXONS)]
    found = truth(tmp_path, *transcripts)
    assert found.sites.filter(pl.col("pos") == 120)["biotype"].sort().to_list() == ["lncRNA", "protein_coding"]
    assert found.transcripts.select("transcript_id", "first", "last").rows() == [("A", 101, 160), ("B", 101, 230)]


def test_contigs_are_reconciled_and_strange_ones_stay_apart(tmp_path: Path) -> None:
    found = truth(tmp_path, Transcript("A", "1", "+", EXONS), Transcript("B", "2", "+", EXONS))
    assert found.contigs == {"1": "chr1"}
    assert set(found.sites["chrom"]) == {"chr1", "2"}


def test_annotations_that_cannot_be_held_against_the_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no contig of the table: it has chr2, .* has chr1"):
        truth(tmp_path, Transcript("A", "chr2", "+", EXONS))
    with pytest.raises(InputError, match="holds no splice site"):
        truth(tmp_path, Transcript("A", "chr1", "+", EXONS[:1]))


def test_sites_lie_beside_gt_and_ag_of_the_example(example: Any, tmp_path: Path) -> None:
    tracks = tables.write(tmp_path, [Part("chr1", "+", [1, 2]), Part("chr2", "+", [1, 2])])
    contigs = {}
    for record in example.genome.read_text().split(">")[1:]:
        name, *lines = record.splitlines()
        contigs[name.split()[0]] = "".join(lines).upper()
    found = read_truth(read_annotation(str(example.annotation)), tracks).sites
    assert set(found["strand"]) == {"+", "-"}
    for chrom, strand, pos, kind in found.select("chrom", "strand", "pos", "kind").iter_rows():
        after = (kind == "donor") == (strand == "+")  # the intron, on the plus strand
        two = contigs[chrom][pos : pos + 2] if after else contigs[chrom][pos - 3 : pos - 1]
        assert (two if strand == "+" else two[::-1].translate(COMPLEMENT)) == ("GT" if kind == "donor" else "AG")
