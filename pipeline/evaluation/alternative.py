"""Sites that some transcripts use and others skip: how far a network tells them apart by tissue.

Tissues differ mostly where exons are skipped. A network can predict such differences without having read a single
regulator: it gives every skipped exon the mean profile over tissues, which it learns from their labels alone. So three
things are compared with the measured tissue-specific parts (`pipeline.evaluation.correlation`) of alternative sites:

    network    the predicted tissue-specific parts
    profile    the mean profile in their place, the same for all of these sites
    beyond     the predicted and the measured values, both less a mean of each site and of each tissue, so that a
               profile that all sites share counts nothing

Means of sites and of tissues are fitted together by least squares, because not every site is measured in every tissue;
those of the tissues are the mean profile.

A network that has learned regulators has a `network` well above `profile`, and a `beyond` above 0.

In: sites and transcripts of an annotation; usage as float64 [sites, tissues] in [0, 1], NaN where it was not measured.
Out: the alternative sites; an `AlternativeUsage`. A correlation that is not defined is None.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.evaluation.correlation import Floats, pearson, spearman, specific_part
from pipeline.evaluation.truth import Truth

_SITE = ["chrom", "strand", "pos", "kind"]
_DECIMALS = 9  # of what remains: where nothing does, rounding must leave no order
_MAX_ROUNDS, _CONVERGED = 1_000, 1e-12  # a few dozen are enough unless nearly nothing is measured
_GENE_STRIDE = 1 << 32  # more than any position: positions of a gene lie apart from those of all others


class AlternativeUsage(NamedTuple):
    """Correlations over the alternative sites; the field names are keys of `evaluation.json`.

    Attributes
    ----------
    sites : int
        Number of alternative sites measured in at least two tissues.
    pairs : int
        Number of their (site, tissue) pairs with a measured value.
    network_spearman, network_pearson : float or None
        Of the predicted with the measured tissue-specific parts.
    profile_spearman, profile_pearson : float or None
        Of the mean profile with them.
    beyond_spearman, beyond_pearson : float or None
        Of both after means of sites and of tissues are subtracted.

    """

    sites: int
    pairs: int
    network_spearman: float | None
    network_pearson: float | None
    profile_spearman: float | None
    profile_pearson: float | None
    beyond_spearman: float | None
    beyond_pearson: float | None


def alternative_sites(truth: Truth) -> pl.DataFrame:
    """List the sites that a transcript of their gene lacks although it lies on both sides of them.

    Parameters
    ----------
    truth : Truth
        Sites and transcripts of an annotation.

    Returns
    -------
    polars.DataFrame
        chrom, strand, pos and kind, each site once, in no order.

    """
    spans = truth.transcripts.with_columns(gene=pl.struct("gene_id", "chrom", "strand").rank("dense").cast(pl.Int64))
    with_site = truth.sites.join(spans.select("transcript_id", "gene", "first", "last"), on="transcript_id")
    within = with_site.filter(pl.col("pos").is_between("first", "last", closed="none"))
    having = within.group_by("gene", *_SITE).agg(pl.col("transcript_id").n_unique().alias("having"))

    def keys(frame: pl.DataFrame, column: str) -> np.ndarray:
        return (frame["gene"] * _GENE_STRIDE + frame[column].cast(pl.Int64)).to_numpy()

    places = keys(having, "pos")
    begun = np.searchsorted(np.sort(keys(spans, "first")), places, side="left")
    ended = np.searchsorted(np.sort(keys(spans, "last")), places, side="right")
    lacked = begun - ended > having["having"].to_numpy()
    return having.filter(pl.Series(lacked)).select(_SITE).unique()


def compare_alternative(predicted: Floats, measured: Floats) -> AlternativeUsage:
    """Compare predicted and measured usage of alternative sites.

    Parameters
    ----------
    predicted : float64 [sites, tissues]
        Predicted usage, without NaN.
    measured : float64 [sites, tissues]
        Measured usage, NaN where unknown.

    Returns
    -------
    AlternativeUsage

    """
    predicted_part, measured_part = specific_part(predicted, measured)
    known = ~np.isnan(measured_part)
    profile, measured_rest = _without_means(measured, known)
    _, predicted_rest = _without_means(predicted, known)
    profile_part, _ = specific_part(np.broadcast_to(profile, measured.shape), measured)
    compared = (predicted_part, measured_part), (profile_part, measured_part), (predicted_rest, measured_rest)
    found = [of(first[known], second[known]) for first, second in compared for of in (spearman, pearson)]
    return AlternativeUsage(int(known.any(axis=1).sum()), int(known.sum()), *found)


def _without_means(values: Floats, known: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Fit means of sites and of tissues to the known values; return those of tissues, and what remains of the values.

    The two are fitted in turn until neither changes, which leads to the least squares of both.
    """
    values = np.where(known, values, 0)
    by_site, by_tissue = np.maximum(known.sum(axis=1, keepdims=True), 1), np.maximum(known.sum(axis=0), 1)
    tissues, rest = np.zeros(values.shape[1]), values
    for _ in range(_MAX_ROUNDS):
        rest = values - tissues
        rest = np.where(known, rest - np.where(known, rest, 0).sum(axis=1, keepdims=True) / by_site, 0)
        change = rest.sum(axis=0) / by_tissue
        tissues = tissues + change
        if np.abs(change).max(initial=0) < _CONVERGED:
            break
    return tissues, np.round(rest, _DECIMALS)
