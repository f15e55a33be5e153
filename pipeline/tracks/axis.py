"""The axis on which windows lie: between genomic positions and the axis of `sptx_core.windows`.

In genomic mode the axis x is the position on the contig, 0-based, for both strands: the 5' end of a minus-strand
window is its high end. In transcript mode x is the distance from the transcript's 5' end, so the 5' end is always the
low end, and on the minus strand windows ascend where positions descend. Nothing else in sptx converts between the two.

All intervals are half-open. Methods take ints or arrays of int64 alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import NDArray

from pipeline.coordinates import Strand
from pipeline.tracks.settings import Flanks
from sptx_core.alphabet import Codes, reverse_complement
from sptx_core.windows import WindowSpec, stitch


class Origin(NamedTuple):
    """Genomic span [start, end) of the transcript that lays the windows in transcript mode; 0, 0 in genomic mode."""

    start: Any
    end: Any


@dataclass(frozen=True)
class Axis:
    """The axis of one strand, in one of the two modes."""

    strand: str
    flanks: Flanks

    @property
    def genomic(self) -> bool:
        """Whether x is the position on the contig."""
        return self.flanks is Flanks.GENOMIC

    @property
    def minus(self) -> bool:
        """Whether the strand is the minus strand."""
        return self.strand == Strand.MINUS

    @property
    def five_prime_low(self) -> bool:
        """Whether the 5' end of a window is its low end on the axis; decides who owns equidistant positions."""
        return not (self.genomic and self.minus)

    @property
    def ascending(self) -> bool:
        """Whether x grows with the genomic position."""
        return self.genomic or not self.minus

    def to_axis(self, start: Any, end: Any, origin: Origin) -> tuple[Any, Any]:
        """Interval [first, end) on the axis of the genomic interval [start, end)."""
        if self.genomic:
            return start, end
        if self.minus:
            return origin.end - end, origin.end - start
        return start - origin.start, end - origin.start

    def to_genome(self, first: Any, end: Any, origin: Origin) -> tuple[Any, Any]:
        """Genomic interval [start, end) of the interval [first, end) on the axis."""
        if self.genomic:
            return first, end
        if self.minus:
            return origin.end - end, origin.end - first
        return origin.start + first, origin.start + end

    def owners(self, start: Any, end: Any, origin: Origin, spec: WindowSpec) -> tuple[Any, Any]:
        """Lowest and highest window that own a base of the genomic interval [start, end)."""
        first, stop = self.to_axis(start, end, origin)
        low = spec.owner(first, five_prime_low=self.five_prime_low)
        return low, spec.owner(stop - 1, five_prime_low=self.five_prime_low)

    def owned(self, k_first: Any, k_last: Any, origin: Origin, spec: WindowSpec) -> tuple[Any, Any]:
        """Genomic interval [start, end) that windows k_first .. k_last own together."""
        first = spec.owned(k_first, five_prime_low=self.five_prime_low)[0]
        end = spec.owned(k_last, five_prime_low=self.five_prime_low)[1]
        return self.to_genome(first, end, origin)

    def transcribed(self, codes: Codes) -> Codes:
        """Codes of a stretch, given as on the plus strand, in transcription order (5' to 3')."""
        return reverse_complement(codes) if self.minus else codes

    def stitch(
        self, values: NDArray[Any], spec: WindowSpec, k_first: int, start: int, end: int, origin: Origin
    ) -> NDArray[Any]:
        """Rows [end - start, ...] in genomic order of positions [start, end), each from the window that owns it.

        `values` [n, core, ...] are of windows k_first .. k_first + n - 1 on the axis, in transcription order.
        """
        first, stop = self.to_axis(start, end, origin)
        reverse = self.genomic and self.minus  # the stretch was reverse-complemented: windows run against the axis
        rows = stitch(values, spec, k_first, first, stop, reverse=reverse, five_prime_low=self.five_prime_low)
        return rows if self.ascending else rows[::-1]
