"""Entries: what becomes of an allele before anything is computed, and how few reads that takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from material.variant_runs import Place

from pipeline.inputs.annotation import read_annotation
from pipeline.inputs.genome import Genome
from pipeline.variants.alleles import Status
from pipeline.variants.entries import ENTRY_COLUMNS, Annotator, Written, allele_of, blockwise, counts
from pipeline.variants.genes import GeneIndex, gene_table
from pipeline.variants.settings import Outside


@pytest.fixture
def annotator(place: Place) -> Annotator:
    index = GeneIndex(gene_table(read_annotation(place.inputs["gtf"]).transcripts))
    contigs = {"chr1": "chr1", "1": "chr1", "chrUn": None, "chr2": "chr2"}
    return Annotator(Genome(place.inputs["fasta"]), contigs, index, Outside.SKIP, 1000)


def entry(annotator: Annotator, *written: Any, **others: Any) -> dict[str, Any]:
    (frame,) = annotator.frames([Written(0, 1, *written, **others)])
    assert frame.schema == ENTRY_COLUMNS
    return frame.row(0, named=True)


def test_an_entry_holds_the_allele_as_written_and_in_its_normal_form(annotator: Annotator, place: Place) -> None:
    found = entry(annotator, "1", 500, "x", "TGT", "TG")
    assert (found["chrom"], found["pos"], found["ref"], found["contig"]) == ("1", 500, "TGT", "chr1")
    assert (found["status"], found["start"], found["norm_ref"], found["norm_alt"]) == ("scored", 501, "T", "")
    assert allele_of(found).to_vcf() == (501, "GT", "G")
    names = [annotator.index.genes["gene_id"][gene] for gene in found["genes"]]
    assert names == ["G_PLUS"]
    assert place.sequences["chr1"][500:502] == "GT"


@pytest.mark.parametrize(
    ("written", "status"),
    [
        (("chrUn", 5, ".", "A", "C"), Status.UNKNOWN_CONTIG),
        (("never-met", 5, ".", "A", "C"), Status.UNKNOWN_CONTIG),
        (("chrUn", 5, ".", "A", "*"), Status.SPANNING_DELETION),  # nothing of it needs the contig
        (("chr1", 0, ".", "A", "C"), Status.REF_MISMATCH),  # a telomere
        (("chr1", 5, ".", "Q", "C"), Status.MALFORMED),
        (("chr1", 5, ".", "", "C"), Status.MALFORMED),
        (("chr1", 5, ".", "A", ""), Status.NO_ALT),
        (("chr1", 5, ".", "A", "C C"), Status.MALFORMED),
    ],
)
def test_an_allele_that_cannot_be_scored_has_no_form_and_no_genes(
    annotator: Annotator, written: tuple[Any, ...], status: Status
) -> None:
    found = entry(annotator, *written)
    assert found["status"] == status
    assert (found["start"], found["norm_ref"], found["genes"], found["both_strands"]) == (None, None, [], False)


def test_a_fault_that_is_known_already_stays(annotator: Annotator) -> None:
    assert entry(annotator, "chr1", 501, ".", "G", "C", Status.CONFLICT)["status"] == "conflict"


def test_what_is_not_changed_touches_the_genes_below_it_as_it_is_written(annotator: Annotator, place: Place) -> None:
    def same(first: int, last: int) -> str:
        ref = place.sequences["chr1"][first - 1 : last]
        return str(entry(annotator, "chr1", first, ".", ref, ref)["status"])

    assert (same(299, 300), same(300, 301), same(1500, 1501), same(1501, 1502)) == (
        *("outside_genes", "scored", "scored", "outside_genes"),
    )


@pytest.mark.parametrize("chrom", ["", "x" * 300, "__HIVE_DEFAULT_PARTITION__", "\ufffd" * 60])
def test_what_cannot_be_a_folder_stands_under_a_contig_that_is_missing(annotator: Annotator, chrom: str) -> None:
    assert entry(annotator, chrom, 5, ".", "A", "C")["chrom"] == "."


def test_blocks_are_read_once_and_hold_what_was_asked_for() -> None:
    asked: list[tuple[int, int]] = []

    def fetch(start: int, end: int) -> Any:
        asked.append((start, end))
        return np.arange(start, end) % 251

    read = blockwise(fetch)
    for start in (*range(0, 30_000, 100), 29_000, 5, 200_000, 100):
        assert read(start, start + 50).tolist() == [at % 251 for at in range(start, start + 50)]
    assert len(asked) == 3
    assert len(read(0, 300_000)) == 300_000  # longer than a block


def test_statuses_are_counted_in_their_own_order() -> None:
    counted = counts(pl.Series(["conflict", "scored", "malformed", "scored"]))
    assert list(counted.items()) == [("scored", 2), ("conflict", 1), ("malformed", 1)]
