"""Which of the named sites a person wants: of genes or regions, novel, used in a tissue, specific to it.

In: a table, an annotation or none, and a `SiteChoice`. Out: batches of named sites (`pipeline.tracks.named_sites`) that
pass every filter that is set.

    genes      names or ids of the annotation, as `pipeline.inputs.selection` compares them: sites of these genes
    regions    regions or contigs, as `Tracks.find` takes them: sites in one of them, on either strand
    novel      sites that are not annotated
    tissue     called sites whose usage in this tissue is at least `min_usage`, `MIN_USAGE` unless given
    specific   called sites whose tau is at least `SPECIFIC`; with `tissue` those that this tissue uses most

Usage is learnt at splice sites alone and means little elsewhere, so it speaks of called sites alone.

Errors: `InputError` for an unknown gene, region or tissue, and whatever `named_sites` refuses.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from pipeline.coordinates import Cover, Interval, Strand, shortened
from pipeline.inputs.annotation import Annotation
from pipeline.inputs.selection import Selection, select
from pipeline.tracks.layout import TRANSCRIPTS
from pipeline.tracks.named_sites import Batch, Places, named_sites, transcripts_of
from pipeline.tracks.reader import Tracks
from pipeline.tracks.specificity import MIN_TISSUES, SPECIFIC
from sptx_core.channels import SPLICE
from sptx_core.errors import InputError
from sptx_core.words import counted

MIN_USAGE = 0.1
"""The usage from which a tissue uses a site."""


@dataclass(frozen=True)
class SiteChoice:
    """Filters of named sites; the module's docstring says what each compares. An unset filter passes everything."""

    genes: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    novel: bool = False
    tissue: str | None = None
    specific: bool = False
    min_usage: float | None = None


@dataclass(frozen=True)
class ChosenSites:
    """What is to be read of a table.

    Attributes
    ----------
    tracks : Tracks
        The table.
    transcripts : polars.DataFrame
        The transcripts that name the sites, as `transcripts_of` returns them.
    places : mapping of (str, str) to Interval, or None
        Contig and strand -> stretches in which sites are wanted; None for all of the table.
    holds : polars.Expr
        Whether a site is wanted.
    """

    tracks: Tracks
    transcripts: pl.DataFrame
    places: Places | None
    holds: pl.Expr

    def batches(self, threshold: float | None = None) -> Iterator[Batch]:
        """Read the sites, called from `threshold` on (`called_from`); some batches are empty."""
        keys = [part.key for part in self.tracks.parts]
        batches = named_sites(self.tracks, keys, self.transcripts, threshold=threshold, places=self.places)
        return (batch._replace(sites=batch.sites.filter(self.holds)) for batch in batches)

    def missing_shards(self) -> int:
        """Count the shards of the plan that may hold wanted sites and are not committed."""
        missing = self.tracks.plan.filter(~pl.col("shard").is_in([part.key.index for part in self.tracks.parts]))
        if self.places is None:
            return missing.height
        counted = 0
        for place, shards in missing.group_by("chrom", "strand"):
            cover = Cover(self.places.get((str(place[0]), str(place[1])), ()))
            counted += int(cover.touches(shards["first"].to_numpy() - 1, shards["last"].to_numpy()).sum())
        return counted


def choose_sites(tracks: Tracks, annotation: Annotation | None, choice: SiteChoice) -> ChosenSites:
    """Find what a choice names, before any site is read.

    Parameters
    ----------
    tracks : Tracks
        The table.
    annotation : Annotation, optional
        Names the sites; without one the table's own transcripts do.
    choice : SiteChoice
        What is wanted.

    Returns
    -------
    ChosenSites

    Raises
    ------
    InputError
        A gene, region or tissue is not known.
    """
    transcripts = transcripts_of(tracks, annotation)
    holds = _of_usage(tracks, choice)
    if choice.novel:
        holds &= ~pl.col("annotated")
    places = _regions(tracks, choice.regions) if choice.regions else None
    if choice.genes:
        named = select(annotation or _own_annotation(tracks, transcripts), Selection(genes=choice.genes))
        ids = named["gene_id"].unique()
        spans = _spans(transcripts.filter(pl.col("gene_id").is_in(ids.implode())))
        if not spans:
            held = shortened(tracks.contigs["chrom"].to_list())
            raise InputError(f"{shortened(choice.genes)}: on no contig of {tracks.store.uri()}, which has {held}")
        holds &= pl.col("gene_ids").list.set_intersection(ids.to_list()).list.len() > 0
        places = spans if places is None else places
    return ChosenSites(tracks, transcripts, places, holds)


def _of_usage(tracks: Tracks, choice: SiteChoice) -> pl.Expr:
    """Whether a site passes the filters of tissues."""
    tissues = [name for name in tracks.channels if name not in SPLICE]
    holds = pl.col("called") if choice.tissue is not None or choice.specific else pl.lit(value=True)
    if choice.tissue is not None:
        if choice.tissue not in tissues:
            nearest = difflib.get_close_matches(choice.tissue, tissues, n=1)
            hint = f"the nearest is {nearest[0]}" if nearest else f"it has {', '.join(tissues) or 'none'}"
            raise InputError(f"{tracks.store.uri()} has no tissue {choice.tissue}; {hint}")
        holds &= pl.col(choice.tissue) >= (MIN_USAGE if choice.min_usage is None else choice.min_usage)
    elif choice.min_usage is not None:
        raise InputError("--min-usage is the least usage in --tissue: name the tissue")
    if choice.specific:
        if len(tissues) < MIN_TISSUES:
            raise InputError(
                f"{tracks.store.uri()} has usage in {counted(len(tissues), 'tissue')}: no site can be specific there"
            )
        holds &= (pl.col("tau") >= SPECIFIC).fill_null(value=False)
        if choice.tissue is not None:
            holds &= pl.col("top_tissue") == choice.tissue
    return holds


def _regions(tracks: Tracks, regions: Sequence[str]) -> Places:
    """The regions on both strands, by the table's names of contigs."""
    places = defaultdict(list)
    for region in regions:
        found = tracks.find(region)
        if not isinstance(found, Interval):
            raise InputError(f"--regions {region}: this is a gene or transcript; give a gene to --genes")
        for strand in Strand:
            places[found.contig, strand.value].append(found)
    return places


def _own_annotation(tracks: Tracks, transcripts: pl.DataFrame) -> Annotation:
    """The table's own transcripts as something to select from."""
    versions = [pl.lit(None, pl.String).alias(name) for name in ("transcript_version", "gene_version")]
    frame = transcripts.rename({"chrom": "contig", "biotype": "transcript_type"}).with_columns(versions)
    left_out = frame.clear().with_columns(kind=pl.lit(""), fault=pl.lit(""))
    return Annotation(tracks.store.uri(f"{TRANSCRIPTS}.parquet"), "gencode", frame, left_out)


def _spans(transcripts: pl.DataFrame) -> Places:
    """The spans of the genes, on their strands."""
    places = defaultdict(list)
    spans = (
        transcripts.group_by("chrom", "strand", "gene_id")
        .agg(pl.col("start").min(), pl.col("end").max())
        .sort("chrom", "start")
    )
    for chrom, strand, start, end in spans.select("chrom", "strand", "start", "end").iter_rows():
        places[chrom, strand].append(Interval(chrom, start, end))
    return places
