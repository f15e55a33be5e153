"""Variants of one haplotype, together: what a chromosome carries is not the sum of what each of its variants does.

Phased variants of a phase set lie on one haplotype of a sample, homozygous ones on both. Those whose windows overlap
are joined: the reference from the first to the last of them, with all of them applied as they are written, is one more
allele, which is normalised and scored like any other. So a change that is undone by another one is none. Homozygous
variants that no phased one joins are joined with each other once, on both haplotypes.

Variants that overlap each other cannot be applied together: their joint allele has the status `conflict`. REF and ALT
of it, and of one that spans more than `MAX_SPAN` bases (`too_long`), are `.`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
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
MAX_NAMED = 100  # variants in the id of their joint allele
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
    """What is joined of variants that lie near each other, in order, and on which haplotype of which phase set."""
    homozygous = list(_groups((one for one in near if one.haplotype == BOTH), distance))
    group_of = {(one.record, one.alt_index): n for n, group in enumerate(homozygous) for one in group}
    joined: list[dict[tuple[int, str | None], None]] = [{} for _ in homozygous]  # by whom, haplotype and set
    phased: dict[str | None, list[_Variant]] = {}
    for one in near:
        if one.haplotype != BOTH:
            phased.setdefault(one.phase_set, []).append(one)
    lows = [one.low for one in near]
    margin = 2 * (MAX_SPAN + distance)  # what reaches farther is not applied
    for phase_set, own in phased.items():
        stretch = slice(bisect_left(lows, own[0].low - margin), bisect_right(lows, own[-1].low + margin))
        for haplotype in (1, 2):
            carried = (haplotype, phase_set)
            there = (one for one in near[stretch] if one.haplotype == BOTH or (one.haplotype, one.phase_set) == carried)
            for group in _groups(there, distance):
                if all(one.haplotype == BOTH for one in group):
                    continue
                yield group, haplotype, phase_set
                for one in group:
                    if one.haplotype == BOTH and (one.record, one.alt_index) in group_of:
                        joined[group_of[one.record, one.alt_index]][carried] = None
    for group, by in zip(homozygous, joined, strict=True):
        if not by:
            yield group, BOTH, None
        for haplotype, phase_set in by:
            if (3 - haplotype, phase_set) not in by:  # on the other haplotype they are among themselves
                yield group, 3 - haplotype, phase_set


def _joint(group: Sequence[_Variant], contig: str, genome: Genome, haplotype: int, phase_set: str | None) -> Written:
    """All variants of a group applied to the reference between their ends."""
    start, end = group[0].low, max(one.high for one in group)
    fault: Status | None = Status.TOO_LONG
    pos, ref, alt = start + 1, _MISSING, _MISSING
    if end - start <= MAX_SPAN:
        changes = sorted(trimmed(one.pos - 1, decode(encode(one.ref)), decode(encode(one.alt))) for one in group)
        start, end = changes[0][0], max(at + len(replaced) for at, replaced, _ in changes)
        replaced = decode(genome.fetch(contig, start, end))
        applied = _applied(changes, replaced, start)
        pos, fault = start + 1, Status.CONFLICT if applied is None else None
        if applied is not None:
            pos, ref, alt = _as_record(start, replaced, applied, contig, genome)
    head = group[0]
    names = [f"{one.chrom}-{one.pos}-{one.ref}-{one.alt}" for one in group[:MAX_NAMED]]
    more = ["..."] if len(group) > MAX_NAMED else []
    return Written(
        *(head.record, head.alt_index, head.chrom, pos, "+".join([*names, *more]), ref, alt, fault),
        *(head.sample, haplotype, phase_set, True),
    )


def _as_record(start: int, ref: str, alt: str, contig: str, genome: Genome) -> tuple[int, str, str]:
    """POS, REF and ALT of a change: with a base beside it where one of both is empty."""
    if ref and alt:
        return start + 1, ref, alt
    end = start + len(ref)
    if start:
        beside = decode(genome.fetch(contig, start - 1, start))
        return start, beside + ref, beside + alt
    beside = decode(genome.fetch(contig, end, end + 1))
    return start + 1, ref + beside, alt + beside


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
