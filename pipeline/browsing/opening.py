"""Places that a person names -> a `Session`: which of them are tables, which is a table of variants, and the locus.

Errors: `InputError` for a place that holds no table, and whatever `Session` refuses.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.batch.layout import RUN_FILE
from pipeline.batch.published import PublishedStore
from pipeline.batch.storage import Store
from pipeline.browsing.session import Session
from pipeline.inputs.annotation import Annotation
from pipeline.settings import absolute
from pipeline.tracks.reader import open_tracks
from pipeline.variants.header import holds_variants
from pipeline.variants.reader import open_variants
from sptx_core.errors import InputError


def split_locus(places: Sequence[str]) -> tuple[list[str], str | None]:
    """Tell tables from the locus: the last of several places is one, unless it has a `run.json` or a slash."""
    *others, last = places
    if not others or "/" in last or _holds_run(last):
        return list(places), None
    return others, last


def open_session(
    places: Sequence[str],
    *,
    locus: str | None = None,
    annotation: Annotation | None = None,
    fasta: str | None = None,
) -> Session:
    """Open one or two tables, and perhaps one of variants, for a page.

    Parameters
    ----------
    places : sequence of str
        Roots: folders or URIs. A table of variants is told by its `run.json`.
    locus : str, optional
        Where to begin: a region, gene, transcript or variant.
    annotation : Annotation, optional
        Names genes and sites; without it the first table's own transcripts do.
    fasta : str, optional
        Genome, for the sequence between the loci.

    Returns
    -------
    Session

    Raises
    ------
    InputError
        A place holds no table, there are too many of a kind, two tables have different contigs, or `locus` names
        nothing.
    """
    stores = [PublishedStore(absolute(place)) for place in places]
    of_variants = [holds_variants(store) for store in stores]
    tables = [store.root for store, other in zip(stores, of_variants, strict=True) if not other]
    variants = [store.root for store, other in zip(stores, of_variants, strict=True) if other]
    if len(variants) > 1:
        raise InputError(f"{variants[1]}: a page shows the variants of one table; leave one of them out")
    if variants and not tables:
        raise InputError(
            f"{stores[0].uri()} holds variants: give the table of tracks beside which to show them as well, as in "
            f"`sptx browse TRACKS {stores[0].uri()}`"
        )
    genome = None
    if fasta:
        from pipeline.inputs.genome import Genome  # late: loads what few pages need

        genome = Genome(absolute(fasta))
    return Session(
        [open_tracks(root) for root in tables],
        variants=open_variants(variants[0]) if variants else None,
        annotation=annotation,
        genome=genome,
        locus=locus,
    )


def _holds_run(place: str) -> bool:
    return Store(absolute(place)).exists(RUN_FILE)
