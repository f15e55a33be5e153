"""Select transcripts of an annotation.

In: an `Annotation` and a `Selection` of filters. A transcript is selected if it passes every filter that has values; it
passes a filter if it matches any of the filter's values. Values are case-sensitive.

    genes        gene id or gene name
    transcripts  transcript id
    biotypes     the transcript's own biotype (`transcript_type`, `transcript_biotype`): `protein_coding` leaves out
                 the retained introns of a protein-coding gene
    tags         one of the transcript's tags
    contigs      contig name, as in the annotation or an alias (`9` for `chr9`)
    regions      intervals that share a base with the transcript; contig names as in `contigs`

An id matches with or without its version (`ENST00000382841.7`, `ENST00000382841`), even where the file keeps the
version in an attribute of its own; a wrong version does not match. Only ids as Ensembl and RefSeq number them have
versions: `MSTRG.1` is not a version of `MSTRG`. GENCODE's annotations lifted to GRCh37 add a number to the version
(`ENSG00000137090.12_3`); they match with or without that number.

Out: rows of `Annotation.transcripts`, sorted by contig (in order of appearance in the file), start, end and
transcript_id.

Errors: `InputError` for a value that the annotation does not hold, with the most similar value that it does hold, or
with what is odd about it if the annotation left it out; and for an empty selection, with the filter that left nothing.
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

_LIFTED = r"(ENS[A-Z]*\d+)(\.\d+)(?:_\d+)?(_PAR_Y)?(?:_\d+)?"  # ENSG00000137090.12_3, ENST00000381192.8_PAR_Y
_NUMBERED = r"([A-Za-z_]*\d+)\.\d+(_PAR_Y)?"  # ENSG00000137090.12, NM_203447.4, ENST00000381192.8_PAR_Y
_MAX_CANDIDATES = 100  # names that difflib compares with an unknown name


@dataclass(frozen=True)
class Selection:
    """Filters of transcripts; the module's docstring says what each compares. An empty filter passes everything."""

    genes: tuple[str, ...] = ()
    transcripts: tuple[str, ...] = ()
    regions: tuple[Interval, ...] = ()
    contigs: tuple[str, ...] = ()
    biotypes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


def select(annotation: Annotation, selection: Selection) -> pl.DataFrame:
    """Select the transcripts that pass every filter.

    Parameters
    ----------
    annotation : Annotation
        The transcripts to choose from.
    selection : Selection
        The filters.

    Returns
    -------
    polars.DataFrame
        Rows of `annotation.transcripts`, at least one; sorted by contig, start, end, transcript_id.

    Raises
    ------
    InputError
        For an unknown value, and if no transcript passes.
    """
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
    """Each filter that has values: its description for messages, and whether a transcript passes."""
    if selection.genes:
        names = [*_id_forms("gene_id", "gene_version"), pl.col("gene_name")]
        yield f"genes {shortened(selection.genes)}", _has_name(annotation, "gene", selection.genes, names)
    if selection.transcripts:
        names = _id_forms("transcript_id", "transcript_version")
        yield (
            f"transcripts {shortened(selection.transcripts)}",
            _has_name(annotation, "transcript", selection.transcripts, names),
        )
    if selection.contigs:
        wanted = tuple(Interval(contig, 0, None) for contig in selection.contigs)
        yield f"contigs {shortened(selection.contigs)}", _overlapping(annotation, wanted)
    if selection.regions:
        yield f"regions {shortened(list(map(str, selection.regions)))}", _overlapping(annotation, selection.regions)
    if selection.biotypes:
        biotype = _has_name(annotation, "transcript biotype", selection.biotypes, [pl.col("transcript_type")])
        yield f"biotypes {shortened(selection.biotypes)}", biotype
    if selection.tags:
        _require_known(annotation, "tag", selection.tags, annotation.transcripts["tags"].explode().drop_nulls())
        tagged = pl.col("tags").list.set_intersection(list(selection.tags)).list.len() > 0
        yield f"tags {shortened(selection.tags)}", tagged


