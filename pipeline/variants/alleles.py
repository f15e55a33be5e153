"""Alleles: a change of sequence in one form, however it is written, and why some are not scored.

A change is normalised: bases that reference and alternative share at either end are trimmed, and what is then a pure
insertion or deletion is moved as far left as the sequence lets it (Tan, Abecasis and Kang 2015, Bioinformatics
31:2202). How far right it could be moved from there is its `shift`. All ways to write a change give the same `Allele`.

Coordinates are 0-based, half-open, genomic. Letters other than A, C, G and T are N, in FASTA and VCF alike. An N
equals an N, but what is inserted or deleted and holds no other letter stays where it is written: a gap of an assembly
may be millions of bases long.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sptx_core.alphabet import Codes, decode, encode

_CHUNK = 256  # bases that are read at once where a change is moved
_SEQUENCE = re.compile(r"[ACGTURYSWKMBDHVNacgturyswkmbdhvn]+")
_COMPLEMENT = str.maketrans("ACGTN", "TGCAN")

Fetch = Callable[[int, int], Codes]
"""Codes of [start, end) of a contig, uint8; N beyond its ends."""


class Status(StrEnum):
    """What became of an allele."""

    SCORED = "scored"
    REF_MISMATCH = "ref_mismatch"  # REF is not what the FASTA holds there
    SYMBOLIC = "symbolic"  # <DEL>, <*>, C<contig>, ...
    SPANNING_DELETION = "spanning_deletion"  # *
    BREAKEND = "breakend"
    NO_ALT = "no_alt"  # . or nothing
    TOO_LONG = "too_long"
    OUTSIDE_GENES = "outside_genes"
    UNKNOWN_CONTIG = "unknown_contig"
    CONFLICT = "conflict"  # overlaps another variant of its haplotype
    MALFORMED = "malformed"  # the line cannot be read as VCF


def unscorable(alt: str) -> Status | None:
    """Why an ALT, as a VCF has it, names no sequence; None where it does (VCF 4.3, section 1.6.1, field 5)."""
    if alt in ("", "."):
        return Status.NO_ALT
    if alt == "*":
        return Status.SPANNING_DELETION
    bases, mark, _ = alt.partition("<")
    if mark and alt.endswith(">") and (not bases or _SEQUENCE.fullmatch(bases)):
        return Status.SYMBOLIC
    if "[" in alt or "]" in alt or alt.startswith(".") or alt.endswith("."):
        return Status.BREAKEND
    return None if is_sequence(alt) else Status.MALFORMED


def is_sequence(text: str) -> bool:
    """Whether a REF or ALT consists of letters for bases."""
    return _SEQUENCE.fullmatch(text) is not None


@dataclass(frozen=True, order=True)
class Allele:
    """A normalised change of one contig.

    Parameters
    ----------
    start
        0-based position of its first replaced base, as far left as it can be written.
    ref, alt
        The bases replaced and what replaces them, upper case, of A, C, G, T and N; they differ in their first and
        in their last base. One of them may be empty, both are where nothing changes.
    shift
        By how many bases the change may be moved to the right with the same result; 0 unless one of both is empty.
    before, after
        The bases on either side of the change where it stands; empty beyond the contig's ends.

    """

    start: int
    ref: str
    alt: str
    shift: int = 0
    before: str = ""
    after: str = ""

    @property
    def end(self) -> int:
        """End of the replaced bases where the change stands."""
        return self.start + len(self.ref)

    @property
    def span(self) -> tuple[int, int]:
        """The bases [start, end) that are replaced in one placement or another; empty for some insertions."""
        return self.start, self.end + self.shift

    @property
    def touched(self) -> tuple[int, int]:
        """The span; of an insertion, with the bases on either side of it."""
        low, high = self.span
        return (low, high) if self.ref else (low - 1, high + 1)

    @property
    def is_snv(self) -> bool:
        """Whether one base is replaced by one."""
        return len(self.ref) == len(self.alt) == 1

    @property
    def length(self) -> int:
        """Bases of the alternative or of the span, whichever are more."""
        low, high = self.span
        return max(high - low, len(self.alt))

    def moved(self) -> tuple[int, str, str]:
        """Start, ref and alt of the right-most placement."""
        return self.start + self.shift, _turned(self.ref, self.shift), _turned(self.alt, self.shift)

    def to_vcf(self) -> tuple[int, str, str]:
        """POS (1-based), REF and ALT, with the base before an insertion or deletion as VCF wants it.

        At a contig's first base it is the base after it (VCF 4.3, section 1.6.1, field 4), and so where nothing
        changes. The deletion of a whole contig has neither; its ALT is empty.
        """
        if self.before and bool(self.ref) != bool(self.alt):
            return self.start, self.before + self.ref, self.before + self.alt
        beside = "" if self.ref and self.alt else self.after
        return self.start + 1, self.ref + beside, self.alt + beside


def normalise(start: int, ref: str, alt: str, fetch: Fetch, length: int) -> Allele | None:
    """The change of `ref`, which stands at `start` (0-based), to `alt` in its normal form.

    Parameters
    ----------
    start
        0-based position of the first base of `ref`.
    ref, alt
        Bases as a VCF has them, in either case.
    fetch
        Reads codes of the contig.
    length
        Bases of the contig.

    Returns
    -------
    Allele or None
        None where `ref` is not what the contig holds; so where a letter of it is no nucleotide.

    Raises
    ------
    InputError
        A letter of `alt` is no nucleotide: `unscorable` says so before.

    """
    if ref and not _SEQUENCE.fullmatch(ref):
        return None
    held, wanted = decode(encode(ref)), decode(encode(alt))
    if start < 0 or start + len(held) > length or decode(fetch(start, start + len(held))) != held:
        return None
    start, held, wanted = trimmed(start, held, wanted)
    shift = 0
    if bool(held) != bool(wanted):
        text = held or wanted
        back, text = _room(text[::-1], lambda first, end: fetch(start - end, start - first)[::-1], start)
        start, text = start - back, text[::-1]
        held, wanted = (text, "") if held else ("", text)
        end = start + len(held)
        shift, _ = _room(text, lambda first, stop: fetch(end + first, end + stop), length - end)
    after = start + len(held)
    before = decode(fetch(start - 1, start)) if start else ""
    return Allele(start, held, wanted, shift, before, decode(fetch(after, after + 1)) if after < length else "")


def reverse_complemented(text: str) -> str:
    """The opposite strand of a sequence of A, C, G, T and N, 5' to 3'."""
    return text.translate(_COMPLEMENT)[::-1]


def trimmed(start: int, ref: str, alt: str) -> tuple[int, str, str]:
    """Start, reference and alternative without the bases that both share: at the end first, then at the beginning."""
    most = min(len(ref), len(alt))
    last = next((n for n in range(most) if ref[-1 - n] != alt[-1 - n]), most)
    ref, alt = ref[: len(ref) - last], alt[: len(alt) - last]
    most -= last
    first = next((n for n in range(most) if ref[n] != alt[n]), most)
    return start + first, ref[first:], alt[first:]


def _room(text: str, ahead: Fetch, most: int) -> tuple[int, str]:
    """By how many bases an inserted or deleted `text` may be moved ahead, and what it then reads.

    It may be moved by one base where the next base equals its first, which then becomes its last. `ahead` reads codes
    of [first, end), counted from the text's end; there are `most` bases.
    """
    moved, width = 0, len(text)
    if not text.strip("N"):
        return moved, text
    while moved < most:
        chunk = decode(ahead(moved, min(moved + _CHUNK, most)))
        for base in chunk:
            if base != text[moved % width]:
                return moved, _turned(text, moved)
            moved += 1
    return moved, _turned(text, moved)


def _turned(text: str, by: int) -> str:
    """The text, its first `by` letters moved to its end one after the other."""
    at = by % len(text) if text else 0
    return text[at:] + text[:at]
