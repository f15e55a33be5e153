"""The sequence of a generated contig: random bases, planted signals, decoys, runs of N, soft-masking. SYNTHETIC.

In: the seed of the genome, the number and length of a contig, and what regulates cassette exons. Out: a `Contig`: its
layout (`pipeline.simulation.layout`), codes of the plus strand, which bases are soft-masked, the decoys, and the usage
of each exon. Coordinates are 0-based half-open. A contig depends on these alone, so it is the same in every genome that
holds it.

The first exon of a gene gets a donor, the last an acceptor, every other exon both. Constitutive exons hold two
enhancers; cassette exons hold tissue-specific regulators in or beside them (`signals.Regulation`). Decoys lie in the
gaps between exons: a site's core without its partner, or a partner with GT or AG but without the core. After planting,
`_clear` removes by single substitutions what chance has made: sites above the ceiling, and regulators near exons that
were not planted there. Runs of N lie in gaps, so they change no site, and neither does lower case.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from pipeline.simulation.layout import END_N, INNER_ROLES, Layout, lay_out
from pipeline.simulation.signals import (
    BACKGROUND,
    ENHANCER,
    FLANK,
    SCATTERED,
    SITES,
    WORD,
    Flags,
    Floats,
    Regulation,
    Site,
    candidates,
    occurrences,
    usage_of_exon,
)
from sptx_core.alphabet import N_CODE, Codes, encode, reverse_complement
from sptx_core.channels import TISSUES

_ENHANCERS = 2  # of a constitutive exon
_DECOY_STRETCH, _DECOY_SHARE = 250, 0.7  # gaps are divided into stretches of so many bases; this share holds a decoy
_DECOY_BASES = 100  # of a decoy, its junction in the middle; no motif reaches beyond them
_MIN_N_GAP, _N_SHARE, _N_RUN = 400, 0.05, (50, 200)  # this share of gaps as long as that has a run of N: min and max
_UPPER_MEAN, _LOWER_MEAN = 600.0, 300.0  # bases of a stretch in upper and in lower case
_SILENT_SHARE = 0.1  # of the tissues do not express a gene: the usage of its sites there is unknown
_MAX_ROUNDS = 50  # of clearing; a few are enough, since a substitution rarely makes a new chance match


class Decoy(NamedTuple):
    """A place that resembles a splice site but is none.

    Attributes
    ----------
    boundary : int
        Its junction would lie between the bases `boundary - 1` and `boundary` of the plus strand.
    strand : {"+", "-"}
    kind : {"donor", "acceptor"}
        The kind of site that it resembles.
    lacks : {"core", "partner"}
        What a real site would have in addition.
    """

    boundary: int
    strand: str
    kind: str
    lacks: str


class Contig(NamedTuple):
    """A contig with its sequence.

    Attributes
    ----------
    layout : Layout
        Its genes and gaps.
    codes : numpy.ndarray
        The plus strand, uint8 [bases].
    masked : numpy.ndarray
        Which bases are written in lower case, bool [bases].
    decoys : tuple of Decoy
        Places that resemble sites.
    usage : tuple of numpy.ndarray
        For each gene of the layout the usage of its exons, float64 [exons, tissues]; NaN where the gene is silent.
    """

    layout: Layout
    codes: Codes
    masked: Flags
    decoys: tuple[Decoy, ...]
    usage: tuple[Floats, ...]


def make_contig(seed: int, number: int, bases: int, regulation: Regulation = SCATTERED) -> Contig:
    """Make contig `chr<number>` of a genome.

    Parameters
    ----------
    seed : int
        Seed of the genome, 0 or more.
    number : int
        The contig's number, from 1.
    bases : int
        Its length.
    regulation : Regulation
        What its cassette exons hold.

    Returns
    -------
    Contig

    Raises
    ------
    InputError
        If the contig is too short to be sure to hold a gene.
    """
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
            block = stranded(_block(exon.end - exon.start, exon.role, random, regulation), gene.strand)
            planted[around] = block != N_CODE
            codes[around] = np.where(planted[around], block, codes[around])
            near[gene.strand][around] = exon.role in INNER_ROLES
    _clear(codes, planted, near, regulation)
    intact = tuple(decoy for decoy in decoys if _is_intact(codes, decoy))
    masked = _masked(bases, random)
    return Contig(layout, codes, masked, intact, _usage(layout, codes, random, regulation))


def stranded(codes: Codes, strand: str) -> Codes:
    """Return a sequence of the plus strand as strand `strand` ("+" or "-") reads it, 5' to 3'."""
    return codes if strand == "+" else reverse_complement(codes)


def _block(length: int, role: str, random: np.random.Generator, regulation: Regulation) -> Codes:
    """An exon's signals with its flanks, 5' to 3'; N where no signal decides the base."""
    junctions = {"acceptor": FLANK, "donor": FLANK + length}
    junctions.pop({"first": "acceptor", "last": "donor"}.get(role, ""), None)
    while True:
        codes = np.full(length + 2 * FLANK, N_CODE, np.uint8)
        for site in SITES:
            if site.kind in junctions:
                _put_site(codes, site, junctions[site.kind], random)
        _put_words(codes, role, random, regulation)
        stray = [
            set(candidates(codes, site, site.ceiling).junction.tolist()) - {junctions.get(site.kind)} for site in SITES
        ]
        if not any(stray):  # chance sites made of planted bases alone could not be cleared
            return codes


