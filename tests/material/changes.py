"""Changes of short sequences for property tests, and plain ways to handle them."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import assume
from hypothesis import strategies as st

_OPPOSITE = {"A": "T", "C": "G", "G": "C", "T": "A", "N": "N"}


def opposite(text: str) -> str:
    """The other strand of a sequence."""
    return "".join(_OPPOSITE[base] for base in reversed(text))


class Raw(NamedTuple):
    """A contig, and a change of it as a file may have it: 0-based start, REF, ALT."""

    text: str
    start: int
    ref: str
    alt: str

    @property
    def changed(self) -> str:
        """The contig with the change made."""
        return self.text[: self.start] + self.alt + self.text[self.start + len(self.ref) :]

    def mirrored(self) -> Raw:
        """The same on the other strand."""
        start = len(self.text) - self.start - len(self.ref)
        return Raw(opposite(self.text), start, opposite(self.ref), opposite(self.alt))

    def padded(self, before: int, after: int) -> Raw:
        """With so many more bases in REF and ALT on either side, as far as the contig goes."""
        start, end = self.start, self.start + len(self.ref)
        low, high = max(0, start - before), min(len(self.text), end + after)
        head, tail = self.text[low:start], self.text[end:high]
        return Raw(self.text, low, head + self.ref + tail, head + self.alt + tail)


@st.composite
def changes(draw: st.DrawFn, least: int = 1, most: int = 60) -> Raw:
    """Any change of a contig of so many bases; few letters make repeats, in which changes can be moved.

    Left out are changes of the number of N alone, which stay where they are written.
    """
    alphabet = draw(st.sampled_from(("A", "AC", "ACGT", "AGN")))
    text = draw(st.text(alphabet, min_size=least, max_size=most))
    start = draw(st.integers(0, len(text)))
    end = min(len(text), start + draw(st.integers(0, 12)))
    raw = Raw(text, start, text[start:end], draw(st.text(alphabet, max_size=12)))
    assume(raw.changed == text or raw.changed.replace("N", "") != text.replace("N", ""))
    return raw
