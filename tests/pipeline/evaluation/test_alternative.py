"""Alternative sites and what a network says of them beyond a profile that all of them share."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline.evaluation.alternative import alternative_sites, compare_alternative
from pipeline.evaluation.truth import Truth
from pipeline.inputs.splice_sites import splice_sites


def truth_of(*transcripts: tuple[str, str, list[tuple[int, int]]]) -> Truth:
    """Gene, transcript and exons (1-based, inclusive) of a plus strand."""
    rows = [
        {
            "gene_id": gene,
            "transcript_id": name,
            "biotype": "protein_coding",
            "chrom": "chr1",
            "strand": "+",
            "exon_starts": [first - 1 for first, _ in exons],
            "exon_ends": [last for _, last in exons],
            "first": exons[0][0],
            "last": exons[-1][1],
        }
        for gene, name, exons in transcripts
    ]
    frame = pl.DataFrame(rows, schema_overrides={"first": pl.Int32, "last": pl.Int32})
    return Truth(splice_sites(frame), frame.drop("exon_starts", "exon_ends"), {"chr1": "chr1"})


def found(truth: Truth) -> set[tuple[int, str]]:
    return set(alternative_sites(truth).select("pos", "kind").iter_rows())


def test_a_site_is_alternative_where_a_transcript_around_it_lacks_it() -> None:
    whole, skipping = [(1, 10), (21, 30), (41, 50)], [(1, 10), (41, 50)]
    assert found(truth_of(("G", "A", whole), ("G", "B", skipping))) == {(21, "acceptor"), (30, "donor")}
    assert found(truth_of(("G", "A", whole), ("H", "B", skipping))) == set()  # another gene
    assert found(truth_of(("G", "A", whole), ("G", "B", whole[:2]), ("G", "C", whole[1:]))) == set()  # only shorter
    retained = [(1, 10), (21, 50)]
    assert found(truth_of(("G", "A", whole), ("G", "B", retained))) == {(30, "donor"), (41, "acceptor")}


@pytest.mark.parametrize("elsewhere", [{"strand": "-"}, {"chrom": "chrY"}])
def test_a_transcript_of_the_same_gene_elsewhere_is_not_around_it(elsewhere: dict[str, str]) -> None:
    """As genes of X and Y have one id in some annotations."""
    truth = truth_of(("G", "A", [(1, 10), (21, 30), (41, 50)]), ("G", "B", [(1, 10), (41, 50)]))
    turned = [
        pl.when(pl.col("transcript_id") == "B").then(pl.lit(value)).otherwise(pl.col(name)).alias(name)
        for name, value in elsewhere.items()
    ]
    frames = {name: getattr(truth, name).with_columns(turned) for name in ("sites", "transcripts")}
    assert found(truth._replace(**frames)) == set()


def test_a_site_at_the_end_of_a_transcript_is_not_within_it() -> None:
    """Exons of one base; what has the site at its end says nothing of those that lack it."""
    single, having, lacking = [(10, 10), (20, 30)], [(5, 10), (20, 30)], [(5, 30)]
    first = ("G", "A", single), ("G", "B", having), ("G", "C", lacking)
    assert found(truth_of(*first)) == {(10, "donor"), (20, "acceptor")}
    assert found(truth_of(("G", "A", [(5, 10), (20, 20)]), *first[1:])) == {(10, "donor"), (20, "acceptor")}


@pytest.mark.slow
@given(st.lists(st.lists(st.integers(1, 40), min_size=4, max_size=8, unique=True), min_size=1, max_size=6))
@settings(max_examples=60)
def test_alternative_sites_are_those_found_one_by_one(drawn: list[list[int]]) -> None:
    transcripts = []
    for index, places in enumerate(drawn):
        ends = sorted(places)[: len(places) // 2 * 2]
        transcripts.append((f"G{index % 2}", f"T{index}", list(zip(ends[::2], ends[1::2], strict=True))))
    truth = truth_of(*transcripts)
    having = {name: set() for _, name, _ in transcripts}
    for name, pos, kind in truth.sites.select("transcript_id", "pos", "kind").iter_rows():
        having[name].add((pos, kind))
    expected = set()
    for gene, name, exons in transcripts:
        for pos, kind in having[name]:
            inside = exons[0][0] < pos < exons[-1][1]
            for other, rival, spans in transcripts:
                if inside and other == gene and spans[0][0] < pos < spans[-1][1] and (pos, kind) not in having[rival]:
                    expected.add((pos, kind))
    assert found(truth) == expected


@pytest.fixture
def measured() -> np.ndarray:
    random = np.random.default_rng(3)
    profile = np.linspace(0.2, 0.6, 8)
    measured = (profile + random.normal(0, 0.1, (200, 8))).clip(0, 1)
    measured[random.random(measured.shape) < 0.1] = np.nan
    measured[0, 1:] = np.nan  # one tissue alone has no difference between tissues
    return measured


def test_the_mean_profile_alone_has_nothing_beyond_it(measured: np.ndarray) -> None:
    predicted = np.repeat(np.linspace(0.2, 0.6, 8)[None], 200, 0)
    found = compare_alternative(predicted, measured)
    parts = measured[1:] - np.nanmean(measured[1:], 1, keepdims=True)
    known = ~np.isnan(parts)
    assert (found.sites, found.pairs) == (199, known.sum())
    assert found.network_pearson == pytest.approx(
        stats.pearsonr(own_part(predicted[1:], known), parts[known]).statistic
    )
    assert found.profile_pearson == pytest.approx(found.network_pearson, abs=0.01)
    assert (found.beyond_spearman, found.beyond_pearson) == (None, None)


def test_means_of_sites_and_tissues_are_those_of_least_squares(measured: np.ndarray) -> None:
    predicted = np.random.default_rng(4).random(measured.shape)
    found = compare_alternative(predicted, measured)
    known = ~np.isnan(measured)
    known[0] = False
    site, tissue = np.nonzero(known)
    design = np.hstack([np.eye(200)[site], np.eye(8)[tissue]])
    fits = [np.linalg.lstsq(design, values[known], rcond=None)[0] for values in (predicted, measured)]
    rests = [values[known] - design @ fit for values, fit in zip((predicted, measured), fits, strict=True)]
    assert found.beyond_pearson == pytest.approx(stats.pearsonr(*rests).statistic)
    assert found.beyond_spearman == pytest.approx(stats.spearmanr(*rests).statistic)
    profile = own_part(np.repeat(fits[1][None, 200:], 200, 0), known)
    parts = own_part(np.nan_to_num(measured), known)
    assert found.profile_pearson == pytest.approx(stats.pearsonr(profile, parts).statistic)
    assert found.profile_spearman == pytest.approx(stats.spearmanr(profile, parts).statistic, abs=1e-6)


def own_part(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The known values less the mean of their site."""
    means = np.where(known, values, 0).sum(1, keepdims=True) / np.maximum(known.sum(1, keepdims=True), 1)
    return (values - means)[known]


def test_a_network_that_tells_sites_apart_goes_beyond_the_profile(measured: np.ndarray) -> None:
    found = compare_alternative(np.nan_to_num(measured, nan=0.4), measured)
    assert (found.network_pearson, found.beyond_pearson) == (pytest.approx(1), pytest.approx(1))
    assert found.profile_pearson < 0.9


def test_without_a_site_nothing_is_defined() -> None:
    found = compare_alternative(np.empty((0, 3)), np.empty((0, 3)))
    assert found == (0, 0, None, None, None, None, None, None)
