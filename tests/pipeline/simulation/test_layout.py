"""Places of genes on a contig: exons keep apart, and transcripts are made of their gene's exons."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.simulation.layout import END_N, MIN_CONTIG_BASES, lay_out
from pipeline.simulation.signals import FLANK
from sptx_core.errors import InputError


@given(seed=st.integers(0, 2**32), bases=st.integers(MIN_CONTIG_BASES, 150_000))
@settings(max_examples=25, deadline=None)
def test_blocks_never_touch_and_transcripts_use_their_genes_exons(seed: int, bases: int) -> None:
    layout = lay_out(1, bases, np.random.default_rng(seed))
    assert layout.genes
    blocks = sorted((exon.start - FLANK, exon.end + FLANK) for gene in layout.genes for exon in gene.exons)
    assert all(end < start for (_, end), (start, _) in pairwise(blocks))
    assert blocks[0][0] > END_N
    assert blocks[-1][1] <= bases - END_N
    free = np.ones(bases, dtype=bool)
    free[:END_N] = free[bases - END_N :] = False
    for start, end in blocks:
        free[start:end] = False
    assert free.sum() == sum(end - start for start, end in layout.gaps)
    assert all(free[start:end].all() for start, end in layout.gaps)
    for gene in layout.genes:
        places = [(exon.start, exon.end) for exon in gene.exons]
        assert places == sorted(places)
        roles = [exon.role for exon in gene.exons][:: 1 if gene.strand == "+" else -1]
        assert (roles[0], roles[-1]) == ("first", "last")
        main, *others = gene.transcripts
        assert list(main.exons) == places
        skipped = {place for other in others for place in places[1:-1] if place not in other.exons}
        assert skipped == {(exon.start, exon.end) for exon in gene.exons if exon.role == "cassette"}
        for other in others:
            starts, ends = zip(*other.exons, strict=True)
            assert set(ends[:-1]) <= {end for _, end in places}
            assert set(starts[1:]) <= {start for start, _ in places}
            assert gene.start <= starts[0] < ends[-1] <= gene.end


def test_a_contig_too_small_for_a_gene_is_refused() -> None:
    with pytest.raises(InputError, match="too small"):
        lay_out(1, MIN_CONTIG_BASES - 1, np.random.default_rng(0))
