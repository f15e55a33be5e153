"""A table, and an annotation or none -> the `Findings` of its report.

It reads the table of sites, column by column as far as it is needed, and of the tracks the column `ref` alone, for the
bases beside sites: how many rows there are is what the plan says, and the scores that the table of sites does not hold
are those below its threshold. So a whole genome takes seconds of reading where all rows would take minutes. Memory is
bounded by the sites of one strand of a contig.

All sums are of whole numbers (usage in steps of 0.001), so the same table gives the same findings on any machine.

Errors: `InputError` for a threshold below that of the table of sites, an annotation without a contig of the table, and
a part that cannot be read; `UnfinishedError` for a table without a committed part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.batch.history import read_history
from pipeline.batch.manifest import read_manifest
from pipeline.batch.record import read_record
from pipeline.coordinates import Cover, Interval
from pipeline.inputs.annotation import Annotation
from pipeline.inputs.splice_sites import KINDS
from pipeline.reporting.findings import QUANTILES, Findings, Floats, Ints, Usage
from pipeline.tracks.known_sites import SITE, KnownSites, known_sites
from pipeline.tracks.layout import ShardKey
from pipeline.tracks.motifs import with_motifs
from pipeline.tracks.named_sites import called_from, transcripts_of
from pipeline.tracks.reader import Tracks
from pipeline.tracks.ref_bases import RefBases
from pipeline.tracks.schema import FORMAT_VERSION, USAGE_STEPS
from pipeline.tracks.site_choice import MIN_USAGE
from pipeline.tracks.specificity import SPECIFIC, tau
from sptx_core.channels import SPLICE
from sptx_core.errors import UnfinishedError
from sptx_core.words import counted

BINS = 20  # of a score or of tau, between 0 and 1
MAX_ROWS = 4_000_000  # of the shards whose sites are read at a time
MOST_SPECIFIC = 15  # sites that are listed
NO_BIOTYPE = "not given"

Floats32 = npt.NDArray[np.float32]


def gather(tracks: Tracks, annotation: Annotation | None = None, threshold: float | None = None) -> Findings:
    """Find all that a report tells.

    Parameters
    ----------
    tracks : Tracks
        The table; may be unfinished.
    annotation : Annotation, optional
        Decides which sites are annotated; without one the table's own transcripts do.
    threshold : float, optional
        Least score of a called site; `pipeline.tracks.named_sites.THRESHOLD` when None, or that of the table of sites
        where it is higher.

    Returns
    -------
    Findings

    Raises
    ------
    InputError, UnfinishedError
        See the module's docstring.
    """
    least = called_from(threshold, tracks.header)
    done, planned = len(tracks.parts), tracks.header.shards
    unfinished = f"unfinished: {done:,} of {counted(planned, 'shard')}" if done < planned else ""
    if not done:
        raise UnfinishedError(
            f"{tracks.store.uri()} has no rows yet ({unfinished}); finish it with the same `sptx run`"
        )
    record = read_record(tracks.store, FORMAT_VERSION)
    assert record is not None  # the reader has read it
    tally = _Tally(tracks, least)
    transcripts = transcripts_of(tracks, annotation)
    by_place = transcripts.partition_by("chrom", "strand", as_dict=True, include_key=True)
    for place, keys in groupby((part.key for part in tracks.parts), lambda key: (key.chrom, key.strand)):
        tally.add(tuple(keys), by_place.get(place, transcripts.clear()))
    own = f"the {counted(tracks.transcripts.height, 'transcript')} of the run"
    manifest = read_manifest(tracks.store)
    sites_bytes = manifest.frame["sites_bytes"].sum() if manifest and "sites_bytes" in manifest.frame.columns else None
    return Findings(
        name=tracks.store.uri().rstrip("/").rpartition("/")[2],
        unfinished=unfinished,
        threshold=least,
        named_by=f"{counted(transcripts.height, 'transcript')} of an annotation" if annotation else own,
        coverage=_coverage(tracks),
        scores=tally.scores(),
        sites=tally.sites(),
        without_row=tally.without_row,
        biotypes=tally.biotypes(),
        usage=tally.usage(),
        record=record,
        history=read_history(tracks.store),
        executions=dict(sorted(tally.executions.items())),
        parts=done,
        tracks_bytes=sum(part.bytes for part in tracks.parts),
        sites_bytes=None if sites_bytes is None else int(sites_bytes),
        by_transcript=tracks.header.schema.by_transcript,
    )


def _coverage(tracks: Tracks) -> pl.DataFrame:
    """Rows of each strand of a contig: planned, and of committed shards."""
    is_done = pl.col("shard").is_in([part.key.index for part in tracks.parts])
    rows = tracks.plan.group_by("chrom", "strand", maintain_order=True).agg(
        pl.col("rows").sum().alias("planned"), pl.col("rows").filter(is_done).sum().alias("computed")
    )
    return rows.join(tracks.contigs.select("chrom", "length"), on="chrom", how="left", maintain_order="left").select(
        "chrom", "length", "strand", "planned", "computed"
    )


class _Tally:
    """Counts of a table, strand by strand."""

    def __init__(self, tracks: Tracks, threshold: float) -> None:
        schema = tracks.header.schema
        self.tracks, self.threshold = tracks, threshold
        self.tissues = [name for name in schema.channels if name not in SPLICE]
        self.key = ["transcript_id"] if schema.by_transcript else []
        held = schema.spec.sites_threshold
        steps = [step / BINS for step in range(1, BINS + 1) if step / BINS > held]
        self.edges = np.array([held, *(steps or [1.0])], np.float32)
        self.binned = {kind: np.zeros(len(self.edges) - 1, np.int64) for kind in KINDS}
        self.rows = self.without_row = 0
        self.executions: Counter[str] = Counter()
        self._counts: list[pl.DataFrame] = []
        self._biotypes: Counter[tuple[str, str]] = Counter()
        self._usage = _UsageTally(self.tissues)

    def add(self, keys: Sequence[ShardKey], transcripts: pl.DataFrame) -> None:
        """Count one strand of a contig: its committed shards, and the transcripts that annotate it."""
        chrom, strand = keys[0].chrom, keys[0].strand
        shards = self.tracks.plan.filter(pl.col("shard").is_in([key.index for key in keys]))
        self.rows += int(shards["rows"].sum())
        called = self._called(keys, shards)
        known = known_sites(transcripts, strand)
        pieces = shards.select("pieces").explode("pieces").unnest("pieces").select("start", "end")
        computed = Cover(Interval(chrom, start - 1, end) for start, end in pieces.iter_rows())
        has_row = computed.holds(known.sites["pos"].to_numpy() - 1)
        self.without_row += int((~has_row).sum())
        annotated = known.sites.filter(has_row)
        sites = (
            called.with_columns(pl.lit(value=True).alias("called"))
            .join(annotated.with_columns(pl.lit(value=True).alias("annotated")), on=SITE, how="full", coalesce=True)
            .with_columns(pl.col("called", "annotated").fill_null(value=False))
            .sort(SITE)
        )
        bases = RefBases(self.tracks, keys)
        motifs = with_motifs(sites.select(SITE), known.introns, strand, bases)
        self.executions += bases.executions
        counted = sites.join(motifs, on=SITE).group_by("kind", "motif", "called", "annotated").len("sites")
        self._counts.append(counted)
        self._count_biotypes(sites, transcripts)
        self._usage.add(sites.filter("called"), known, chrom)

    def _called(self, keys: Sequence[ShardKey], shards: pl.DataFrame) -> pl.DataFrame:
        """The called sites with score and usage, each once; counts the scores of all rows on the way."""
        frames = []
        for some in _stretches(keys, dict(shards.select("shard", "rows").iter_rows())):
            rows = self.tracks.rows_where(some, pl.lit(value=True), columns=[*KINDS, *self.tissues], sites=True)
            for kind in KINDS:
                self.binned[kind] += _histogram(rows[kind].to_numpy(), self.edges)
                frames.append(
                    rows.filter(pl.col(kind) >= self.threshold).select(
                        "pos", pl.lit(kind).alias("kind"), pl.col(kind).alias("score"), *self.tissues, *self.key
                    )
                )
        called = pl.concat(frames)
        if self.key:
            called = called.sort("score", *self.key, descending=[True, False]).unique(SITE, keep="first").drop(self.key)
        return called

    def _count_biotypes(self, sites: pl.DataFrame, transcripts: pl.DataFrame) -> None:
        biotypes = transcripts.select("transcript_id", pl.col("biotype").fill_null(NO_BIOTYPE))
        having = (
            sites.filter("annotated")
            .select(*SITE, "called", pl.col("transcripts").alias("transcript_id"))
            .explode("transcript_id")
            .join(biotypes, on="transcript_id")
            .unique([*SITE, "biotype"])
        )
        for biotype, called, count in having.group_by("biotype", "called").len().iter_rows():
            self._biotypes[biotype, "annotated"] += count
            self._biotypes[biotype, "called"] += count if called else 0
        novel = sites.filter(~pl.col("annotated"))["pos"].to_numpy() - 1
        spans = transcripts.select(pl.col("biotype").fill_null(NO_BIOTYPE), "start", "end")
        for (biotype,), group in spans.group_by("biotype"):
            cover = Cover(Interval("", start, end) for start, end in group.select("start", "end").iter_rows())
            self._biotypes[str(biotype), "novel"] += int(cover.holds(novel).sum())

    def scores(self) -> pl.DataFrame:
        """`Findings.scores`."""
        low, high = self.edges[:-1].astype(np.float64).round(6), self.edges[1:].astype(np.float64).round(6)
        frames = []
        for kind in KINDS:
            counts = self.binned[kind]
            if low[0] > 0:
                frames.append((kind, 0.0, low[0], self.rows - int(counts.sum())))
            frames += [(kind, *bounds) for bounds in zip(low, high, counts.tolist(), strict=True)]
        types = {"kind": pl.String, "low": pl.Float64, "high": pl.Float64, "rows": pl.Int64}
        return pl.DataFrame(frames, types, orient="row")

    def sites(self) -> pl.DataFrame:
        """`Findings.sites`."""
        columns = ["kind", "motif", "called", "annotated"]
        counts = pl.concat(self._counts).group_by(columns).agg(pl.col("sites").sum().cast(pl.Int64))
        return counts.sort(columns, nulls_last=True)

    def biotypes(self) -> pl.DataFrame:
        """`Findings.biotypes`."""
        names = sorted({biotype for biotype, _ in self._biotypes})
        columns = ("annotated", "called", "novel")
        rows = [(name, *(self._biotypes[name, column] for column in columns)) for name in names]
        frame = pl.DataFrame(rows, {"biotype": pl.String, **dict.fromkeys(columns, pl.Int64)}, orient="row")
        return frame.sort("annotated", "novel", "biotype", descending=[True, True, False])

    def usage(self) -> Usage | None:
        """`Findings.usage`."""
        return self._usage.usage() if self.tissues else None


class _UsageTally:
    """Usage of called sites, strand by strand."""

    def __init__(self, tissues: Sequence[str]) -> None:
        count = len(tissues)
        self.tissues = tissues
        self.sites = self.used = 0
        self.by_step = np.zeros((count, USAGE_STEPS + 1), np.int64)
        self.sums, self.products = np.zeros(count), np.zeros((count, count))  # of whole numbers below 2**53: exact
        self.tau = np.zeros(BINS, np.int64)
        self.specific: Counter[str] = Counter()
        self.most: list[pl.DataFrame] = []

    def add(self, called: pl.DataFrame, known: KnownSites, chrom: str) -> None:
        """Count called sites of one strand of a contig."""
        if not self.tissues:
            return
        usage = called.select(self.tissues).to_numpy().reshape(called.height, len(self.tissues))
        steps = np.rint(np.multiply(usage, USAGE_STEPS, dtype=np.float64))
        self.sites += called.height
        for row, values in zip(self.by_step, steps.T.astype(np.int64), strict=True):
            row += np.bincount(values, minlength=USAGE_STEPS + 1)
        self.sums += steps.sum(axis=0)
        self.products += steps.T @ steps
        self._add_specific(called, usage, known, chrom)

    def _add_specific(
        self, called: pl.DataFrame, usage: npt.NDArray[np.float32], known: KnownSites, chrom: str
    ) -> None:
        """Count tau, and keep the sites of the greatest."""
        is_used = usage.max(axis=1, initial=0) >= np.float32(MIN_USAGE)
        used, usage = called.filter(pl.Series(is_used)), usage[is_used]
        self.used += used.height
        index = tau(usage)
        if not used.height or np.isnan(index).any():  # of one tissue there is none
            return
        self.tau += np.bincount(np.minimum((index * BINS).astype(np.int64), BINS - 1), minlength=BINS)
        most = usage.argmax(axis=1)
        greatest = usage.max(axis=1).astype(np.float64)
        others = (usage.astype(np.float64).sum(axis=1) - greatest) / (len(self.tissues) - 1)
        found = used.select(
            *(pl.lit(value).alias(name) for name, value in (("chrom", chrom), ("strand", known.strand))),
            *("pos", "kind", "score", "annotated", "gene_names", "gene_ids"),
            tissue=pl.Series(self.tissues, dtype=pl.String).gather(most),
            usage=pl.Series(greatest),
            others=pl.Series(others),
            tau=pl.Series(index),
        )
        self.specific.update(found.filter(pl.col("tau") >= SPECIFIC)["tissue"].to_list())
        self.most.append(_named(_most_specific(found), known))

    def usage(self) -> Usage:
        """What is found of all strands."""
        most = pl.concat(self.most) if self.most else pl.DataFrame(schema=_MOST)
        return Usage(
            tissues=tuple(self.tissues),
            sites=self.sites,
            quantiles=_quantiles(self.by_step, self.sites),
            correlation=_correlation(self.sites, self.sums, self.products),
            used=self.used,
            tau=self.tau,
            specific={tissue: self.specific[tissue] for tissue in self.tissues},
            most_specific=_most_specific(most),
        )


_MOST = {
    **dict.fromkeys(("chrom", "strand"), pl.String()),
    "pos": pl.Int32(),
    "kind": pl.String(),
    "score": pl.Float32(),
    "annotated": pl.Boolean(),
    "genes": pl.String(),
    "tissue": pl.String(),
    "usage": pl.Float64(),
    "others": pl.Float64(),
    "tau": pl.Float32(),
}


def _most_specific(sites: pl.DataFrame) -> pl.DataFrame:
    """The sites of the greatest tau, of equal ones those of the greatest score, in the order given."""
    return sites.sort("tau", "score", descending=True, maintain_order=True).head(MOST_SPECIFIC)


def _named(sites: pl.DataFrame, known: KnownSites) -> pl.DataFrame:
    """Sites with their genes as text: those that have an annotated site, or whose transcripts hold a novel one."""
    novel = sites.filter(~pl.col("annotated"))["pos"]
    around = known.around(novel).select("pos", pl.col("gene_names", "gene_ids").name.suffix("_around"))
    names, ids = (pl.coalesce(name, f"{name}_around").fill_null([]) for name in ("gene_names", "gene_ids"))
    genes = pl.when(names.list.eval(pl.element().is_not_null()).list.all()).then(names).otherwise(ids)
    return (
        sites.join(around, on="pos", how="left", maintain_order="left")
        .with_columns(genes.list.join(", ").alias("genes"))
        .select(pl.col(name).cast(kind) for name, kind in _MOST.items())
    )


def _stretches(keys: Sequence[ShardKey], rows: dict[int, int]) -> Iterator[list[ShardKey]]:
    """Consecutive shards whose sites are read together."""
    stretch: list[ShardKey] = []
    count = 0
    for key in keys:
        count += rows.get(key.index, 0)
        if stretch and count > MAX_ROWS:
            yield stretch
            stretch, count = [], rows.get(key.index, 0)
        stretch.append(key)
    yield stretch


def _histogram(values: Floats32, edges: Floats32) -> Ints:
    """How many values lie in each bin; the last one holds its upper edge, values below the first edge count nowhere."""
    at = np.searchsorted(edges, values, side="right") - 1
    return np.bincount(np.minimum(at[at >= 0], len(edges) - 2), minlength=len(edges) - 1)


def _quantiles(by_step: Ints, sites: int) -> Floats:
    """Quantiles of usage from how often each step occurs; see `Usage.quantiles`."""
    if not sites:
        return np.full((len(by_step), len(QUANTILES)), np.nan)
    ranks = [int(quantile * (sites - 1)) for quantile in QUANTILES]
    at = [np.searchsorted(np.cumsum(row), ranks, side="right") for row in by_step]
    return np.array(at, np.float64).reshape(len(by_step), len(QUANTILES)) / USAGE_STEPS


def _correlation(sites: int, sums: Floats, products: Floats) -> Floats:
    """Pearson's correlation from sums of whole numbers, in whole numbers up to the last step."""
    total, product = [int(value) for value in sums], [[int(value) for value in row] for row in products]
    spread = [sites * product[at][at] - total[at] ** 2 for at in range(len(total))]
    found = np.full(products.shape, np.nan)
    for row in range(len(total)):
        for column in range(len(total)):
            if spread[row] and spread[column]:
                joint = sites * product[row][column] - total[row] * total[column]
                found[row, column] = joint / (spread[row] * spread[column]) ** 0.5
    return found
