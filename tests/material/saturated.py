"""Every single-base change of chr1:1,091-1,110 of the gene of `material.gene`, with gains and losses by formula.

The reference is ACGT over and over. A change at position p to the b-th base has a gain of (p % 10) / 10 and a loss of
b / 10, of whatever site; only the change of 1,100 to C was not scored.
"""

from __future__ import annotations

from pathlib import Path

from material import variant_tables
from material.variant_tables import Row, scored

from pipeline.variants.reader import Variants

FIRST, LAST = 1_091, 1_110
BASES = "ACGT"


def reference(pos: int) -> str:
    """Base of the reference."""
    return BASES[pos % 4]


def rows(strand: str = "+", gene: str = "GENE") -> list[Row]:
    """Rows of the table."""
    found = []
    for pos in range(FIRST, LAST + 1):
        for number, base in enumerate(BASES):
            if base != reference(pos):
                gain, loss = (pos % 10) / 10, number / 10
                row = scored("chr1", pos, reference(pos), base, strand=strand, gene=gene, record=pos, alt_index=number)
                row |= {"ds_ag": gain, "ds_dg": gain / 2, "ds_al": loss / 2, "ds_dl": loss}
                found.append(row | ({"status": "too_long"} if (pos, base) == (1_100, "C") else {}))
    return found


def write(root: Path, strand: str = "+") -> Variants:
    """Write the table."""
    return variant_tables.write(root, rows(strand))
