"""Motifs of a generated genome: they tell its sites from everything else, as the contract says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.simulation.sequence import Contig, stranded
from pipeline.simulation.signals import (
    BACKGROUND,
    CLUSTERED,
    FLANK,
    SCATTERED,
    SITES,
    TISSUE_OFFSETS,
    Regulation,
    Site,
    candidates,
    occurrences,
    usage_of_exon,
)
from sptx_core.alphabet import N_CODE, decode, encode, reverse_complement


def real_junctions(contig: Contig, strand: str, kind: str) -> list[int]:
    """Junctions on the strand, from the layout alone."""
    length = len(contig.codes)
    found = []
    for gene in contig.layout.genes:
        for exon in gene.exons if gene.strand == strand else ():
            five, three = (exon.start, exon.end) if strand == "+" else (length - exon.end, length - exon.start)
            if kind == "acceptor" and exon.role != "first":
                found.append(five)
            if kind == "donor" and exon.role != "last":
                found.append(three)
    return found


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.kind)
@pytest.mark.parametrize("strand", "+-")
def test_an_oracle_with_the_matrices_tells_sites_from_decoys(contig: Contig, site: Site, strand: str) -> None:
    found = candidates(stranded(contig.codes, strand), site)
    is_real = np.isin(found.junction, real_junctions(contig, strand, site.kind))
    assert is_real.sum() == len(real_junctions(contig, strand, site.kind)) > 0
    assert found.bits[is_real].min() >= site.floor
    order = np.argsort(-found.bits, kind="stable")
    precision = np.cumsum(is_real[order]) / np.arange(1, len(order) + 1)
    assert precision[is_real[order]].mean() > 0.99  # average precision
    assert (found.core[~is_real] > site.core.floor).sum() > 20  # the core alone is not enough


@given(text=st.text("ACGTN", min_size=2, max_size=120), site=st.sampled_from(SITES))
@settings(max_examples=60, deadline=None)
def test_candidates_are_every_gt_or_ag_in_strand_order(text: str, site: Site) -> None:
    letters, shift = ("GT", 0) if site.kind == "donor" else ("AG", 2)
    expected = [at + shift for at in range(len(text)) if text.startswith(letters, at)]
    assert candidates(encode(text), site).junction.tolist() == expected
    backwards = candidates(reverse_complement(encode(text)), site).junction
    assert len(backwards) == text.count("AC" if site.kind == "donor" else "CT")


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.kind)
def test_drawn_motifs_reach_their_floor(site: Site) -> None:
    random = np.random.default_rng(0)
    for motif in (site.core, site.partner):
        for _ in range(50):
            codes = motif.draw(random)
            bits = sum(np.log2(row[code] / BACKGROUND[code]) for row, code in zip(motif.rates, codes, strict=True))
            assert motif.floor <= bits <= motif.max_bits + 1e-9
            assert motif.score(codes, np.array([0])) == pytest.approx(bits)


@given(codes=st.lists(st.integers(0, 4), max_size=60), word=st.text("ACGT", min_size=1, max_size=3))
def test_occurrences_are_all_starts_of_a_word(codes: list[int], word: str) -> None:
    text = decode(np.array(codes, np.uint8))
    expected = [at for at in range(len(text)) if text.startswith(word, at)]
    assert occurrences(np.array(codes, np.uint8), word).tolist() == expected


@pytest.mark.parametrize("regulation", [SCATTERED, CLUSTERED])
def test_each_regulator_adds_its_effect_wherever_it_lies(regulation: Regulation) -> None:
    plain = np.full(100 + 2 * FLANK, N_CODE, np.uint8)

    def logit(codes: np.ndarray) -> np.ndarray:
        usage = usage_of_exon(codes, regulation)
        return np.log(usage / (1 - usage))

    plain[FLANK - 20 : FLANK + 1] = SITES[1].core.bits[:, :N_CODE].argmax(1)
    plain[-FLANK - 3 : -FLANK + 6] = SITES[0].core.bits[:, :N_CODE].argmax(1)
    assert np.diff(logit(plain)) == pytest.approx(np.diff(TISSUE_OFFSETS))
    for regulator in regulation.regulators:
        for at in (3, FLANK + 40, len(plain) - 20):
            codes = plain.copy()
            codes[at : at + len(regulator.word)] = encode(regulator.word)
            np.testing.assert_allclose(logit(codes) - logit(plain), regulator.effect, atol=1e-9)


def test_clustered_effects_cancel_on_the_mean_and_every_tissue_has_one() -> None:
    effects = np.stack([regulator.effect for regulator in CLUSTERED.specific])
    assert (effects.sum(0) == 0).all()
    assert (np.abs(effects).sum(0) > 0).all()
    words = [regulator.word for regulator in CLUSTERED.regulators]
    assert len({*words}) == len(words)
