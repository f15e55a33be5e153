"""Sequences of generated contigs: signals, decoys and regulators lie where the contract says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.simulation.sequence import Contig, make_contig, stranded
from pipeline.simulation.signals import CLUSTERED, ENHANCER, FLANK, SITES, candidates, occurrences


@pytest.mark.slow
def test_another_seed_is_another_genome(sizes: Any, contig: Contig) -> None:
    assert (make_contig(sizes.seed + 1, 1, sizes.bases).codes != contig.codes).mean() > 0.5


def test_constitutive_sites_are_used_everywhere_and_cassettes_by_tissue(contig: Contig) -> None:
    by_role: dict[str, list[np.ndarray]] = {"constitutive": [], "cassette": []}
    for gene, usage in zip(contig.layout.genes, contig.usage, strict=True):
        for exon, row in zip(gene.exons, usage, strict=True):
            by_role.get(exon.role, []).append(row[~np.isnan(row)])
    assert min(row.min() for row in by_role["constitutive"]) > 0.85
    assert np.mean([row.max() - row.min() > 0.3 for row in by_role["cassette"]]) > 0.6


def test_decoys_stand_on_both_strands_and_stay_below_the_ceiling(contig: Contig) -> None:
    assert {(decoy.strand, decoy.kind, decoy.lacks) for decoy in contig.decoys} == {
        (strand, kind, lacks) for strand in "+-" for kind in ("donor", "acceptor") for lacks in ("core", "partner")
    }
    above = 0
    for strand in "+-":
        codes = stranded(contig.codes, strand)
        for site in SITES:
            found = candidates(codes, site)
            bits = dict(zip(found.junction.tolist(), found.bits.tolist(), strict=True))
            for decoy in contig.decoys:
                if (decoy.strand, decoy.kind) == (strand, site.kind):
                    above += bits[decoy.boundary if strand == "+" else len(codes) - decoy.boundary] > site.ceiling
    assert above <= len(contig.decoys) // 100


def test_enhancers_lie_in_constitutive_exons(contig: Contig) -> None:
    exons = [(gene.strand, exon) for gene in contig.layout.genes for exon in gene.exons if exon.role == "constitutive"]
    assert len(exons) > 20
    for strand, exon in exons:
        assert len(occurrences(stranded(contig.codes[exon.start : exon.end], strand), ENHANCER.word)) == 2


@pytest.mark.slow
def test_clusters_come_in_threes_of_two_kinds(sizes: Any) -> None:
    contig = make_contig(sizes.seed, 1, sizes.bases, CLUSTERED)
    seen = set()
    for gene in contig.layout.genes:
        for exon in gene.exons:
            if exon.role == "cassette":
                around = stranded(contig.codes[exon.start - FLANK : exon.end + FLANK], gene.strand)
                counts = {word.word: len(occurrences(around, word.word)) for word in CLUSTERED.specific}
                held = {word for word, count in counts.items() if count}
                assert len(held) == 2
                assert {counts[word] for word in held} <= {3, 4}  # a fourth by chance, of bases that others need
                seen |= held
    assert seen == {regulator.word for regulator in CLUSTERED.specific}
