"""The sequence of a generated contig: random bases, planted signals, decoys, N, soft-masking. SYNTHETIC.

In: seed, number and length of a contig. Out: `Contig`: its layout (`pipeline.simulation.layout`), codes on the plus
strand, which bases are soft-masked, decoys, and the usage of each exon. A contig follows from its own seed, number and
length alone, so it is the same in any genome that holds it.

Every exon between others gets an acceptor and a donor, the first a donor, the last an acceptor. Constitutive exons
hold two enhancers, cassette exons two to four tissue-specific regulators in or beside them. Decoys lie in the gaps: a
site's core without its partner, or its partner with a GT or AG but no core. After planting, `_clear` breaks by single
substitutions whatever chance has made: sites above the ceiling, and regulators near exons that were not planted there.
N and soft-masked bases never change a site: N runs lie in gaps, case means nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from pipeline.simulation.layout import END_N, INNER, Layout, lay_out
from pipeline.simulation.signals import (
    BACKGROUND,
    ENHANCER,
    FLANK,
    REGULATORS,
    SITES,
    SPECIFIC,
    WORD,
    Flags,
    Floats,
    Site,
    candidates,
    occurrences,
    usage_of_exon,
)
from sptx_core.alphabet import N_CODE, Codes, encode, reverse_complement
from sptx_core.channels import TISSUES

ENHANCERS = 2  # of a constitutive exon
REGULATORS_OF_CASSETTE = (2, 4)  # least and most, all different
DECOY_STRETCH, DECOY_SHARE = 250, 0.7  # bases of a gap for each decoy, and the share of such stretches that hold one
DECOY_ROOM = 100  # bases of a decoy, its junction in the middle
N_SHARE, N_RUN = 0.05, (50, 200)  # share of gaps of at least `N_GAP` bases with a run of N, and its least and most
N_GAP = 400
CLEAR_MEAN, MASKED_MEAN = 600.0, 300.0  # bases of stretches in upper and in lower case
SILENT = 0.1  # share of tissues that do not express a gene: the usage of its sites there is unknown
_ROUNDS = 50  # of clearing; a few are enough, for a substitution rarely makes a new chance match


class Decoy(NamedTuple):
    """Looks like a junction but is none; it would lie between the bases `boundary - 1` and `boundary`."""

    boundary: int
    strand: str
    kind: str  # of the site that it resembles
    lacks: str  # core or partner


class Contig(NamedTuple):
    """A contig with its sequence; `usage` [tissues] by gene and exon, in the order of the layout, NaN where silent."""

    layout: Layout
    codes: Codes
    masked: Flags
    decoys: tuple[Decoy, ...]
    usage: tuple[Floats, ...]


def make_contig(seed: int, number: int, bases: int) -> Contig:
    """Contig `chr<number>` of the genome of this seed."""
    random = np.random.default_rng([seed, number])
    layout = lay_out(number, bases, random)
    codes = random.choice(len(BACKGROUND), bases, p=BACKGROUND).astype(np.uint8)
    planted = np.zeros(bases, dtype=bool)
    decoys = [decoy for gap in layout.gaps for decoy in _fill_gap(codes, gap, random)]
    for run in _n_runs(layout.gaps, bases, random):
        codes[run], planted[run] = N_CODE, True
    near = {strand: np.zeros(bases, dtype=bool) for strand in "+-"}
    for gene in layout.genes:
        for exon in gene.exons:
            around = slice(exon.start - FLANK, exon.end + FLANK)
            block = stranded(_block(exon.end - exon.start, exon.role, random), gene.strand)
            planted[around] = block != N_CODE
            codes[around] = np.where(planted[around], block, codes[around])
            near[gene.strand][around] = exon.role in INNER
    _clear(codes, planted, near)
    standing = tuple(decoy for decoy in decoys if _stands(codes, decoy))
    return Contig(layout, codes, _masked(bases, random), standing, _usage(layout, codes, random))


def stranded(codes: Codes, strand: str) -> Codes:
    """The sequence as the strand reads it, 5' to 3'."""
    return codes if strand == "+" else reverse_complement(codes)


def _block(length: int, role: str, random: np.random.Generator) -> Codes:
    """An exon's signals with flanks, 5' to 3'; N stands for bases that belong to none."""
    real = {"acceptor": FLANK, "donor": FLANK + length}
    real.pop({"first": "acceptor", "last": "donor"}.get(role, ""), None)
    while True:
        codes = np.full(length + 2 * FLANK, N_CODE, np.uint8)
        for site in SITES:
            if site.kind in real:
                _put_site(codes, site, real[site.kind], random)
        _put_words(codes, role, random)
        stray = [set(candidates(codes, site, site.ceiling).junction.tolist()) - {real.get(site.kind)} for site in SITES]
        if not any(stray):  # of planted bases alone, which could not be cleared away
            return codes


def _put_site(codes: Codes, site: Site, junction: int, random: np.random.Generator, lacks: str = "") -> None:
    """A site, or a decoy that lacks its core (but for GT or AG) or its partner."""
    if lacks == "core":
        _put(codes, junction + site.invariant, site.letters)
    else:
        _put(codes, junction - site.before, site.core.draw(random))
    if lacks != "partner":
        offset = int(random.integers(site.nearest, site.farthest + 1))
        _put(codes, junction + offset, site.partner.draw(random))


