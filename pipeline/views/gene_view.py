"""What the plot of a gene, a transcript or a region shows: transcripts, scores, called sites and their usage.

In: a table and what to look at, as `Tracks.find` takes it; optionally an annotation in place of the table's own
transcripts, and measured usage (`pipeline.inputs.usage`). Out: a `GeneView` of one strand of one contig; its positions
are 1-based and inclusive. A gene is shown on its own strand; for a region the strand must be named if both have rows.

A site is called if its acceptor or donor score is at or above a threshold. The `MAX_SITES` with the highest scores are
kept, in order of position. A site is annotated if any transcript that overlaps the view on its strand has it. In a
table with `flanks: transcript`, where rows belong to transcripts, one transcript is shown with its own rows: the one
that was asked for, or else the first in drawing order, which is reported.

Errors: `InputError` for a name that the table does not know or that several genes share, a place without rows, a region
with rows on both strands, a view longer than `MAX_BASES`, a threshold out of range, and an annotation or usage table
that shares no contig (or no tissue) with the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from pipeline.coordinates import Interval, shortened
from pipeline.inputs.annotation import Annotation
from pipeline.inputs.splice_sites import KINDS, splice_sites
from pipeline.tracks.named_sites import transcripts_of
from pipeline.tracks.reader import Tracks
from sptx_core.channels import SPLICE
from sptx_core.errors import InputError

MAX_BASES = 3_000_000  # the longest human genes have 2.5 million
MAX_SITES = 60  # columns whose labels can still be read beside each other
MAX_TRANSCRIPTS = 12
THRESHOLD = 0.1
_SITE = ["pos", "kind"]
_ONE_TRANSCRIPT = "name one of its transcripts"
_REPRESENTATIVE = ("MANE_Select", "Ensembl_canonical")  # tags, each of at most one transcript of a gene


@dataclass(frozen=True)
class GeneView:
    """What a plot shows; all frames ascend by position, and positions are 1-based and inclusive.

    Attributes
    ----------
    name : str
        What was asked for; empty for a region.
    chrom, strand : str
        Contig and strand, "+" or "-".
    first, last : int
        The bases shown.
    threshold : float
        The score from which a site is called.
    tissues : tuple of str
        Columns of usage, in the table's order.
    transcripts : polars.DataFrame
        transcript_id, gene_name, exon_starts, exon_ends (ascending); in drawing order.
    more_transcripts : int
        Transcripts that are not drawn.
    scores : polars.DataFrame
        pos, acceptor, donor of every row.
    called : polars.DataFrame
        pos, kind, score, annotated (bool), and the tissues.
    more_called : int
        Called sites with lower scores, which are not shown.
    missed : polars.DataFrame
        pos, kind of the annotated sites that have a row but are not called.
    measured : polars.DataFrame or None
        pos, kind and the tissues for each site of `called`; NaN where the usage is unknown.
    """

    name: str
    chrom: str
    strand: str
    first: int
    last: int
    threshold: float
    tissues: tuple[str, ...]
    transcripts: pl.DataFrame
    more_transcripts: int
    scores: pl.DataFrame
    called: pl.DataFrame
    more_called: int
    missed: pl.DataFrame
    measured: pl.DataFrame | None

    def without_rows(self) -> list[tuple[int, int]]:
        """Return the stretches (first, last) for which the table has no row: not selected, or not computed yet."""
        pos = np.concatenate([[self.first - 1], self.scores["pos"].to_numpy(), [self.last + 1]])
        before = np.flatnonzero(np.diff(pos) > 1)
        return [(int(pos[at]) + 1, int(pos[at + 1]) - 1) for at in before]


def gene_view(
    tracks: Tracks,
    what: str,
    *,
    strand: str | None = None,
    threshold: float = THRESHOLD,
    annotation: Annotation | None = None,
    usage: pl.DataFrame | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> GeneView:
    """Gather what a plot shows.

    Parameters
    ----------
    tracks : Tracks
        The table.
    what : str
        A gene, transcript or region, as `Tracks.find` takes it.
    strand : {"+", "-"}, optional
        The strand of a region; of a gene or transcript, a restriction.
    threshold : float
        The score from which a site is called, above 0, at most 1.
    annotation : Annotation, optional
        Transcripts to show in place of the table's own.
    usage : polars.DataFrame, optional
        Measured usage, as `pipeline.inputs.usage.read_usage` returns it.
    say : callable
        Called with a line for the user if one of several transcripts had to be chosen, and for each kind of transcript
        that the annotation leaves out.

    Returns
    -------
    GeneView

    Raises
    ------
    InputError
        See the module's docstring.
    """
    if not 0 < threshold <= 1:
        raise InputError(f"--threshold {threshold:g}: give a score above 0, up to 1")
    for remark in annotation.remarks if annotation else ():
        say(remark)
    chrom, start, end, strand, own = _place(tracks, what, strand)
    if end - start > MAX_BASES:
        raise InputError(f"{what} has {end - start:,} bases, a plot at most {MAX_BASES:,}: name a part of it")
    here = (pl.col("chrom") == chrom) & (pl.col("strand") == strand) & (pl.col("start") < end) & (pl.col("end") > start)
    transcripts = in_drawing_order(transcripts_of(tracks, annotation).filter(here), own)
    if tracks.header.schema.by_transcript:
        transcripts, rows = _one_transcript(tracks, transcripts, pl.col("pos").is_between(start + 1, end), say)
    else:
        rows = tracks.region(Interval(chrom, start, end), strand=strand)
    if rows.is_empty():
        raise InputError(f"{tracks.store.root} holds no row of {what} on strand {strand}; see `sptx status`")
    if tracks.header.schema.by_transcript:  # the transcript may be shorter than what was asked for
        start, end = int(rows["pos"][0]) - 1, int(rows["pos"][-1])
    tissues = tuple(name for name in tracks.channels if name not in SPLICE)
    annotated = splice_sites(transcripts).select(_SITE).unique()
    called = _called(rows, threshold, tissues, annotated)
    strongest = called.sort("score", "pos", descending=[True, False]).head(MAX_SITES).sort(_SITE)
    one_based = pl.col("exon_starts").list.eval(pl.element() + 1)
    return GeneView(
        name="" if own is None else what,
        chrom=chrom,
        strand=strand,
        first=start + 1,
        last=end,
        threshold=threshold,
        tissues=tissues,
        transcripts=_by_gene(transcripts.head(MAX_TRANSCRIPTS), own).select(
            "transcript_id", "gene_name", one_based, "exon_ends"
        ),
        more_transcripts=max(0, len(transcripts) - MAX_TRANSCRIPTS),
        scores=rows.select("pos", *KINDS),
        called=strongest,
        more_called=len(called) - len(strongest),
        missed=annotated.join(called, on=_SITE, how="anti").join(rows, on="pos", how="semi").sort(_SITE),
        measured=None if usage is None else _measured(tracks, usage, chrom, strand, strongest.select(_SITE), tissues),
    )


class _Place(NamedTuple):
    """Bases (0-based half-open) and strand of what was asked for; `own` are its transcripts, None for a region."""

    chrom: str
    start: int
    end: int
    strand: str
    own: pl.DataFrame | None


def _place(tracks: Tracks, what: str, strand: str | None) -> _Place:
    """Find what was asked for in the table, on one strand of one contig."""
    found = tracks.find(what)
    if isinstance(found, Interval):
        length = int(tracks.contigs.filter(pl.col("chrom") == found.contig)["length"].item())
        strands = [strand] if strand else tracks.region(found, columns=[])["strand"].unique().to_list()
        if len(strands) != 1:
            fault = "has rows on both strands: choose one with --strand" if strands else "has no row in the table"
            raise InputError(f"{what} {fault}")
        return _Place(found.contig, found.start, min(found.end or length, length), strands[0], None)
    found = found if strand is None else found.filter(pl.col("strand") == strand)
    if found.is_empty():
        raise InputError(f"{what} does not lie on strand {strand}")
    for column, remedy in (("gene_id", "give an id"), ("chrom", _ONE_TRANSCRIPT), ("strand", _ONE_TRANSCRIPT)):
        held = found[column].unique(maintain_order=True).to_list()
        if len(held) > 1:
            raise InputError(f"{what} stands for {shortened(held)}: {remedy}")
    start, end = found.select(pl.col("start").min() - 1, pl.col("end").max()).row(0)
    return _Place(found["chrom"].item(0), start, end, found["strand"].item(0), found)


def in_drawing_order(transcripts: pl.DataFrame, own: pl.DataFrame | None) -> pl.DataFrame:
    """Sort: those asked for, others of the same gene, representative ones, then by number of exons, most first."""
    nothing = pl.Series([], dtype=pl.String)
    transcript, gene = (nothing, nothing) if own is None else (own["transcript_id"], own["gene_id"])
    keys = (
        pl.col("transcript_id").is_in(transcript.implode()),
        pl.col("gene_id").is_in(gene.implode()),
        pl.col("tags").list.set_intersection(list(_REPRESENTATIVE)).list.len() > 0,
        pl.col("exon_starts").list.len(),
    )
    return transcripts.sort(*keys, "start", "transcript_id", descending=[True] * len(keys) + [False, False])


def _by_gene(transcripts: pl.DataFrame, own: pl.DataFrame | None) -> pl.DataFrame:
    """Put the transcripts of each gene together: first the gene asked for, then genes by position."""
    gene = pl.Series([], dtype=pl.String) if own is None else own["gene_id"]
    first = pl.col("start").min().over("gene_id")
    return transcripts.sort(~pl.col("gene_id").is_in(gene.implode()), first, "gene_id", maintain_order=True)


def _one_transcript(
    tracks: Tracks, transcripts: pl.DataFrame, within: pl.Expr, say: Callable[[str], None]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The first transcript that has rows, and its rows; both empty if none has."""
    held = transcripts.join(tracks.transcripts, on="transcript_id", how="semi", maintain_order="left")
    for name in held["transcript_id"]:
        rows = tracks.transcript(name).filter(within)
        if not rows.is_empty():
            if len(held) > 1:
                say(f"rows of this table belong to transcripts: {name} is drawn; name another of {len(held)} to see it")
            return held.filter(pl.col("transcript_id") == name), rows
    return held.head(0), tracks.scan().head(0).collect()


