"""A scorer whose answers are known, and changes that are judged by it, from REF and ALT to deltas.

A base is an acceptor (0.9) where the two bases before it are AG, and a donor (0.8) where the two after it are GT; usage
is 0.5 at sites in each of two tissues, and all else is 0. `blended` sees the whole window: no two windows score alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.variants.alleles import Allele, Fetch, normalise
from pipeline.variants.deltas import Deltas, deltas
from pipeline.variants.geometry import Change, Geometry, Reference, to_axis
from pipeline.variants.scoring import Look, families
from sptx_core.alphabet import N_CODE, Codes, encode, reverse_complement

ACCEPTOR, DONOR, USAGE = 0.9, 0.8, 0.5
CHANNELS = 5
CONTEXT = 8  # of the windows here: the stub looks two bases far
Scorer = Callable[[Codes, int], NDArray[np.float32]]


def stub(codes: Codes, context: int) -> NDArray[np.float32]:
    """Scores of a window's core, float32 [core, 5]."""
    text = np.array(codes)
    scores = np.zeros((len(text), CHANNELS), dtype=np.float32)
    scores[2:, 1] = ACCEPTOR * ((text[:-2] == 0) & (text[1:-1] == 2))
    scores[:-2, 2] = DONOR * ((text[1:-1] == 2) & (text[2:] == 3))
    scores[:, 3:] = USAGE * (scores[:, 1:3].max(axis=1, keepdims=True) > 0)
    return scores[context : len(text) - context]


def blended(codes: Codes, context: int) -> NDArray[np.float32]:
    """Scores that depend on each base of the window and on where it lies in it."""
    places = np.arange(len(codes))
    core = places[context : len(codes) - context, None]
    mixed = np.sin(core * (codes + 1.0) * (places % 17 + 1)).sum(axis=1)
    return (0.5 + 0.5 * np.sin(mixed[:, None] + np.arange(CHANNELS))).astype(np.float32)


def fetch_of(text: str) -> Fetch:
    """Reads a contig."""
    codes = encode(text)

    def fetch(start: int, end: int) -> Codes:
        read = np.full(end - start, N_CODE, dtype=np.uint8)
        low, high = max(start, 0), min(end, len(codes))
        if low < high:
            read[low - start : high - start] = codes[low:high]
        return read

    return fetch


def reference_of(text: str, strand: str = "+") -> Reference:
    """Reads a strand of a contig on its axis."""
    fetch = fetch_of(text)

    def reference(first: int, end: int) -> Codes:
        codes = fetch(*to_axis(first, end, strand))
        return reverse_complement(codes) if strand == "-" else codes

    return reference


class Judged(NamedTuple):
    """A change, and what it does on one strand."""

    allele: Allele
    strand: str
    look: Look
    deltas: Deltas

    def site(self, at: int) -> tuple[int, int]:
        """1-based position of a reading, and its offset among the alternative's bases or 0."""
        t = int(self.look.readings.position[at])
        return to_axis(t, t + 1, self.strand)[0] + 1, int(self.look.readings.inserted[at])

    def events(self, *, masked: bool = False) -> dict[str, tuple[float, int, int]]:
        """Name -> value to six digits, position less the normalised one, and offset; of the events that there are."""
        found = self.deltas.masked if masked else self.deltas.events
        pos = self.allele.to_vcf()[0]
        placed = {name: (round(event.value, 6), *self.site(event.at)) for name, event in found.items() if event.at >= 0}
        return {name: (value, site - pos, offset) for name, (value, site, offset) in placed.items()}


def judge(
    text: str,
    start: int,
    ref: str,
    alt: str,
    strand: str = "+",
    *,
    geometry: Geometry | None = None,
    annotated: tuple[set[int], set[int]] = (set(), set()),
    scorer: Scorer = stub,
) -> Judged:
    """What a change does; 0-based `start`, and 0-based acceptors and donors of the gene."""
    geometry = geometry or Geometry.of(100, CONTEXT, 4000)
    allele = normalise(start, ref, alt, fetch_of(text), len(text))
    assert allele is not None, "REF is not what the contig holds"
    look = Look.at(Change.of(allele, strand), geometry)
    scores = {}
    for family, places in families([look], geometry, reference_of(text, strand)):
        width = geometry.core + 2 * geometry.context
        for place in places:
            if place.is_alternative:
                offset, first, bases = family.alternatives[place.at]
                codes = family.codes[offset : offset + width].copy()
                codes[first : first + len(bases)] = bases
            else:
                offset = family.references[place.at]
                codes = family.codes[offset : offset + width]
            scores[place.window] = scorer(codes, geometry.context)
    reference, alternative = look.gather(scores)
    if not look.windows:
        reference = alternative = np.zeros((len(reference), CHANNELS), dtype=np.float32)
    sites = [to_axis(t, t + 1, strand)[0] for t in look.readings.position.tolist()]
    acceptors, donors = (np.array([site in known for site in sites], dtype=bool) for known in annotated)
    return Judged(allele, strand, look, deltas(look.readings, reference, alternative, (acceptors, donors)))
