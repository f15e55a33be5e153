"""Where the genes of a generated contig lie, before it has a sequence. SYNTHETIC.

In: a contig's number and length, and its random generator. Out: `Layout`: genes with their exons and transcripts,
and the gaps between blocks. Coordinates are 0-based half-open on the plus strand, ascending.

A block is an exon with the `FLANK` bases on each side that decide about it. Blocks never touch, whatever their strand,
so each gene is spliced by its own signals. Arrangements follow each other in turn (`PATTERN`): a gene alone, two that
overlap (on opposite strands, the first exon or the last of each in an intron of the other), and a gene in an intron of
another. Counts and lengths are made up here, introns and spaces far shorter than a human's, so that a small genome
holds many sites.
"""

from __future__ import annotations

from itertools import count
from typing import NamedTuple

import numpy as np

from pipeline.simulation.signals import FLANK
from sptx_core.errors import InputError

END_N = 500  # bases of N at each end of a contig
PATTERN = ("alone", "overlapping", "alone", "nested")
CODING_EXONS, LNCRNA_EXONS = (4, 10), (2, 4)  # least and most; nested genes are lncRNA
OUTER_EXON, INNER_EXON = (60, 180), (50, 120)  # bases, least and most
GAP_MEDIAN, GAP_SIGMA, GAP_RANGE = 350, 0.9, (20, 2_500)  # bases between blocks; an intron is longer by two flanks
SPACE = (300, 2_000)  # bases between arrangements, least and most
INNER = ("constitutive", "cassette")  # roles of exons between the first and the last
LNCRNA, CASSETTE = 0.2, 0.55  # shares: of genes, and of exons between the first and the last
SKIPPING = 4  # transcripts of a gene, at most, that each lack one cassette exon
SHORTENED = 0.5  # share of genes without cassette exons that have a transcript with shorter ends
_LONGEST_GENE = CODING_EXONS[1] * (OUTER_EXON[1] + 2 * FLANK + GAP_RANGE[1])
LEAST_BASES = 2 * END_N + SPACE[1] + _LONGEST_GENE  # of a contig: the first gene always fits


class Exon(NamedTuple):
    """An exon; its role is first, constitutive, cassette or last, in the order of transcription."""

    start: int
    end: int
    role: str


class Transcript(NamedTuple):
    """A transcript: exons as (start, end), ascending."""

    id: str
    type: str
    tags: tuple[str, ...]
    exons: tuple[tuple[int, int], ...]


class Gene(NamedTuple):
    """A gene with all its exons, ascending, and its annotated transcripts."""

    id: str
    name: str
    type: str
    contig: str
    strand: str
    exons: tuple[Exon, ...]
    transcripts: tuple[Transcript, ...]

    @property
    def start(self) -> int:
        """Start of the first exon on the plus strand."""
        return self.exons[0].start

    @property
    def end(self) -> int:
        """End of the last exon on the plus strand."""
        return self.exons[-1].end


class Layout(NamedTuple):
    """A contig without sequence: its genes, ascending, and the stretches without blocks between its ends of N."""

    contig: str
    bases: int
    genes: tuple[Gene, ...]
    gaps: tuple[tuple[int, int], ...]


class _Draft(NamedTuple):
    """A gene without a place: role and length of each exon, in the order of the plus strand."""

    coding: bool
    strand: str
    exons: tuple[tuple[str, int], ...]


def lay_out(number: int, bases: int, random: np.random.Generator) -> Layout:
    """Fill contig `chr<number>` with genes until the next arrangement does not fit."""
    if bases < LEAST_BASES:
        raise InputError(f"a contig of {bases:,} bases is too small for a gene; give at least {LEAST_BASES:,}")
    contig = f"chr{number}"
    genes: list[Gene] = []
    gaps: list[tuple[int, int]] = []
    cursor = END_N
    for turn in count():
        drafts, order = _arrangement(PATTERN[turn % len(PATTERN)], random)
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
    """Genes without places, and all their exons as (draft, exon) in the order of the plus strand."""
    first = _draft(random, coding=kind != "alone" or bool(random.random() >= LNCRNA))
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
    """A gene of this type, its strand drawn when not given."""
    least, most = CODING_EXONS if coding else LNCRNA_EXONS
    inner = int(random.integers(least, most + 1)) - 2
    roles = ["first", *("cassette" if random.random() < CASSETTE else "constitutive" for _ in range(inner)), "last"]
    ranges = [OUTER_EXON if role in ("first", "last") else INNER_EXON for role in roles]
    drafted = [(role, int(random.integers(low, high + 1))) for role, (low, high) in zip(roles, ranges, strict=True)]
    strand = strand or "+-"[int(random.integers(2))]
    return _Draft(coding, strand, tuple(drafted if strand == "+" else drafted[::-1]))


def _spaces(blocks: int, random: np.random.Generator) -> list[int]:
    """Bases before each block: a space between arrangements, then what introns have beside their flanks."""
    drawn = random.lognormal(np.log(GAP_MEDIAN), GAP_SIGMA, blocks - 1).clip(*GAP_RANGE).astype(int)
    return [int(random.integers(SPACE[0], SPACE[1] + 1)), *drawn.tolist()]


def _gene(contig: int, number: int, draft: _Draft, exons: tuple[Exon, ...], random: np.random.Generator) -> Gene:
    """The gene with ids that are unique in the genome and independent of other contigs."""
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
    """Type, tags and exons of transcripts: the whole gene, some without cassette exons, one with shorter ends."""
    whole = tuple((exon.start, exon.end) for exon in exons)
    main = ("basic", "MANE_Select") if kind == "protein_coding" else ("basic", "Ensembl_canonical")
    made: list[tuple[str, tuple[str, ...], tuple[tuple[int, int], ...]]] = [(kind, main, whole)]
    cassettes = [place for place, exon in zip(whole, exons, strict=True) if exon.role == "cassette"]
    skipped = [{place} for place in cassettes[:SKIPPING]]
    if len(cassettes) > 1:
        skipped.append(set(cassettes))
    for lacking in skipped:
        in_frame = sum(end - start for start, end in lacking) % 3 == 0
        about = (kind, ("basic",)) if in_frame or kind == "lncRNA" else ("nonsense_mediated_decay", ())
        made.append((*about, tuple(place for place in whole if place not in lacking)))
    if not cassettes and random.random() < SHORTENED:
        (start, first_end), *middle, (last_start, end) = whole
        shorter = int(random.integers(1, OUTER_EXON[0] // 2))
        short = ((start + shorter, first_end), *middle, (last_start, end - shorter))
        made.append((kind, ("mRNA_start_NF", "mRNA_end_NF"), short))
    return made
