"""Bases around called sites -> base counts and information content, in transcription order.

In: a table, read part by part, and a threshold for each kind of site: a base is a called site when its score is at or
above it (`Ranking.threshold` gives that of the k highest).

Out: a `Logo` for each kind. Rows of strand `-` hold the plus strand's base, so their windows are reversed and
complemented. A window is read within one part: sites whose window crosses the end of the part, of the locus or of the
transcript are left out and counted (`partial`).

Information content of an offset, in bits (Schneider & Stephens 1990, Nucleic Acids Res 18:6097): 2 - (H + e), where
H = -sum f log2 f over the frequencies f of A, C, G and T (N does not count) and e = 3 / (2 ln 2 n) is their correction
for n sequences; a negative result counts as 0. A letter is f times that high. The background is taken to be uniform.

Errors: `InputError` for a part that cannot be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.evaluation.part_rows import read_part
from pipeline.evaluation.ranking import ScoreBins
from pipeline.tracks.reader import Tracks
from pipeline.tracks.schema import SPLICE_STEPS, UNROUNDED
from sptx_core.alphabet import BASES

LETTERS = "ACGT"
_N = BASES.index("N")


class Window(NamedTuple):
    """Numbers of bases shown before and after a site, in transcription order."""

    before: int
    after: int


WINDOWS = {"acceptor": Window(25, 5), "donor": Window(5, 12)}  # intron and exon; exon and intron


@dataclass(frozen=True, eq=False)
class Logo:
    """Base counts around the called sites of one kind.

    Attributes
    ----------
    kind : str
        "acceptor" or "donor".
    window : Window
        Bases shown before and after a site.
    counts : int64 [before + 1 + after, 4]
        Numbers of A, C, G and T at each offset.
    called : int
        Number of called sites.
    partial : int
        How many of these are left out because their window crosses an end.

    """

    kind: str
    window: Window
    counts: npt.NDArray[np.int64]
    called: int
    partial: int

    @classmethod
    def empty(cls, kind: str) -> Logo:
        """Make a logo of no sites, with the window of its kind."""
        window = WINDOWS[kind]
        return cls(kind, window, np.zeros((window.before + 1 + window.after, len(LETTERS)), np.int64), 0, 0)

    def offsets(self) -> range:
        """Offset from the site of each row of `counts`; the site has offset 0."""
        return range(-self.window.before, self.window.after + 1)

    def heights(self) -> npt.NDArray[np.float64]:
        """Height of A, C, G and T at each offset in bits, float64 [before + 1 + after, 4]."""
        n = self.counts.sum(axis=1, keepdims=True)
        share = self.counts / np.maximum(n, 1)
        entropy = -np.sum(share * np.log2(np.where(share > 0, share, 1)), axis=1, keepdims=True)
        information = 2 - entropy - 3 / (2 * np.log(2) * np.maximum(n, 1))
        heights: npt.NDArray[np.float64] = share * np.maximum(np.where(n > 0, information, 0), 0)
        return heights


def count_bases(tracks: Tracks, thresholds: Mapping[str, float]) -> dict[str, Logo]:
    """Count the bases around called sites over all committed parts, each of which is read once.

    Parameters
    ----------
    tracks : Tracks
        The table.
    thresholds : mapping of kind to float
        Lowest score of a called site.

    Returns
    -------
    dict of kind to Logo
        A logo for each kind in `thresholds`.

    Raises
    ------
    InputError
        A part cannot be read.

    """
    bins = ScoreBins(UNROUNDED if tracks.header.spec.exact else SPLICE_STEPS)
    # Bins and not scores are compared, so that float32 neighbours of a rounded threshold count as equal to it.
    lowest = {kind: bins.indices(np.array([score], np.float32))[0] for kind, score in thresholds.items()}
    logos = {kind: Logo.empty(kind) for kind in thresholds}
    code = pl.col("ref").replace_strict(list(BASES), range(len(BASES)), return_dtype=pl.UInt8)
    for part in tracks.parts:
        rows = read_part(tracks, part, ["ref", *thresholds]).with_columns(code)
        for kind, logo in logos.items():
            called = np.flatnonzero(bins.indices(rows[kind].to_numpy()) >= lowest[kind])
            windows = _windows_around(called, rows, logo.window, minus=part.key.strand == "-")
            counts = np.stack([(windows == letter).sum(axis=0) for letter in range(len(LETTERS))], axis=1)
            partial = logo.partial + len(called) - len(windows)
            logos[kind] = Logo(kind, logo.window, logo.counts + counts, logo.called + len(called), partial)
    return logos


def _windows_around(
    sites: npt.NDArray[np.intp], rows: pl.DataFrame, window: Window, *, minus: bool
) -> npt.NDArray[np.uint8]:
    """Base codes in transcription order around the rows `sites`, [n, bases]; windows that cross an end are omitted."""
    run = rows["transcript_id"].rle_id().to_numpy() if "transcript_id" in rows.columns else np.zeros(len(rows))
    pos, ref = rows["pos"].to_numpy(), rows["ref"].to_numpy()
    before, after = reversed(window) if minus else window
    first, last = sites - before, sites + after
    inside = (first >= 0) & (last < len(rows))
    first, last = first[inside], last[inside]
    whole = (pos[last] - pos[first] == before + after) & (run[last] == run[first])
    windows: npt.NDArray[np.uint8] = ref[first[whole, None] + np.arange(before + after + 1)]
    if minus:
        windows = np.where(windows == _N, _N, len(LETTERS) - 1 - windows)[:, ::-1]
    return windows