def without_version(name: pl.Expr) -> pl.Expr:
    """Strip the version off ids.

    Parameters
    ----------
    name : polars.Expr
        Ids, str.

    Returns
    -------
    polars.Expr
        `ENSG00000137090` for `ENSG00000137090.12` and `ENSG00000137090.12_3`; other ids as they are.
    """
    return name.str.replace(f"^(?:{_LIFTED}|{_NUMBERED})$", "$1$3$4$5")


def without_lift(name: pl.Expr) -> pl.Expr:
    """Strip off ids the number that GENCODE's lifting to GRCh37 adds to the version.

    Parameters
    ----------
    name : polars.Expr
        Ids, str.

    Returns
    -------
    polars.Expr
        `ENSG00000137090.12` for `ENSG00000137090.12_3`; other ids as they are.
    """
    return name.str.replace(f"^{_LIFTED}$", "$1$2$3")


def _id_forms(name: str, version: str) -> list[pl.Expr]:
    """An id as the file writes it, without its version or lift, and with the version from the attribute of its own."""
    column = pl.col(name)
    return [column, without_version(column), without_lift(column), column + "." + pl.col(version)]


def _has_name(annotation: Annotation, kind: str, values: Sequence[str], names: Sequence[pl.Expr]) -> pl.Expr:
    """Whether one of the transcript's `names` is among `values`."""
    held = pl.concat([annotation.transcripts.select(name.alias("name")).to_series() for name in names])
    _require_known(annotation, kind, values, held.drop_nulls(), names)
    return _called(values, names)


def _called(values: Sequence[str], names: Sequence[pl.Expr]) -> pl.Expr:
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
    """Contig names in order of appearance."""
    return annotation.transcripts["contig"].unique(maintain_order=True).to_list()


def _require_known(
    annotation: Annotation, kind: str, values: Sequence[str], held: pl.Series, names: Sequence[pl.Expr] = ()
) -> None:
    """Raise `InputError` for the first of `values` that is not in `held`; `names` are a transcript's."""
    held = held.unique(maintain_order=True)
    found = set(held.filter(held.is_in(list(values))))
    unknown = next((value for value in values if value not in found), None)
    if unknown is None:
        return
    left_out = annotation.left_out.filter(_called([unknown], names)) if names else annotation.left_out.clear()
    if not left_out.is_empty():
        named = f"{kind} {unknown}: " if kind != "transcript" else ""
        raise InputError(f"{named}{left_out['fault'][0]}")
    closest = nearest(unknown, held)
    hint = f"; the nearest is {closest}" if closest else f"; it has {shortened(held.to_list())}"
    raise InputError(f"{annotation.uri} has no {kind} {unknown}{hint}")


def nearest(unknown: str, held: pl.Series) -> str | None:
    """Find the name that a person may have meant.

    Parameters
    ----------
    unknown : str
        A name that is not in `held`.
    held : polars.Series
        Names to choose from, str.

    Returns
    -------
    str or None
        The first name that differs from `unknown` only in case or version, else the most similar one, None if none
        is similar.
    """
    name = pl.col("name")
    same_base = without_version(name).str.to_lowercase() == without_version(pl.lit(unknown)).str.to_lowercase()
    # Names that differ in one letter share a long prefix and suffix. Candidates are chosen by these, because difflib
    # needs half a minute for all ids of a genome, which resemble each other.
    cuts = range(1, len(unknown) + 1)
    common = [name.str.starts_with(unknown[:cut]) for cut in cuts] + [
        name.str.ends_with(unknown[-cut:]) for cut in cuts
    ]
    candidates = (
        held.alias("name").to_frame().sort(same_base, pl.sum_horizontal(common), descending=True, maintain_order=True)
    )
    if not candidates.filter(same_base).is_empty():
        return str(candidates.item(0, "name"))
    most_similar = candidates["name"].head(_MAX_CANDIDATES).to_list()
    return next(iter(difflib.get_close_matches(unknown, most_similar, n=1)), None)
