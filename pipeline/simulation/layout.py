"""Where the genes of a generated contig lie; the sequence is made afterwards. SYNTHETIC.

In: a contig's number and length, and its random generator. Out: a `Layout`: the genes with their exons and transcripts,
and the gaps between them. Coordinates are 0-based half-open on the plus strand, ascending. Lengths are in bases.

A block is an exon with the `FLANK` bases on each side that decide about it. Blocks never touch, whatever their strand,
so the signals of one gene do not disturb another. Arrangements of genes follow each other in a fixed order
(`_PATTERN`): a gene alone; two genes that overlap, on opposite strands, each with its first or last exon in an intron
of the other; and a gene in an intron of another. Numbers and lengths are made up; introns and spaces are far shorter
than human ones, so that a small genome holds many sites.

Errors: `InputError` for a contig too short to be sure to hold a gene.
"""

from __future__ import annotations

from itertools import count
from typing import NamedTuple

import numpy as np

from pipeline.simulation.signals import FLANK
from sptx_core.errors import InputError

END_N = 500
"""Bases of N at each end of a contig."""
INNER_ROLES = ("constitutive", "cassette")
"""Roles of the exons between the first and the last."""
_PATTERN = ("alone", "overlapping", "alone", "nested")
_CODING_EXONS, _LNCRNA_EXONS = (4, 10), (2, 4)  # of a gene: minimum and maximum; nested genes are lncRNA
_OUTER_EXON, _INNER_EXON = (60, 180), (50, 120)  # bases: minimum and maximum; outer: the first and the last
_GAP_MEDIAN, _GAP_SIGMA, _GAP_RANGE = 350, 0.9, (20, 2_500)  # bases between blocks; introns have two flanks more
_SPACE = (300, 2_000)  # bases between arrangements: minimum and maximum
_LNCRNA_SHARE = 0.2  # of the genes that lie alone
_CASSETTE_SHARE = 0.55  # of the exons between the first and the last
_MAX_SKIPPING = 4  # transcripts of a gene that each lack one cassette exon
_SHORTENED_SHARE = 0.5  # of the genes without cassette exons: these have a transcript with shorter ends
_MAX_GENE = _CODING_EXONS[1] * (_OUTER_EXON[1] + 2 * FLANK + _GAP_RANGE[1])
MIN_CONTIG_BASES = 2 * END_N + _SPACE[1] + _MAX_GENE
"""Length from which a contig is sure to hold a gene."""


class Exon(NamedTuple):
    """An exon; its role is "first" or "last" (in transcription order), "constitutive" or "cassette"."""

    start: int
    end: int
    role: str


class Transcript(NamedTuple):
    """A transcript; its exons are (start, end), ascending."""

    id: str
    type: str
    tags: tuple[str, ...]
    exons: tuple[tuple[int, int], ...]


class Gene(NamedTuple):
    """A gene: all its exons, ascending, and its annotated transcripts, of which the first has all exons."""

    id: str
    name: str
    type: str
    contig: str
    strand: str
    exons: tuple[Exon, ...]
    transcripts: tuple[Transcript, ...]

    @property
    def start(self) -> int:
        """Start of the leftmost exon."""
        return self.exons[0].start

    @property
    def end(self) -> int:
        """End of the rightmost exon."""
        return self.exons[-1].end


class Layout(NamedTuple):
    """A contig without its sequence.

    Attributes
    ----------
    contig : str
        Its name.
    bases : int
        Its length.
    genes : tuple of Gene
        Ascending by start.
    gaps : tuple of (int, int)
        The stretches (start, end) between blocks, without the N at both ends of the contig; ascending.
    """

    contig: str
    bases: int
    genes: tuple[Gene, ...]
    gaps: tuple[tuple[int, int], ...]


class _Draft(NamedTuple):
    """A gene that has no coordinates yet: role and length of each exon, in the order of the plus strand."""

    coding: bool
    strand: str
    exons: tuple[tuple[str, int], ...]


def lay_out(number: int, bases: int, random: np.random.Generator) -> Layout:
    """Fill contig `chr<number>` with genes until the next arrangement does not fit.

    Parameters
    ----------
    number : int
        The contig's number, from 1.
    bases : int
        Its length.
    random : numpy.random.Generator
        Source of the random numbers; it is advanced.

    Returns
    -------
    Layout

    Raises
    ------
    InputError
        If `bases` is below `MIN_CONTIG_BASES`.
    """
    if bases < MIN_CONTIG_BASES:
        raise InputError(f"a contig of {bases:,} bases is too small for a gene; give at least {MIN_CONTIG_BASES:,}")
    contig = f"chr{number}"
    genes: list[Gene] = []
    gaps: list[tuple[int, int]] = []
    cursor = END_N
    for turn in count():
        drafts, order = _arrangement(_PATTERN[turn % len(_PATTERN)], random)
        spaces = _spaces(len(order), random)
        sizes = [2 * FLANK + drafts[draft].exons[exon][1] for draft, exon in order]
        if cursor + sum(spaces) + sum(sizes) > bases - END_N:
            break
        placed: list[list[Exon]] = [[] for _ in drafts]
        for (draft, exon), space, size in zip(order, spaces, sizes, strict=True):
            gaps.append((cursor, cursor + space))
            cursor += space
            placed[draft].append(Exon(cursor + FLANK, cursor + size - FLANK, drafts[draft].exons[exon][0]))
            cursor += size
        for drafted, exons in zip(drafts, placed, strict=True):
            genes.append(_gene(number, len(genes) + 1, drafted, tuple(exons), random))
    gaps.append((cursor, bases - END_N))
    return Layout(contig, bases, tuple(sorted(genes, key=lambda gene: gene.start)), tuple(gaps))


