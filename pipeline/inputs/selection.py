"""Which transcripts of an annotation a run is about.

In: an `Annotation` and a `Selection` of filters. A transcript is selected when it passes every filter that is given;
it passes a filter by meeting any of its values. Values are compared as written, case included.

    genes        gene id or gene name
    transcripts  transcript id
    biotypes     the transcript's own biotype (`transcript_type`, `transcript_biotype`): `protein_coding` leaves out
                 the retained introns of a protein-coding gene
    tags         any of the transcript's tags
    contigs      contig names, in the annotation's naming or an alias (`9` for `chr9`)
    regions      intervals that share a base with the transcript; contig names likewise

Ids match with or without their version (`ENST00000382841.7`, `ENST00000382841`), wherever the file keeps it; a wrong
version does not match. Only ids as Ensembl and RefSeq number them have versions: `MSTRG.1` is not a version of `MSTRG`.

Out: rows of `Annotation.transcripts`, sorted by contig (in order of appearance in the file), start, end,
transcript_id. Errors: `InputError` for a value that the annotation does not hold, with the nearest that it does, and
for an empty selection, with the filter that left nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

import polars as pl

from pipeline.coordinates import Interval, reconcile_contigs, shortened
from pipeline.inputs.annotation import Annotation
from sptx_core.errors import InputError

VERSIONED = r"^([A-Za-z_]*\d+)\.\d+(_PAR_Y)?$"  # ENSG00000137090.12, NM_203447.4, ENST00000381192.8_PAR_Y
_CANDIDATES = 100  # names looked at closely for the one nearest to an unknown name


@dataclass(frozen=True)
class Selection:
    """Filters of transcripts; an empty one lets everything pass."""

    genes: tuple[str, ...] = ()
    transcripts: tuple[str, ...] = ()
    regions: tuple[Interval, ...] = ()
    contigs: tuple[str, ...] = ()
    biotypes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


def select(annotation: Annotation, selection: Selection) -> pl.DataFrame:
    """Transcripts that pass every filter, sorted by contig, start, end, transcript_id."""
    selected = annotation.transcripts
    passed: list[str] = []
    for given, passes in _filters(annotation, selection):
        before, selected = len(selected), selected.filter(passes)
        if selected.is_empty():
            among = f", of {before} that pass {' and '.join(passed)}," if passed else ""
            raise InputError(f"no transcript of {annotation.uri} is selected: none{among} passes {given}")
        passed.append(given)
    order = {contig: rank for rank, contig in enumerate(_contigs(annotation))}
    rank = pl.col("contig").replace_strict(order, return_dtype=pl.Int64)
    return selected.sort(rank, "start", "end", "transcript_id")


def _filters(annotation: Annotation, selection: Selection) -> Iterator[tuple[str, pl.Expr]]:
    """Filters that are given, each with the words for it."""
    if selection.genes:
        names = [*_id_forms("gene_id", "gene_version"), pl.col("gene_name")]
        yield f"genes {shortened(selection.genes)}", _named(annotation, "gene", selection.genes, names)
    if selection.transcripts:
        names = _id_forms("transcript_id", "transcript_version")
        yield (
            f"transcripts {shortened(selection.transcripts)}",
            _named(annotation, "transcript", selection.transcripts, names),
        )
    if selection.contigs:
        wanted = tuple(Interval(contig, 0, None) for contig in selection.contigs)
        yield f"contigs {shortened(selection.contigs)}", _overlapping(annotation, wanted)
    if selection.regions:
        yield f"regions {shortened(list(map(str, selection.regions)))}", _overlapping(annotation, selection.regions)
    if selection.biotypes:
        biotype = _named(annotation, "transcript biotype", selection.biotypes, [pl.col("transcript_type")])
        yield f"biotypes {shortened(selection.biotypes)}", biotype
    if selection.tags:
        _require_held(annotation, "tag", selection.tags, annotation.transcripts["tags"].explode().drop_nulls())
        tagged = pl.col("tags").list.set_intersection(list(selection.tags)).list.len() > 0
        yield f"tags {shortened(selection.tags)}", tagged


def _id_forms(name: str, version: str) -> list[pl.Expr]:
    """An id as the file writes it, without its version, and with the version that an attribute of its own gives."""
    column = pl.col(name)
    return [column, column.str.replace(VERSIONED, "$1$2"), column + "." + pl.col(version)]


def _named(annotation: Annotation, kind: str, values: Sequence[str], names: Sequence[pl.Expr]) -> pl.Expr:
    """Whether a transcript goes by one of the values under any of its names."""
    held = pl.concat([annotation.transcripts.select(name.alias("name")).to_series() for name in names])
    _require_held(annotation, kind, values, held.drop_nulls())
    return reduce(or_, (name.is_in(list(values)).fill_null(value=False) for name in names))


def _overlapping(annotation: Annotation, intervals: Sequence[Interval]) -> pl.Expr:
    """Whether a transcript shares a base with one of the intervals."""
    masks: list[pl.Expr] = []
    for interval in intervals:
        contig, start, end = interval
        found = reconcile_contigs([contig], _contigs(annotation)).mapping.get(contig)
        if found is None:
            raise InputError(
                f"{annotation.uri} has no transcript on contig {contig}; it has {shortened(_contigs(annotation))}"
            )
        before_end = pl.lit(value=True) if end is None else pl.col("start") < end
        mask = (pl.col("contig") == found) & (pl.col("end") > start) & before_end
        if annotation.transcripts.filter(mask).is_empty():
            raise InputError(
                f"no transcript of {annotation.uri} overlaps region {interval}; leave it out or correct it"
            )
        masks.append(mask)
    return reduce(or_, masks)


def _contigs(annotation: Annotation) -> list[str]:
    return annotation.transcripts["contig"].unique(maintain_order=True).to_list()


def _require_held(annotation: Annotation, kind: str, values: Sequence[str], held: pl.Series) -> None:
    """Raise `InputError` for the first value that the annotation does not hold."""
    held = held.unique(maintain_order=True)
    found = set(held.filter(held.is_in(list(values))))
    unknown = next((value for value in values if value not in found), None)
    if unknown is None:
        return
    if kind == "transcript" and unknown in annotation.unstranded:
        raise InputError(f"transcript {unknown} of {annotation.uri} has no strand; splice sites need one")
    closest = nearest(unknown, held)
    hint = f"; the nearest is {closest}" if closest else f"; it has {shortened(held.to_list())}"
    raise InputError(f"{annotation.uri} has no {kind} {unknown}{hint}")


def nearest(unknown: str, held: pl.Series) -> str | None:
    """The name that differs in case or version alone, else the most alike."""
    name, unversioned = pl.col("name"), pl.lit(unknown).str.replace(VERSIONED, "$1$2")
    same_base = name.str.replace(VERSIONED, "$1$2").str.to_lowercase() == unversioned.str.to_lowercase()
    # A slip of one letter leaves all others to the common prefix and suffix. Choosing candidates by that spares
    # difflib the ids of a genome, which all look alike and would take it half a minute.
    cuts = range(1, len(unknown) + 1)
    shared = [name.str.starts_with(unknown[:cut]) for cut in cuts] + [
        name.str.ends_with(unknown[-cut:]) for cut in cuts
    ]
    likely = (
        held.alias("name").to_frame().sort(same_base, pl.sum_horizontal(shared), descending=True, maintain_order=True)
    )
    if not likely.filter(same_base).is_empty():
        return str(likely.item(0, "name"))
    candidates = likely["name"].head(_CANDIDATES).to_list()
    return next(iter(difflib.get_close_matches(unknown, candidates, n=1)), None)
