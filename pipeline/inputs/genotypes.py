"""The genotype of a sample in a VCF record: its alleles, and what they are phased with.

In: the columns FORMAT and of the sample, as written. Sources: the VCF specification 4.4, section 1.6.2, "GT", "PS" and
"PSL". `|` says that an allele is phased, `/` that it is not. From 4.4 on the first allele may have a mark of its own
(`|0|1`, `/0`); without one it is phased if no other mark is `/`. A genotype is phased if all of its alleles are: those
that mix both are not, so that nothing is joined that may lie apart.

The phase set is the text of PS, or of PSL where it names one set for all alleles; a genotype whose alleles lie in
several sets, or in none that PSL knows, is not phased. Without a phase set a phased genotype belongs to the one set of
all such records of its contig (the specification says so of PS).

Genotypes that are not understood carry a `problem`, a sentence without file and line, and have no alleles.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from sptx_core.words import counted

MAX_PLOIDY = 2
_GT = re.compile(r"([|/]?)(\.|\d{1,9})((?:[|/](?:\.|\d{1,9}))*)")
_MAX_SHOWN = 30  # letters of a genotype that a message quotes


class Genotype(NamedTuple):
    """What a sample has in place of REF.

    Attributes
    ----------
    alleles : tuple of int or None
        One or two: 0 for REF, 1 for the first ALT, None where it is not known; empty where the sample has no GT.
    phased : bool
        Whether it is known which chromosome each allele lies on; True for one allele, unless it is marked `/`.
    phase_set : str or None
        As written; None where there is none.
    problem : str or None
        Why it is not understood.
    """

    alleles: tuple[int | None, ...]
    phased: bool = False
    phase_set: str | None = None
    problem: str | None = None

    @property
    def ploidy(self) -> int:
        """How many alleles there are: 0 (no GT), 1 or 2."""
        return len(self.alleles)

    @property
    def missing(self) -> bool:
        """Whether no allele is known."""
        return all(allele is None for allele in self.alleles)


def read_genotype(names: bytes, values: bytes, alts: Sequence[str]) -> Genotype:
    """Read a genotype.

    Parameters
    ----------
    names : bytes
        The column FORMAT, such as `GT:PS`; empty where the line has none.
    values : bytes
        The column of the sample; values at its end may be left out.
    alts : sequence of str
        The ALTs of the record, to check the alleles.

    Returns
    -------
    Genotype
    """
    keys, texts = (column.decode(errors="replace").split(":") for column in (names, values))
    given = dict(zip(keys, texts, strict=False))
    text = given.get("GT", "")
    if not text:
        return Genotype(())
    found = _GT.fullmatch(text)
    if found is None:
        return _odd(text, "which is no genotype")
    first, allele, others = found.groups()
    marks = re.findall(r"[|/]", others)
    alleles = tuple(None if one == "." else int(one) for one in (allele, *re.split(r"[|/]", others)[1:]))
    if len(alleles) > MAX_PLOIDY:
        return _odd(text, f"which has {len(alleles)} alleles; at most {MAX_PLOIDY} are understood")
    if any(one is not None and one > len(alts) for one in alleles):
        return _odd(text, f"but there {'is' if len(alts) == 1 else 'are'} only {counted(len(alts), 'ALT')}")
    sets = _phase_sets(given, len(alleles))
    phased = "/" not in (first, *marks) and sets is not None
    return Genotype(alleles, phased, sets or None)


def _phase_sets(given: dict[str, str], ploidy: int) -> str | None:
    """The set that all alleles are in, "" where none is named; None where they are not in one."""
    listed = given.get("PSL", "")
    if listed in ("", "."):
        named = given.get("PS", "")
        return "" if named == "." else named
    sets = listed.split(",")
    together = len(sets) == ploidy and len(set(sets)) == 1 and sets[0] != "."
    return sets[0] if together else None


def _odd(text: str, why: str) -> Genotype:
    shown = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
    return Genotype((), problem=f"GT is {shown!r}, {why}")
