"""Names of contigs as the UCSC Genome Browser has them, which a track hub needs.

A chromosome `9`, `X`, `2L` or `MT` of Ensembl is `chr9`, `chrX`, `chr2L`, `chrM` there. UCSC's hg19 is the exception:
its chrM is another sequence (NC_001807), and the mitochondrion of all others (NC_012920) is chrMT. UCSC's names of
scaffolds tell the chromosome that they belong to (`chr1_KI270706v1_random`), which an accession does not: such contigs
keep the name that they have.

Source: https://genome.ucsc.edu/FAQ/FAQgenes.html and the description pages of the assemblies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_CHROMOSOME = re.compile(r"\d{1,2}[LRAB]?|[WXYZ]|[IVX]{1,5}")
_MITOCHONDRION = ("M", "MT")
_HG19, _HG19_MITOCHONDRION = "hg19", 16_571  # bases of its chrM


class Names(NamedTuple):
    """Contig of the table -> name to write, and the contigs for which UCSC's name is not known."""

    of: Mapping[str, str]
    unknown: tuple[str, ...]


def ucsc_names(lengths: Mapping[str, int], genome: str) -> Names:
    """Find UCSC's names.

    Parameters
    ----------
    lengths
        Contig -> bases.
    genome
        UCSC's id of the genome, such as hg38.

    Returns
    -------
    Names
        No two contigs get one name: where they would, they keep theirs.

    """
    wanted = {name: _ucsc_name(name, bases, genome) for name, bases in lengths.items()}
    named = [name for name in wanted.values() if name is not None]
    found = {name: ucsc if ucsc is not None and named.count(ucsc) == 1 else name for name, ucsc in wanted.items()}
    unknown = tuple(name for name, ucsc in wanted.items() if ucsc is None or named.count(ucsc) > 1)
    return Names(found, unknown)


def _ucsc_name(name: str, bases: int, genome: str) -> str | None:
    plain = name.removeprefix("chr")
    if plain in _MITOCHONDRION:
        return "chrMT" if genome == _HG19 and bases != _HG19_MITOCHONDRION else "chrM"
    if name.startswith("chr"):
        return name
    return f"chr{name}" if _CHROMOSOME.fullmatch(name) else None
