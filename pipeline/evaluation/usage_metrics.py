"""Predicted and measured usage of the same splice sites -> their correlations by tissue.

In: the parts of a table, one by one (`UsageComparison.read`), of which only the rows at measured sites are kept; a
usage table (`pipeline.inputs.usage`); the true sites.

Out: `UsageMetrics`. Compared are the sites (contig, strand, position, kind) that annotation, table and usage table
have in common, each once: with flanks: transcript, by the mean of the predictions in the transcripts that have the
site. How correlations are defined: `pipeline.evaluation.correlation`; those of alternative sites,
`pipeline.evaluation.alternative`.

Errors: `InputError` for a usage table that has no tissue or no contig in common with the table.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from pipeline.coordinates import shortened
from pipeline.evaluation.alternative import AlternativeUsage, alternative_sites, compare_alternative
from pipeline.evaluation.correlation import Correlation, Floats, correlate
from pipeline.evaluation.part_rows import read_part
from pipeline.evaluation.truth import Truth
from pipeline.tracks.reader import ShardPart, Tracks
from pipeline.tracks.schema import USAGE_STEPS
from sptx_core.channels import SPLICE
from sptx_core.errors import InputError

_SITE = ["chrom", "strand", "pos", "kind"]
_MEASURED = " measured"  # suffix of a measured column beside the predicted one
_DECIMALS = 9  # of a mean over transcripts: the order of the summands must not break a tie


class UsageMetrics(NamedTuple):
    """Agreement of predicted with measured usage; the field names are keys of `evaluation.json`.

    Attributes
    ----------
    given : int
        Number of sites in the usage table.
    annotated : int
        How many of these the annotation has.
    compared : int
        How many of these the table holds.
    ignored : tuple of str
        Columns of the usage table that are no tissue of the table.
    by_tissue : tuple of Correlation
        Correlations of each tissue that both have, and of "all" of them.
    alternative : AlternativeUsage or None
        Differences between tissues at the compared sites that some transcripts skip; None without a compared site.

    """

    given: int
    annotated: int
    compared: int
    ignored: tuple[str, ...]
    by_tissue: tuple[Correlation, ...]
    alternative: AlternativeUsage | None = None


class UsageComparison:
    """Collects the predictions at measured sites, part by part.

    Parameters
    ----------
    tracks : Tracks
        The table.
    truth : Truth
        The true sites.
    usage : DataFrame
        Measured usage, as `pipeline.inputs.usage.read_usage` returns it.

    Raises
    ------
    InputError
        The usage table has no tissue or no contig in common with the table.

    """

    def __init__(self, tracks: Tracks, truth: Truth, usage: pl.DataFrame) -> None:
        columns = [name for name in usage.columns if name not in (*_SITE, "contig")]
        stored = [name for name in tracks.channels if name not in SPLICE]
        self.tracks = tracks
        self.tissues = [name for name in stored if name in columns]
        if not stored:
            raise InputError(f"{tracks.store.uri()} holds no usage by tissue that could be compared: leave --usage out")
        if not self.tissues:
            raise InputError(
                f"the usage table has no tissue of the tracks: it has {shortened(columns)}, they have "
                f"{shortened(stored)}"
            )
        contigs = tracks.contigs_of(usage["contig"].unique(maintain_order=True).to_list())
        if not contigs:
            raise InputError(
                f"the usage table has no contig of the tracks: it has {shortened(usage['contig'].unique().to_list())}, "
                f"they have {shortened(tracks.contigs['chrom'].to_list())}"
            )
        self.ignored = tuple(name for name in columns if name not in self.tissues)
        self._measured = usage.with_columns(pl.col("contig").replace(contigs).alias("chrom"))
        row_key = [*(["transcript_id"] if tracks.header.schema.by_transcript else []), *_SITE]
        measured_sites = self._measured.select(_SITE)
        self._wanted = truth.sites.select(row_key).unique().join(measured_sites, on=_SITE, how="semi")
        self._alternative = alternative_sites(truth)
        self._predicted: list[pl.DataFrame] = []

    def read(self, part: ShardPart) -> None:
        """Read the predictions of a part at measured sites.

        Parameters
        ----------
        part : ShardPart
            A part of the table, given once.

        Raises
        ------
        InputError
            The part cannot be read.

        """
        key = part.key
        within = pl.col("pos").is_between(key.first, key.last)
        wanted = self._wanted.filter((pl.col("chrom") == key.chrom) & (pl.col("strand") == key.strand) & within)
        if not wanted.is_empty():
            on = [name for name in wanted.columns if name != "kind"]
            rows = read_part(self.tracks, part, self.tissues, at=wanted.select(on).unique())
            self._predicted.append(rows.join(wanted, on=on))

    def metrics(self) -> UsageMetrics:
        """Compare the predictions read so far with the measurements."""
        counts = len(self._measured), self._wanted.select(_SITE).n_unique()
        if not self._predicted:
            nothing = np.empty((0, len(self.tissues)))
            return UsageMetrics(*counts, 0, self.ignored, correlate(self.tissues, nothing, nothing))
        values = [pl.col(name).cast(pl.Float64) for name in self.tissues]
        if not self.tracks.header.spec.exact:
            # A rounded value becomes the decimal that it stands for: float32 neighbours of it would break ties.
            values = [(value * USAGE_STEPS).round() / USAGE_STEPS for value in values]
        rows = pl.concat(self._predicted).with_columns(values)
        sites = rows.group_by(_SITE).agg(pl.col(self.tissues).mean().round(_DECIMALS))
        both = sites.join(self._measured, on=_SITE, suffix=_MEASURED).sort(_SITE)
        predicted, measured = self._values(both)
        by_tissue = correlate(self.tissues, predicted, measured)
        alternative = compare_alternative(*self._values(both.join(self._alternative, on=_SITE, how="semi")))
        return UsageMetrics(*counts, len(both), self.ignored, by_tissue, alternative)

    def _values(self, both: pl.DataFrame) -> tuple[Floats, Floats]:
        """Predicted and measured usage, float64 [sites, tissues]."""
        predicted = both.select(self.tissues).to_numpy()
        return predicted, both.select(name + _MEASURED for name in self.tissues).to_numpy()
