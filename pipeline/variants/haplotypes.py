"""Variants of one haplotype, together: what a chromosome carries is not the sum of what each of its variants does.

Phased variants of a phase set lie on one haplotype of a sample, homozygous ones on both. Those whose windows overlap
are joined: the reference from the first to the last of them, with all of them applied as they are written, is one more
allele, which is normalised and scored like any other. So a change that is undone by another one is none. Homozygous
variants that no phased one joins are joined with each other once, on both haplotypes.

Variants that overlap each other cannot be applied together: their joint allele has the status `conflict`. REF and ALT
of it, and of one that spans more than `MAX_SPAN` bases, are `.`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import polars as pl

from pipeline.inputs.genome import Genome
from pipeline.variants.alleles import Status, trimmed
from pipeline.variants.entries import Written
from sptx_core.alphabet import decode, encode

BOTH = 0  # haplotype of a homozygous variant
MAX_SPAN = 100_000
"""Bases from the first to the last variant beyond which they are not applied: more than any change that is scored."""
_JOINED = (Status.SCORED.value, Status.OUTSIDE_GENES.value)
_MISSING = "."  # of a VCF


class _Variant(NamedTuple):
    """A variant of a haplotype; `low` and `high` bound all its placements, 0-based half-open."""

    low: int
    high: int
    record: int
    alt_index: int
    chrom: str
    pos: int
    ref: str
    alt: str
    haplotype: int
    phase_set: str | None
    sample: str | None


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
    low, replaced = pl.col("start"), pl.col("norm_ref").str.len_bytes().cast(pl.Int64)
    known = entries.filter(
        pl.col("haplotype").is_not_null() & pl.col("status").is_in(_JOINED) & (pl.col("norm_ref") != pl.col("norm_alt"))
    )
    known = known.with_columns(low.alias("low"), (low + replaced + pl.col("shift")).alias("high"))
    for (contig,), rows in known.group_by("contig", maintain_order=True):
        ordered = rows.sort("low", "high", "record", "alt_index").select(_Variant._fields)
        for near in _groups(map(_Variant._make, ordered.iter_rows()), distance):
            for group, haplotype, phase_set in _together(near, distance):
                yield _joint(group, str(contig), genome, haplotype, phase_set)


def _groups(variants: Iterable[_Variant], distance: int) -> Iterator[list[_Variant]]:
    """Runs of two or more variants each of whose windows overlaps one of those before it."""
    group: list[_Variant] = []
    reach = 0
    for one in variants:
        if group and one.low - distance >= reach + distance:
            if len(group) > 1:
                yield group
            group = []
        reach = max(reach, one.high) if group else one.high
        group.append(one)
    if len(group) > 1:
        yield group


def _together(near: list[_Variant], distance: int) -> Iterator[tuple[list[_Variant], int, str | None]]:
    """What is joined of variants that lie near each other, and on which haplotype of which phase set."""
    homozygous = [one for one in near if one.haplotype == BOTH]
    alone: dict[str | None, list[list[list[_Variant]]]] = {}  # of each haplotype of a set: groups of homozygous ones
    for phase_set in dict.fromkeys(one.phase_set for one in near if one.haplotype != BOTH):
        alone[phase_set] = [[], []]
        for haplotype in (1, 2):
            own = (
                one for one in near if one.haplotype == BOTH or (one.haplotype, one.phase_set) == (haplotype, phase_set)
            )
            for group in _groups(own, distance):
                if any(one.haplotype != BOTH for one in group):
                    yield group, haplotype, phase_set
                else:
                    alone[phase_set][haplotype - 1].append(group)
    for group in _groups(homozygous, distance):
        held = {phase_set: [group in groups for groups in both] for phase_set, both in alone.items()}
        if all(map(all, held.values())):
            yield group, BOTH, None
            continue
        for phase_set, on in held.items():
            if sum(on) == 1:  # a phased variant joins them on the other one
                yield group, 1 + on.index(True), phase_set


def _joint(group: Sequence[_Variant], contig: str, genome: Genome, haplotype: int, phase_set: str | None) -> Written:
    """All variants of a group applied to the reference between their ends."""
    changes = sorted(trimmed(one.pos - 1, decode(encode(one.ref)), decode(encode(one.alt))) for one in group)
    start, end = changes[0][0], max(at + len(ref) for at, ref, _ in changes)
    fault = Status.TOO_LONG if end - start > MAX_SPAN else None
    pos, ref, alt = start + 1, _MISSING, _MISSING
    if fault is None:
        applied = _applied(changes, decode(genome.fetch(contig, start, end)), start)
        if applied is None:
            fault = Status.CONFLICT
        elif applied and start < end:
            ref, alt = decode(genome.fetch(contig, start, end)), applied
        else:  # a VCF has a base beside an insertion or deletion
            first = max(start - 1, 0)
            left = decode(genome.fetch(contig, first, start))
            right = "" if left else decode(genome.fetch(contig, end, end + 1))
            pos = first + 1
            ref, alt = left + decode(genome.fetch(contig, start, end)) + right, left + applied + right
    head = group[0]
    names = "+".join(f"{one.chrom}-{one.pos}-{one.ref}-{one.alt}" for one in group)
    return Written(
        *(head.record, head.alt_index, head.chrom, pos, names, ref, alt, fault),
        *(head.sample, haplotype, phase_set, True),
    )


def _applied(changes: Sequence[tuple[int, str, str]], reference: str, start: int) -> str | None:
    """The reference, which begins at `start`, with changes (start, ref, alt) applied; None where two overlap."""
    pieces, done, inserted_at = [], start, None
    for at, ref, alt in changes:
        if at < done or (not ref and at == inserted_at):  # the order of two insertions at one place is not known
            return None
        pieces += [reference[done - start : at - start], alt]
        done = at + len(ref)
        inserted_at = at if not ref else None
    return "".join([*pieces, reference[done - start :]])
