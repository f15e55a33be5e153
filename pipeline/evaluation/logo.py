"""Sequence around called sites -> base counts and information content, in transcription order.

A site is called when its score is at or above the threshold given (`evaluate` states that of the k highest). Rows of
strand `-` hold the plus strand's base, so their window is reversed and complemented. Windows are read inside one part:
sites whose window runs past the part, the locus or the transcript are left out (`partial` counts them).

Information content of a position, in bits (Schneider & Stephens 1990, Nucleic Acids Res 18:6097): 2 - (H + e) with
H = -sum f log2 f over the shares f of A, C, G and T there (N does not count) and e = 3 / (2 ln 2 n) their correction
for n sequences; below 0 it is 0. A letter is f times that high. The background is taken as even.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.evaluation.evaluate import read_part
from pipeline.evaluation.ranking import ScoreBins
from pipeline.tracks.reader import Tracks
from pipeline.tracks.schema import SPLICE_STEPS, UNROUNDED
from sptx_core.alphabet import BASES

LETTERS = "ACGT"
_N = BASES.index("N")


class Window(NamedTuple):
    """Bases shown before and after a site, in transcription order."""

    before: int
    after: int


WINDOWS = {"acceptor": Window(25, 5), "donor": Window(5, 12)}  # intron and exon; exon and intron


@dataclass(frozen=True, eq=False)
class Logo:
    """Base counts int64 [before + 1 + after, A C G T] around `called` sites, less the `partial` ones."""

    kind: str
    window: Window
    counts: npt.NDArray[np.int64]
    called: int
    partial: int

    def offsets(self) -> range:
        """Offset of each row of `counts` from the site, which is 0."""
        return range(-self.window.before, self.window.after + 1)

    def heights(self) -> npt.NDArray[np.float64]:
        """Height of each letter in bits, [positions, A C G T]."""
        n = self.counts.sum(axis=1, keepdims=True)
        share = self.counts / np.maximum(n, 1)
        entropy = -np.sum(share * np.log2(np.where(share > 0, share, 1)), axis=1, keepdims=True)
        information = 2 - entropy - 3 / (2 * np.log(2) * np.maximum(n, 1))
        heights: npt.NDArray[np.float64] = share * np.maximum(np.where(n > 0, information, 0), 0)
        return heights


def count_bases(tracks: Tracks, thresholds: Mapping[str, float]) -> dict[str, Logo]:
    """The logo of each kind with a threshold, over all committed rows; reads every part once."""
    bins = ScoreBins(UNROUNDED if tracks.header.spec.exact else SPLICE_STEPS)
    logos = {kind: Logo(kind, WINDOWS[kind], _none(WINDOWS[kind]), 0, 0) for kind in thresholds}
    least = {kind: bins.keys(np.array([score], np.float32))[0] for kind, score in thresholds.items()}
    code = pl.col("ref").replace_strict(list(BASES), range(len(BASES)), return_dtype=pl.UInt8)
    for part in tracks.parts:
        rows = read_part(tracks, part, ["ref", *thresholds]).with_columns(code)
        run = rows["transcript_id"].rle_id().to_numpy() if "transcript_id" in rows.columns else np.zeros(len(rows))
        pos, ref = rows["pos"].to_numpy(), rows["ref"].to_numpy()
        for kind, logo in logos.items():
            called = np.flatnonzero(bins.keys(rows[kind].to_numpy()) >= least[kind])
            before, after = logo.window if part.key.strand == "+" else reversed(logo.window)
            first, last = called - before, called + after
            inside = (first >= 0) & (last < len(rows))
            first, last = first[inside], last[inside]
            whole = (pos[last] - pos[first] == before + after) & (run[last] == run[first])
            windows = ref[first[whole, None] + np.arange(before + after + 1)]
            if part.key.strand == "-":
                windows = np.where(windows == _N, _N, len(LETTERS) - 1 - windows)[:, ::-1]
            counts = np.stack([(windows == letter).sum(axis=0) for letter in range(len(LETTERS))], axis=1)
            partial = logo.partial + len(called) - len(windows)
            logos[kind] = Logo(kind, logo.window, logo.counts + counts, logo.called + len(called), partial)
    return logos


def _none(window: Window) -> npt.NDArray[np.int64]:
    return np.zeros((window.before + 1 + window.after, len(LETTERS)), np.int64)
