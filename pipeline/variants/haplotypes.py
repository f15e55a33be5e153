"""Variants of one haplotype, together: what a chromosome carries is not the sum of what each of its variants does.

Phased variants of a phase set, and homozygous ones, lie on one haplotype. Those whose windows overlap are joined: the
reference from the first to the last of them, with all of them applied, is one more allele, which is normalised and
scored like any other. So a change that is undone by another one is none. Variants that overlap each other cannot be
applied together; their joint allele has the status `conflict`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from pipeline.inputs.genome import Genome
from pipeline.variants.alleles import Allele, Status
from pipeline.variants.entries import Written, allele_of
from sptx_core.alphabet import decode

_JOINED = (Status.SCORED.value, Status.OUTSIDE_GENES.value)
BOTH = 0  # haplotype of a homozygous variant

_Member = tuple[Allele, dict[str, Any]]


def joint_alleles(entries: pl.DataFrame, genome: Genome, distance: int) -> Iterator[Written]:
    """The joint alleles of a sample's haplotypes, as a VCF would write them.

    Parameters
    ----------
    entries
        Entries with `haplotype` (1, 2, or 0 for both; null where it is not known) and `phase_set`.
    genome
        Reads the reference between the variants.
    distance
        Windows reach so far beyond a change.

    Yields
    ------
    Written
        With the record of the first variant, all of them in `id`, and `joint`.

    """
    known = entries.filter(pl.col("haplotype").is_not_null() & pl.col("status").is_in(_JOINED))
    for (contig,), rows in known.group_by("contig", maintain_order=True):
        members = sorted(((allele_of(row), row) for row in rows.iter_rows(named=True)), key=_place)
        sets = dict.fromkeys(row["phase_set"] for _, row in members if row["haplotype"] != BOTH)
        for phase_set in sets:
            for haplotype in (1, 2):
                own = [one for one in members if one[1]["haplotype"] == BOTH or _lies(one, haplotype, phase_set)]
                for group in _groups(own, distance):
                    if any(row["haplotype"] != BOTH for _, row in group):
                        yield _joint(group, str(contig), genome, haplotype, phase_set)


def _place(member: _Member) -> tuple[int, int, int, int]:
    allele, row = member
    return allele.start, allele.end, row["record"], row["alt_index"]


def _lies(member: _Member, haplotype: int, phase_set: str | None) -> bool:
    row = member[1]
    return bool(row["haplotype"] == haplotype and row["phase_set"] == phase_set)


def _groups(members: Sequence[_Member], distance: int) -> Iterator[list[_Member]]:
    """Runs of two or more variants each of whose windows overlaps that of the one before it."""
    group: list[_Member] = []
    reach = 0
    for member in members:
        low, high = member[0].span
        if group and low - distance >= reach + distance:
            if len(group) > 1:
                yield group
            group = []
        reach = max(reach, high) if group else high
        group.append(member)
    if len(group) > 1:
        yield group


def _joint(group: Sequence[_Member], contig: str, genome: Genome, haplotype: int, phase_set: str | None) -> Written:
    """All variants of a group applied to the reference between its ends."""
    start, end = group[0][0].start, max(allele.end for allele, _ in group)
    reference = decode(genome.fetch(contig, start, end))
    pieces, done, fault = [], start, None
    for n, (allele, _) in enumerate(group):
        before = group[n - 1][0] if n else None
        same_place = before is not None and not before.ref and not allele.ref and before.start == allele.start
        if allele.start < done or same_place:
            fault = Status.CONFLICT
            break
        pieces += [reference[done - start : allele.start - start], allele.alt]
        done = allele.end
    first = group[0][1]
    names = "+".join(f"{row['chrom']}-{row['pos']}-{row['ref']}-{row['alt']}" for _, row in group)
    alternative = "".join([*pieces, reference[done - start :]])
    pos, ref, alt = start + 1, reference, alternative
    if not ref or not alt:  # a VCF has a base on either side
        before_base = decode(genome.fetch(contig, start - 1, start))
        pos, ref, alt = start, before_base + ref, before_base + alt
    return Written(
        *(first["record"], first["alt_index"], first["chrom"], pos, names, ref, alt, fault),
        *(first["sample"], haplotype, phase_set, True),
    )
