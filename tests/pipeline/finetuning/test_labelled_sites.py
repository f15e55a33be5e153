"""Sites and genes at absolute positions: which site has which label and usage, and which lies in which gene."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.finetuning.labelled_sites import Sites, StrandLayout, make_genes, make_sites
from sptx_core.losses import UNLABELLED

LENGTHS = {"chr1": 300, "chr2": 210}
LAYOUT = StrandLayout(LENGTHS)
TISSUES = ("brain", "heart")
TWO_EXONS = [(10, 30), (60, 100)]
Site = tuple[str, str, int]  # contig, strand, 0-based position


def transcripts(*exons: list[tuple[int, int]], contig: str = "chr1", strand: str = "+") -> pl.DataFrame:
    """Transcripts of one gene, named t0, t1, ... in the order given."""
    return pl.DataFrame(
        {
            "transcript_id": [f"t{at}" for at in range(len(exons))],
            "gene_id": "g1",
            "chrom": contig,
            "strand": strand,
            "start": [spans[0][0] for spans in exons],
            "end": [spans[-1][1] for spans in exons],
            "exon_starts": [[start for start, _ in spans] for spans in exons],
            "exon_ends": [[end for _, end in spans] for spans in exons],
        }
    )


def usage_of(rows: list[tuple[str, int, float, float]]) -> pl.DataFrame:
    """Usage of sites of chr1, plus strand: kind, 1-based position and a value for each of the tissues."""
    frame = pl.DataFrame(rows, schema=["kind", "pos", *TISSUES], orient="row")
    return frame.with_columns(pl.col("pos").cast(pl.Int32), chrom=pl.lit("chr1"), strand=pl.lit("+"))


def test_strands_of_contigs_lie_end_to_end() -> None:
    assert LAYOUT.starts == {("chr1", "+"): 0, ("chr1", "-"): 300, ("chr2", "+"): 600, ("chr2", "-"): 810}
    rows = [("chr2", "-", 7), ("chr1", "+", 0), ("chr1", "-", 299)]
    frame = pl.DataFrame(rows, schema=["chrom", "strand", "at"], orient="row")
    assert LAYOUT.absolute(frame, "at").tolist() == [817, 0, 599]


@pytest.mark.parametrize(
    ("contig", "strand", "first", "labels"), [("chr1", "+", 0, [2, 1]), ("chr2", "-", 810, [1, 2])]
)
def test_sites_are_the_bases_beside_an_intron(contig: str, strand: str, first: int, labels: list[int]) -> None:
    whole = transcripts(TWO_EXONS, contig=contig, strand=strand)
    sites = make_sites(whole, whole, None, TISSUES, LAYOUT)
    assert (sites.absolute - first).tolist() == [29, 60]
    assert sites.label.tolist() == labels
    assert np.isnan(sites.usage).all()
    assert sites.usage.shape == (2, 2)


def test_sites_without_a_certain_label_are_left_out_of_the_loss() -> None:
    # Only the second, which is not selected, has the donor at 39; the third ends and begins an exon at 60.
    whole = transcripts(TWO_EXONS, [(10, 40), (60, 100)], [(10, 30), (60, 61), (90, 100)])
    sites = make_sites(whole, whole[[0, 2]], None, TISSUES, LAYOUT)
    assert dict(zip(sites.absolute.tolist(), sites.label.tolist(), strict=True)) == {
        29: 2,
        39: UNLABELLED,
        60: UNLABELLED,
        90: 1,
    }


def test_usage_of_the_other_kind_at_the_same_base_is_not_taken() -> None:
    whole = transcripts(TWO_EXONS)
    usage = usage_of([("acceptor", 30, 0.9, 0.9), ("acceptor", 61, 0.25, math.nan)])
    sites = make_sites(whole, whole, usage, TISSUES, LAYOUT)
    np.testing.assert_array_equal(sites.usage, [[np.nan, np.nan], [0.25, np.nan]])


def test_tissues_that_the_table_lacks_are_unknown() -> None:
    whole, usage = transcripts(TWO_EXONS), usage_of([("donor", 30, 0.5, 0.75)])
    sites = make_sites(whole, whole, usage, ("heart", "liver"), LAYOUT)
    np.testing.assert_array_equal(sites.usage, [[0.75, np.nan], [np.nan, np.nan]])


@pytest.mark.parametrize("name", ["absolute", "kinds", "position", "selected", "gene_id"])
def test_a_tissue_may_have_any_name(name: str) -> None:
    whole, usage = transcripts(TWO_EXONS), usage_of([("donor", 30, 0.75, math.nan)]).rename({"brain": name})
    sites = make_sites(whole, whole, usage, (name,), LAYOUT)
    np.testing.assert_array_equal(sites.usage, [[0.75], [np.nan]])


def test_a_gene_spans_its_transcripts_and_genes_are_sorted() -> None:
    one, other = transcripts([(50, 80), (90, 120)], [(20, 60), (70, 100)]), transcripts([(20, 40)], strand="-")
    whole = pl.concat([transcripts([(5, 9)], contig="chr2"), one, other.with_columns(gene_id=pl.lit("g2"))])
    genes = make_genes(whole, LAYOUT)
    assert genes.contig == ("chr1", "chr1", "chr2")
    assert genes.minus.tolist() == [True, False, False]
    assert list(zip(genes.start.tolist(), genes.end.tolist(), strict=True)) == [(20, 40), (20, 120), (5, 9)]
    assert genes.absolute.tolist() == [320, 20, 605]
    assert (len(genes), genes.bases) == (3, 20 + 100 + 4)


spans = st.tuples(st.sampled_from(list(LENGTHS)), st.sampled_from("+-"), st.integers(0, 200), st.integers(1, 100))


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    st.lists(spans.filter(lambda span: span[2] + span[3] <= LENGTHS[span[0]]), min_size=1, max_size=6),
    st.sets(st.tuples(st.sampled_from(list(LENGTHS)), st.sampled_from("+-"), st.integers(0, 209)), max_size=30),
)
def test_sites_within_genes_are_those_that_some_gene_of_their_strand_holds(
    genes: list[tuple[str, str, int, int]], sites: set[Site]
) -> None:
    rows = [(contig, strand, f"g{at}", start, start + size) for at, (contig, strand, start, size) in enumerate(genes)]
    made = make_genes(pl.DataFrame(rows, schema=["chrom", "strand", "gene_id", "start", "end"], orient="row"), LAYOUT)
    ordered = sorted(sites, key=lambda site: LAYOUT.starts[site[:2]] + site[2])
    absolute = np.array([LAYOUT.starts[contig, strand] + at for contig, strand, at in ordered], dtype=np.int64)
    number = np.arange(len(absolute))
    within = Sites(absolute, number, number[:, None].astype(np.float32)).within(made)
    expected = [
        at
        for at, (contig, strand, here) in enumerate(ordered)
        if any(gene[:2] == (contig, strand) and gene[2] <= here < gene[2] + gene[3] for gene in genes)
    ]
    assert within.label.tolist() == within.usage[:, 0].tolist() == expected
    assert within.absolute.tolist() == absolute[expected].tolist()
