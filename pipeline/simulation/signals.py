"""The rules of splicing in a generated genome: motifs of splice sites, motifs of usage, and the formulas. SYNTHETIC.

Sequences here are codes (`sptx_core.alphabet`), read 5' to 3' on the strand of the gene. A junction is the 0-based
index of the first base after it: of the intron's first base at a donor, of the exon's first base at an acceptor.
Everything that decides about a site lies within 200 bases of its junction. Scores are in bits.

**Sites.** A splice site is a core motif over the junction and a partner motif nearby. At a donor the partner is a run
of G in the intron; at an acceptor the core is the polypyrimidine tract with CAG|G, and the partner is a branch point
upstream. The score of a motif is the sum over its positions of log2(frequency / background frequency), and the score
of a site is that of its core plus that of the best placed partner. Every real site scores at least `Site.floor`, and
everything else at most `Site.ceiling`, which is lower; the few exceptions are chance matches that cannot be removed
because a feature of the other strand needs the same bases.

The consensus strings are textbook facts (MAG|GTRAGT; yUnAy 18 to 40 bases upstream; (Y)nNCAG|G; G runs as intronic
enhancers of donors). The frequencies are made up, and more extreme than any organism's, so that sites can be told from
sequence alone.

**Usage** of a site in a tissue is the fraction of its gene's transcripts (molecules) in that tissue that use the site.
All transcripts of a gene run from its first to its last exon, so the first donor and the last acceptor have usage 1.
Every other exon is included independently of the others, with a probability that is the usage of both its sites:

    logit(usage[tissue]) = SLOPE * (score of the donor's core + score of the acceptor's core - MEAN_STRENGTH)
                           + TISSUE_OFFSETS[tissue]
                           + sum of effect[tissue] over all occurrences of regulators in the exon and the FLANK bases
                             on each side of it

The words and effects of the regulators are made up; TGCATG alone is a real motif, that of RBFOX in brain. Which of them
a cassette exon holds, and how many, is its genome's `Regulation`: `SCATTERED` or `CLUSTERED`.
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

BACKGROUND = np.array([0.29, 0.21, 0.21, 0.29])
"""Frequencies of A C G T outside of motifs; GC is 42 % (human: about 41 %)."""
FLANK = 80
"""Bases on each side of an exon that, with the exon, decide about its sites and their usage."""
_IMPOSSIBLE = -50.0  # bits of a base that never occurs at a position of a motif
_PAD = 64  # bases of N around a sequence; no motif of a site reaches farther from its junction


@dataclass(frozen=True, eq=False)
class Motif:
    """A position weight matrix.

    Attributes
    ----------
    rates : numpy.ndarray
        Frequencies of A C G T at each position, float64 [length, 4]; each row sums to 1.
    floor : float
        The score that every drawn instance reaches, in bits.
    """

    rates: Floats
    floor: float

    @cached_property
    def bits(self) -> Floats:
        """Score of each base at each position, [length, 5] (A C G T N); N scores as the least likely base."""
        odds = self.rates / BACKGROUND
        bits = np.log2(odds, out=np.full_like(odds, _IMPOSSIBLE), where=odds > 0)
        return np.column_stack([bits, bits.min(1)])

    @property
    def max_bits(self) -> float:
        """The highest possible score: that of the consensus."""
        return float(self.bits.max(1).sum())

    def draw(self, random: np.random.Generator) -> Codes:
        """Draw an instance that scores at least `floor`: codes [length]."""
        edges = self.rates.cumsum(1)
        while True:
            codes: Codes = (random.random((len(edges), 1)) >= edges[:, :-1]).sum(1).astype(np.uint8)
            if self.bits[np.arange(len(codes)), codes].sum() >= self.floor:
                return codes

    def score(self, codes: Codes, starts: Ints) -> Floats:
        """Score the instances that begin at `starts` of a sequence: float64 [len(starts)]."""
        total = np.zeros(len(starts))
        for position, bits in enumerate(self.bits):
            total += bits[codes[starts + position]]
        return total


@dataclass(frozen=True, eq=False)
class Site:
    """One kind of splice site. Offsets are in bases from the junction, along the strand.

    Attributes
    ----------
    kind : {"donor", "acceptor"}
    core : Motif
        The motif over the junction.
    before : int
        Positions of the core that precede the junction.
    invariant : int
        Offset of the core's GT or AG, which every site has.
    letters : numpy.ndarray
        Codes of that GT or AG.
    partner : Motif
        The motif nearby.
    min_offset, max_offset : int
        Where the partner may begin, both included.
    """

    kind: str
    core: Motif
    before: int
    invariant: int
    letters: Codes
    partner: Motif
    min_offset: int
    max_offset: int

    @property
    def floor(self) -> float:
        """The score that every real site reaches, in bits."""
        return self.core.floor + self.partner.floor

    @property
    def ceiling(self) -> float:
        """The score that nothing but a real site exceeds, in bits."""
        return self.floor - _GAP


class Candidates(NamedTuple):
    """Places of a sequence that have the GT (for donors) or AG (for acceptors) of a site.

    Attributes
    ----------
    junction : numpy.ndarray
        int64 [n], ascending.
    core, partner : numpy.ndarray
        Scores of the core and of the best placed partner, in bits, float64 [n].
    """

    junction: Ints
    core: Floats
    partner: Floats

    @property
    def bits(self) -> Floats:
        """Scores of core and partner together, float64 [n]."""
        return self.core + self.partner


class Regulator(NamedTuple):
    """A word that changes the usage of the exon that it lies in or beside.

    Attributes
    ----------
    word : str
        Its bases, 5' to 3'.
    effect : numpy.ndarray
        What each occurrence adds in each tissue, in logits, float64 [tissues].
    """

    word: str
    effect: Floats


def _rates(rows: Sequence[tuple[int, int, int, int]]) -> Floats:
    """A frequency matrix from rows of A C G T in percent."""
    return np.array(rows, dtype=np.float64) / 100


def _consensus(letters: str, percent: int) -> Floats:
    """A frequency matrix in which each consensus letter has `percent`, and the other three share the rest equally."""
    return np.where(np.eye(4, dtype=bool)[encode(letters)], percent / 100, (1 - percent / 100) / 3)


_GAP = 4.0  # bits between the lowest score of a real site and the highest of anything else
_GT, _AG = ((0, 0, 100, 0), (0, 0, 0, 100)), ((100, 0, 0, 0), (0, 0, 100, 0))
_T, _Y = (12, 8, 10, 70), (6, 33, 6, 55)  # mostly T; pyrimidines
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

SLOPE = 0.2
"""Logits a bit."""
MEAN_STRENGTH = 25.0
"""About the mean score of both cores of a real exon, in bits."""
TISSUE_OFFSETS = np.linspace(-0.3, 0.3, len(TISSUES))
"""Logits that differ between tissues for every exon alike."""


def _in(*tissues: str) -> Floats:
    """1 for the named tissues, 0 for the others."""
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
WORD = len(ENHANCER.word)  # bases of every regulator
_GROUPS = (  # of tissues, each pair with words that favour the one and disfavour the other
    (("brain", "nerve"), ("heart", "muscle", "blood_vessel")),
    (("colon", "small_intestine", "stomach"), ("kidney", "liver", "lung")),
    (("blood", "spleen"), ("skin", "adipose_tissue")),
)
_CONTRASTS = tuple(_in(*first) - _in(*second) for pair in _GROUPS for first, second in (pair, pair[::-1]))
_CONTRAST_WORDS = ("TGCATGA", "TACGCAC", "CGCTTGC", "ACGACTC", "CCGATAC", "CGATCAC")


class Regulation(NamedTuple):
    """What regulates the cassette exons of a genome.

    Attributes
    ----------
    specific : tuple of Regulator
        The regulators that cassette exons hold.
    min_words, max_words : int
        How many different ones an exon holds.
    copies : int
        How often it holds each of them.
    """

    specific: tuple[Regulator, ...]
    min_words: int
    max_words: int
    copies: int

    @property
    def regulators(self) -> tuple[Regulator, ...]:
        """All words that change usage in such a genome."""
        return (ENHANCER, *self.specific)


SCATTERED = Regulation(SPECIFIC, 2, 4, 1)
"""Single words of several kinds. Their mean is a profile that predicts much of every exon's differences."""
CLUSTERED = Regulation(
    tuple(Regulator(word, effect) for word, effect in zip(_CONTRAST_WORDS, _CONTRASTS, strict=True)), 2, 2, 3
)
"""Three copies of two words. Each tissue has a word for it and one against it: on the mean over exons they cancel."""


