"""Rows of a part and the true sites -> which rows count in which group, and which of them are true sites.

In: rows of one part, which lie on one strand of one contig, in stored order; positions are 1-based. Rows of every
biotype form a group, and all rows together form the group `ALL`.

Out, for each group and kind of site: the rows that are sites of the group, and the rows to leave out. Left out are
sites of that kind which only transcripts outside the group have: calling such a base is no error, but it is not a hit
of the group either. The remaining rows of the group are positions without a site.

With flanks: genomic, a base has one row. `ALL` holds all rows, the sites of every transcript count, and nothing is
left out. A biotype holds the bases within the spans of its transcripts, those of single-exon transcripts included.

With flanks: transcript, a base has a row for each transcript that holds it, and each row is one observation. Its true
sites are those of its own transcript, in `ALL` too. Rows of transcripts that the annotation does not name belong to no
group.
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
ALL = None  # `Group.biotype` of the group of all rows


class Group(NamedTuple):
    """Rows of one part that are judged together.

    Attributes
    ----------
    biotype : str or None
        Biotype of the transcripts that the rows belong to; `ALL` for the rows of every biotype.
    slices : tuple of (int, int)
        The rows of the group, as half-open ranges of row numbers of the part.
    sites : mapping of kind to int [n]
        Row numbers of the true sites of each kind.
    left_out : mapping of kind to int [n]
        Row numbers that do not count for a kind.

    """

    biotype: str | None
    slices: tuple[tuple[int, int], ...]
    sites: Mapping[str, Rows]
    left_out: Mapping[str, Rows]


class Labels(Protocol):
    """True sites of one strand of a contig, prepared to label the rows of its parts."""

    def groups(self, rows: pl.DataFrame) -> Iterator[Group]:
        """Label the rows of a part.

        Parameters
        ----------
        rows : DataFrame
            pos (int32, 1-based) and, with flanks: transcript, transcript_id, in stored order; at least one row.

        Yields
        ------
        Group
            `ALL` first, then the biotypes by name; groups without rows are omitted.

        """
        ...


def make_labels(truth: Truth, flanks: str, chrom: str, strand: str) -> Labels:
    """Prepare the true sites of one strand of a contig.

    Parameters
    ----------
    truth : Truth
        Sites and transcripts of the annotation.
    flanks : str
        Flanks of the table: "genomic" or "transcript".
    chrom, strand : str
        The contig, as the table names it, and "+" or "-".

    Returns
    -------
    Labels
        Labels for every part of that strand.

    """
    here = (pl.col("chrom") == chrom) & (pl.col("strand") == strand)
    sites, transcripts = truth.sites.filter(here), truth.transcripts.filter(here)
    return (GenomicLabels if flanks == "genomic" else TranscriptLabels)(sites, transcripts)


class GenomicLabels:
    """Labels of rows with ascending positions, each position once (flanks: genomic)."""

    def __init__(self, sites: pl.DataFrame, transcripts: pl.DataFrame) -> None:
        self.all_sites = _by_kind(sites)
        self.biotype_sites = {str(key[0]): _by_kind(group) for key, group in sites.group_by("biotype")}
        self.spans = {str(key[0]): _merged(group) for key, group in transcripts.group_by("biotype")}

    def groups(self, rows: pl.DataFrame) -> Iterator[Group]:
        """See `Labels.groups`."""
        pos = rows["pos"].to_numpy()
        all_sites = {kind: _rows_at(pos, self.all_sites[kind]) for kind in KINDS}
        nothing = dict.fromkeys(KINDS, np.empty(0, np.intp))
        yield Group(ALL, ((0, len(pos)),), all_sites, nothing)
        for biotype, (firsts, lasts) in sorted(self.spans.items()):
            starts, ends = np.searchsorted(pos, firsts, "left"), np.searchsorted(pos, lasts, "right")
            held = starts < ends
            if not held.any():
                continue
            starts, ends = starts[held], ends[held]
            positions = self.biotype_sites.get(biotype, {})
            sites = {kind: _rows_at(pos, positions[kind]) if positions else nothing[kind] for kind in KINDS}
            others = {kind: np.setdiff1d(_inside(all_sites[kind], starts, ends), sites[kind]) for kind in KINDS}
            yield Group(biotype, tuple(zip(starts.tolist(), ends.tolist(), strict=True)), sites, others)


class TranscriptLabels:
    """Labels of rows in runs, one a transcript, with ascending positions within a run (flanks: transcript)."""

    def __init__(self, sites: pl.DataFrame, transcripts: pl.DataFrame) -> None:
        self.all_sites = _by_kind(sites)
        self.transcript_sites = {str(key[0]): _by_kind(group) for key, group in sites.group_by("transcript_id")}
        self.biotypes = dict(transcripts.select("transcript_id", "biotype").iter_rows())

    def groups(self, rows: pl.DataFrame) -> Iterator[Group]:
        """See `Labels.groups`."""
        pos = rows["pos"].to_numpy()
        runs: dict[str, list[Group]] = defaultdict(list)
        start = 0
        for length, transcript in rows["transcript_id"].rle().struct.unnest().iter_rows():
            if transcript in self.biotypes:
                run = self._label_run(transcript, pos[start : start + length], start)
                runs[self.biotypes[transcript]].append(run)
            start += length
        if runs:
            yield _merge_runs(ALL, [run for group in runs.values() for run in group])
        for biotype, group in sorted(runs.items()):
            yield _merge_runs(biotype, group)

    def _label_run(self, transcript: str, pos: Positions, start: int) -> Group:
        """Label the rows of one transcript: their positions, and the row number of the first."""
        positions = self.transcript_sites.get(transcript)
        sites = {kind: _rows_at(pos, positions[kind]) if positions else np.empty(0, np.intp) for kind in KINDS}
        others = {kind: np.setdiff1d(_rows_at(pos, self.all_sites[kind]), sites[kind]) + start for kind in KINDS}
        slices = ((start, start + len(pos)),)
        return Group(self.biotypes[transcript], slices, {kind: sites[kind] + start for kind in KINDS}, others)


def _by_kind(sites: pl.DataFrame) -> dict[str, Positions]:
    """Positions of the sites of each kind, ascending, each once."""
    return {kind: np.unique(sites.filter(pl.col("kind") == kind)["pos"].to_numpy()) for kind in KINDS}


def _merged(spans: pl.DataFrame) -> tuple[Positions, Positions]:
    """First and last positions of the union of `spans`, ascending."""
    ordered = spans.select("first", "last").sort("first")
    firsts, reached = ordered["first"].to_numpy(), ordered["last"].cum_max().to_numpy()
    begins = np.concatenate([[True], firsts[1:] > reached[:-1]])
    return firsts[begins], reached[np.concatenate([begins[1:], [True]])]


def _rows_at(pos: Positions, sites: Positions) -> Rows:
    """Numbers of the rows whose position is one of `sites`; `pos` and `sites` ascend."""
    near = sites[(sites >= pos[0]) & (sites <= pos[-1])]
    rows: Rows = np.searchsorted(pos, near)
    found: Rows = rows[pos[rows] == near]
    return found


def _inside(rows: Rows, starts: Rows, ends: Rows) -> Rows:
    """The ascending row numbers `rows` that lie in one of the ranges [start, end)."""
    at: Rows = np.searchsorted(starts, rows, "right") - 1
    return rows[(at >= 0) & (rows < ends[at])]


def _merge_runs(biotype: str | None, runs: Sequence[Group]) -> Group:
    """Make one group of several runs of a part."""
    sites = {kind: np.concatenate([run.sites[kind] for run in runs]) for kind in KINDS}
    left_out = {kind: np.concatenate([run.left_out[kind] for run in runs]) for kind in KINDS}
    return Group(biotype, tuple(piece for run in runs for piece in run.slices), sites, left_out)
