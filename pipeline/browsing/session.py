"""What the page asks, answered: one or two tables, perhaps a table of variants, an annotation and a genome.

Each question is a method of `Session`, whose parameters are those of the address (`api/scores?table=0&chrom=...`) and
whose answer is ready for JSON. So a page in one file can hold the same answers as the server gives.

Coordinates: `start` and `end` are 0-based and half-open, as igv.js has them; `pos` is 1-based, as in the table. `table`
is 0 or 1, `strand` is "+" or "-". Scores have 4 digits after the point, usage 3.

Errors: `InputError` for places that are no tables or do not fit together; `BadQuestion` for a parameter that cannot be
meant, `UnknownPlace` for a contig or variant that is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.coordinates import Interval
from sptx_core.errors import InputError

Answer = dict[str, Any]


class BadQuestion(InputError):
    """A parameter of a question is missing, of another form, or out of its limits."""


class UnknownPlace(InputError):
    """A question names a contig, a variant or a kind of question that is not there."""


class Session:
    """One or two tables on one page; see the module's contract and `open_session`."""

    @property
    def locus(self) -> Interval:
        """Where the page begins; its `end` is never None."""
        raise NotImplementedError

    def config(self) -> Answer:
        """What the page is about: version, locus, contigs, aliases, tables, annotation, variants, fasta."""
        raise NotImplementedError

    def scores(self, table: int, chrom: str, strand: str, start: int, end: int, bins: int) -> Answer:
        """Maxima of acceptor and donor in at most about `bins` bins: source, start, size, bin, acceptor, donor, loci."""
        raise NotImplementedError

    def usage(
        self, table: int, chrom: str, strand: str, start: int, end: int, least: float = 0.1, most: int = 500
    ) -> Answer:
        """Sites from `least` on, the strongest `most`: more, pos, acceptor, donor, usage (a list for each tissue)."""
        raise NotImplementedError

    def sites(self, table: int, chrom: str, start: int, end: int, least: float = 0.1, most: int = 500) -> Answer:
        """Named sites of both strands: more, columns, rows."""
        raise NotImplementedError

    def transcripts(self, chrom: str, start: int, end: int, most: int = 500) -> list[Answer]:
        """Transcripts in view: id, gene_id, gene, biotype, strand, start, end, exons, mane, canonical."""
        raise NotImplementedError

    def introns(self, table: int, chrom: str, strand: str, start: int, end: int, most: int = 500) -> Answer:
        """Annotated introns: more, source, introns (start, end, score of the weaker site or None, transcripts)."""
        raise NotImplementedError

    def sequence(self, table: int, chrom: str, start: int, end: int) -> Answer:
        """Bases of the plus strand: start, sequence; `-` where nothing is known."""
        raise NotImplementedError

    def find(self, q: str) -> Answer:
        """Places that a text names, or genes that begin with it: loci (name, kind, chrom, start, end, strand)."""
        raise NotImplementedError

    def variants(self, chrom: str, start: int, end: int, most: int = 500) -> Answer:
        """Variants in view, those with the greatest d_splice first kept: more, variants."""
        raise NotImplementedError

    def variant(self, key: str) -> Answer:
        """Scores about a variant, of the reference and the alternative: pos, strand, ref, alt, tissues."""
        raise NotImplementedError


def open_session(
    places: Sequence[str], *, locus: str | None = None, gtf: str | None = None, fasta: str | None = None
) -> Session:
    """Open one or two tables, and perhaps one of variants, for a page.

    Parameters
    ----------
    places : sequence of str
        Roots: folders or URIs. A table of variants is told by its `run.json`.
    locus : str, optional
        Where to begin: a region, gene, transcript or variant.
    gtf : str, optional
        Annotation that names genes and sites; without it the first table's own transcripts do.
    fasta : str, optional
        Genome, for the sequence between the loci.

    Returns
    -------
    Session

    Raises
    ------
    InputError
        A place holds no table, two tables have different contigs, or `locus` names nothing.
    """
    raise NotImplementedError
