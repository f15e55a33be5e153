"""Scores of a table and the true sites -> metrics of acceptors and donors, in all, by contig and by biotype.

In: the parts of a table, contig by contig (`SiteCounter.count_contig`); three columns of one part are in memory at a
time, and histograms of scores for each biotype.

Out: `SiteMetrics`. For acceptors, donors are positions without a site, and the other way round. What a metric means:
`pipeline.evaluation.ranking`; which rows count: `pipeline.evaluation.labels`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.evaluation.labels import ALL, Group, make_labels
from pipeline.evaluation.part_rows import read_part
from pipeline.evaluation.ranking import TOP_FACTORS, Ranking, ScoreBins
from pipeline.evaluation.truth import Truth
from pipeline.inputs.splice_sites import KINDS
from pipeline.tracks.reader import ShardPart, Tracks
from pipeline.tracks.schema import SPLICE_STEPS, UNROUNDED


class SiteMetrics(NamedTuple):
    """Metrics of one kind of site in the whole table, a contig or a biotype.

    The field names are keys of `evaluation.json`. A metric that is not defined is None.

    Attributes
    ----------
    kind : str
        "acceptor" or "donor".
    by, name : str
        "contig" or "biotype" and its name; "all" and "all" for the whole table.
    positions : int
        Number of rows that count, true sites included.
    sites : int
        Number of true sites among them.
    outside : int
        Number of true sites of the annotation that the table does not hold.
    top_k : dict of float to (float or None)
        Factor f -> top-f·k accuracy.
    threshold : float or None
        Score of the k-th highest position, where k is `sites`.
    auprc : float or None
        Average precision.

    """

    kind: str
    by: str
    name: str
    positions: int
    sites: int
    outside: int
    top_k: dict[float, float | None]
    threshold: float | None
    auprc: float | None


class SiteCounter:
    """Counts the positions of a table by score: all of them, and those of each contig and biotype.

    Parameters
    ----------
    tracks : Tracks
        The table.
    truth : Truth
        The true sites.

    Attributes
    ----------
    overall : dict of kind to Ranking
        All positions counted so far.
    rows, unjudged : int
        Rows read so far, and those of them whose transcript the annotation does not name.

    """

    def __init__(self, tracks: Tracks, truth: Truth) -> None:
        self.tracks, self.truth = tracks, truth
        schema = tracks.header.schema
        self.bins = ScoreBins(UNROUNDED if schema.spec.exact else SPLICE_STEPS)
        self.flanks = schema.spec.flanks
        self.overall = self._empty()
        self.rows = self.unjudged = 0
        self._biotypes: dict[str, dict[str, Ranking]] = {}
        self._contigs: list[SiteMetrics] = []
        # What makes a site of its own: a base, or with rows by transcript a base of a transcript.
        self._site_key = [*(["transcript_id"] if self.flanks == "transcript" else []), "chrom", "strand", "pos", "kind"]

    def count_contig(self, chrom: str, parts: Iterable[ShardPart]) -> None:
        """Count the positions of a contig.

        Parameters
        ----------
        chrom : str
            The contig, as the table names it.
        parts : iterable of ShardPart
            All its committed parts; those of one strand follow each other.

        Raises
        ------
        InputError
            A part cannot be read.

        """
        rankings = self._empty()
        for strand, of_strand in groupby(parts, key=lambda part: part.key.strand):
            labels = make_labels(self.truth, self.flanks, chrom, strand)
            for part in of_strand:
                rows = read_part(self.tracks, part, KINDS)
                bins = {kind: self.bins.indices(rows[kind].to_numpy()) for kind in KINDS}
                judged = 0
                for group in labels.groups(rows):
                    if group.biotype is ALL:
                        judged = sum(end - start for start, end in group.slices)
                        targets = rankings
                    else:
                        targets = self._biotypes.setdefault(group.biotype, self._empty())
                    _count(targets, bins, group)
                self.rows += len(rows)
                self.unjudged += len(rows) - judged
        sites = self.truth.sites.filter(pl.col("chrom") == chrom)
        for kind in KINDS:
            self._contigs.append(self._metrics(kind, "contig", chrom, rankings[kind], sites))
            self.overall[kind].add(rankings[kind])

    def metrics(self) -> tuple[SiteMetrics, ...]:
        """Metrics of all counted positions.

        Returns
        -------
        tuple of SiteMetrics
            The whole table, then the contigs as they were counted, then the biotypes by descending number of sites;
            each as acceptors and donors.

        """
        everything = [self._metrics(kind, "all", "all", self.overall[kind], self.truth.sites) for kind in KINDS]
        biotypes = []
        for name in sorted(self._biotypes, key=self._by_size):
            sites = self.truth.sites.filter(pl.col("biotype") == name)
            biotypes += [self._metrics(kind, "biotype", name, self._biotypes[name][kind], sites) for kind in KINDS]
        return (*everything, *self._contigs, *biotypes)

    def _by_size(self, biotype: str) -> tuple[int, str]:
        """Sort key: biotypes with the most true sites first, then by name."""
        return -sum(self._biotypes[biotype][kind].n_sites for kind in KINDS), biotype

    def _metrics(self, kind: str, by: str, name: str, ranking: Ranking, sites: pl.DataFrame) -> SiteMetrics:
        annotated = sites.filter(pl.col("kind") == kind).select(self._site_key).n_unique()
        top_k = {factor: ranking.top_k(factor) for factor in TOP_FACTORS}
        counts = ranking.n_positions, ranking.n_sites, annotated - ranking.n_sites
        return SiteMetrics(kind, by, name, *counts, top_k, ranking.threshold(), ranking.average_precision())

    def _empty(self) -> dict[str, Ranking]:
        return {kind: Ranking.empty(self.bins) for kind in KINDS}


def _count(targets: Mapping[str, Ranking], bins: Mapping[str, npt.NDArray[np.int64]], group: Group) -> None:
    """Count the rows of a group; `bins` has the bin of each row of the part by kind."""
    for kind, ranking in targets.items():
        count = ranking.bins.count
        held = [bins[kind][start:end] for start, end in group.slices]
        others = np.bincount(held[0] if len(held) == 1 else np.concatenate(held), minlength=count).astype(np.int64)
        for rows in (group.sites[kind], group.left_out[kind]):
            others -= np.bincount(bins[kind][rows], minlength=count)
        ranking.count(bins[kind][group.sites[kind]], others)
