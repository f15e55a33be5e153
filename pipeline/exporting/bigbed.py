"""A bigBed: features with names and columns.

`add` takes features of one contig, 0-based and half-open, sorted by their start, contigs in their order; they may
overlap. `close` completes the file. Zoom levels count the features that cover a base, as readers expect it.

Format: Kent et al., Bioinformatics 26 (2010) 2204, supplement, table 18.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np

from pipeline.exporting.big_file import BigFile, Contig, Fields, require_order, section
from pipeline.exporting.zoom import Positions, Values

MAGIC = 0x8789F2EB
FEATURES_PER_BLOCK = 512
_PLACE = struct.Struct("<III")


class BigBed:
    """A bigBed in the making; `features` counts those written so far."""

    def __init__(self, file: BinaryIO, contigs: Sequence[Contig], fields: Fields) -> None:
        self._big = BigFile(file, contigs, MAGIC, fields)
        self._numbers = {contig.name: number for number, contig in enumerate(self._big.contigs)}
        self._next = 0
        self.features = 0

    def add(self, contig: str, starts: Positions, ends: Positions, others: Sequence[str]) -> None:
        """Write all features of a contig; `others` are the columns after the third, separated by tabs.

        Raises
        ------
        InputError
            Features do not ascend or leave the contig.

        """
        number = self._numbers[contig]
        if number < self._next:
            raise ValueError(f"{contig} was written before")
        self._next = number + 1
        require_order(self._big.contigs[number], starts, ends)
        self.features += len(starts)
        if len(starts):
            self._big.append(section(number, _blocks(number, starts, ends, others), *depth_of(starts, ends)))

    def close(self) -> None:
        """Complete the file."""
        self._big.close(self.features, FEATURES_PER_BLOCK)


def _blocks(contig: int, starts: Positions, ends: Positions, others: Sequence[str]) -> Iterator[tuple[int, int, bytes]]:
    """Blocks of features: least start, greatest end, content."""
    for begin in range(0, len(starts), FEATURES_PER_BLOCK):
        held = slice(begin, begin + FEATURES_PER_BLOCK)
        places = zip(starts[held].tolist(), ends[held].tolist(), others[held], strict=True)
        content = b"".join(_PLACE.pack(contig, *place) + text.encode() + b"\0" for *place, text in places)
        yield int(starts[begin]), int(ends[held].max()), content


def depth_of(starts: Positions, ends: Positions) -> tuple[Positions, Positions, Values]:
    """Runs of bases that equally many features cover, at least one: starts, ends and how many."""
    edges = np.unique(np.concatenate([starts, ends]))
    opened = np.bincount(np.searchsorted(edges, starts), minlength=len(edges))
    closed = np.bincount(np.searchsorted(edges, ends), minlength=len(edges))
    depth = np.cumsum(opened - closed)[:-1]
    covered = np.flatnonzero(depth)
    return edges[covered], edges[covered + 1], depth[covered].astype(np.float32)
