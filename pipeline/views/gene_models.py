"""The transcripts that pictures of variants show: those of a gene, from an annotation, where a view lies.

In: an annotation (`pipeline.inputs.annotation`), a contig as a table has it, and a stretch. Out: transcripts, 1-based
and inclusive, in the order in which `gene_view` draws them. Those that look alike within the stretch share a row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import polars as pl

from pipeline.coordinates import reconcile_contigs
from pipeline.inputs.annotation import Annotation
from pipeline.inputs.selection import without_version
from pipeline.inputs.splice_sites import splice_sites
from pipeline.views.gene_view import MAX_TRANSCRIPTS, in_drawing_order
from sptx_core.errors import InputError


class Models(NamedTuple):
    """Transcripts of a view.

    Attributes
    ----------
    transcripts : polars.DataFrame
        transcript_id of the first that looks so, exon_starts, exon_ends, and `alike`, how many others do.
    more : int
        Rows that are not drawn.
    sites : polars.DataFrame
        pos and kind of the annotated splice sites in the view, of all transcripts; unique, ascending.
    """

    transcripts: pl.DataFrame
    more: int
    sites: pl.DataFrame

    @property
    def labels(self) -> list[str]:
        """A label for each row that is drawn."""
        named = self.transcripts.select("transcript_id", "alike").iter_rows()
        labels = [f"{name} (+{alike})" if alike else name for name, alike in named]
        return [*labels, f"and {self.more} more"] if self.more else labels


def is_gene(name: str) -> pl.Expr:
    """Whether a row is of the gene of this name or id, where either id may lack its version."""
    return (pl.col("gene_name") == name) | (without_version(pl.col("gene_id")) == without_version(pl.lit(name)))


def models_of(
    annotation: Annotation,
    chrom: str,
    strand: str,
    gene_id: str | None,
    first: int,
    last: int,
    say: Callable[[str], None] = lambda _: None,
) -> Models | None:
    """Transcripts of a gene (of all genes on the strand, if None) that share a base with first..last.

    Returns
    -------
    Models or None
        None where there are none, which is said; then nothing is known of a site, neither that it is annotated.

    Raises
    ------
    InputError
        The annotation has no such contig.
    """
    frame = annotation.transcripts
    own = reconcile_contigs(frame["contig"].unique(maintain_order=True), [chrom])
    contigs = [name for name, matched in own.mapping.items() if matched == chrom]
    if not contigs:
        raise InputError(f"{annotation.uri} has no contig {chrom}")
    here = pl.col("contig").is_in(contigs) & (pl.col("strand") == strand)
    here &= (pl.col("start") < last) & (pl.col("end") >= first)
    if gene_id is not None:
        here &= is_gene(gene_id)
    found = frame.filter(here).rename({"transcript_type": "biotype"}).with_columns(pl.lit(chrom).alias("chrom"))
    if found.is_empty():
        say(f"{annotation.uri} has no transcript of {gene_id or 'any gene'} on {chrom}:{first:,}-{last:,} ({strand})")
        return None
    found = in_drawing_order(found, None)
    sites = splice_sites(found).filter(pl.col("pos").is_between(first, last)).select("pos", "kind").unique()
    rows = _alike(found, first, last)
    return Models(rows.head(MAX_TRANSCRIPTS), max(0, len(rows) - MAX_TRANSCRIPTS), sites.sort("pos", "kind"))


def _alike(transcripts: pl.DataFrame, first: int, last: int) -> pl.DataFrame:
    """A row for each look of a transcript within first..last; what lies beyond is cut off one base outside."""
    low, high = first - 1, last + 1
    seen: dict[tuple[tuple[int, int], ...], list[str]] = {}
    for name, starts, ends in transcripts.select("transcript_id", "exon_starts", "exon_ends").iter_rows():
        exons = [
            (min(max(start + 1, low), high), min(max(end, low), high)) for start, end in zip(starts, ends, strict=True)
        ]
        # An exon beyond the view shows that an intron leads there; none does where an exon itself leaves the view.
        left = {edge for first, last in exons if first < last for edge in (first, last)}
        look = tuple(dict.fromkeys(exon for exon in exons if exon[0] < exon[1] or exon[0] not in left))
        seen.setdefault(look, []).append(name)
    looks = [
        (names[0], [start for start, _ in exons], [end for _, end in exons], len(names) - 1)
        for exons, names in seen.items()
    ]
    lists = pl.List(pl.Int64)
    schema: dict[str, Any] = {"transcript_id": pl.String, "exon_starts": lists, "exon_ends": lists, "alike": pl.Int64}
    return pl.DataFrame(looks, schema, orient="row")
