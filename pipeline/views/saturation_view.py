"""What the map of a saturation shows: what each single-base change of a stretch does, and the sites of its gene.

In: a table of `sptx saturate` (or of `sptx variants`, where cells without a variant stay empty), a gene or a region,
and optionally an annotation. Out: a `SaturationView` of one gene. Positions are 1-based; bases are those of the plus
strand, whatever the gene's.

The gain of a change is the larger of its acceptor's and its donor's, and so is the loss (`ds_*` of the table). Both are
kept, because a change may break one site and make another.

Where a place has changes of several genes or strands, the gene with the most of them is shown, which is reported.

Errors: `InputError` for a place without scored single-base changes, more than `MAX_POSITIONS` of them, and an
annotation that lacks the contig.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.coordinates import shortened
from pipeline.inputs.annotation import Annotation
from pipeline.variants.alleles import Status
from pipeline.variants.reader import Variants
from pipeline.views.gene_models import Models, is_gene, models_of
from sptx_core.errors import InputError

BASES = "ACGT"
MAX_POSITIONS = 3_000


@dataclass(frozen=True)
class SaturationView:
    """What a map shows.

    Attributes
    ----------
    name : str
        What was asked for.
    gene : str
        The gene's name; empty where changes touch none.
    chrom, strand : str
    first, last : int
        The bases shown.
    reference : str
        A letter for each base, upper case; a space where the table has no change of it.
    gains, losses : ndarray
        float32 [4, bases], from 0 to 1: of a change to A, C, G, T; NaN where there is none.
    models : Models or None
        Transcripts of the gene; None without an annotation.
    """

    name: str
    gene: str
    chrom: str
    strand: str
    first: int
    last: int
    reference: str
    gains: NDArray[np.float32]
    losses: NDArray[np.float32]
    models: Models | None

    @property
    def changes(self) -> int:
        """How many changes there are."""
        return int(np.isfinite(self.gains).sum())


def saturation_view(
    table: Variants,
    what: str,
    *,
    gene: str | None = None,
    strand: str | None = None,
    annotation: Annotation | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> SaturationView:
    """Gather what a map shows.

    Parameters
    ----------
    table : Variants
        The table, as `open_variants` gives it.
    what : str
        A gene or a region, as `Variants.query` takes it.
    gene, strand : str, optional
        Of a place with several genes: the gene's name or id, the strand.
    annotation : Annotation, optional
        Transcripts to show.
    say : callable
        Called with a line for the user where one of several genes was chosen, and with the annotation's remarks.

    Returns
    -------
    SaturationView

    Raises
    ------
    InputError
        See the module's docstring.
    """
    for remark in annotation.remarks if annotation else ():
        say(remark)
    rows = _of_one_gene(table, what, gene, strand, say)
    first, last = int(rows["norm_pos"].min()), int(rows["norm_pos"].max())  # type: ignore[arg-type]  # integers
    if last - first >= MAX_POSITIONS:
        raise InputError(
            f"{what} spans {last - first + 1:,} changed bases, a map shows at most {MAX_POSITIONS:,}: name a region"
        )
    gains, losses = np.full((2, len(BASES), last - first + 1), np.nan, dtype=np.float32)
    reference = [" "] * gains.shape[1]
    scores = pl.max_horizontal("ds_ag", "ds_dg").alias("gain"), pl.max_horizontal("ds_al", "ds_dl").alias("loss")
    for pos, ref, alt, gain, loss in rows.select("norm_pos", "norm_ref", "norm_alt", *scores).iter_rows():
        cell = BASES.index(alt), pos - first
        gains[cell], losses[cell] = gain, loss
        reference[pos - first] = ref
    chrom, own_strand, gene_id, name = rows.select("chrom", "strand", "gene_id", "gene_name").row(0)
    models = models_of(annotation, chrom, own_strand, gene_id, first, last, say) if annotation else None
    return SaturationView(
        name=what,
        gene=name or gene_id or "",
        chrom=chrom,
        strand=own_strand,
        first=first,
        last=last,
        reference="".join(reference),
        gains=gains,
        losses=losses,
        models=models,
    )


def _of_one_gene(
    table: Variants, what: str, gene: str | None, strand: str | None, say: Callable[[str], None]
) -> pl.DataFrame:
    """The scored single-base changes of a place, of the gene that is shown."""
    single = (pl.col("norm_ref").str.len_chars() == 1) & (pl.col("norm_alt").str.len_chars() == 1)
    single &= pl.col("norm_ref") != pl.col("norm_alt")
    rows = table.query(what).filter(
        single, pl.col("status") == Status.SCORED.value, ~pl.col("joint"), pl.col("norm_alt").is_in(list(BASES))
    )
    rows = rows.filter(is_gene(gene)) if gene else rows
    rows = rows.filter(pl.col("strand") == strand) if strand else rows
    if rows.is_empty():
        of = f" of {gene}" if gene else ""
        on = f" on strand {strand}" if strand else ""
        raise InputError(f"{table.store.uri()} has no scored change of a single base{of}{on} in {what}")
    held = rows.group_by("gene_id", "gene_name", "strand", maintain_order=True).len()
    held = held.sort("len", descending=True, maintain_order=True)
    named = [f"{name or gene_id or 'no gene'} ({own})" for gene_id, name, own, _ in held.iter_rows()]
    if len(named) > 1:
        say(
            f"{what} has changes of {len(named)}: {named[0]} is drawn, not {shortened(named[1:])}; see --gene, --strand"
        )
    gene_id, _, own, _ = held.row(0)
    return rows.filter(pl.col("gene_id").eq_missing(pl.lit(gene_id)) & (pl.col("strand") == own))
