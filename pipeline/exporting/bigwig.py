"""A bigWig: one value a base, from runs of equal values.

`add` takes runs of one contig, 0-based and half-open, ascending and apart from each other, contigs in their order;
`close` completes the file. Bases without a run have no value. Where less than everything is written, the file is no
bigWig (`pipeline.exporting.big_file`). What `add` writes can also be made elsewhere (`runs_section`) and given to
`append`: the file is the same.

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

from pipeline.exporting.big_file import NOTHING, BigFile, Contig, Section, require_order, section
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
        self.append(runs_section(number, self._big.contigs[number], starts, ends, values))

    def append(self, held: Section) -> None:
        """Write a section of runs.

        Raises
        ------
        InputError
            It does not lie after what is written.

        """
        if not len(held.blocks):
            return
        first, last = held.blocks[0], held.blocks[-1]
        if (first["first_contig"], first["start"]) < self._last:
            raise _disorder(self._big.contigs[first["first_contig"]].name, int(first["start"]), int(last["end"]))
        self._last = (int(last["last_contig"]), int(last["end"]))
        self._blocks += len(held.blocks)
        self.values += int(held.totals["valid"].sum())
        self._big.append(held)

    def close(self) -> None:
        """Complete the file."""
        self._big.close(self._blocks, RUNS_PER_BLOCK)


def runs_section(number: int, contig: Contig, starts: Positions, ends: Positions, values: Values) -> Section:
    """The section of runs of a contig, which has this number in the file; errors as of `BigWig.add`."""
    require_order(contig, starts, ends)
    if not len(starts):
        return NOTHING
    if (starts[1:] < ends[:-1]).any() or not np.isfinite(values).all():
        raise _disorder(contig.name, int(starts[0]), int(ends[-1]))
    runs = np.empty(len(starts), _RUN)
    runs["start"], runs["end"], runs["value"] = starts, ends, values
    pieces = (runs[begin : begin + RUNS_PER_BLOCK] for begin in range(0, len(runs), RUNS_PER_BLOCK))
    blocks = ((int(held["start"][0]), int(held["end"][-1]), _block(number, held)) for held in pieces)
    return section(number, blocks, starts, ends, values)


def _disorder(contig: str, start: int, end: int) -> InputError:
    return InputError(
        f"values of {contig} between {start + 1} and {end} overlap, do not ascend or are no numbers; `sptx verify` "
        "names what is damaged"
    )


def _block(contig: int, runs: npt.NDArray[np.void]) -> bytes:
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
