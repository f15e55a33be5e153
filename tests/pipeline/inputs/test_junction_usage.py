"""Usage from junctions of hand-made genes, and against all molecules of a gene."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise, product

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.inputs.junction_usage import usage_of_sites
from pipeline.simulation.layout import Gene
from pipeline.simulation.sequence import make_contig
from pipeline.simulation.simulate import usage_table
from sptx_core.channels import TISSUES

Introns = Mapping[tuple[int, int], int]  # (donor, acceptor) in transcription order -> reads
Sites = dict[tuple[str, int], float]  # (kind, position in transcription order) -> usage
LENGTH = 10_000  # of the contig that hand-made genes are mirrored on


def frame_of(introns: Introns, strand: str = "+", contig: str = "chr1") -> pl.DataFrame:
    """Junctions of a gene that is transcribed from position 1 up, or from `LENGTH` down."""
    places = [
        (donor, acceptor) if strand == "+" else (LENGTH - donor, LENGTH - acceptor) for donor, acceptor in introns
    ]
    columns = {"contig": contig, "strand": strand, "donor": [d for d, _ in places], "acceptor": [a for _, a in places]}
    return pl.DataFrame({**columns, "reads": list(introns.values())})


def sites_of(usage: pl.DataFrame, strand: str = "+", tissue: str = "brain") -> Sites:
    """Known sites in transcription order."""
    known = usage.filter(pl.col(tissue).is_not_nan()).select("kind", "pos", tissue).rows()
    return {(kind, pos if strand == "+" else LENGTH - pos): value for kind, pos, value in known}


# The formula, on genes that are read from left to right; each is checked on both strands.

CASSETTE = {(100, 201): 30, (300, 401): 30, (100, 401): 10}
ONE_BASE_EXON = {(100, 201): 30, (201, 401): 30, (100, 401): 10}
TWO_CASSETTES = {  # included by 3 in 4 and by 1 in 5 molecules of 400, each whatever the other does
    (100, 201): 300,
    (100, 401): 20,
    (100, 601): 80,
    (300, 401): 60,
    (300, 601): 240,
    (500, 601): 80,
}
EXAMPLE = {(100, 201): 45, (100, 401): 10, (100, 421): 5, (300, 401): 30, (300, 421): 15, (500, 601): 60}  # of the docs
ALTERNATIVE_ACCEPTORS = {(100, 201): 30, (100, 221): 10, (300, 401): 40}
ALTERNATIVE_DONORS = {(100, 201): 40, (280, 401): 30, (300, 401): 10}
EXCLUSIVE_EXONS = {(100, 201): 30, (300, 601): 30, (100, 401): 10, (500, 601): 10}
FIRST_EXONS = {(100, 401): 30, (300, 401): 10}
SKIPPED_TOGETHER = {(100, 201): 30, (300, 401): 30, (500, 601): 30, (100, 601): 10}
NESTED = {**CASSETTE, (120, 151): 900, (170, 181): 900, (320, 341): 50}  # genes in introns of CASSETTE


@pytest.mark.parametrize("strand", ["+", "-"])
@pytest.mark.parametrize(
    ("introns", "donors", "acceptors"),
    [
        ({(100, 201): 30}, {100: 1}, {201: 1}),
        (CASSETTE, {100: 1, 300: 0.75}, {201: 0.75, 401: 1}),
        (ONE_BASE_EXON, {100: 1, 201: 0.75}, {201: 0.75, 401: 1}),
        (TWO_CASSETTES, {100: 1, 300: 0.75, 500: 0.2}, {201: 0.75, 401: 0.2, 601: 1}),
        (EXAMPLE, {100: 1, 300: 0.75, 500: 1}, {201: 0.75, 401: 2 / 3, 421: 1 / 3, 601: 1}),
        (ALTERNATIVE_ACCEPTORS, {100: 1, 300: 1}, {201: 0.75, 221: 0.25, 401: 1}),
        (ALTERNATIVE_DONORS, {100: 1, 280: 0.75, 300: 0.25}, {201: 1, 401: 1}),
        (EXCLUSIVE_EXONS, {100: 1, 300: 0.75, 500: 0.25}, {201: 0.75, 401: 0.25, 601: 1}),
        (FIRST_EXONS, {100: 0.75, 300: 0.25}, {401: 1}),
        # The inner sites are joined to each other alone: nothing competes with them.
        (SKIPPED_TOGETHER, {100: 1, 300: 1, 500: 0.75}, {201: 0.75, 401: 1, 601: 1}),
        (NESTED, {100: 1, 120: 1, 170: 1, 300: 0.75, 320: 1}, {151: 1, 181: 1, 201: 0.75, 341: 1, 401: 1}),
    ],
)
def test_usage(strand: str, introns: Introns, donors: dict[int, float], acceptors: dict[int, float]) -> None:
    usage = usage_of_sites({"brain": frame_of(introns, strand)})
    expected = {("donor", pos): value for pos, value in donors.items()}
    expected |= {("acceptor", pos): value for pos, value in acceptors.items()}
    assert sites_of(usage, strand) == expected


def test_the_frame_is_that_of_a_usage_table() -> None:
    usage = usage_of_sites({"brain": frame_of(CASSETTE), "site": frame_of(CASSETTE, "-", "chr2")})
    assert dict(usage.schema) == {
        "contig": pl.String,
        "strand": pl.String,
        "kind": pl.String,
        "pos": pl.Int32,
        "brain": pl.Float64,
        "site": pl.Float64,
    }
    assert usage.equals(usage.sort("contig", "pos", "strand", "kind"))
    assert usage.filter(pl.col("brain").is_nan())["contig"].unique().to_list() == ["chr2"]


def test_strands_and_contigs_do_not_compete() -> None:
    apart = [frame_of(CASSETTE), frame_of({(100, 221): 500}, contig="chr2")]
    crossing = pl.DataFrame({"contig": "chr1", "strand": "-", "donor": 221, "acceptor": 100, "reads": 500})
    usage = usage_of_sites({"brain": pl.concat([*apart, crossing])}).filter(contig="chr1", strand="+")
    assert sites_of(usage) == sites_of(usage_of_sites({"brain": frame_of(CASSETTE)}))


def test_too_few_reads_are_unknown_in_that_tissue_alone() -> None:
    tissues = {"brain": frame_of(CASSETTE), "liver": frame_of({(100, 201): 4, (100, 401): 5})}
    few = sites_of(usage_of_sites(tissues), tissue="liver")
    enough = sites_of(usage_of_sites(tissues, min_reads=9), tissue="liver")
    assert few == {}
    assert enough == {("donor", 100): 1, ("acceptor", 201): 4 / 9}
    assert sites_of(usage_of_sites(tissues, min_reads=9)) == sites_of(usage_of_sites(tissues))


def test_a_site_of_another_tissue_may_have_no_use() -> None:
    tissues = {"brain": frame_of(CASSETTE), "liver": frame_of({(100, 401): 50})}
    assert sites_of(usage_of_sites(tissues), tissue="liver") == {
        ("donor", 100): 1,
        ("acceptor", 201): 0,
        ("donor", 300): 0,
        ("acceptor", 401): 1,
    }


def test_a_site_that_is_unknown_everywhere_has_no_row() -> None:
    usage = usage_of_sites({"brain": frame_of({**CASSETTE, (7000, 7101): 9})})
    assert sites_of(usage) == sites_of(usage_of_sites({"brain": frame_of(CASSETTE)}))
    assert len(usage) == len(CASSETTE) + 1


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from("+-"), st.integers(1, 30), st.integers(1, 30)).filter(lambda key: key[1] < key[2]),
        st.tuples(st.integers(0, 40), st.integers(0, 40)),
        min_size=1,
        max_size=30,
    )
)
def test_mirrored_junctions_have_mirrored_usage(junctions: dict[tuple[str, int, int], tuple[int, int]]) -> None:
    """Reverse complement of all: the last base becomes the first, and the strands change places."""

    def measured(mirrored: bool) -> pl.DataFrame:
        columns: dict[str, list[object]] = {name: [] for name in ("strand", "donor", "acceptor")}
        for strand, left, right in junctions:
            ends = (100 - right, 100 - left) if mirrored else (left, right)
            own = strand if not mirrored else "+-"[strand == "+"]
            for name, value in zip(columns, (own, *(ends if own == "+" else ends[::-1])), strict=True):
                columns[name].append(value)
        return usage_of_sites(
            {
                tissue: pl.DataFrame({"contig": "c", **columns, "reads": [reads[at] for reads in junctions.values()]})
                for at, tissue in enumerate(("brain", "liver"))
            },
            min_reads=5,
        )

    back = measured(mirrored=True).with_columns(
        (100 - pl.col("pos")).cast(pl.Int32).alias("pos"), pl.col("strand").replace({"+": "-", "-": "+"})
    )
    assert back.sort("contig", "pos", "strand", "kind").equals(measured(mirrored=False))


# The truth, from all molecules of a gene

Choices = list[tuple[tuple[int, int] | None, int]]  # of an exon: acceptor and donor, or None if left out; molecules


def molecules(exons: list[Choices]) -> Iterator[tuple[list[tuple[int, int]], int]]:
    """Every molecule of exons that are chosen independently: its exons as (acceptor, donor), and how many of it."""
    for chosen in product(*exons):
        yield [exon for exon, _ in chosen if exon], int(np.prod([weight for _, weight in chosen]))


def introns_and_truth(exons: list[Choices]) -> tuple[Counter[tuple[int, int]], Sites]:
    """One read for each junction of each molecule; the share of molecules that use each site."""
    reads: Counter[tuple[int, int]] = Counter()
    users: Counter[tuple[str, int]] = Counter()
    total = 0
    for molecule, count in molecules(exons):
        total += count
        for (_, donor), (acceptor, _) in pairwise(molecule):
            reads[donor, acceptor] += count
            users["donor", donor] += count
            users["acceptor", acceptor] += count
    return reads, {site: count / total for site, count in users.items()}


@st.composite
def genes(draw: st.DrawFn, tissues: int) -> list[list[Choices]]:
    """For each tissue the choices of every exon: alternative ends, or another exon instead, or none at all."""
    of_tissues: list[list[Choices]] = [[] for _ in range(tissues)]
    last = draw(st.integers(1, 5))
    for order in range(last + 1):
        start = 1000 * (order + 1)
        if draw(st.booleans()):
            forms = [(start, start + 200), (start + 400, start + 600)]  # also as first and last exons
        else:
            acceptors = [start, start + 20][: draw(st.integers(1, 2)) if order > 0 else 1]
            donors = [start + 200, start + 230][: draw(st.integers(1, 2)) if order < last else 1]
            forms = list(product(acceptors, donors))
        optional = 0 < order < last and draw(st.booleans())
        weights = st.lists(st.integers(0, 5), min_size=len(forms), max_size=len(forms)).filter(any)
        for exons in of_tissues:
            exons.append(list(zip(forms, draw(weights), strict=True)))
            if optional:
                exons[-1].append((None, draw(st.integers(0, 5))))
    return of_tissues


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(genes(tissues=2), st.sampled_from("+-"))
def test_usage_is_the_share_of_molecules(of_tissues: list[list[Choices]], strand: str) -> None:
    known = [introns_and_truth(exons) for exons in of_tissues]
    tissues = {str(at): frame_of({k: n for k, n in reads.items() if n}, strand) for at, (reads, _) in enumerate(known)}
    usage = usage_of_sites(tissues, min_reads=1)
    for at, (_, truth) in enumerate(known):
        found = sites_of(usage, strand, str(at))
        assert {site for site, share in truth.items() if share} <= found.keys()
        assert found == pytest.approx({site: truth.get(site, 0) for site in found}, abs=1e-12)


def expected_reads(gene: Gene, usage: np.ndarray, depth: int) -> Iterator[tuple[str, str, int, int, int]]:
    """contig, strand, donor, acceptor and reads of all molecules of a simulated gene in one tissue."""
    exons = list(zip(gene.exons, usage, strict=True))[:: 1 if gene.strand == "+" else -1]
    shares: Counter[tuple[int, int]] = Counter()
    for included in product(*([True] if exon.role in ("first", "last") else [True, False] for exon, _ in exons)):
        share = np.prod([use if there else 1 - use for (_, use), there in zip(exons, included, strict=True)])
        left = [exon for (exon, _), there in zip(exons, included, strict=True) if there]
        for before, after in pairwise(left):
            ends = (before.end, after.start + 1) if gene.strand == "+" else (before.start + 1, after.end)
            shares[ends] += share
    for (donor, acceptor), share in shares.items():
        yield gene.contig, gene.strand, donor, acceptor, round(depth * share)


@pytest.mark.slow
def test_usage_of_simulated_genes_is_their_truth() -> None:
    """Genes that overlap and lie in each other, each expressed at a level of its own."""
    contig = make_contig(seed=3, number=1, bases=120_000)
    truth = pl.DataFrame(usage_table(contig)).rename({"position": "pos"})
    names = ("contig", "strand", "donor", "acceptor", "reads")
    tissues = {}
    for at, tissue in enumerate(TISSUES):
        lines = [
            line
            for level, (gene, usage) in enumerate(zip(contig.layout.genes, contig.usage, strict=True), 1)
            if not np.isnan(usage[0][at])
            for line in expected_reads(gene, usage[:, at], level * 10**8)
        ]
        tissues[tissue] = pl.DataFrame(lines, schema=names, orient="row")
    found = usage_of_sites(tissues).select("contig", "pos", "strand", "kind", *TISSUES)
    expected = truth.select(found.columns).sort("pos", "strand", "kind")
    assert found.drop(TISSUES).equals(expected.drop(TISSUES).cast({"pos": pl.Int32}))
    given = expected.select(TISSUES).cast(pl.Float64).to_numpy()
    rounding = 0.5e-4 + 1e-6  # of the truth, then of the reads
    np.testing.assert_allclose(found.select(TISSUES).to_numpy(), given, atol=rounding, rtol=0)
    strands = {gene.strand for gene in contig.layout.genes}
    assert strands == {"+", "-"}
    assert any(
        inner.strand == outer.strand and outer.start < inner.start and inner.end < outer.end
        for inner, outer in product(contig.layout.genes, repeat=2)
    )
