"""Three independent readers of bigWig and bigBed: UCSC's own code (pybbi), libBigWig (pyBigWig), bigtools (pybigtools).

Each gives the values of a contig as float32, NaN where there is none; greatest values of equal bins; features as
(start, end, other columns). Positions are 0-based and half-open.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest


class Reader(ABC):
    """A library, which need not be installed."""

    module: str

    def __init__(self) -> None:
        self.library: Any = pytest.importorskip(self.module)

    @abstractmethod
    def values(self, path: Path, contig: str, start: int, end: int) -> np.ndarray: ...

    @abstractmethod
    def greatest(self, path: Path, contig: str, start: int, end: int, bins: int) -> np.ndarray: ...

    @abstractmethod
    def features(self, path: Path, contig: str, start: int, end: int) -> list[tuple[int, int, tuple[str, ...]]]: ...


class Ucsc(Reader):
    module = "bbi"

    def values(self, path, contig, start, end):
        return self.library.fetch(str(path), contig, start, end, missing=np.nan).astype(np.float32)

    def greatest(self, path, contig, start, end, bins):
        options = {"bins": bins, "summary": "max", "missing": np.nan}
        return self.library.fetch(str(path), contig, start, end, **options).astype(np.float32)

    def features(self, path, contig, start, end):
        with self.library.open(str(path)) as file:
            rows = file.fetch_intervals(contig, start, end, iterator=True)
            return [(begin, last, tuple(map(str, others))) for _, begin, last, *others in rows]


class LibBigWig(Reader):
    module = "pyBigWig"

    def values(self, path, contig, start, end):
        with self.library.open(str(path)) as file:
            return np.array(file.values(contig, start, end), np.float32)

    def greatest(self, path, contig, start, end, bins):
        with self.library.open(str(path)) as file:
            found = file.stats(contig, start, end, type="max", nBins=bins)
            return np.array([np.nan if value is None else value for value in found], np.float32)

    def features(self, path, contig, start, end):
        with self.library.open(str(path)) as file:
            rows = file.entries(contig, start, end) or []
            return [(begin, last, tuple(others.split("\t"))) for begin, last, others in rows]


class Bigtools(Reader):
    module = "pybigtools"

    def values(self, path, contig, start, end):
        return np.asarray(self.library.open(str(path)).values(contig, start, end, fillna=None), np.float32)

    def greatest(self, path, contig, start, end, bins):
        options = {"bins": bins, "summary": "max", "fillna": None}
        return np.asarray(self.library.open(str(path)).values(contig, start, end, **options), np.float32)

    def features(self, path, contig, start, end):
        return [
            (begin, last, tuple(others))
            for begin, last, *others in self.library.open(str(path)).records(contig, start, end)
        ]


READERS = (Ucsc, LibBigWig, Bigtools)
