"""What the page asks, answered: one or two tables, perhaps a table of variants, an annotation and a genome.

Each question is a method of `Session`, whose parameters are those of the address (`api/scores?table=0&chrom=...`) and
whose answer is ready for JSON. So a page in one file can hold the same answers as the server gives.

Coordinates: `start` and `end` are 0-based and half-open, as igv.js has them; `pos` is 1-based, as in the table. `table`
is 0 or 1, `strand` is "+" or "-". Scores have 4 digits after the point, usage 3. A view that reaches beyond the end of
its contig is cut there.

Errors: `BadQuestionError` for a parameter that cannot be meant, `UnknownPlaceError` for a contig or variant that is not
there, any other `InputError` for a table that cannot be read.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.batch.layout import NAME_DIGITS
from pipeline.browsing.cache import ByteCache
from pipeline.browsing.grid import grid_of
from pipeline.browsing.models import Models
from pipeline.browsing.named import NamedSites
from pipeline.browsing.search import Search
from pipeline.browsing.variant_view import VariantView
from pipeline.browsing.view import NEAR_BASES, TableView
from pipeline.coordinates import Interval, reconcile_contigs
from pipeline.inputs.annotation import Annotation
from pipeline.tracks.named_sites import transcripts_of
from pipeline.tracks.reader import Tracks
from pipeline.variants.reader import Variants
from sptx_core.alphabet import decode
from sptx_core.errors import InputError
from sptx_core.redaction import without_secrets
from sptx_core.version import __version__
from sptx_core.words import counted

if TYPE_CHECKING:
    from pipeline.inputs.genome import Genome  # loads what few pages need

CACHE_BYTES = 160 << 20  # of what was read of all tables; beside it stand about 200 MB of libraries
MAX_TABLES = 2
MAX_SEQUENCE = 20_000  # bases of an answer
MAX_BLOCKS = 12  # of the tracks, that are read for the introns of a view
RENEWED_AFTER = 5.0  # seconds after which an unfinished table is looked at again
DIGITS, USAGE_DIGITS = 4, 3

Answer = dict[str, Any]


class BadQuestionError(InputError):
    """A parameter of a question is missing, of another form, or out of its limits."""


class UnknownPlaceError(InputError):
    """A question names a contig, a variant or a kind of question that is not there."""


class Session:
    """One or two tables on one page; see the module's contract.

    Parameters
    ----------
    tables : sequence of Tracks
        One or two, of the same contigs.
    variants : Variants, optional
        A table of variants on these contigs.
    annotation : Annotation, optional
        Names genes and sites; without it the first table's own transcripts do.
    genome : Genome, optional
        For the sequence where no table has rows.
    locus : str, optional
        Where to begin: a region, contig, gene, transcript or variant.

    Raises
    ------
    InputError
        There are no or too many tables, their contigs differ, or `locus` names nothing.
    """

    def __init__(
        self,
        tables: Sequence[Tracks],
        *,
        variants: Variants | None = None,
        annotation: Annotation | None = None,
        genome: Genome | None = None,
        locus: str | None = None,
    ) -> None:
        if not 0 < len(tables) <= MAX_TABLES:
            raise InputError(f"a page shows one or two tables of tracks; {counted(len(tables), 'was', 'were')} given")
        cache = ByteCache(CACHE_BYTES)
        self.tables = [TableView(tracks, cache) for tracks in tables]
        self.lengths = self.tables[0].lengths
        _require_same_contigs(self.tables)
        self._genome, self._fasta_names = genome, _names_in(genome, self.lengths)
        self._annotation = annotation
        self.models = Models(transcripts_of(tables[0], annotation))
        self._named = [NamedSites(view, self.models, cache) for view in self.tables]
        self._variants = None if variants is None else VariantView(variants, list(self.lengths), cache)
        self._search = Search(self.models, tables[0], self._variants)
        self._locus = self._begin(locus)
        self._renewed = time.monotonic()

    @property
    def locus(self) -> Interval:
        """Where the page begins; its `end` is never None."""
        return self._locus

    def config(self) -> Answer:
        """What the page is about: version, locus, contigs, aliases, tables, annotation, variants, fasta."""
        self._renew(wait=True)
        shown = self._annotation and self._annotation.uri.rpartition("/")[2]
        transcripts = counted(self.models.transcripts.height, "transcript")
        own = f"the {transcripts} of {_name_of(self.tables[0])}"
        return {
            "version": __version__,
            "locus": str(self.locus),
            "contigs": [list(contig) for contig in self.lengths.items()],
            "aliases": self._search.aliases,
            "tables": [self._described(view) for view in self.tables],
            "annotation": f"{transcripts} of {without_secrets(shown)}" if shown else own,
            "variants": self._variants and _place_of(self._variants.table.store.uri()),
            "fasta": self._genome is not None,
        }

    def scores(self, table: int, chrom: str, strand: str, start: int, end: int, bins: int) -> Answer:
        """Maxima of acceptor and donor: source, start, size, bin, acceptor, donor, loci.

        At most about `bins` bins, of which those with a score are listed; bin i covers `start + i * size` to
        `start + (i + 1) * size`. `loci` are the stretches with rows, those closer than a bin to each other joined.
        """
        view, end = self._view(table), self._cut(chrom, start, end)
        grid = grid_of(start, end, bins)
        source, at, acceptor, donor = view.scores(chrom, strand, grid)
        loci = view.computed(chrom, strand, grid.start, min(grid.end, self.lengths[chrom]), grid.size)
        return {
            "source": source,
            "start": grid.start,
            "size": grid.size,
            "bin": at.tolist(),
            "acceptor": _rounded(acceptor, DIGITS),
            "donor": _rounded(donor, DIGITS),
            "loci": [list(locus) for locus in loci],
        }

    def usage(
        self, table: int, chrom: str, strand: str, start: int, end: int, least: float = 0.1, most: int = 500
    ) -> Answer:
        """Sites with a score from `least` on, by position: more, pos, acceptor, donor, usage (a list for each tissue).

        Of more than `most` sites the strongest are kept, and `more` is how many were left out. No site below the
        threshold of the table of sites is known.
        """
        view, end = self._view(table), self._cut(chrom, start, end)
        sites = view.sites(chrom, strand, start, end)
        strength = np.maximum(sites.acceptor, sites.donor)
        some = np.flatnonzero(strength >= np.float32(least))
        more = max(len(some) - most, 0)
        if more:
            some = np.sort(some[np.argsort(-strength[some], kind="stable")[:most]])
        return {
            "more": more,
            "pos": sites.pos[some].tolist(),
            "acceptor": _rounded(sites.acceptor[some], DIGITS),
            "donor": _rounded(sites.donor[some], DIGITS),
            "usage": [_rounded(values, USAGE_DIGITS) for values in sites.usage[some].T],
        }

    def sites(self, table: int, chrom: str, start: int, end: int, least: float = 0.1, most: int = 500) -> Answer:
        """Named sites of both strands, by position: more, columns, rows; see `pipeline.browsing.named`."""
        self._view(table)
        return self._named[table].within(chrom, start, self._cut(chrom, start, end), least, most)

    def transcripts(self, chrom: str, start: int, end: int, most: int = 500) -> list[Answer]:
        """Transcripts in view: id, gene_id, gene, biotype, strand, start, end, exons, mane, canonical.

        MANE first, then Ensembl's canonical ones, then the longest; at most `most`.
        """
        return self.models.within(chrom, start, self._cut(chrom, start, end), most)

    def introns(self, table: int, chrom: str, strand: str, start: int, end: int, most: int = 500) -> Answer:
        """Annotated introns that touch a view: more, source, introns (start, end, score, transcripts), by `start`.

        The score is that of the weaker of the two sites, None if the table lacks one of them; `transcripts` is how
        many have the intron. In a wide view (`source` "sites") a score below the threshold of the table of sites is 0.
        Of more than `most` introns those with the greatest scores are kept.
        """
        view, end = self._view(table), self._cut(chrom, start, end)
        held = self.models.introns(chrom, strand)
        some = np.flatnonzero((held.end > start) & (held.start < end))
        left, right = held.start[some].astype(np.int32), held.end[some].astype(np.int32) + 1
        source, weaker = self._weaker(view, chrom, strand, left, right, near=end - start <= NEAR_BASES)
        known = view.is_computed(chrom, strand, left) & view.is_computed(chrom, strand, right)
        order = np.arange(len(some))
        if len(some) > most:
            order = np.sort(np.argsort(-np.where(known, weaker, -1), kind="stable")[:most])
        scores = [
            score if is_known else None
            for score, is_known in zip(_rounded(weaker[order], DIGITS), known[order].tolist(), strict=True)
        ]
        first, last, counts = (column[some[order]].tolist() for column in held)
        introns = [list(row) for row in zip(first, last, scores, counts, strict=True)]
        return {"more": len(some) - len(introns), "source": source, "introns": introns}

    def sequence(self, table: int, chrom: str, start: int, end: int) -> Answer:
        """Bases of the plus strand: start, sequence; `-` where neither the table nor a FASTA has any."""
        view, end = self._view(table), self._cut(chrom, start, end)
        if end - start > MAX_SEQUENCE:
            raise BadQuestionError(f"{end - start:,} bases are asked for at once; at most {MAX_SEQUENCE:,} are given")
        name = self._fasta_names.get(chrom)
        if self._genome is not None and name is not None:
            return {"start": start, "sequence": decode(self._genome.fetch(name, start, end))}
        return {"start": start, "sequence": view.sequence(chrom, start, end)}

    def find(self, q: str) -> Answer:
        """Places that a text names, or genes and transcripts that begin with it: loci, empty when there are none."""
        return {"loci": [place._asdict() for place in self._search.find(q)]}

    def variants(self, chrom: str, start: int, end: int, most: int = 500) -> Answer:
        """Variants in view, by position: more, variants (key, pos, ref, alt, gene, strand, d_splice, calls).

        Of more than `most` those with the greatest d_splice are kept; one in several genes is there once for each.
        """
        end = self._cut(chrom, start, end)
        if self._variants is None:
            return {"more": 0, "variants": []}
        return self._variants.within(chrom, start, end, most)

    def variant(self, key: str) -> Answer:
        """Scores about a variant (`9-214900-G-A`): pos, ins_offset, strand, ref, alt, tissues.

        Bases whose greatest score is from 0.001 on; `ref` and `alt` have acceptor and donor, `tissues` usage in both.
        Empty if the table has no sites.
        """
        if self._variants is None:
            raise UnknownPlaceError("no variants are shown: give the output of `sptx variants` as well")
        try:
            return self._variants.scores(key)
        except InputError as error:
            if self._variants.is_one(key):
                raise
            raise UnknownPlaceError(str(error)) from None

    def _begin(self, locus: str | None) -> Interval:
        """Where the page begins."""
        if locus is None:
            return self._first_gene()
        found = self._search.exact(locus)
        if found is None:
            if self._variants is not None and self._variants.table.names_variant(locus):
                self._variants.table.variant(locus)  # which says that there is none such
            self.tables[0].tracks.find(locus)  # which says what there is
            raise InputError(f"{locus}: there is no such place in {self.tables[0].store.uri()}")
        return Interval(found.chrom, found.start, found.end)

    def _first_gene(self) -> Interval:
        """The gene with the strongest site of the first committed part, or the first stretch with rows."""
        view = self.tables[0]
        for part in view.tracks.parts[:1]:
            chrom, strand, first, last = part.key.chrom, part.key.strand, part.key.first - 1, part.key.last
            with suppress(InputError):  # of a damaged part: whoever looks there is told
                sites = view.sites(chrom, strand, first, last)
                best = int(sites.pos[np.argmax(np.maximum(sites.acceptor, sites.donor))]) if len(sites.pos) else 0
                gene = self.models.gene_at(chrom, strand, best - 1, best)
                if gene is not None:
                    return Interval(chrom, max(gene.start, 0), min(gene.end, self.lengths[chrom]))
            return Interval(chrom, first, last)
        chrom, length = next(iter(self.lengths.items()))
        return Interval(chrom, 0, length)

    def _weaker(
        self, view: TableView, chrom: str, strand: str, left: Any, right: Any, *, near: bool
    ) -> tuple[str, Any]:
        """The lesser of the scores of an intron's sites, and which table they are from."""
        blocks = np.unique((np.concatenate([left, right]) - 1) // view.block_bases) if near else ()
        near = near and len(blocks) <= MAX_BLOCKS
        read = view.tracks_at if near else view.sites_at
        of_left, of_right = ("donor", "acceptor") if strand == "+" else ("acceptor", "donor")
        weaker = np.minimum(read(chrom, strand, left, of_left), read(chrom, strand, right, of_right))
        return "tracks" if near else "sites", weaker

    def _view(self, table: int) -> TableView:
        self._renew(wait=False)
        if not 0 <= table < len(self.tables):
            raise BadQuestionError(f"table {table} is not there: give 0{' or 1' if len(self.tables) > 1 else ''}")
        return self.tables[table]

    def _cut(self, chrom: str, start: int, end: int) -> int:
        """`end`, or that of the contig; `start` must lie before it."""
        if chrom not in self.lengths:
            raise UnknownPlaceError(f"there is no contig {chrom}")
        end = min(end, self.lengths[chrom])
        if not 0 <= start < end:
            raise BadQuestionError(f"bases {start:,} to {end:,} (0-based, half-open) are no stretch of {chrom}")
        return end

    def _renew(self, *, wait: bool) -> None:
        """Look for new parts of unfinished tables, now and then and beside the answers, or at once."""
        if all(view.unfinished is None for view in self.tables):
            return
        if not wait and time.monotonic() - self._renewed < RENEWED_AFTER:
            return
        self._renewed = time.monotonic()
        if wait:
            _refresh(self.tables)
        else:
            threading.Thread(target=_refresh, args=(self.tables,), daemon=True).start()

    def _described(self, view: TableView) -> Answer:
        return {
            **_place_of(view.store.uri()),
            "fingerprint": view.header.fingerprint[:NAME_DIGITS],
            "tissues": view.tissues,
            "sites_threshold": view.header.spec.sites_threshold,
            "exact": view.header.spec.exact,
            "flanks": view.header.spec.flanks.value,
            "precision": str(view.header.fields.get("precision", "")),
            "checkpoint": _checkpoint_of(view),
            "unfinished": view.unfinished,
        }


def _refresh(tables: Sequence[TableView]) -> None:
    for view in tables:
        try:
            view.refresh()
        except InputError:  # a store that does not answer now: what was seen stays, and reading it says why
            continue


def _require_same_contigs(tables: Sequence[TableView]) -> None:
    first, *others = tables
    for other in others:
        names = {**first.lengths, **other.lengths}
        name = next((name for name in names if first.lengths.get(name) != other.lengths.get(name)), None)
        if name is not None:
            bases = [counted(view.lengths[name], "base") if name in view.lengths else "none" for view in (first, other)]
            raise InputError(
                f"{other.store.uri()} and {first.store.uri()} are not of one genome: contig {name} has {bases[1]} in "
                f"the one and {bases[0]} in the other; look at them on two pages"
            )


def _names_in(genome: Genome | None, lengths: dict[str, int]) -> dict[str, str]:
    """Contig -> its name in the FASTA; those of another length are of another genome."""
    if genome is None:
        return {}
    names = reconcile_contigs(lengths, genome.lengths).mapping
    for contig, name in names.items():
        if genome.lengths[name] != lengths[contig]:
            raise InputError(
                f"{genome.uri} is of another genome: {name} has {counted(genome.lengths[name], 'base')} there and "
                f"{lengths[contig]:,} in the table"
            )
    if not names:
        raise InputError(f"{genome.uri} has no contig of the table")
    return names


def _name_of(view: TableView) -> str:
    name: str = _place_of(view.store.uri())["name"]
    return name


def _place_of(uri: str) -> Answer:
    """A table's short name, and where it lies."""
    return {"name": uri.rstrip("/").rpartition("/")[2] or uri, "place": uri}


def _checkpoint_of(view: TableView) -> str:
    """The name of the checkpoint's file, as far as the settings tell it, and the beginning of its digest."""
    digest = str(view.header.fields.get("checkpoint", ""))[:NAME_DIGITS]
    try:
        name = without_secrets(view.tracks.settings.checkpoint).rstrip("/").rpartition("/")[2]
    except InputError:  # no settings beside the table: they are for people
        return digest
    return f"{name} ({digest})" if digest else name


def _rounded(values: Any, digits: int) -> list[float]:
    """float32 as it is printed: rounded as float64."""
    rounded: list[float] = np.round(values.astype(np.float64), digits).tolist()
    return rounded
