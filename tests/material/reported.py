"""Tables for tests of reports: random scores, usage and bases, and transcripts of two biotypes; the same for each seed.

chr1 has rows on both strands, in two parts on the plus strand; chr2 has rows on its plus strand. Some annotated sites
lie where there are no rows, some scores lie on the edges of bins, and one gene's name is markup.
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

MARKUP = "<img src=x onerror=alert(1)>&\"'"
SPANS = (("chr1", "+", 1_001, 2_200), ("chr1", "+", 2_201, 3_400), ("chr1", "-", 1_501, 2_600), ("chr2", "+", 11, 600))
EDGES = (0.01, 0.05, 0.1, 0.5, 0.8, 0.95, 1.0)


def write(root: Path | str, seed: int = 0, *, shards: int | None = None) -> Tracks:
    """Write a table with genomic flanks."""
    random = np.random.default_rng(seed)
    parts = [part(random, chrom, strand, range(first, last + 1)) for chrom, strand, first, last in SPANS]
    return tables.write(root, parts, transcripts(random), shards=shards)


def write_by_transcript(root: Path, seed: int = 0) -> Tracks:
    """Write a table with flanks: transcript, in which transcripts of chr1 overlap, in one part and across two."""
    random = np.random.default_rng(seed)
    spans = {"T1": (1_001, 1_600), "T2": (1_301, 2_000), "T3": (1_501, 1_900)}
    rows = {name: list(range(first, last + 1)) for name, (first, last) in spans.items()}
    both = [*rows["T1"], *rows["T2"]]
    first = part(random, "chr1", "+", both)._replace(transcripts=["T1"] * len(rows["T1"]) + ["T2"] * len(rows["T2"]))
    second = part(random, "chr1", "+", rows["T3"])._replace(transcripts=["T3"] * len(rows["T3"]))
    exons = {
        name: [(first, first + 99), (first + 200, first + 299), (last - 50, last)]
        for name, (first, last) in spans.items()
    }
    return tables.write(
        root, [first, second], [Transcript(name, "chr1", "+", exons[name], gene="GENE") for name in spans]
    )


def part(random: np.random.Generator, chrom: str, strand: str, pos: Sequence[int]) -> Part:
    """Rows of which about one in twelve is likely to be a site."""
    places = sorted(set(pos))
    likely = random.choice(places, len(places) // 6, replace=False).tolist()
    acceptors, donors = likely[::2], likely[1::2]
    edges = [random.choice(EDGES) for _ in likely]
    scores = {
        at: float(edge if random.random() < 0.3 else random.beta(0.4, 0.6))
        for at, edge in zip(likely, edges, strict=True)
    }
    few = random.random((len(likely), len(TISSUES))) * (random.random((len(likely), len(TISSUES))) < 0.1)
    all_tissues = random.random((len(likely), 1)) * random.uniform(0.8, 1, (len(likely), len(TISSUES)))
    usage = np.where(random.random((len(likely), 1)) < 0.3, few, all_tissues).clip(0, 1)
    bases = "".join(random.choice(list("ACGT"), len(pos)))
    chosen = ({at: scores[at] for at in kind} for kind in (acceptors, donors))
    return Part(chrom, strand, pos, *chosen, usage=dict(zip(likely, usage, strict=True)), bases=bases)


def transcripts(random: np.random.Generator) -> list[Transcript]:
    """Transcripts on all strands, some of which reach beyond the rows."""
    found = []
    for number in range(24):
        chrom, strand, first, last = SPANS[number % len(SPANS)]
        ends = np.sort(random.choice(np.arange(first, last + 400), 2 * (1 + number % 4), replace=False)).tolist()
        exons = list(zip(ends[::2], ends[1::2], strict=True))
        biotype, gene = ("protein_coding", f"G{number % 6}") if number % 3 else ("lncRNA", MARKUP)
        found.append(Transcript(f"T{number}", chrom, strand, exons, biotype, gene))
    return found
