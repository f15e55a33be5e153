"""What the plot of a variant shows: scores before and after, gains and losses, usage by tissue.

In: a table of `sptx variants` or `sptx saturate` that was made with `--sites`, a variant, and optionally an annotation.
Out: a `VariantView` of one gene and strand. Positions are 1-based and genomic, from left to right whatever the strand.

The bases stand in columns: those of the reference and, between them, those that the change inserts. So both sequences
lie above one another, and a base that one of them lacks is an empty column there.

Where a variant has rows of several genes, strands or haplotypes, the one with the largest `d_splice` is shown, which is
reported.

Errors: `InputError` for a table without sites, a variant that it lacks or that was not scored, a change of nothing, and
an annotation that lacks the contig.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from pipeline.coordinates import shortened
from pipeline.inputs.annotation import Annotation
from pipeline.variants.alleles import Status
from pipeline.variants.calls import MIN_SPLICE
from pipeline.variants.reader import Variants
from pipeline.variants.schema import SITES
from pipeline.views.gene_models import Models, is_gene, models_of
from sptx_core.errors import InputError

THRESHOLD = 0.1
EVENTS = {
    "ag": ("acceptor", "gain"),
    "al": ("acceptor", "loss"),
    "dg": ("donor", "gain"),
    "dl": ("donor", "loss"),
}


class Event(NamedTuple):
    """A gain or loss of a site; `column` is where it is drawn, `distance` in bases from the variant."""

    kind: str
    is_gain: bool
    value: float
    pos: int
    distance: int
    column: int


@dataclass(frozen=True)
class VariantView:
    """What a plot shows.

    Attributes
    ----------
    row : mapping
        The row of the table, by column.
    chrom : str
        Contig, as the variants' file has it.
    columns : polars.DataFrame
        A row a column, left to right: pos, ins_offset (null for a base of the reference), ref_acceptor, ref_donor,
        alt_acceptor, alt_donor (null where a sequence has no such base).
    changed : (int, int)
        First and last column of the change.
    events : tuple of Event
        Gains and losses at or above the threshold, by column.
    threshold : float
    tissues : tuple of str
    models : Models or None
        Transcripts of the gene around the variant; None without an annotation.
    """

    row: Mapping[str, Any]
    chrom: str
    columns: pl.DataFrame
    changed: tuple[int, int]
    events: tuple[Event, ...]
    threshold: float
    tissues: tuple[str, ...]
    models: Models | None

    @property
    def strand(self) -> str:
        """Strand of the gene."""
        return str(self.row["strand"])

    @property
    def called(self) -> tuple[str, ...]:
        """Tissues that are called."""
        return tuple(self.row.get("tissues") or ())

    @property
    def tissues_mean_something(self) -> bool:
        """Whether `d_splice` is large enough for tissues to be compared (the authors' threshold)."""
        return bool(self.row["d_splice"] >= MIN_SPLICE)

    def column_of(self, pos: int) -> int:
        """Column of a base of the reference; the nearest within the view for one beyond it."""
        bases = self.columns.with_row_index("column").filter(pl.col("ins_offset").is_null())
        low, high = int(bases["pos"][0]), int(bases["pos"][-1])
        return int(bases["column"][min(max(pos, low), high) - low])


def variant_view(
    table: Variants,
    variant: str,
    *,
    gene: str | None = None,
    strand: str | None = None,
    threshold: float = THRESHOLD,
    annotation: Annotation | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> VariantView:
    """Gather what a plot shows.

    Parameters
    ----------
    table : Variants
        The table, as `open_variants` gives it.
    variant : str
        `chrom-pos-ref-alt`, as written or in its normal form.
    gene, strand : str, optional
        Of a variant with several rows: the gene's name or id, the strand.
    threshold : float
        Least gain or loss that is labelled, above 0, at most 1.
    annotation : Annotation, optional
        Transcripts to show.
    say : callable
        Called with a line for the user where one of several rows was chosen, and with the annotation's remarks.

    Returns
    -------
    VariantView

    Raises
    ------
    InputError
        See the module's docstring.
    """
    if not 0 < threshold <= 1:
        raise InputError(f"--threshold {threshold:g}: give a change above 0, up to 1")
    if SITES not in table.header.tables:
        raise InputError(
            f"{table.store.uri()} holds no scores of single bases, which a picture of a variant needs: score it again "
            "with --sites and another --output"
        )
    for remark in annotation.remarks if annotation else ():
        say(remark)
    row = _one_row(table, variant, gene, strand, say)
    columns = _columns(table, variant, row)
    changed = _changed(row, columns)
    events = _events(row, columns, threshold)
    models = None
    if annotation is not None:
        first, last = int(columns["pos"].min()), int(columns["pos"].max())  # type: ignore[arg-type]  # integers
        models = models_of(annotation, row["chrom"], row["strand"], row["gene_id"], first, last, say)
    return VariantView(row, row["chrom"], columns, changed, events, threshold, table.tissues, models)


def _one_row(
    table: Variants, variant: str, gene: str | None, strand: str | None, say: Callable[[str], None]
) -> dict[str, Any]:
    """The row of the variant that is shown."""
    rows = table.variant(variant)
    scored = rows.filter(pl.col("status") == Status.SCORED.value)
    if scored.is_empty():
        raise InputError(f"{variant} was not scored: {rows['status'][0]}; docs/variants.md says what that means")
    scored = scored.filter(is_gene(gene)) if gene else scored
    scored = scored.filter(pl.col("strand") == strand) if strand else scored
    if scored.is_empty():
        of = f" of {gene}" if gene else ""
        raise InputError(f"{variant} has no row{of}{f' on strand {strand}' if strand else ''}")
    scored = scored.sort("d_splice", descending=True, maintain_order=True)
    row = scored.row(0, named=True)
    named = [_named(one) for one in scored.iter_rows(named=True)]
    others = [name for name in dict.fromkeys(named) if name != named[0]]
    if others:
        also = shortened(others)
        say(f"{variant} has rows of {1 + len(others)}: {named[0]} is drawn, not {also}; see --gene, --strand")
    return row


def _named(row: Mapping[str, Any]) -> str:
    """What tells one row of a variant from another."""
    name = row["gene_name"] or row["gene_id"] or "no gene"
    return f"{name} ({row['strand']})" + (f", haplotype {row['haplotype']}" if row["joint"] else "")


def _columns(table: Variants, variant: str, row: Mapping[str, Any]) -> pl.DataFrame:
    """The bases of a row of the table, left to right."""
    same = [pl.col(name).eq_missing(pl.lit(row[name])) for name in ("record", "alt_index", "strand", "gene_id")]
    same += [pl.col(name).eq_missing(pl.lit(row[name])) for name in ("haplotype", "joint")]
    names = ["pos", "ins_offset", *(f"{side}_{kind}" for side in ("ref", "alt") for kind in ("acceptor", "donor"))]
    found = table.variant(variant, sites=True).filter(*same).select(names)
    columns = found.sort("pos", "ins_offset", nulls_last=False)
    if columns["ref_acceptor"].is_null().all():
        raise InputError(f"{variant} changes nothing: its ALT is its REF")
    return columns


def _changed(row: Mapping[str, Any], columns: pl.DataFrame) -> tuple[int, int]:
    """Columns of the bases that are replaced, deleted or inserted."""
    ref, alt = row["norm_ref"], row["norm_alt"]
    lacking = columns["ref_acceptor"].is_null() | columns["alt_acceptor"].is_null()
    padded = ref[0] == alt[0] or ref[-1] == alt[-1]  # with the base beside an insertion or deletion, as VCF has it
    span = columns["pos"].is_between(row["norm_pos"], row["norm_pos"] + len(ref) - 1)
    found = (lacking if padded else lacking | span).arg_true()
    return int(found[0]), int(found[-1])


def _events(row: Mapping[str, Any], columns: pl.DataFrame, threshold: float) -> tuple[Event, ...]:
    """The gains and losses at or above the threshold."""
    place = {(pos, offset): n for n, (pos, offset) in enumerate(columns.select("pos", "ins_offset").iter_rows())}
    found = []
    for name, (kind, change) in EVENTS.items():
        value, pos = row[f"ds_{name}"], row[f"{name}_pos"]
        if pos is not None and value >= threshold:
            column = place[pos, row[f"ins_offset_{name}"]]
            found.append(Event(kind, change == "gain", value, pos, row[f"dp_{name}"], column))
    return tuple(sorted(found, key=lambda event: event.column))
