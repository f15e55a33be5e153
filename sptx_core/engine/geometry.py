"""Which positions and buckets of a window the network needs; integers only.

Two ways to count positions of a window, both 5' to 3' and half-open: window positions start at the first base that the
window reads (its left flank), attended positions at the first of the `max_seq_len` positions that the attention layers
see. The window's core lies in the middle of both. Without attention layers the attended positions are the core itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sptx_core.config import SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.windows import WindowSpec


@dataclass(frozen=True)
class AttendedSpan:
    """Where the attended positions lie in a window."""

    first: int
    """Window position of attended position 0; negative where the attention layers see more than the window."""
    size: int
    """Number of attended positions."""
    width: int
    """Number of window positions."""

    @classmethod
    def of(cls, config: SpTransformerConfig, spec: WindowSpec) -> AttendedSpan:
        """The span for a network and a window layout; without attention layers it is the core."""
        if not config.layers:
            return cls(config.context, spec.core, spec.width)
        return cls(config.context - (config.max_seq_len - spec.core) // 2, config.max_seq_len, spec.width)

    @property
    def low(self) -> int:
        """First window position that is attended."""
        return max(0, self.first)

    @property
    def high(self) -> int:
        """End of the window positions that are attended, exclusive."""
        return min(self.width, self.first + self.size)

    @property
    def margin(self) -> int:
        """Window positions at each end that are not attended, the smaller number of both ends."""
        return min(self.low, self.width - self.high)

    @property
    def is_padded(self) -> bool:
        """Whether some attended positions lie outside the window."""
        return self.high - self.low < self.size


@dataclass(frozen=True)
class CoreBuckets:
    """Which buckets of a window the last layer needs for the logits of the core.

    The core is the attended positions [first, first + length). Earlier layers need every bucket.
    """

    first: int
    length: int
    bucket_size: int
    """Positions of a bucket."""
    buckets: int
    """Buckets of a window."""

    @classmethod
    def of(cls, config: SpTransformerConfig, spec: WindowSpec) -> CoreBuckets:
        """The buckets for a network and a window layout."""
        first = (config.max_seq_len - spec.core) // 2
        return cls(first, spec.core, config.bucket_size, config.max_seq_len // config.bucket_size)

    @property
    def begin(self) -> int:
        """First bucket that holds a position of the core."""
        return self.first // self.bucket_size

    @property
    def end(self) -> int:
        """End of the buckets that hold positions of the core, exclusive."""
        return -(-(self.first + self.length) // self.bucket_size)

    @property
    def low(self) -> int:
        """First bucket whose keys and values the core's local heads read: the neighbour of `begin`, if it has one."""
        return max(self.begin - 1, 0)

    @property
    def high(self) -> int:
        """End of the buckets whose keys and values the core's local heads read, exclusive."""
        return min(self.end + 1, self.buckets)

    def core_rows(self, bucket: int) -> slice:
        """The core among the positions of the buckets from `bucket` on."""
        start = self.first - bucket * self.bucket_size
        return slice(start, start + self.length)


def reach_of(encoder: SpTransformerFeatureEncoderConfig) -> int:
    """Positions on either side that a feature after the last block of an encoder depends on."""
    return sum(stage.blocks * 2 * (stage.kernel_size // 2) * stage.dilation for stage in encoder.stages)


def kept_margins(radii: Sequence[int], margin: int) -> list[int]:
    """The margin to keep after each convolution, so that the last one gives the positions from `margin` on.

    Parameters
    ----------
    radii : sequence of int
        Positions on either side that each convolution reads, first convolution first.
    margin : int
        Positions at each end of a window that nobody needs after the last convolution.

    Returns
    -------
    list of int
        One margin a convolution, never above the reach so far: at that margin a window has no ends of its own.
    """
    margins = []
    reach = sum(radii)
    for radius in reversed(radii):
        margins.append(min(margin, reach))
        margin = max(0, margin - radius)
        reach -= radius
    return margins[::-1]