def _put_words(codes: Codes, role: str, random: np.random.Generator) -> None:
    """The regulators of an exon of this role, where there are only N."""
    if role == "constitutive":
        words, first, end = [ENHANCER.word] * ENHANCERS, FLANK, len(codes) - FLANK
    elif role == "cassette":
        least, most = REGULATORS_OF_CASSETTE
        chosen = random.choice(len(SPECIFIC), int(random.integers(least, most + 1)), replace=False)
        words, first, end = [SPECIFIC[index].word for index in chosen], 0, len(codes)
    else:
        return
    for word in words:
        free = np.lib.stride_tricks.sliding_window_view(codes[first:end] == N_CODE, WORD).all(1)
        _put(codes, first + int(random.choice(np.flatnonzero(free))), encode(word))


def _put(codes: Codes, at: int, motif: Codes) -> None:
    codes[at : at + len(motif)] = motif


def _fill_gap(codes: Codes, gap: tuple[int, int], random: np.random.Generator) -> Iterator[Decoy]:
    """Write decoys into a gap; room beside a junction is beyond the reach of its matrices."""
    start, end = gap
    for first in range(start, end - DECOY_STRETCH + 1, DECOY_STRETCH):
        if random.random() >= DECOY_SHARE:
            continue
        chosen, lacking, read = random.integers(2, size=3)
        site, lacks, strand = SITES[chosen], ("core", "partner")[lacking], "+-"[read]
        piece = np.full(DECOY_ROOM, N_CODE, np.uint8)
        _put_site(piece, site, DECOY_ROOM // 2, random, lacks)
        at = first + int(random.integers(DECOY_STRETCH - DECOY_ROOM + 1))
        over, piece = slice(at, at + DECOY_ROOM), stranded(piece, strand)
        codes[over] = np.where(piece != N_CODE, piece, codes[over])
        yield Decoy(at + DECOY_ROOM // 2, strand, site.kind, lacks)


def _stands(codes: Codes, decoy: Decoy) -> bool:
    """Whether the decoy's GT or AG was neither cleared away nor overwritten by N."""
    site = next(site for site in SITES if site.kind == decoy.kind)
    first = decoy.boundary + (site.invariant if decoy.strand == "+" else -site.invariant - 2)
    return bool((stranded(codes[first : first + 2], decoy.strand) == site.letters).all())


def _n_runs(gaps: Iterable[tuple[int, int]], bases: int, random: np.random.Generator) -> Iterator[slice]:
    """Both ends of a contig, and stretches within some of its wider gaps."""
    yield slice(END_N)
    yield slice(bases - END_N, bases)
    for start, end in gaps:
        if end - start >= N_GAP and random.random() < N_SHARE:
            length = int(random.integers(N_RUN[0], N_RUN[1] + 1))
            first = start + int(random.integers(end - start - length + 1))
            yield slice(first, first + length)


def _clear(codes: Codes, planted: Flags, near: dict[str, Flags]) -> None:
    """Break, in place, chance sites on both strands and chance regulators `near` exons; planted bases stay."""
    for _ in range(_ROUNDS):
        changed = 0
        for strand in "+-":
            step = 1 if strand == "+" else -1
            own, fixed, close = stranded(codes, strand).copy(), planted[::step], near[strand][::step]
            changed += sum(_break_sites(own, fixed, site) for site in SITES) + _break_words(own, fixed, close)
            codes[:] = stranded(own, strand)
        if not changed:
            return


def _break_sites(codes: Codes, fixed: Flags, site: Site) -> int:
    """Substitute, in the core of each site above the ceiling, the free base that costs it most; how many were."""
    bits = site.core.bits
    changed = 0
    for junction in candidates(codes, site, site.ceiling).junction:
        core = slice(junction - site.before, junction - site.before + len(bits))
        loss = bits[np.arange(len(bits)), codes[core]] - bits[:, N_CODE]
        loss[fixed[core]] = 0.0  # all of a real site's core is planted
        worst = int(loss.argmax())
        if loss[worst] > 0:
            codes[core.start + worst] = bits[worst, :N_CODE].argmin()
            changed += 1
    return changed


def _break_words(codes: Codes, fixed: Flags, close: Flags) -> int:
    """Substitute a free base of each regulator within `close` that was not planted; how many were."""
    changed = 0
    for regulator in REGULATORS:
        for start in occurrences(codes, regulator.word):
            free = np.flatnonzero(~fixed[start : start + WORD])
            if len(free) and close[start] and close[start + WORD - 1]:
                codes[start + free[0]] = (codes[start + free[0]] + 1) % N_CODE
                changed += 1
    return changed


def _masked(bases: int, random: np.random.Generator) -> Flags:
    """Alternate stretches, the first one in upper case."""
    pairs = int(bases / (CLEAR_MEAN + MASKED_MEAN) * 1.5) + 50  # enough to reach the end but for odds of nothing
    lengths = random.exponential((CLEAR_MEAN, MASKED_MEAN), (pairs, 2)).astype(np.int64) + 1
    masked = np.repeat(np.tile([False, True], pairs), lengths.ravel())[:bases]
    return np.pad(masked, (0, bases - len(masked)))


def _usage(layout: Layout, codes: Codes, random: np.random.Generator) -> tuple[Floats, ...]:
    """Usage [exons, tissues] of each gene by the stated formula; NaN where the gene is silent."""
    tables = []
    for gene in layout.genes:
        table = np.ones((len(gene.exons), len(TISSUES)))
        for row, exon in zip(table, gene.exons, strict=True):
            if exon.role in INNER:
                row[:] = usage_of_exon(stranded(codes[exon.start - FLANK : exon.end + FLANK], gene.strand))
        silent = random.random(len(TISSUES)) < SILENT
        table[:, silent & ~silent.all()] = np.nan
        tables.append(table)
    return tuple(tables)
