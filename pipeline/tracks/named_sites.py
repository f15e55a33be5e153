"""Sites with names: called and annotated splice sites, with what the table and an annotation say of each.

In: a table and transcripts, those of an `Annotation` or the table's own. Out: one row a site, that is a position,
strand and kind, in the order of the table. A row is there for each site that is

    called      the score of its kind reaches the threshold; read from the table of sites, unrounded
    annotated   a transcript has it, and the table has a row at its position; its scores are those of the table of sites
                where that holds them, else of the tracks, rounded as these are

so a base that is called as both kinds has two rows, and a site of several genes has one row that lists them: it is one
place with one score, and counting rows counts sites. In a table with flanks: transcript a base has a row for each
transcript that holds it, and so has a site; it is annotated if any transcript has it, and has rows below the threshold
for the transcripts that use it.

    chrom, strand, pos      the exon base beside the intron, 1-based; transcript_id with flanks: transcript
    kind                    acceptor or donor
    bases, motif            see `pipeline.tracks.motifs`
    score                   the score of its kind
    called, annotated       bool
    gene_ids, gene_names    lists, element for element; of a novel site those whose transcripts hold its position
    transcripts, within     lists, element for element: the transcripts that use the site and their exons ("exon 3");
                            of a novel site those that hold its position, and in which exon or intron
    nearest_pos             the nearest annotated site of its kind on its strand, of two the 5' one; null without one
    nearest_distance        bases from there to the site, above 0 if the site lies 3' of it; 0 for an annotated site
    nearest_score           score of the nearest one; null where the table has no row of it
    acceptor ... no_splice, the tissues   as in the table
    top_tissue, tau         the tissue with the greatest usage (of equal ones the first), and how specific the usage is
                            (`pipeline.tracks.specificity`); null where no tissue uses the site, or there is none

The table is read a stretch of at most `MAX_BASES` bases at a time, so memory does not grow with the genome.

Errors: `InputError` for a threshold below that of the table of sites, an annotation without a contig of the table, a
channel with the name of another column, and a part that cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress, groupby
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl

from pipeline.batch.storage import Store
from pipeline.coordinates import Cover, Interval
from pipeline.inputs.annotation import Annotation
from pipeline.inputs.splice_sites import KINDS
from pipeline.tracks.header import Header
from pipeline.tracks.known_sites import NAMES, SITE, KnownSites, known_sites
from pipeline.tracks.layout import ShardKey
from pipeline.tracks.motifs import with_motifs
from pipeline.tracks.scan import frame_types
from pipeline.tracks.schema import TrackSchema
from pipeline.tracks.specificity import tau
from sptx_core.channels import SPLICE
from sptx_core.errors import InputError

THRESHOLD = 0.1
"""The least score of a called site, as in the plots of genes."""
MAX_BASES = 8_000_000  # of the shards that are read at a time; 0.6 GB if every base is called
Places = Mapping[tuple[str, str], Sequence[Interval]]
"""Contig and strand -> stretches of it."""
_NEAREST: dict[str, pl.DataType] = {
    "nearest_pos": pl.Int32(),
    "nearest_distance": pl.Int32(),
    "nearest_score": pl.Float32(),
}


class Table(Protocol):
    """What is asked of a table: `pipeline.tracks.reader.Tracks`."""

    @property
    def store(self) -> Store:
        """Where it lies."""

    @property
    def header(self) -> Header:
        """What it says of itself."""

    @property
    def transcripts(self) -> pl.DataFrame:
        """Its own transcripts."""

    def contigs_of(self, names: Sequence[str]) -> dict[str, str]:
        """Contig names of another file -> its own."""

    def rows_where(
        self, keys: Sequence[ShardKey], holds: pl.Expr, *, columns: Sequence[str] | None = None, sites: bool
    ) -> pl.DataFrame:
        """Rows of some shards for which `holds` is true."""


class Batch(NamedTuple):
    """Named sites of one strand of a contig, or of a stretch of it.

    Attributes
    ----------
    sites : polars.DataFrame
        As the module's docstring says.
    without_row : int
        Annotated sites of the strand for which the table has no row; said with the last batch of the strand.
    """

    sites: pl.DataFrame
    without_row: int = 0


def transcripts_of(table: Table, annotation: Annotation | None) -> pl.DataFrame:
    """Give an annotation's transcripts the contig names of a table.

    Parameters
    ----------
    table : Table
        The table.
    annotation : Annotation, optional
        Without one the table's own transcripts are taken.

    Returns
    -------
    polars.DataFrame
        Transcripts on contigs of the table: chrom, biotype and the columns of `Annotation.transcripts`; 0-based,
        half-open.

    Raises
    ------
    InputError
        The annotation has no contig of the table.
    """
    if annotation is None:
        frame = table.transcripts.with_columns(pl.col("start") - 1, pl.col("exon_starts").list.eval(pl.element() - 1))
    else:
        contigs = table.contigs_of(annotation.transcripts["contig"].unique(maintain_order=True).to_list())
        if not contigs:
            raise InputError(f"{annotation.uri} has no contig of {table.store.root}")
        frame = annotation.transcripts.filter(pl.col("contig").is_in(list(contigs))).with_columns(
            pl.col("contig").replace(contigs).alias("chrom")
        )
    return frame.rename({"transcript_type": "biotype"})


def frame_schema(schema: TrackSchema) -> dict[str, pl.DataType]:
    """Name -> type of each column of named sites.

    Raises
    ------
    InputError
        A channel of the network has the name of another column.
    """
    keys = {name: kind for name, kind in frame_types(schema).items() if name not in (*schema.channels, "ref")}
    own: dict[str, pl.DataType] = {
        **dict.fromkeys(("kind", "bases", "motif"), pl.String()),
        "score": pl.Float32(),
        **dict.fromkeys(("called", "annotated"), pl.Boolean()),
        **NAMES,
        **_NEAREST,
    }
    last: dict[str, pl.DataType] = {"top_tissue": pl.String(), "tau": pl.Float32()}
    scores = {column.name: pl.Float32() for column in schema.scores}
    taken = [name for name in scores if name in {**keys, **own, **last}]
    if taken:
        raise InputError(f"the channel {taken[0]} has the name of a column of named sites: use the table of sites")
    return {**keys, **own, **scores, **last}


def named_sites(
    table: Table,
    keys: Sequence[ShardKey],
    transcripts: pl.DataFrame,
    *,
    threshold: float | None = None,
    places: Places | None = None,
) -> Iterator[Batch]:
    """Read called and annotated sites with their names.

    Parameters
    ----------
    table : Table
        The table.
    keys : sequence of ShardKey
        The committed shards to read, in the order of the table.
    transcripts : polars.DataFrame
        As `transcripts_of` returns them.
    threshold : float
        The least score of a called site, as for `called_from`.
    places : mapping of (str, str) to Interval, optional
        Contig and strand -> the stretches of it that sites must lie in; others are not read.

    Returns
    -------
    iterator of Batch
        One or more for each strand of a contig, read as they are asked for.

    Raises
    ------
    InputError
        See the module's docstring; what is wrong with the arguments is told at once.
    """
    least = called_from(threshold, table.header)
    frame_schema(table.header.schema)
    by_place = transcripts.partition_by("chrom", "strand", as_dict=True, include_key=True)

    def batches() -> Iterator[Batch]:
        for (chrom, strand), group in groupby(keys, lambda key: (key.chrom, key.strand)):
            wanted = None if places is None else [*places.get((chrom, strand), ())]
            if wanted is None or wanted:
                known = known_sites(by_place.get((chrom, strand), transcripts.clear()), strand)
                yield from strand_sites(table, tuple(group), known, threshold=least, regions=wanted)

    return batches()


def strand_sites(
    table: Table,
    keys: Sequence[ShardKey],
    known: KnownSites,
    *,
    threshold: float,
    regions: Sequence[Interval] | None = None,
) -> Iterator[Batch]:
    """As `named_sites`, of one strand of a contig whose annotated sites are known.

    Parameters
    ----------
    table : Table
        The table.
    keys : sequence of ShardKey
        All committed shards of the strand, in the order of the table.
    known : KnownSites
        The annotated sites of the strand.
    threshold : float
        The least score of a called site, not below that of the table of sites.
    regions : sequence of Interval, optional
        Stretches that sites must lie in; others are not read.
    """
    return _Strand(table, keys, known, threshold, regions).batches()


def called_from(threshold: float | None, *tables: Header) -> float:
    """The least score of a called site: `threshold`, by default `THRESHOLD` or what the tables of sites hold from on.

    Raises
    ------
    InputError
        It is below what the tables of sites hold, or above 1.

    """
    held = max(header.spec.sites_threshold for header in tables)
    if threshold is None:
        return max(THRESHOLD, held)
    if not held <= threshold <= 1:
        raise InputError(
            f"--threshold {threshold:g}: give a score from {held:g} to 1; the table of sites holds none below {held:g} "
            "(--sites-threshold of the run)"
        )
    return threshold


def scan_named(
    table: Table,
    keys: Sequence[ShardKey],
    annotation: Annotation | None,
    threshold: float | None,
    wanted: Callable[[Sequence[str]], Sequence[str]],
) -> pl.LazyFrame:
    """The named sites of some shards as a LazyFrame, which reads as it is collected.

    `wanted` gets the names of all columns and returns those to keep.
    """
    from polars.io.plugins import register_io_source  # late: not all of Polars is loaded for a query

    types = frame_schema(table.header.schema)
    transcripts = transcripts_of(table, annotation)
    least = called_from(threshold, table.header)

    def read(
        columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, _: int | None
    ) -> Iterator[pl.DataFrame]:
        left = rows
        for batch in named_sites(table, keys, transcripts, threshold=least):
            frame = batch.sites if predicate is None else batch.sites.filter(predicate)
            frame = frame if left is None else frame.head(left)
            yield frame if columns is None else frame.select(columns)
            if left is not None and (left := left - frame.height) <= 0:
                return

    return register_io_source(read, schema=pl.Schema(types)).select(wanted(list(types)))


class _Strand:
    """Named sites of the shards of one strand of a contig."""

    def __init__(
        self,
        table: Table,
        keys: Sequence[ShardKey],
        known: KnownSites,
        threshold: float,
        regions: Sequence[Interval] | None,
    ) -> None:
        self.table, self.known, self.threshold, self.keys = table, known, threshold, tuple(keys)
        self.cover = None if regions is None else Cover(regions)
        self.types = frame_schema(table.header.schema)
        self.tissues = [name for name in table.header.schema.channels if name not in SPLICE]
        self.row = ["transcript_id", "pos"] if table.header.schema.by_transcript else ["pos"]
        self.annotated = self._wanted(known.sites)

    def batches(self) -> Iterator[Batch]:
        """Read them stretch by stretch, then say how many annotated sites have no row."""
        seen = [self.annotated.select(SITE).clear()]
        near = self.keys
        if self.cover is not None:
            touched = self.cover.touches([key.first - 1 for key in near], [key.last for key in near])
            near = tuple(compress(near, touched))
        for keys in _stretches(near):
            sites = self._named(keys)
            seen.append(sites.filter("annotated").select(SITE))
            yield Batch(sites)
        yield Batch(pl.DataFrame(schema=self.types), self.annotated.height - pl.concat(seen).unique().height)

    def _wanted(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows that lie in the regions."""
        return rows if self.cover is None else rows.filter(self.cover.holds(rows["pos"].to_numpy() - 1))

    def _named(self, keys: Sequence[ShardKey]) -> pl.DataFrame:
        """Called and annotated sites of some shards, with all columns."""
        first, last = min(key.first for key in keys), max(key.last for key in keys)
        annotated = self.annotated.filter(pl.col("pos").is_between(first, last))
        is_called = pl.max_horizontal(KINDS) >= self.threshold
        called = self._wanted(self.table.rows_where(keys, is_called, sites=True))
        rows = pl.concat([called, self._rows_at(annotated["pos"], keys)]).unique(self.row, maintain_order=True)
        sites = self._with_names(self._sites(rows, annotated))
        sites = self._with_nearest(sites, rows)
        motifs = with_motifs(sites.select(SITE).unique(), self.known.introns, self.known.strand, self._bases)
        return self._with_specificity(sites.join(motifs, on=SITE, how="left", maintain_order="left")).select(
            *self.types
        )

    def _sites(self, rows: pl.DataFrame, annotated: pl.DataFrame) -> pl.DataFrame:
        """A row for each site that is called or annotated, with its score."""
        own = annotated.select(*SITE, pl.col("transcripts").alias("transcript_id"))
        own = own.explode("transcript_id") if "transcript_id" in self.row else own.drop("transcript_id")
        by_kind = []
        for kind in KINDS:
            scored = rows.with_columns(pl.lit(kind).alias("kind"), pl.col(kind).alias("score"))
            has_it = scored.join(own.filter(kind=kind), on=self.row, how="semi")
            by_kind.append(pl.concat([scored.filter(pl.col("score") >= self.threshold), has_it]).unique(self.row))
        found = pl.concat(by_kind).with_columns((pl.col("score") >= self.threshold).alias("called"))
        return found.sort(*self.row, "kind")

    def _with_names(self, sites: pl.DataFrame) -> pl.DataFrame:
        """Add genes, transcripts, and exons or introns."""
        used = sites.join(self.known.sites, on=SITE, how="left", maintain_order="left")
        novel = used.filter(pl.col("transcripts").is_null())["pos"]
        around = self.known.around(novel).rename({name: f"{name}_around" for name in NAMES})
        both = used.join(around, on="pos", how="left", maintain_order="left")
        names = [pl.coalesce(name, f"{name}_around").fill_null([]).alias(name) for name in NAMES]
        return both.with_columns(pl.col("transcripts").is_not_null().alias("annotated"), *names)

    def _with_nearest(self, sites: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
        """Add the nearest annotated site of the same kind: position, distance and score."""
        forward = 1 if self.known.strand == "+" else -1
        sites = sites.with_columns(self.known.nearest(sites))
        asked = [name if name != "pos" else "nearest_pos" for name in self.row]
        lacking = sites.join(rows, left_on=asked, right_on=self.row, how="anti")["nearest_pos"].drop_nulls()
        rows = pl.concat([rows, self._rows_at(lacking, self.keys)]).unique(self.row)
        scores = rows.select(*self.row, *(pl.col(kind).alias(f"nearest_{kind}") for kind in KINDS))
        found = sites.join(scores, left_on=asked, right_on=self.row, how="left", maintain_order="left")
        of_its_kind = pl.when(pl.col("kind") == "donor").then("nearest_donor").otherwise("nearest_acceptor")
        return found.with_columns(
            ((pl.col("pos") - pl.col("nearest_pos")) * forward).alias("nearest_distance"),
            of_its_kind.alias("nearest_score"),
        )

    def _with_specificity(self, sites: pl.DataFrame) -> pl.DataFrame:
        """Add the tissue that uses a site most, and tau."""
        usage = sites.select(self.tissues).to_numpy().reshape(sites.height, len(self.tissues))
        most = usage.argmax(axis=1) if self.tissues else np.zeros(sites.height, np.intp)
        is_used = usage.max(axis=1, initial=0) > 0
        names = pl.Series(self.tissues or [""], dtype=pl.String).gather(most)
        return sites.with_columns(
            pl.when(pl.Series(is_used)).then(names).alias("top_tissue"),
            pl.Series("tau", tau(usage)).fill_nan(None),
        )

    def _rows_at(self, positions: pl.Series, keys: Sequence[ShardKey]) -> pl.DataFrame:
        """Rows at positions: of the table of sites if it holds them, else of the tracks."""
        if positions.is_empty():
            return pl.DataFrame(schema=frame_types(self.table.header.schema))
        at = pl.col("pos").is_in(positions.unique().implode())
        keys = _holding(keys, positions)
        likely = self.table.rows_where(keys, at, sites=True)
        if "transcript_id" not in self.row:  # there a position may have rows in both tables
            positions = positions.filter(~positions.is_in(likely["pos"].implode()))
            at = pl.col("pos").is_in(positions.unique().implode())
        others = self.table.rows_where(_holding(keys, positions), at, sites=False)
        return pl.concat([likely, others]).unique(self.row, keep="first", maintain_order=True)

    def _bases(self, positions: pl.Series) -> pl.DataFrame:
        """Bases of the plus strand, as `pipeline.tracks.motifs` asks for them."""
        at = pl.col("pos").is_in(positions.implode())
        rows = self.table.rows_where(_holding(self.keys, positions), at, columns=[], sites=False)
        return rows.select("pos", "ref").unique("pos")


def _stretches(keys: Sequence[ShardKey]) -> Iterator[list[ShardKey]]:
    """Consecutive shards that are read together."""
    stretch: list[ShardKey] = []
    bases = 0
    for key in keys:
        bases += key.last - key.first + 1
        if stretch and bases > MAX_BASES:
            yield stretch
            stretch, bases = [], key.last - key.first + 1
        stretch.append(key)
    if stretch:
        yield stretch


def _holding(keys: Sequence[ShardKey], positions: pl.Series) -> list[ShardKey]:
    """The shards whose spans hold one of the positions."""
    pos = positions.unique().sort().to_numpy()
    first = np.searchsorted(pos, [key.first for key in keys], side="left")
    end = np.searchsorted(pos, [key.last for key in keys], side="right")
    return list(compress(keys, first < end))
