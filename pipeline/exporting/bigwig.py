"""A bigWig: one value a base, from runs of equal values.

`add` takes runs of one contig, 0-based and half-open, ascending and apart from each other, contigs in their order;
`close` completes the file. Bases without a run have no value. Where less than everything is written, the file is no
bigWig (`pipeline.exporting.big_file`).

A block of runs is stored as runs (bedGraph, 12 bytes each), or where values change at almost every base as one value a
base (fixedStep, 4 bytes each), which compresses to a third.

Format: Kent et al., Bioinformatics 26 (2010) 2204, supplement, tables 12 and 13.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from pipeline.exporting.big_file import BigFile, Contig, require_order
from pipeline.exporting.zoom import Positions, Values
from sptx_core.errors import InputError

MAGIC = 0x888FFC26
RUNS_PER_BLOCK = 1024
_BEDGRAPH, _FIXED_STEP = 1, 3
_SECTION_HEAD = struct.Struct("<IIIIIBxH")
_RUN = np.dtype([("start", "<u4"), ("end", "<u4"), ("value", "<f4")])


class BigWig:
    """A bigWig in the making; `values` counts the bases that have one so far."""

    def __init__(self, file: BinaryIO, contigs: Sequence[Contig]) -> None:
        self._big = BigFile(file, contigs, MAGIC)
        self._numbers = {contig.name: number for number, contig in enumerate(self._big.contigs)}
        self._blocks, self._last = 0, (0, 0)
        self.values = 0

    def add(self, contig: str, starts: Positions, ends: Positions, values: Values) -> None:
        """Write runs.

        Raises
        ------
        InputError
            Runs do not ascend, overlap, leave the contig, or hold no number.

        """
        number = self._numbers[contig]
        after = self._last[1] if number == self._last[0] else 0
        require_order(self._big.contigs[number], starts, ends, after)
        if not len(starts):
            return
        if number < self._last[0] or (starts[1:] < ends[:-1]).any() or not np.isfinite(values).all():
            raise InputError(
                f"values of {contig} between {starts[0] + 1} and {ends[-1]} overlap or are no numbers; `sptx verify` "
                "names what is damaged"
            )
        self._last = (number, int(ends[-1]))
        self.values += int((ends - starts).sum())
        runs = np.empty(len(starts), _RUN)
        runs["start"], runs["end"], runs["value"] = starts, ends, values
        for begin in range(0, len(runs), RUNS_PER_BLOCK):
            held = runs[begin : begin + RUNS_PER_BLOCK]
            start, end = int(held["start"][0]), int(held["end"][-1])
            self._big.add_block(number, start, end, _section(number, held))
            self._blocks += 1
        self._big.summarise(number, starts, ends, values)

    def close(self) -> None:
        """Complete the file."""
        self._big.close(self._blocks, RUNS_PER_BLOCK)


def _section(contig: int, runs: npt.NDArray[np.void]) -> bytes:
    """A block of runs, in the form that takes fewer bytes."""
    start, end = int(runs["start"][0]), int(runs["end"][-1])
    lengths = runs["end"] - runs["start"]
    bases = int(lengths.sum())
    if bases == end - start and bases * runs["value"].itemsize < runs.nbytes:
        head = _SECTION_HEAD.pack(contig, start, end, 1, 1, _FIXED_STEP, bases)
        return head + np.repeat(runs["value"], lengths).tobytes()
    return _SECTION_HEAD.pack(contig, start, end, 0, 0, _BEDGRAPH, len(runs)) + runs.tobytes()


def runs_of(pos: Positions, values: Values) -> tuple[Positions, Positions, Values]:
    """Runs of neighbouring bases with equal values.

    Parameters
    ----------
    pos
        1-based positions, ascending.
    values
        One a position.

    Returns
    -------
    tuple
        Starts and ends (0-based, half-open) and values of the runs.

    """
    begins = np.flatnonzero((np.diff(pos, prepend=-1) != 1) | (np.diff(values, prepend=np.float32(np.nan)) != 0))
    lasts = np.append(begins[1:], len(pos))[: len(begins)] - 1
    return pos[begins] - 1, pos[lasts], values[begins]