def candidates(codes: Codes, site: Site, min_bits: float = -np.inf) -> Candidates:
    """Find every place of a sequence that scores enough for a site.

    Parameters
    ----------
    codes : numpy.ndarray
        The strand to search, 5' to 3'; N is assumed beyond its ends.
    site : Site
        The kind of site.
    min_bits : float
        The least score; by default every GT (donors) or AG (acceptors) is returned.

    Returns
    -------
    Candidates
    """
    padded = np.pad(codes, _PAD, constant_values=N_CODE)
    first = np.flatnonzero((padded[:-1] == site.letters[0]) & (padded[1:] == site.letters[1]))
    junction = first - site.invariant
    core = site.core.score(padded, junction - site.before)
    reachable = core >= min_bits - site.partner.max_bits  # the others need no search for a partner
    junction, core = junction[reachable], core[reachable]
    partner = np.full(len(junction), -np.inf)
    for offset in range(site.min_offset, site.max_offset + 1):
        np.maximum(partner, site.partner.score(padded, junction + offset), out=partner)
    kept = core + partner >= min_bits
    return Candidates(junction[kept] - _PAD, core[kept], partner[kept])


def occurrences(codes: Codes, word: str) -> Ints:
    """Find a word in a sequence.

    Parameters
    ----------
    codes : numpy.ndarray
        The sequence.
    word : str
        Bases to find.

    Returns
    -------
    numpy.ndarray
        0-based starts of all occurrences, overlapping ones included, int64, ascending.
    """
    letters = encode(word)
    found = np.ones(max(0, len(codes) - len(letters) + 1), dtype=bool)
    for offset, letter in enumerate(letters):
        found &= codes[offset : offset + len(found)] == letter
    return np.flatnonzero(found)


def usage_of_exon(codes: Codes, regulation: Regulation = SCATTERED) -> Floats:
    """Compute the usage of an exon that is neither first nor last, by the formula in the module's docstring.

    Parameters
    ----------
    codes : numpy.ndarray
        The exon with `FLANK` bases on each side, 5' to 3'.
    regulation : Regulation
        Whose words count.

    Returns
    -------
    numpy.ndarray
        Usage of both its sites, float64 [tissues], in the order of `sptx_core.channels.TISSUES`.
    """
    acceptor = ACCEPTOR.core.score(codes, np.array([FLANK - ACCEPTOR.before]))
    donor = DONOR.core.score(codes, np.array([len(codes) - FLANK - DONOR.before]))
    logit = SLOPE * (acceptor + donor - MEAN_STRENGTH) + TISSUE_OFFSETS
    for regulator in regulation.regulators:
        logit = logit + len(occurrences(codes, regulator.word)) * regulator.effect
    usage: Floats = 1 / (1 + np.exp(-logit))
    return usage
