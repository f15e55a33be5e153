"""Metrics of small tables with a known answer, on both strands and in both kinds of rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from material import genomes, tables
from sklearn.metrics import average_precision_score

from pipeline.evaluation.evaluate import Evaluation

Part, Transcript = tables.Part, genomes.Transcript
Evaluated = Callable[..., Evaluation]

EXONS = [(101, 120), (151, 160), (201, 230)]
# What a perfect prediction says of a transcript with these exons, by strand.
ENDS, BEGINS = {120: 0.9, 160: 0.8}, {151: 0.9, 201: 0.7}
PERFECT = {"+": {"donor": ENDS, "acceptor": BEGINS}, "-": {"donor": BEGINS, "acceptor": ENDS}}
SPAN = range(101, 231)


@pytest.mark.slow
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("strand", ["+", "-"])
def test_a_perfect_prediction_is_perfect(evaluated: Evaluated, strand: str, exact: bool) -> None:
    parts = [Part("chr1", strand, SPAN, **PERFECT[strand])]
    found = evaluated(parts, Transcript("A", "chr1", strand, EXONS), exact=exact)
    for kind in ("acceptor", "donor"):
        metrics = found.of(kind)
        assert (metrics.positions, metrics.sites, metrics.outside) == (130, 2, 0)
        assert (metrics.auprc, metrics.top_k) == (1.0, {0.5: 1.0, 1.0: 1.0, 2.0: 1.0, 4.0: 1.0})
        assert found.of(kind, "contig", "chr1")[3:] == found.of(kind, "biotype", "protein_coding")[3:] == metrics[3:]
    assert found.of("acceptor").threshold == pytest.approx(0.7 if strand == "+" else 0.8, rel=2**-13)


@pytest.mark.slow
@pytest.mark.parametrize("strand", ["+", "-"])
@pytest.mark.parametrize("shift", [-1, 1])
def test_a_prediction_one_base_off_finds_nothing(evaluated: Evaluated, strand: str, shift: int) -> None:
    shifted = {kind: {at + shift: score for at, score in sites.items()} for kind, sites in PERFECT[strand].items()}
    found = evaluated([Part("chr1", strand, SPAN, **shifted)], Transcript("A", "chr1", strand, EXONS))
    for kind in ("acceptor", "donor"):
        assert found.of(kind).top_k[1.0] == 0
        assert found.of(kind).auprc == pytest.approx(2 / 130)


def test_the_kinds_of_the_other_strand_find_nothing(evaluated: Evaluated) -> None:
    parts = [Part("chr1", "-", SPAN, **PERFECT["+"])]
    found = evaluated(parts, Transcript("A", "chr1", "-", EXONS))
    assert [found.of(kind).top_k[1.0] for kind in ("acceptor", "donor")] == [0, 0]


def test_each_strand_is_held_against_its_own_sites(evaluated: Evaluated) -> None:
    parts = [Part("chr1", strand, SPAN, **PERFECT[strand]) for strand in "+-"]
    transcripts = [Transcript("A", "chr1", "+", EXONS), Transcript("B", "chr1", "-", EXONS)]
    found = evaluated(parts, *transcripts)
    assert found.of("donor")[3:6] == (260, 4, 0)
    assert found.of("donor").auprc == found.of("acceptor").auprc == 1.0


def test_metrics_are_scikit_learns_over_all_rows_of_a_table_in_parts(evaluated: Evaluated) -> None:
    dice = np.random.default_rng(5)
    transcripts, parts, labels, scores = [], [], [], []
    for chrom, strand in (("chr1", "+"), ("chr1", "-"), ("chr2", "-")):
        ends = np.cumsum(dice.integers(5, 30, 40)) + 100
        exons = [(int(first), int(last)) for first, last in zip(ends[::2], ends[1::2] - 1, strict=True)]
        transcripts.append(Transcript(f"{chrom}{strand}", chrom, strand, exons))
        donors = {last for _, last in exons[:-1]} if strand == "+" else {first for first, _ in exons[1:]}
        pos = np.arange(exons[0][0], exons[-1][1] + 1)
        true = np.isin(pos, sorted(donors))
        steps = np.where(true, dice.integers(0, 30, len(pos)), dice.integers(0, 20, len(pos))) / 30
        donor = dict(zip(pos.tolist(), np.round(steps, 4).tolist(), strict=True))
        parts += [Part(chrom, strand, piece.tolist(), donor=donor) for piece in np.array_split(pos, 3)]
        labels.append(true)
        scores.append(np.round(steps, 4))
    found = evaluated(parts, *transcripts)
    every, all_scores = np.concatenate(labels), np.concatenate(scores)
    assert found.of("donor").auprc == pytest.approx(average_precision_score(every, all_scores))
    first = np.concatenate(labels[:2]), np.concatenate(scores[:2])
    assert found.of("donor", "contig", "chr1").auprc == pytest.approx(average_precision_score(*first))
    assert found.of("donor", "contig", "chr2").auprc == pytest.approx(average_precision_score(labels[2], scores[2]))
    assert found.of("donor").positions == len(every)


def test_true_sites_that_the_table_does_not_hold_are_counted_apart(evaluated: Evaluated) -> None:
    parts = [Part("chr1", "+", range(101, 160), donor={120: 0.9})]  # the second donor is one base further
    transcripts = [Transcript("A", "chr1", "+", EXONS), Transcript("B", "chr7", "+", EXONS)]
    found = evaluated(parts, *transcripts)
    assert found.of("donor")[3:6] == (59, 1, 3)
    assert found.of("donor", "contig", "chr1")[4:6] == (1, 1)
    assert found.of("donor").auprc == 1.0


def test_a_biotype_holds_its_spans_less_the_sites_of_others(evaluated: Evaluated) -> None:
    scores = {120: 0.9, 160: 0.8, 140: 0.7, 300: 0.95}
    parts = [Part("chr1", "+", range(101, 401), donor=scores)]
    transcripts = [
        Transcript("A", "chr1", "+", EXONS),
        Transcript("B", "chr1", "+", [(110, 140), (180, 220)], "lncRNA"),
        Transcript("C", "chr1", "+", [(350, 360)], "lncRNA"),
    ]
    found = evaluated(parts, *transcripts)
    assert found.of("donor")[3:6] == (300, 3, 0)
    assert found.of("donor").top_k[1.0] == pytest.approx(2 / 3)  # 300 is called and wrong
    coding = found.of("donor", "biotype", "protein_coding")
    assert (coding.positions, coding.sites, coding.auprc) == (129, 2, 1.0)  # 130 less the lncRNA's donor
    noncoding = found.of("donor", "biotype", "lncRNA")
    assert (noncoding.positions, noncoding.sites, noncoding.auprc) == (111 + 11 - 2, 1, 1.0)
    assert [line.name for line in found.sites if line.by == "biotype"] == ["protein_coding"] * 2 + ["lncRNA"] * 2


def test_rows_by_transcript_are_held_against_their_own_transcript(evaluated: Evaluated) -> None:
    pos = [*range(101, 161), *range(101, 161), *range(101, 111)]
    names = ["A"] * 60 + ["B"] * 60 + ["gone"] * 10
    parts = [Part("chr1", "+", pos, donor={120: 0.9, 130: 0.6, 105: 1.0}, transcripts=names)]
    transcripts = [
        Transcript("A", "chr1", "+", [(101, 120), (151, 160)]),
        Transcript("B", "chr1", "+", [(101, 130), (151, 160)], "lncRNA"),
    ]
    found = evaluated(parts, *transcripts)
    # Of 120 rows, each transcript leaves out the other's donor; 105 is called in both and wrong.
    assert found.of("donor")[3:6] == (118, 2, 0)
    assert found.of("acceptor")[3:6] == (120, 2, 0)
    assert found.of("donor").auprc == pytest.approx(0.5 * 1 / 3 + 0.5 * 2 / 4)
    assert found.of("donor", "biotype", "lncRNA")[3:6] == (59, 1, 0)
    assert (found.coverage.unjudged_rows, found.flanks) == (10, "transcript")
