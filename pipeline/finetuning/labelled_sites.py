"""Transcripts and measured usage -> splice sites with their labels, and genes, at absolute positions.

In: frames of transcripts (0-based, half-open genomic coordinates; chrom named as in the FASTA) and of usage (1-based
positions). Out: `Sites` and `Genes`.

Labels of a site: 1 (acceptor) or 2 (donor) if a selected transcript has it; `UNLABELLED`, which the loss leaves out, if
only unselected transcripts have it or if the base is both acceptor and donor. Usage is NaN where the usage table has no
value for the site and the kind that it is labelled with.

Absolute positions (`StrandLayout`) count along both strands of all contigs laid end to end, so that one sorted array
can be searched for sites of any contig and strand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.inputs.splice_sites import splice_sites
from sptx_core.channels import SPLICE
from sptx_core.losses import UNLABELLED

Ints = NDArray[np.int64]
STRANDS = ("+", "-")


@dataclass(frozen=True, eq=False)
class Sites:
    """Splice sites of all strands, sorted by position.

    Attributes
    ----------
    absolute : int64 [n]
        Absolute positions, ascending.
    label : int64 [n]
        1 acceptor, 2 donor, or `UNLABELLED`.
    usage : float32 [n, tissues]
        Measured usage in [0, 1], NaN where unknown.

    """

    absolute: Ints
    label: Ints
    usage: NDArray[np.float32]

    def within(self, genes: Genes) -> Sites:
        """Sites that lie in one of the genes, on its strand."""
        change = np.zeros(len(self.absolute) + 1, dtype=np.int64)
        np.add.at(change, np.searchsorted(self.absolute, genes.absolute), 1)
        np.add.at(change, np.searchsorted(self.absolute, genes.absolute + genes.end - genes.start), -1)
        inside = np.cumsum(change)[:-1] > 0
        return Sites(self.absolute[inside], self.label[inside], self.usage[inside])


@dataclass(frozen=True, eq=False)
class Genes:
    """Genes of the training, the validation or the test.

    Attributes
    ----------
    contig : tuple of str
        Contig of each gene, named as in the FASTA.
    minus : bool [n]
        Whether it lies on the minus strand.
    start, end : int64 [n]
        Its span, 0-based, half-open.
    absolute : int64 [n]
        Absolute position of the base at `start`.

    """

    contig: tuple[str, ...]
    minus: NDArray[np.bool_]
    start: Ints
    end: Ints
    absolute: Ints

    def __len__(self) -> int:
        return len(self.start)

    @property
    def bases(self) -> int:
        """Sum of the lengths of the genes."""
        return int((self.end - self.start).sum())


class StrandLayout:
    """Absolute positions: both strands of all contigs laid end to end.

    Parameters
    ----------
    lengths : mapping of str to int
        Length of each contig in bases, in the order of the FASTA.

    Attributes
    ----------
    starts : dict of (str, str) to int
        Contig and strand -> absolute position of its first base.

    """

    def __init__(self, lengths: Mapping[str, int]) -> None:
        names = [(contig, strand) for contig in lengths for strand in STRANDS]
        ends = np.cumsum([lengths[contig] for contig, _ in names])
        self.starts = dict(zip(names, (ends - [lengths[contig] for contig, _ in names]).tolist(), strict=True))

    def absolute(self, frame: pl.DataFrame, position: str) -> Ints:
        """Absolute positions of the rows of a frame.

        Parameters
        ----------
        frame : DataFrame
            Has chrom, strand and the column `position`.
        position : str
            Name of a column of 0-based positions.

        Returns
        -------
        int64 [rows]
            The absolute positions.

        """
        starts = pl.DataFrame(
            [(*name, start) for name, start in self.starts.items()],
            schema={"chrom": pl.String, "strand": pl.String, "strand_start": pl.Int64},
            orient="row",
        )
        joined = frame.join(starts, on=["chrom", "strand"], how="left", maintain_order="left")
        return (joined["strand_start"] + joined[position].cast(pl.Int64)).to_numpy()


def make_sites(
    annotated: pl.DataFrame,
    selected: pl.DataFrame,
    usage: pl.DataFrame | None,
    tissues: tuple[str, ...],
    layout: StrandLayout,
) -> Sites:
    """Label the splice sites of an annotation.

    Parameters
    ----------
    annotated : DataFrame
        All transcripts: transcript_id, chrom, strand, exon_starts, exon_ends.
    selected : DataFrame
        The transcripts among them whose sites are labelled: transcript_id.
    usage : DataFrame or None
        chrom, strand, kind, pos (int32, 1-based) and columns of tissues.
    tissues : tuple of str
        Tissues of the network; those that `usage` lacks are unknown.
    layout : StrandLayout
        Absolute positions.

    Returns
    -------
    Sites
        Sites of all transcripts.

    """
    is_selected = pl.col("transcript_id").is_in(selected["transcript_id"].implode())
    kinds = pl.col("kind").filter("selected").unique()
    sites = (
        splice_sites(annotated.with_columns(pl.lit("").alias("biotype")))
        .with_columns(is_selected.alias("selected"))
        .group_by("chrom", "strand", "pos")
        .agg(kinds.alias("kinds"))
        .with_columns(
            pl.when(pl.col("kinds").list.len() == 1).then(pl.col("kinds").list.first()).alias("kind"),
            (pl.col("pos") - 1).alias("position"),
        )
    )
    sites = sites.with_columns(pl.Series("absolute", layout.absolute(sites, "position"))).sort("absolute")
    values = np.full((len(sites), len(tissues)), np.nan, dtype=np.float32)
    if usage is not None:
        keys = ["chrom", "strand", "kind", "pos"]
        joined = sites.select(keys).join(usage, on=keys, how="left", maintain_order="left")
        for column, tissue in enumerate(tissues):
            if tissue in usage.columns:
                values[:, column] = joined[tissue].to_numpy()
    labels = {kind: SPLICE.index(kind) for kind in SPLICE[1:]}
    label = sites["kind"].replace_strict(labels, default=UNLABELLED, return_dtype=pl.Int64)
    return Sites(sites["absolute"].to_numpy(), label.to_numpy(), values)


def make_genes(selected: pl.DataFrame, layout: StrandLayout) -> Genes:
    """Join transcripts to genes.

    Parameters
    ----------
    selected : DataFrame
        Transcripts: chrom, strand, gene_id, start, end (0-based, half-open).
    layout : StrandLayout
        Absolute positions.

    Returns
    -------
    Genes
        Spans of the genes, sorted by contig, position and strand.

    """
    spans = (
        selected.group_by("chrom", "strand", "gene_id", maintain_order=True)
        .agg(pl.col("start").min(), pl.col("end").max())
        .sort("chrom", "start", "end", "strand", "gene_id")
    )
    minus = (spans["strand"] == "-").to_numpy()
    bounds = [spans[name].to_numpy().astype(np.int64) for name in ("start", "end")]
    return Genes(tuple(spans["chrom"]), minus, bounds[0], bounds[1], layout.absolute(spans, "start"))
