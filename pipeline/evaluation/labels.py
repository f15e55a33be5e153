"""Rows of a part + truth -> which rows are held against which sites.

A part's rows lie on one strand of one contig. `all` holds them all; a biotype those that belong to its transcripts.
Of the rows that it holds, each group has its own sites of a kind, and leaves out the sites of that kind which only
others have: such a base is a splice site, so calling it is no error, but not one of the group's. What remains are
the positions that are no sites.

With flanks: genomic, a base is one row; `all` owns the sites of every transcript (nothing is left out), and a biotype
holds the bases inside the spans of its transcripts, single-exon ones too. With flanks: transcript, a base has a row in
each transcript that holds it, every row is an observation, and a row's own sites are those of its transcript, in `all`
too. Rows of transcripts that the annotation does not name cannot be judged and belong to no group.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.evaluation.truth import Truth
from pipeline.inputs.splice_sites import KINDS

Rows = npt.NDArray[np.intp]
Positions = npt.NDArray[np.int32]
ByKind = Mapping[str, Positions]
ALL = None  # the group of everything, beside the biotypes


class Group(NamedTuple):
    """Rows that a biotype (or `ALL`) holds, as slices, and by kind its own sites and those left out, as rows."""

    biotype: str | None
    slices: tuple[tuple[int, int], ...]
    own: Mapping[str, Rows]
    left_out: Mapping[str, Rows]


class Labels(Protocol):
    """The truth of one strand of a contig, ready to be held against parts of it."""

    def groups(self, rows: pl.DataFrame) -> Iterator[Group]:
        """The groups of a part's `rows` (pos, and transcript_id where rows have one), in stored order."""
        ...


def labels_of(truth: Truth, flanks: str, chrom: str, strand: str) -> Labels:
    """The labels of one strand of a contig, for a table with these flanks."""
    here = (pl.col("chrom") == chrom) & (pl.col("strand") == strand)
    sites, transcripts = truth.sites.filter(here), truth.transcripts.filter(here)
    return (GenomicLabels if flanks == "genomic" else TranscriptLabels)(sites, transcripts)


class GenomicLabels:
    """Labels of rows that ascend by position, each once."""

    def __init__(self, sites: pl.DataFrame, transcripts: pl.DataFrame) -> None:
        self.known = _by_kind(sites)
        self.biotypes = {str(key[0]): _by_kind(group) for key, group in sites.group_by("biotype")}
        self.spans = {str(key[0]): _merged(group) for key, group in transcripts.group_by("biotype")}

    def groups(self, rows: pl.DataFrame) -> Iterator[Group]:
        """See `Labels`."""
        pos = rows["pos"].to_numpy()
        known = {kind: _rows_at(pos, self.known[kind]) for kind in KINDS}
        nothing = dict.fromkeys(KINDS, np.empty(0, np.intp))
        yield Group(ALL, ((0, len(pos)),), known, nothing)
        for biotype, (firsts, lasts) in sorted(self.spans.items()):
            starts, ends = np.searchsorted(pos, firsts, "left"), np.searchsorted(pos, lasts, "right")
            held = starts < ends
            if not held.any():
                continue
            starts, ends = starts[held], ends[held]
            sites = self.biotypes.get(biotype, {})
            own = {kind: _rows_at(pos, sites[kind]) if sites else nothing[kind] for kind in KINDS}
            others = {kind: np.setdiff1d(_inside(known[kind], starts, ends), own[kind]) for kind in KINDS}
            yield Group(biotype, tuple(zip(starts.tolist(), ends.tolist(), strict=True)), own, others)


class TranscriptLabels:
    """Labels of rows in runs of a transcript, each ascending by position."""

    def __init__(self, sites: pl.DataFrame, transcripts: pl.DataFrame) -> None:
        self.known = _by_kind(sites)
        self.sites = {str(key[0]): _by_kind(group) for key, group in sites.group_by("transcript_id")}
        self.biotypes = dict(transcripts.select("transcript_id", "biotype").iter_rows())

    def groups(self, rows: pl.DataFrame) -> Iterator[Group]:
        """See `Labels`."""
        pos = rows["pos"].to_numpy()
        runs: dict[str, list[Group]] = defaultdict(list)
        start = 0
        for length, transcript in rows["transcript_id"].rle().struct.unnest().iter_rows():
            if transcript in self.biotypes:
                run = self._run(transcript, pos[start : start + length], start)
                runs[self.biotypes[transcript]].append(run)
            start += length
        if runs:
            yield _together(ALL, [run for group in runs.values() for run in group])
        for biotype, group in sorted(runs.items()):
            yield _together(biotype, group)

    def _run(self, transcript: str, pos: Positions, start: int) -> Group:
        """One transcript's rows, `pos` theirs, the first being the part's row `start`."""
        sites = self.sites.get(transcript)
        own = {kind: _rows_at(pos, sites[kind]) if sites else np.empty(0, np.intp) for kind in KINDS}
        others = {kind: np.setdiff1d(_rows_at(pos, self.known[kind]), own[kind]) + start for kind in KINDS}
        slices = ((start, start + len(pos)),)
        return Group(self.biotypes[transcript], slices, {kind: own[kind] + start for kind in KINDS}, others)


def _by_kind(sites: pl.DataFrame) -> dict[str, Positions]:
    """Positions of the sites of each kind, ascending, each once."""
    return {kind: np.unique(sites.filter(pl.col("kind") == kind)["pos"].to_numpy()) for kind in KINDS}


def _merged(spans: pl.DataFrame) -> tuple[Positions, Positions]:
    """First and last positions of the stretches that `spans` cover together, ascending."""
    ordered = spans.select("first", "last").sort("first")
    firsts, reached = ordered["first"].to_numpy(), ordered["last"].cum_max().to_numpy()
    begins = np.concatenate([[True], firsts[1:] > reached[:-1]])
    return firsts[begins], reached[np.concatenate([begins[1:], [True]])]


def _rows_at(pos: Positions, sites: Positions) -> Rows:
    """Rows whose position is one of the `sites`; both ascend."""
    near = sites[(sites >= pos[0]) & (sites <= pos[-1])]
    rows: Rows = np.searchsorted(pos, near)
    found: Rows = rows[pos[rows] == near]
    return found


def _inside(rows: Rows, starts: Rows, ends: Rows) -> Rows:
    """Those of ascending `rows` that lie in one of the slices."""
    at: Rows = np.searchsorted(starts, rows, "right") - 1
    return rows[(at >= 0) & (rows < ends[at])]


def _together(biotype: str | None, runs: Sequence[Group]) -> Group:
    """Runs of one part as one group."""
    own = {kind: np.concatenate([run.own[kind] for run in runs]) for kind in KINDS}
    left_out = {kind: np.concatenate([run.left_out[kind] for run in runs]) for kind in KINDS}
    return Group(biotype, tuple(piece for run in runs for piece in run.slices), own, left_out)
