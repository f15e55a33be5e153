"""Changes of the gene of `material.gene` on either strand, and what a table says of them.

A change of one base breaks the site at 1,100 (score 0.8 before, 0.1 after) and makes one of the same kind at 1,090
(0.4); a deletion takes that site away; an insertion behind 1,120 brings one of its own (0.6 at its third base). Which
kind the sites at exon ends are depends on the strand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from material import variant_tables
from material.variant_tables import Row, around, scored

from pipeline.variants.reader import Variants

SNV, DELETION, INSERTION = "chr1-1101-G-C", "chr1-1097-ACGTAGG-A", "chr1-1120-C-CAGTA"
UNSCORED, SAME = "chr1-1130-N-A", "chr1-1140-C-C"
BRAIN, LIVER = -0.5, 0.25


def kind_at_ends(strand: str) -> str:
    """Kind of the sites at the last bases of exons."""
    return "donor" if strand == "+" else "acceptor"


def rows(strand: str) -> tuple[list[Row], list[Row]]:
    """Rows of the table and of its sites."""
    kind = kind_at_ends(strand)
    letter = kind[0]
    before = {(kind, 1_100): 0.8}

    def lost(pos: int, value: float) -> dict[str, Any]:
        return {f"ds_{letter}l": value, f"{letter}l_pos": 1_100, f"dp_{letter}l": 1_100 - pos}

    usage = {"signed_brain": BRAIN, "d_brain": -BRAIN, "z_brain": 3.5, "signed_liver": LIVER, "d_liver": LIVER}
    calls = {"tissues": ["brain"], "calibrated": True}
    gained = {f"ds_{letter}g": 0.4, f"{letter}g_pos": 1_090, f"dp_{letter}g": -11}
    made = {f"ds_{letter}g": 0.6, f"{letter}g_pos": 1_120, f"dp_{letter}g": 0, f"ins_offset_{letter}g": 3}
    snv = scored("chr1", 1_101, "G", "C", strand=strand, d_splice=0.7, **lost(1_101, 0.7), **gained, **usage, **calls)
    deletion = scored("chr1", 1_097, "ACGTAGG", "A", strand=strand, record=1, d_splice=0.8, **lost(1_097, 0.8))
    insertion = scored("chr1", 1_120, "C", "CAGTA", strand=strand, record=2, d_splice=0.6, **made)
    same = scored("chr1", 1_140, "C", "C", strand=strand, record=4)
    unscored = {name: snv[name] for name in ("chrom", "alt_index", "id", "joint")}
    unscored |= {"record": 3, "pos": 1_130, "ref": "N", "alt": "A", "status": "ref_mismatch"}
    none = [row | {name: None for name in row if name.startswith(("ref_", "alt_"))} for row in around(same, {}, {})]
    sites = [
        *around(snv, before, {(kind, 1_100): 0.1, (kind, 1_090): 0.4}),
        *around(deletion, before, {}),
        *around(insertion, before, {**before, (kind, -3): 0.6}),
        *none,
    ]
    return [_with_tissues(row) for row in (snv, deletion, insertion, same)] + [unscored], sites


def write(root: Path, strand: str = "+", *, sites: bool = True) -> Variants:
    """Write the table."""
    held, about = rows(strand)
    return variant_tables.write(root, held, about if sites else None)


def _with_tissues(row: Row) -> Row:
    """With usage that does not change where the row says nothing."""
    from sptx_core.channels import TISSUES

    zeros = {f"{column}_{tissue}": 0.0 for column in ("d", "signed", "z") for tissue in TISSUES}
    return {**zeros, "tissues": [], "calibrated": False, **row}