def _put_site(codes: Codes, site: Site, junction: int, random: np.random.Generator, lacks: str = "") -> None:
    """Write a site, or a decoy: without its core (but with GT or AG), or without its partner."""
    if lacks == "core":
        _put(codes, junction + site.invariant, site.letters)
    else:
        _put(codes, junction - site.before, site.core.draw(random))
    if lacks != "partner":
        offset = int(random.integers(site.min_offset, site.max_offset + 1))
        _put(codes, junction + offset, site.partner.draw(random))


def _put_words(codes: Codes, role: str, random: np.random.Generator, regulation: Regulation) -> None:
    """Write the regulators of an exon of this role where no other signal lies."""
    if role == "constitutive":
        words, first, end = [ENHANCER.word] * _ENHANCERS, FLANK, len(codes) - FLANK
    elif role == "cassette":
        number = int(random.integers(regulation.min_words, regulation.max_words + 1))
        chosen = random.choice(len(regulation.specific), number, replace=False)
        words = [regulation.specific[index].word for index in chosen for _ in range(regulation.copies)]
        first, end = 0, len(codes)
    else:
        return
    for word in words:
        free = np.lib.stride_tricks.sliding_window_view(codes[first:end] == N_CODE, WORD).all(1)
        _put(codes, first + int(random.choice(np.flatnonzero(free))), encode(word))


def _put(codes: Codes, at: int, motif: Codes) -> None:
    """Overwrite the bases from `at`."""
    codes[at : at + len(motif)] = motif


