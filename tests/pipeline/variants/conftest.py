"""A genome with known sites and genes on both strands (`material.variant_runs`)."""

from __future__ import annotations

import pytest
from material.genomes import Transcript
from material.variant_runs import (
    ACCEPTOR_MOTIF,
    DONOR_MOTIF,
    Place,
    background,
    on_minus,
    with_motifs,
    write_place,
)

SITES = {500: DONOR_MOTIF, 700: ACCEPTOR_MOTIF, 900: DONOR_MOTIF, 2300: DONOR_MOTIF}
SITES |= {3000: on_minus(DONOR_MOTIF), 3300: on_minus(ACCEPTOR_MOTIF)}  # of the minus strand: 3003 and 3300
OTHERS = {1000: "GCAACAGTTGA", 1200: "AT", 1400: "NNR", 298: "ATTATT", 899: "TTGTATTA"}
GENES = (
    Transcript("PLUS.1", "chr1", "+", [(301, 500), (703, 900), (1300, 1500)], gene="PLUS"),
    Transcript("PLUS.2", "chr1", "+", [(401, 500), (1300, 1500)], gene="PLUS"),
    Transcript("TWIN.1", "chr1", "+", [(2001, 2400)], gene="TWIN", own_gene_id="G_ONE"),
    Transcript("TWIN.2", "chr1", "+", [(2201, 2600)], gene="TWIN", own_gene_id="G_TWO"),
    Transcript("MINUS.1", "chr1", "-", [(2801, 3000), (3003, 3300), (3500, 3600)], gene="MINUS"),
    Transcript("WHOLE.1", "chr2", "+", [(1, 300)], gene="WHOLE"),
    Transcript("BACK.1", "HLA-A*01:01", "-", [(11, 200)], gene="BACK"),
)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Genome, annotation and checkpoint."""
    text = with_motifs(background(4000, 1), SITES | OTHERS)
    sequences = {
        "chr1": text[:2000] + text[2000:2700].lower() + text[2700:],
        "chr2": background(300, 2),
        "HLA-A*01:01": with_motifs(background(300, 3), {100: on_minus(DONOR_MOTIF)}),
    }
    return write_place(tmp_path_factory.mktemp("place"), sequences, GENES)