def _arrangement(kind: str, random: np.random.Generator) -> tuple[list[_Draft], list[tuple[int, int]]]:
    """The genes of an arrangement, and all their exons as (index of the gene, index of the exon), left to right."""
    first = _draft(random, coding=kind != "alone" or bool(random.random() >= _LNCRNA_SHARE))
    own = [(0, exon) for exon in range(len(first.exons))]
    if kind == "alone":
        return [first], own
    if kind == "overlapping":
        second = _draft(random, coding=True, strand="-" if first.strand == "+" else "+")
        other = [(1, exon) for exon in range(len(second.exons))]
        return [first, second], [*own[:-1], other[0], own[-1], *other[1:]]
    inner = _draft(random, coding=False)
    at = int(random.integers(1, len(own)))
    return [first, inner], [*own[:at], *((1, exon) for exon in range(len(inner.exons))), *own[at:]]


def _draft(random: np.random.Generator, *, coding: bool, strand: str | None = None) -> _Draft:
    """Draw a gene's exons, and its strand if that is not given."""
    minimum, maximum = _CODING_EXONS if coding else _LNCRNA_EXONS
    inner = int(random.integers(minimum, maximum + 1)) - 2
    roles = [
        "first",
        *("cassette" if random.random() < _CASSETTE_SHARE else "constitutive" for _ in range(inner)),
        "last",
    ]
    ranges = [_OUTER_EXON if role in ("first", "last") else _INNER_EXON for role in roles]
    drafted = [(role, int(random.integers(low, high + 1))) for role, (low, high) in zip(roles, ranges, strict=True)]
    strand = strand or "+-"[int(random.integers(2))]
    return _Draft(coding, strand, tuple(drafted if strand == "+" else drafted[::-1]))


def _spaces(blocks: int, random: np.random.Generator) -> list[int]:
    """Bases before each block of an arrangement: first the space that separates arrangements, then gaps."""
    drawn = random.lognormal(np.log(_GAP_MEDIAN), _GAP_SIGMA, blocks - 1).clip(*_GAP_RANGE).astype(int)
    return [int(random.integers(_SPACE[0], _SPACE[1] + 1)), *drawn.tolist()]


def _gene(contig: int, number: int, draft: _Draft, exons: tuple[Exon, ...], random: np.random.Generator) -> Gene:
    """The gene with its transcripts; ids are unique in the genome and do not depend on other contigs."""
    key = f"{contig:04d}{number:07d}"
    kind = "protein_coding" if draft.coding else "lncRNA"
    transcripts = tuple(
        Transcript(f"SYNT{key}{order:02d}.1", *described)
        for order, described in enumerate(_transcripts(kind, exons, random), 1)
    )
    return Gene(f"SYNG{key}.1", f"SYN{contig}-{number}", kind, f"chr{contig}", draft.strand, exons, transcripts)


def _transcripts(
    kind: str, exons: tuple[Exon, ...], random: np.random.Generator
) -> list[tuple[str, tuple[str, ...], tuple[tuple[int, int], ...]]]:
    """Type, tags and exons of each transcript: all exons first, then without cassette exons, or with shorter ends."""
    whole = tuple((exon.start, exon.end) for exon in exons)
    main = ("basic", "MANE_Select") if kind == "protein_coding" else ("basic", "Ensembl_canonical")
    made: list[tuple[str, tuple[str, ...], tuple[tuple[int, int], ...]]] = [(kind, main, whole)]
    cassettes = [place for place, exon in zip(whole, exons, strict=True) if exon.role == "cassette"]
    skipped = [{place} for place in cassettes[:_MAX_SKIPPING]]
    if len(cassettes) > 1:
        skipped.append(set(cassettes))
    for lacking in skipped:
        in_frame = sum(end - start for start, end in lacking) % 3 == 0
        about = (kind, ("basic",)) if in_frame or kind == "lncRNA" else ("nonsense_mediated_decay", ())
        made.append((*about, tuple(place for place in whole if place not in lacking)))
    if not cassettes and random.random() < _SHORTENED_SHARE:
        (start, first_end), *middle, (last_start, end) = whole
        shorter = int(random.integers(1, _OUTER_EXON[0] // 2))
        short = ((start + shorter, first_end), *middle, (last_start, end - shorter))
        made.append((kind, ("mRNA_start_NF", "mRNA_end_NF"), short))
    return made
