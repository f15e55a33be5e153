"""Pairs of tables that share some rows, for tests of their comparison; the same for each seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from material import reported, tables
from material.genomes import Transcript
from material.tables import Part

from pipeline.tracks.reader import Tracks

Cuts = Sequence[tuple[str, str, int, int]]
"""Contig, strand, first and last position of each part."""
FIRST: Cuts = (("chr1", "+", 101, 300), ("chr1", "+", 301, 620), ("chr1", "-", 101, 250), ("chr2", "+", 1, 90))
SECOND: Cuts = (("chr1", "+", 151, 420), ("chr1", "+", 501, 700), ("chr1", "-", 101, 250), ("chr3", "+", 1, 50))
GENE = Transcript("T1", "chr1", "+", [(220, 260), (330, 390)], gene="GENE")


def write(
    folder: Path | str, seed: int = 0, cuts: Sequence[Cuts] = (FIRST, SECOND), *, changed: float = 0.3
) -> list[Tracks]:
    """Write two tables, of which the second has other values in a share of the rows; reference bases are the same."""
    random = np.random.default_rng(seed)
    values = {
        (chrom, strand): reported.part(random, chrom, strand, range(1, 801))
        for chrom, strand, *_ in (*cuts[0], *cuts[1])
    }
    others = {}
    for place, part in values.items():
        new = reported.part(random, *place, range(1, 801))
        is_new = set((np.flatnonzero(random.random(800) < changed) + 1).tolist())
        others[place] = part._replace(
            acceptor=merged(part.acceptor, new.acceptor, is_new),
            donor=merged(part.donor, new.donor, is_new),
            usage=merged(part.usage, new.usage, is_new),
        )
    return [
        tables.write(
            f"{folder}/{name}", [cut(of[chrom, strand], first, last) for chrom, strand, first, last in parts], [GENE]
        )
        for name, of, parts in zip(("first", "second"), (values, others), cuts, strict=True)
    ]


def merged(old: object, new: object, is_new: set[int]) -> dict[int, object]:
    """Values by position, some of them new."""
    assert isinstance(old, dict)
    assert isinstance(new, dict)
    kept = {at: value for at, value in old.items() if at not in is_new}
    return kept | {at: value for at, value in new.items() if at in is_new}


def cut(part: Part, first: int, last: int) -> Part:
    """The rows of a part from one position to another."""
    assert part.bases is not None
    within = {
        name: {at: value for at, value in getattr(part, name).items() if first <= at <= last}
        for name in ("acceptor", "donor", "usage")
    }
    return part._replace(pos=range(first, last + 1), bases=part.bases[first - 1 : last], **within)
