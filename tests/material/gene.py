"""A table of one gene with a cassette exon, on either strand, for tests of what is shown of a gene.

Of the gene's four annotated sites three score above 0.1 and one, the last acceptor, does not; a donor that is not
annotated scores exactly 0.1, another one just less. Usage is random, always the same, at the sites alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from material import tables
from material.genomes import Transcript
from material.tables import Part

from pipeline.tracks.reader import Tracks
from sptx_core.channels import TISSUES

EXONS = [(1_001, 1_100), (1_401, 1_500), (3_001, 3_200)]
SKIPPED = [EXONS[0], EXONS[2]]
SPAN = range(1_001, 3_201)
ENDS, STARTS = (1_100, 1_500), (1_401, 3_001)  # the exon bases beside introns
_RANDOM = np.random.default_rng(4)
USAGE = {pos: _RANDOM.random(len(TISSUES)).round(3) for pos in (*ENDS, *STARTS, 2_000)}


def sites(strand: str) -> dict[str, dict[int, float]]:
    """Scores of donors and acceptors."""
    donors, acceptors = (ENDS, STARTS) if strand == "+" else (STARTS, ENDS)
    donor = {donors[0]: 0.9, donors[1]: 0.6, 2_000: 0.1, 2_500: 0.0999}
    return {"donor": donor, "acceptor": {acceptors[0]: 0.8, acceptors[1]: 0.05}}


def transcripts(strand: str) -> list[Transcript]:
    """The gene's transcripts: T1, the representative one, has all exons; T2 skips the second."""
    return [
        Transcript("T2", "chr1", strand, SKIPPED, gene="GENE"),
        Transcript("T1", "chr1", strand, EXONS, gene="GENE", tags=["basic", "MANE_Select"]),
    ]


def write(root: Path, strand: str = "+", pos: Sequence[int] = SPAN) -> Tracks:
    """Write the table with rows at these positions."""
    return tables.write(root, [Part("chr1", strand, pos, **sites(strand), usage=USAGE)], transcripts(strand))
