"""Zoom levels of a bigWig or bigBed: what a browser reads when a pixel is many bases wide.

In: runs of equal values, 0-based and half-open, ascending and apart from each other. Out: rows of `SUMMARY`, one for
each bin of a fixed grid that holds data, with the number of bases that have a value and the exact least and greatest of
these; sums are float64 rounded to float32. A bin belongs to one contig and starts at a multiple of its width.

Format: Kent et al., Bioinformatics 26 (2010) 2204, supplement, table 19 ("zoom data").
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FIRST_BASES = 1024  # of a bin of the first level: finer views read the values themselves
FACTOR = 4  # between levels
MAX_LEVELS = 10  # for which UCSC's readers make room
SUMMARY = np.dtype(
    [
        *(("contig", "<u4"), ("start", "<u4"), ("end", "<u4"), ("valid", "<u4")),
        *(("least", "<f4"), ("greatest", "<f4"), ("sum", "<f4"), ("squares", "<f4")),
    ]
)

Summaries = npt.NDArray[np.void]
Positions = npt.NDArray[np.int64]
Values = npt.NDArray[np.float32]


def level_bases(longest: int) -> list[int]:
    """Bases of a bin, level after level, for contigs of up to `longest` bases."""
    levels = [FIRST_BASES * FACTOR**depth for depth in range(MAX_LEVELS)]
    return [bases for bases in levels if bases < longest] or levels[:1]


def summarise(contig: int, starts: Positions, ends: Positions, values: Values, bases: int) -> Summaries:
    """Summaries of runs of one contig, in bins of `bases`."""
    if not len(starts):
        return np.zeros(0, SUMMARY)
    first, last = starts // bases, (ends - 1) // bases
    bins = last - first + 1  # that each run touches
    run = np.repeat(np.arange(len(starts)), bins)
    bin_of = first[run] + np.arange(bins.sum()) - np.repeat(np.cumsum(bins) - bins, bins)
    begin = np.maximum(starts[run], bin_of * bases)
    end = np.minimum(ends[run], (bin_of + 1) * bases)
    width, value = (end - begin).astype(np.float64), values[run].astype(np.float64)
    at = np.flatnonzero(np.diff(bin_of, prepend=-1))
    found = np.zeros(len(at), SUMMARY)
    found["contig"], found["start"] = contig, begin[at]
    found["end"] = np.maximum.reduceat(end, at)
    found["valid"] = np.add.reduceat(width, at)
    found["least"], found["greatest"] = np.minimum.reduceat(value, at), np.maximum.reduceat(value, at)
    found["sum"], found["squares"] = np.add.reduceat(width * value, at), np.add.reduceat(width * value**2, at)
    return found


def coarsen(summaries: Summaries, bases: int) -> Summaries:
    """The same in bins of `bases`, a multiple of the width that they have; joins what lies in one bin."""
    if not len(summaries):
        return summaries
    bin_of = summaries["contig"].astype(np.int64) << 32 | summaries["start"] // bases
    at = np.flatnonzero(np.diff(bin_of, prepend=-1))
    found = summaries[at].copy()
    found["end"] = np.maximum.reduceat(summaries["end"], at)
    found["valid"] = np.add.reduceat(summaries["valid"], at)
    found["least"] = np.minimum.reduceat(summaries["least"], at)
    found["greatest"] = np.maximum.reduceat(summaries["greatest"], at)
    for name in ("sum", "squares"):
        found[name] = np.add.reduceat(summaries[name].astype(np.float64), at)
    return found
