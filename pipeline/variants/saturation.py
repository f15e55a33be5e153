"""Every change of a stretch: all single bases, deletions of given lengths, and all short insertions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import polars as pl

from pipeline.coordinates import Interval, parse_region, reconcile_contigs
from pipeline.inputs.genome import Genome
from pipeline.variants.entries import Written, blockwise
from pipeline.variants.settings import SaturateConfig
from sptx_core.alphabet import decode
from sptx_core.errors import InputError
from sptx_core.words import counted

BASES = "ACGT"


def stretches(config: SaturateConfig, genes: pl.DataFrame, genome: Genome) -> list[Interval]:
    """What is to be changed, on the FASTA's contigs: the regions, else the genes' spans; each base once.

    Raises
    ------
    InputError
        A region is not in the FASTA.

    """
    if config.regions:
        found = [_in_genome(parse_region(text, genome.lengths), genome) for text in config.regions]
    else:
        found = [Interval(*row) for row in genes.select("contig", "start", "end").iter_rows()]
    order = {name: rank for rank, name in enumerate(genome.lengths)}
    merged: list[Interval] = []
    for one in sorted(found, key=lambda interval: (order[interval.contig], interval.start, interval.end or 0)):
        last = merged[-1] if merged else None
        if last and last.contig == one.contig and one.start <= (last.end or 0):
            merged[-1] = Interval(one.contig, last.start, max(last.end or 0, one.end or 0))
        else:
            merged.append(one)
    return merged


def every_change(
    where: Sequence[Interval], genome: Genome, deletions: Sequence[int], insertions: int
) -> Iterator[Written]:
    """The changes, position by position; `record` counts positions. N is left as it is.

    Insertions are of every sequence of up to `insertions` bases. Each stands behind the base before it, as in a VCF,
    and those that give the same sequence as another one of the same kind (in a repeat) are given all the same.
    """
    record = 0
    for one in where:
        contig, start, end = one.contig, one.start, one.end or 0
        fetch = blockwise(lambda low, high, contig=contig: genome.fetch(contig, low, high))  # type: ignore[misc]
        length = genome.lengths[contig]
        for place in range(start, end):
            base = decode(fetch(place, place + 1))
            if base not in BASES:
                continue
            for number, (pos, ref, alt) in enumerate(_at(place, base, end, length, fetch, deletions, insertions), 1):
                yield Written(record, number, contig, pos, ".", ref, alt)
            record += 1


def _at(
    place: int, base: str, end: int, length: int, fetch: object, deletions: Sequence[int], insertions: int
) -> Iterator[tuple[int, str, str]]:
    """POS, REF and ALT of the changes of a base: others in its place, deletions from it, insertions behind it."""
    read = fetch
    assert callable(read)
    for other in BASES:
        if other != base:
            yield place + 1, base, other
    for width in deletions:
        if place > 0 and place + width <= min(end, length):
            gone = decode(read(place - 1, place + width))
            if "N" not in gone:
                yield place, gone, gone[0]
    for width in range(1, insertions + 1):
        for letters in product(BASES, repeat=width):
            yield place + 1, base, base + "".join(letters)


def _in_genome(region: Interval, genome: Genome) -> Interval:
    """The region with the FASTA's name of the contig and an end within it."""
    name = reconcile_contigs([region.contig], genome.lengths).mapping.get(region.contig)
    if name is None:
        raise InputError(f"region {region}: the FASTA has no contig {region.contig}")
    length = genome.lengths[name]
    end = length if region.end is None else min(region.end, length)
    if region.start >= end:
        raise InputError(f"region {region} lies beyond {name}, which has {counted(length, 'base')}")
    return Interval(name, region.start, end)
