"""What decides splicing in a generated genome: matrices of the sites, motifs of usage, and the formulas. SYNTHETIC.

All sequence here is codes (`sptx_core.alphabet`) read 5' to 3' on the strand of the thing in question. A junction is
the 0-based index of the first base after it: of the intron's first base at a donor, of the exon's first base at an
acceptor. Everything that decides a site lies within 200 bases of it.

**Sites.** A donor is a core matrix over the junction and, as partner, a run of G in the intron; an acceptor is a core
of polypyrimidine tract and CAG|G and, as partner, a branch point upstream. The consensus strings are textbook facts
(MAG|GTRAGT, yUnAy 18 to 40 bases upstream, (Y)nNCAG|G; G runs as intronic enhancers of donors); the frequencies are
made up here, sharper than any organism's, so that sites can be told from sequence alone. A score is the sum of log2
of frequency over `BACKGROUND` along the core, plus the same of the best placed partner. Real sites reach `floor`
bits, nothing else in a generated genome exceeds `ceiling` bits, which is less (but for chance in bases that a feature
of the other strand needs as they are).

**Usage** of a site in a tissue is the fraction of its gene's transcripts (molecules) in that tissue that use the
site. Transcripts of a gene all run from its first to its last exon, so the first donor and the last acceptor have
usage 1. Any exon between is included, whatever the others do, with a probability that is the usage of both its sites:

    logit(usage[tissue]) = SLOPE * (core bits of donor + acceptor - MEAN_STRENGTH) + TISSUE_OFFSETS[tissue]
                           + sum over occurrences of each regulator in the exon and FLANK bases beside it
                             of the regulator's effect[tissue]

Words and effects of the regulators are made up here (TGCATG alone is a real one, of RBFOX in brain).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sptx_core.alphabet import N_CODE, Codes, encode
from sptx_core.channels import TISSUES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

BACKGROUND = np.array([0.29, 0.21, 0.21, 0.29])  # A C G T outside of motifs: human genomes are about 41 % GC
IMPOSSIBLE = -50.0  # bits of a base that a motif never has
FLANK = 80  # bases on each side of an exon that decide, with the exon, about its sites and their usage
_PAD = 64  # beyond the reach of any site matrix


@dataclass(frozen=True, eq=False)
class Motif:
    """A position weight matrix: `rates` [length, 4] of A C G T, and `floor`, the bits that a drawn one reaches."""

    rates: Floats
    floor: float

    @cached_property
    def bits(self) -> Floats:
        """Log-odds against the background, [length, 5] (A C G T N); N counts as the least likely base."""
        odds = self.rates / BACKGROUND
        bits = np.log2(odds, out=np.full_like(odds, IMPOSSIBLE), where=odds > 0)
        return np.column_stack([bits, bits.min(1)])

    @property
    def best(self) -> float:
        """Bits of the consensus."""
        return float(self.bits.max(1).sum())

    def draw(self, random: np.random.Generator) -> Codes:
        """An instance of at least `floor` bits: uint8 [length]."""
        edges = self.rates.cumsum(1)
        while True:
            codes: Codes = (random.random((len(edges), 1)) >= edges[:, :-1]).sum(1).astype(np.uint8)
            if self.bits[np.arange(len(codes)), codes].sum() >= self.floor:
                return codes

    def score(self, codes: Codes, starts: Ints) -> Floats:
        """Bits of the instances that begin at `starts`."""
        total = np.zeros(len(starts))
        for position, bits in enumerate(self.bits):
            total += bits[codes[starts + position]]
        return total


@dataclass(frozen=True, eq=False)
class Site:
    """One kind of splice site: a core over the junction and a partner that begins `nearest` to `farthest` from it."""

    kind: str
    core: Motif
    before: int  # bases of the core that precede the junction
    invariant: int  # where the core's GT or AG begins, from the junction
    letters: Codes
    partner: Motif
    nearest: int  # least and largest offset of the partner's first base from the junction, both included
    farthest: int

    @property
    def floor(self) -> float:
        """Bits that every real site reaches."""
        return self.core.floor + self.partner.floor

    @property
    def ceiling(self) -> float:
        """Bits that nothing but real sites exceeds: `GAP` below the floor."""
        return self.floor - GAP


class Candidates(NamedTuple):
    """Every GT (of donors) or AG (of acceptors): its junction, and bits of core and of the best placed partner."""

    junction: Ints
    core: Floats
    partner: Floats

    @property
    def bits(self) -> Floats:
        """The score of a site."""
        return self.core + self.partner


class Regulator(NamedTuple):
    """A word that moves the usage of an exon beside or around it."""

    word: str
    effect: Floats  # [tissues], in logits


def _rates(rows: Sequence[tuple[int, int, int, int]]) -> Floats:
    """Rows of A C G T in percent."""
    return np.array(rows, dtype=np.float64) / 100


def _consensus(letters: str, percent: int) -> Floats:
    """A matrix in which each consensus letter has this share, the other letters the rest in equal parts."""
    return np.where(np.eye(4, dtype=bool)[encode(letters)], percent / 100, (1 - percent / 100) / 3)


GAP = 4.0  # bits between the weakest real site and the strongest decoy
_GT, _AG = ((0, 0, 100, 0), (0, 0, 0, 100)), ((100, 0, 0, 0), (0, 0, 100, 0))
_T, _Y = (12, 8, 10, 70), (6, 33, 6, 55)
_DONOR_CORE = Motif(
    _rates([(40, 40, 10, 10), (78, 6, 8, 8), (6, 3, 86, 5), *_GT, (64, 2, 32, 2), (80, 6, 8, 6), (5, 4, 86, 5), _T]),
    floor=8.0,
)
_ACCEPTOR_CORE = Motif(
    _rates([*[_Y] * 16, (25, 25, 25, 25), (4, 70, 1, 25), *_AG, (26, 13, 48, 13)]),
    floor=10.0,
)
DONOR = Site("donor", _DONOR_CORE, 3, 0, encode("GT"), Motif(_consensus("GGGTGGG", 90), floor=9.0), 10, 33)
ACCEPTOR = Site(  # TACTAAC is the branch point that pairs best with U2 RNA; its sixth base is the branching A
    "acceptor", _ACCEPTOR_CORE, 20, -2, encode("AG"), Motif(_consensus("TACTAAC", 90), floor=7.0), -45, -27
)
SITES = (DONOR, ACCEPTOR)

SLOPE = 0.2  # logits a bit
MEAN_STRENGTH = 25.0  # bits of both cores of an exon, about the mean of real ones
TISSUE_OFFSETS = np.linspace(-0.3, 0.3, len(TISSUES))  # tissues differ in how well they splice at all


def _in(*tissues: str) -> Floats:
    return np.isin(TISSUES, tissues).astype(np.float64)


ENHANCER = Regulator("GACGAAC", np.full(len(TISSUES), 1.75))
SPECIFIC = (
    Regulator("TTCGGCA", np.full(len(TISSUES), -1.75)),
    Regulator("TGCATGA", 3.0 * _in("brain", "nerve")),
    Regulator("CGCTTGC", 3.0 * _in("heart", "muscle", "blood_vessel")),
    Regulator("CGATCAC", 3.0 * _in("colon", "small_intestine", "stomach")),
    Regulator("CCGATAC", 3.0 * _in("blood", "spleen")),
    Regulator("ACGACTC", -3.0 * _in("kidney", "liver", "lung")),
    Regulator("TACGCAC", -3.0 * _in("brain", "nerve", "skin", "adipose_tissue")),
)
REGULATORS = (ENHANCER, *SPECIFIC)
WORD = len(ENHANCER.word)  # bases of every regulator


def candidates(codes: Codes, site: Site, least: float = -np.inf) -> Candidates:
    """All GT or AG of a sequence whose score can reach `least` bits; beyond the ends lies N."""
    padded = np.pad(codes, _PAD, constant_values=N_CODE)
    first = np.flatnonzero((padded[:-1] == site.letters[0]) & (padded[1:] == site.letters[1]))
    junction = first - site.invariant
    core = site.core.score(padded, junction - site.before)
    hopeful = core >= least - site.partner.best
    junction, core = junction[hopeful], core[hopeful]
    partner = np.full(len(junction), -np.inf)
    for offset in range(site.nearest, site.farthest + 1):
        np.maximum(partner, site.partner.score(padded, junction + offset), out=partner)
    kept = core + partner >= least
    return Candidates(junction[kept] - _PAD, core[kept], partner[kept])


def occurrences(codes: Codes, word: str) -> Ints:
    """Starts of a word, overlapping ones too."""
    letters = encode(word)
    found = np.ones(max(0, len(codes) - len(letters) + 1), dtype=bool)
    for offset, letter in enumerate(letters):
        found &= codes[offset : offset + len(found)] == letter
    return np.flatnonzero(found)


def usage_of_exon(codes: Codes) -> Floats:
    """Usage [tissues] of both sites of an exon between others; `codes`: the exon with `FLANK` bases on each side."""
    acceptor = ACCEPTOR.core.score(codes, np.array([FLANK - ACCEPTOR.before]))
    donor = DONOR.core.score(codes, np.array([len(codes) - FLANK - DONOR.before]))
    logit = SLOPE * (acceptor + donor - MEAN_STRENGTH) + TISSUE_OFFSETS
    for regulator in REGULATORS:
        logit = logit + len(occurrences(codes, regulator.word)) * regulator.effect
    usage: Floats = 1 / (1 + np.exp(-logit))
    return usage