def _called(rows: pl.DataFrame, threshold: float, tissues: tuple[str, ...], annotated: pl.DataFrame) -> pl.DataFrame:
    """Every site whose score reaches the threshold, as in `GeneView.called`."""
    by_kind = [
        rows.filter(pl.col(kind) >= threshold).select(
            "pos", pl.lit(kind).alias("kind"), pl.col(kind).alias("score"), *tissues
        )
        for kind in KINDS
    ]
    known = annotated.with_columns(annotated=pl.lit(value=True))
    found = (
        pl.concat(by_kind).join(known, on=_SITE, how="left").with_columns(pl.col("annotated").fill_null(value=False))
    )
    return found.select(*_SITE, "score", "annotated", *tissues).sort(_SITE)


def _measured(
    tracks: Tracks, usage: pl.DataFrame, chrom: str, strand: str, sites: pl.DataFrame, tissues: tuple[str, ...]
) -> pl.DataFrame:
    """Measured usage of `sites`, one row a site, NaN where unknown."""
    held = [name for name in tissues if name in usage.columns]
    contigs = tracks.contigs_of(usage["contig"].unique(maintain_order=True).to_list())
    if not held or not contigs:
        raise InputError(f"the usage table has no {'contig' if held else 'tissue'} of {tracks.store.root}")
    here = usage.with_columns(pl.col("contig").replace(contigs)).filter(
        (pl.col("contig") == chrom) & (pl.col("strand") == strand)
    )
    lacking = [pl.lit(float("nan")).alias(name) for name in tissues if name not in held]
    known = here.select(*_SITE, *held, *lacking)
    found = sites.join(known, on=_SITE, how="left", maintain_order="left")
    return found.select(*_SITE, pl.col(tissues).fill_null(float("nan")))