def _fill_gap(codes: Codes, gap: tuple[int, int], random: np.random.Generator) -> Iterator[Decoy]:
    """Write decoys into a gap."""
    start, end = gap
    for first in range(start, end - _DECOY_STRETCH + 1, _DECOY_STRETCH):
        if random.random() >= _DECOY_SHARE:
            continue
        kind, lacking, side = random.integers(2, size=3)
        site, lacks, strand = SITES[kind], ("core", "partner")[lacking], "+-"[side]
        piece = np.full(_DECOY_BASES, N_CODE, np.uint8)
        _put_site(piece, site, _DECOY_BASES // 2, random, lacks)
        at = first + int(random.integers(_DECOY_STRETCH - _DECOY_BASES + 1))
        over, piece = slice(at, at + _DECOY_BASES), stranded(piece, strand)
        codes[over] = np.where(piece != N_CODE, piece, codes[over])
        yield Decoy(at + _DECOY_BASES // 2, strand, site.kind, lacks)


def _is_intact(codes: Codes, decoy: Decoy) -> bool:
    """Whether the decoy still has its GT or AG, which may have been cleared or overwritten by N."""
    site = next(site for site in SITES if site.kind == decoy.kind)
    first = decoy.boundary + (site.invariant if decoy.strand == "+" else -site.invariant - 2)
    return bool((stranded(codes[first : first + 2], decoy.strand) == site.letters).all())


def _n_runs(gaps: Iterable[tuple[int, int]], bases: int, random: np.random.Generator) -> Iterator[slice]:
    """Where N goes: both ends of a contig, and stretches within some of its wider gaps."""
    yield slice(END_N)
    yield slice(bases - END_N, bases)
    for start, end in gaps:
        if end - start >= _MIN_N_GAP and random.random() < _N_SHARE:
            length = int(random.integers(_N_RUN[0], _N_RUN[1] + 1))
            first = start + int(random.integers(end - start - length + 1))
            yield slice(first, first + length)


def _clear(codes: Codes, planted: Flags, near: dict[str, Flags], regulation: Regulation) -> None:
    """Remove chance sites, and chance regulators near exons, from both strands; planted bases stay.

    `codes` [bases] is changed in place; `near` says for each strand which bases lie within reach of an exon.
    """
    for _ in range(_MAX_ROUNDS):
        changed = 0
        for strand in "+-":
            step = 1 if strand == "+" else -1
            own, fixed, within = stranded(codes, strand).copy(), planted[::step], near[strand][::step]
            changed += sum(_break_sites(own, fixed, site) for site in SITES)
            changed += sum(_break_word(own, fixed, within, regulator.word) for regulator in regulation.regulators)
            codes[:] = stranded(own, strand)
        if not changed:
            return


def _break_sites(codes: Codes, fixed: Flags, site: Site) -> int:
    """Substitute, in the core of each site above the ceiling, the free base that scores most; return how many."""
    bits = site.core.bits
    changed = 0
    for junction in candidates(codes, site, site.ceiling).junction:
        core = slice(junction - site.before, junction - site.before + len(bits))
        loss = bits[np.arange(len(bits)), codes[core]] - bits[:, N_CODE]
        loss[fixed[core]] = 0.0  # the core of a real site is fixed as a whole
        worst = int(loss.argmax())
        if loss[worst] > 0:
            codes[core.start + worst] = bits[worst, :N_CODE].argmin()
            changed += 1
    return changed


def _break_word(codes: Codes, fixed: Flags, within: Flags, word: str) -> int:
    """Substitute one free base of each occurrence of a word `within` reach of an exon; return how many."""
    changed = 0
    for start in occurrences(codes, word):
        free = np.flatnonzero(~fixed[start : start + WORD])
        if len(free) and within[start] and within[start + WORD - 1]:
            codes[start + free[0]] = (codes[start + free[0]] + 1) % N_CODE
            changed += 1
    return changed


def _masked(bases: int, random: np.random.Generator) -> Flags:
    """Which bases are in lower case: stretches alternate, and the first is in upper case."""
    # So many pairs reach the end of the contig with near certainty; bases that they do not reach stay in upper case.
    pairs = int(bases / (_UPPER_MEAN + _LOWER_MEAN) * 1.5) + 50
    lengths = random.exponential((_UPPER_MEAN, _LOWER_MEAN), (pairs, 2)).astype(np.int64) + 1
    masked = np.repeat(np.tile([False, True], pairs), lengths.ravel())[:bases]
    return np.pad(masked, (0, bases - len(masked)))


def _usage(layout: Layout, codes: Codes, random: np.random.Generator, regulation: Regulation) -> tuple[Floats, ...]:
    """Usage of the exons of each gene, [exons, tissues]; a gene is silent (NaN) in some tissues, never in all."""
    tables = []
    for gene in layout.genes:
        table = np.ones((len(gene.exons), len(TISSUES)))
        for row, exon in zip(table, gene.exons, strict=True):
            if exon.role in INNER_ROLES:
                around = stranded(codes[exon.start - FLANK : exon.end + FLANK], gene.strand)
                row[:] = usage_of_exon(around, regulation)
        silent = random.random(len(TISSUES)) < _SILENT_SHARE
        table[:, silent & ~silent.all()] = np.nan
        tables.append(table)
    return tuple(tables)
