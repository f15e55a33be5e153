"""What a report tells, as numbers: the tables and figures of `pipeline.reporting.page` are drawn from these.

A site is a position, strand and kind. It is *called* if its score reaches the threshold, and *annotated* if a
transcript has it and the table has a row at its position. In a table with flanks: transcript, where a base has a row
for each transcript, a site counts once, with the row of its greatest score. Scores are those of the table of sites,
unrounded; usage is rounded to the steps of the tracks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.batch.history import Start
from pipeline.batch.record import RunRecord

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Usage:
    """Usage by tissue at the called sites.

    Attributes
    ----------
    tissues : tuple of str
        In the order of the table.
    sites : int
        Called sites.
    quantiles : float64 [tissues, len(QUANTILES)]
        Of usage in steps of 0.001; each is the value of a site (the lower one where a quantile lies between two). NaN
        without a site.
    correlation : float64 [tissues, tissues]
        Pearson's correlation of usage in steps of 0.001; NaN where it is not defined.
    used : int
        Called sites that at least one tissue uses, from `pipeline.tracks.site_choice.MIN_USAGE` on; tau is counted of
        these alone.
    tau : int64 [20]
        Their number by tau, in bins of 0.05; the last one holds 1.
    specific : dict
        Tissue -> sites with tau from `pipeline.tracks.specificity.SPECIFIC` on that it uses most.
    most_specific : polars.DataFrame
        Used sites of the greatest tau: chrom, strand, pos, kind, score, annotated, genes, tissue, usage, others (the
        mean of the other tissues), tau.
    """

    tissues: tuple[str, ...]
    sites: int
    quantiles: Floats
    correlation: Floats
    used: int
    tau: Ints
    specific: Mapping[str, int]
    most_specific: pl.DataFrame


@dataclass(frozen=True)
class Findings:
    """All numbers of a report.

    Attributes
    ----------
    name : str
        The table's, without the folders that it lies in.
    unfinished : str
        What is missing of it in a few words; empty when nothing is.
    threshold : float
        Least score of a called site.
    named_by : str
        Whose transcripts decide what is annotated, in a few words.
    coverage : polars.DataFrame
        chrom, length, strand, planned and computed (rows), in the order of the table.
    scores : polars.DataFrame
        kind, low, high, rows: how many rows have a score from `low` on and below `high`; 1 is in the last bin. The
        first bin, from 0 to the threshold of the table of sites, is what the others leave of all rows.
    sites : polars.DataFrame
        kind, motif (null where the bases are not known), called, annotated, sites.
    without_row : int
        Annotated sites for which the table has no row, which count nowhere else.
    biotypes : polars.DataFrame
        biotype, annotated (sites of such transcripts), called (of these), novel (called sites that are not annotated
        and lie between the ends of such a transcript). A site counts for each biotype that has it.
    usage : Usage or None
        None for a network without tissues.
    history : tuple of Start
        How long each start of the run computed, as far as it is recorded.
    record : RunRecord
        What defines the run, and how it began to be executed.
    executions : dict
        How parts were computed -> how many of the parts that were looked at.
    parts : int
        Committed shards.
    tracks_bytes : int
        Bytes of the tracks' parts.
    sites_bytes : int or None
        Bytes of the sites' parts; None where no manifest says it.
    by_transcript : bool
        Whether rows belong to transcripts.
    """

    name: str
    unfinished: str
    threshold: float
    named_by: str
    coverage: pl.DataFrame
    scores: pl.DataFrame
    sites: pl.DataFrame
    without_row: int
    biotypes: pl.DataFrame
    usage: Usage | None
    record: RunRecord
    history: tuple[Start, ...]
    executions: Mapping[str, int]
    parts: int
    tracks_bytes: int
    sites_bytes: int | None
    by_transcript: bool

    @property
    def rows(self) -> int:
        """Rows of the committed parts."""
        return int(self.coverage["computed"].sum())

    def count(self, *, called: bool | None = None, annotated: bool | None = None, kind: str | None = None) -> int:
        """Sites that are so."""
        frame = self.sites
        for column, value in (("called", called), ("annotated", annotated), ("kind", kind)):
            if value is not None:
                frame = frame.filter(pl.col(column) == value)
        return int(frame["sites"].sum())
