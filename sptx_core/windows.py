"""Windows on a fixed grid: which window owns a base, which bases a window reads, cutting and stitching.

Axis. All positions here lie on one axis `x`, 0-based, x >= 0: the positions of a contig (genomic flanks), or distances
from the 5' end of a transcript (transcript flanks). Intervals are half-open. Window k = 0, 1, 2, ... predicts its core
[k * stride, k * stride + core) and reads `context` more positions on each side; it may read below 0 and past the end of
the axis, where the caller puts N. Neighbouring cores share `overlap` positions: stride = core - overlap.

Ownership. A position that lies in several cores belongs to the window whose centre is nearest; if two are equally near,
to the one on the 5' side. Centres are those of whole cores, before anything is trimmed at the end of the axis. The
centres of cores k - 1 and k are equally far from k * stride + overlap / 2 (in the continuous coordinate where position
x spans x to x + 1). So window k owns positions from k * stride + `lead`, where lead is overlap / 2, rounded up if the
5' end is the low end of the axis and down if it is the high end. Window 0 also owns the positions below its lead.

Transcription order. `cut` and the network work from 5' to 3'. For the minus strand the caller reverse-complements the
stretch before it is cut: the first row of values is then that of the highest window, and each row runs against the
axis. `stitch(..., reverse=True)` reverses both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar, overload

import numpy as np
import numpy.typing as npt

from sptx_core.errors import InputError

TRAINED_CORE = 1000
"""Predicted bases of a window in the authors' training (You et al. 2024)."""
TRAINED_CONTEXT = 4000
"""Flanking bases on each side of the core in the authors' training."""

Base = TypeVar("Base", bound=np.generic)


@dataclass(frozen=True)
class WindowSpec:
    """How windows lie on the axis.

    Parameters
    ----------
    core
        Bases that a window predicts, at least 1.
    context
        Flanking bases that it reads on each side, at least 0.
    overlap
        Core bases that neighbours share, 0 <= overlap < core.

    Raises
    ------
    InputError
        A size is out of range.
    """

    core: int = TRAINED_CORE
    context: int = TRAINED_CONTEXT
    overlap: int = 0

    def __post_init__(self) -> None:
        if self.core < 1:
            raise InputError(f"window core is {self.core}: choose at least 1 base.")
        if self.context < 0:
            raise InputError(f"window context is {self.context}: choose 0 or more bases.")
        if not 0 <= self.overlap < self.core:
            raise InputError(
                f"window overlap is {self.overlap}: choose from 0 to {self.core - 1}, one less than the core."
            )

    @property
    def stride(self) -> int:
        """Distance between the starts of neighbouring cores."""
        return self.core - self.overlap

    @property
    def width(self) -> int:
        """Bases that a window reads: its core and both flanks."""
        return self.core + 2 * self.context

    def lead(self, *, five_prime_low: bool = True) -> int:
        """Positions at the low end of a core that belong to the window before it.

        Parameters
        ----------
        five_prime_low
            Whether the 5' end is the low end of the axis.
        """
        return (self.overlap + 1) // 2 if five_prime_low else self.overlap // 2

    @overload
    def owner(self, x: int, *, five_prime_low: bool = True) -> int: ...
    @overload
    def owner(self, x: npt.NDArray[np.int64], *, five_prime_low: bool = True) -> npt.NDArray[np.int64]: ...
    def owner(self, x: Any, *, five_prime_low: bool = True) -> Any:
        """Find the window that owns a position.

        Parameters
        ----------
        x
            Position >= 0, an int or an int64 array.
        five_prime_low
            Whether the 5' end is the low end of the axis.

        Returns
        -------
        int or ndarray
            Windows, in the shape of `x`.
        """
        k = (x - self.lead(five_prime_low=five_prime_low)) // self.stride
        return max(k, 0) if isinstance(k, int) else np.maximum(k, 0)

    @overload
    def owned(self, k: int, *, five_prime_low: bool = True) -> tuple[int, int]: ...
    @overload
    def owned(
        self, k: npt.NDArray[np.int64], *, five_prime_low: bool = True
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]: ...
    def owned(self, k: Any, *, five_prime_low: bool = True) -> tuple[Any, Any]:
        """Find the positions that a window owns.

        Parameters
        ----------
        k
            Window, an int or an int64 array.
        five_prime_low
            Whether the 5' end is the low end of the axis.

        Returns
        -------
        tuple
            First position and end (exclusive), each in the shape of `k`.
        """
        lead = self.lead(five_prime_low=five_prime_low)
        return (k * self.stride + lead) * (k > 0), (k + 1) * self.stride + lead

    def input_span(self, k_first: int, k_last: int) -> tuple[int, int]:
        """Find the stretch that windows read.

        Parameters
        ----------
        k_first, k_last
            The first and the last window, both included.

        Returns
        -------
        tuple
            First position, which may be below 0, and end (exclusive).
        """
        return k_first * self.stride - self.context, k_last * self.stride + self.core + self.context

    def count(self, stretch_length: int) -> int:
        """Count the windows in a stretch.

        Parameters
        ----------
        stretch_length
            Bases, flanks included.

        Raises
        ------
        ValueError
            The length is not that of a whole number of windows, at least one.
        """
        n, rest = divmod(stretch_length - self.width, self.stride)
        if n < 0 or rest:
            raise ValueError(f"a stretch of {stretch_length} bases is no whole number of windows of {self}")
        return n + 1


def cut(stretch: npt.NDArray[Base], spec: WindowSpec) -> npt.NDArray[Base]:
    """Cut a stretch into its windows, in transcription order.

    Parameters
    ----------
    stretch
        Codes [(n - 1) * stride + core + 2 * context], 5' to 3'.
    spec
        How the windows lie.

    Returns
    -------
    ndarray
        Codes [n, core + 2 * context]; a read-only view of `stretch`, nothing is copied.

    Raises
    ------
    ValueError
        The stretch is no whole number of windows.
    """
    spec.count(len(stretch))
    return np.lib.stride_tricks.sliding_window_view(stretch, spec.width)[:: spec.stride]


def stitch(
    values: npt.NDArray[Any],
    spec: WindowSpec,
    k_first: int,
    first: int,
    end: int,
    *,
    reverse: bool,
    five_prime_low: bool,
) -> npt.NDArray[Any]:
    """Take the row of each position from the window that owns it.

    Parameters
    ----------
    values
        [n, core, ...] of windows k_first to k_first + n - 1, in transcription order.
    spec
        How the windows lie.
    k_first
        The lowest window of `values`.
    first
        The first position wanted.
    end
        End of the positions wanted, exclusive.
    reverse
        Whether the stretch was reverse-complemented before it was cut.
    five_prime_low
        Whether the 5' end is the low end of the axis (which decides ties).

    Returns
    -------
    ndarray
        [end - first, ...] in the order of the axis.

    Raises
    ------
    ValueError
        A wanted position belongs to a window that is not in `values`.
    """
    if first == end:
        return values[:0, 0]
    k_low, k_high = (spec.owner(x, five_prime_low=five_prime_low) for x in (first, end - 1))
    k_last = k_first + len(values) - 1
    if not k_first <= k_low <= k_high <= k_last:
        raise ValueError(f"positions {first} to {end} are not owned by windows {k_first} to {k_last} alone")
    rows = []
    for k in range(k_low, k_high + 1):
        low, high = (x - k * spec.stride for x in spec.owned(k, five_prime_low=five_prime_low))
        window = values[k_last - k, ::-1] if reverse else values[k - k_first]
        rows.append(window[max(low, first - k * spec.stride) : min(high, end - k * spec.stride)])
    return np.concatenate(rows)
