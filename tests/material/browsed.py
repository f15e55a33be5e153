"""A table for tests of the page: one contig of 1,000,000 bases, both strands, loci far apart, random scores.

Parts end within a locus and a locus crosses a border of the blocks in which tracks are read. The genes have exons whose
ends score, and names that a careless page would take for markup.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from material import tables
from material.genomes import Transcript

from pipeline.tracks.layout import TABLES
from pipeline.tracks.reader import Tracks, open_tracks
from sptx_core.channels import TISSUES

CHROM, LENGTH = "chr1", 10**6
SPANS = {  # strand -> first and last position of each part, 1-based
    "+": ((1_001, 3_000), (3_001, 4_500), (261_000, 263_500), (700_001, 701_000)),
    "-": ((2_001, 3_500), (899_001, 900_000)),
}
TRANSCRIPTS = (
    Transcript("ENST01.2", CHROM, "+", [(1_101, 1_200), (1_801, 1_900), (2_901, 3_050)], gene="DOCK8"),
    Transcript("ENST02.1", CHROM, "+", [(1_101, 1_200), (2_901, 3_050)], gene="DOCK8", tags=["MANE_Select"]),
    Transcript("ENST03.1", CHROM, "+", [(261_101, 262_100), (262_201, 262_300), (700_101, 700_200)], gene="WIDE"),
    Transcript("ENST04.1", CHROM, "-", [(2_101, 2_200), (2_701, 2_800)], gene="<img src=x onerror=alert(1)>"),
    Transcript("ENST05.1", CHROM, "-", [(899_501, 899_600), (950_001, 950_100)], gene="HALF"),
)


def parts(seed: int = 0) -> list[tables.Part]:
    """Its parts: noise at every third base, and a score at each end of an intron."""
    random = np.random.default_rng(seed)
    made = []
    for strand, spans in SPANS.items():
        for first, last in spans:
            noisy = range(first + first % 3, last + 1, 3)
            acceptor, donor = (
                dict(zip(noisy, (random.random(len(noisy)) ** 8).tolist(), strict=True)) for _ in range(2)
            )
            donor = {pos: min(score, 1 - acceptor[pos]) for pos, score in donor.items()}
            for one in TRANSCRIPTS:
                for (_, left), (right, _) in zip(one.exons, one.exons[1:], strict=False):
                    for pos, kind in ((left, donor), (right, acceptor)):
                        kind = kind if one.strand == "+" else (acceptor if kind is donor else donor)
                        if one.strand == strand and first <= pos <= last:
                            acceptor[pos] = donor[pos] = 0.001
                            kind[pos] = 0.02 if one.name == "ENST03.1" else round(0.3 + 0.6 * random.random(), 5)
            usage = {pos: random.random(len(TISSUES)).tolist() for pos in {**acceptor, **donor}}
            bases = "".join(random.choice(list("ACGT"), last - first + 1))
            made.append(tables.Part(CHROM, strand, range(first, last + 1), acceptor, donor, usage, bases=bases))
    return made


def write(root: Path, *, seed: int = 0) -> Tracks:
    """Write it and open it."""
    return tables.write(root, parts(seed), TRANSCRIPTS)


def open_done(whole: Tracks, shards: int) -> Tracks:
    """Take all but the first shards away, as if they were still to come, and open what is left."""
    for part in whole.parts[shards:]:
        for table in TABLES:
            whole.store.delete(part.key.part_name(table, whole.fingerprint))
    return open_tracks(whole.store.root)


def commit_rest(whole: Tracks, seed: int = 0) -> None:
    """Commit the shards that are missing."""
    held = {part.key for part in open_tracks(whole.store.root).parts}
    for part, rows in zip(whole.parts, parts(seed), strict=True):
        if part.key not in held:
            tables.commit_rows(whole.store, part.key, rows.rows())
