"""Hold a table against an annotation, and its usage against measured usage.

`evaluate(tracks, annotation, usage)` reads every committed part once, three columns of it, one part at a time, and of
the tissues only the rows at sites with a given usage. What grows with the genome is a histogram of scores.

In this package, `truth` is what is true, `labels` which rows count for what, `ranking` the figures of sites and
`correlation` those of usage; DEFINITIONS says it in a sentence each, for the report. Only positions that the
table holds count; true sites that it does not hold (not selected, on other contigs, in shards that are missing) are
counted as `outside`. Incomplete tables are evaluated as far as they are committed, and say so.

Usage is compared at sites (contig, strand, position, kind) that annotation, table and usage table have in common, each
once: with flanks: transcript, by the mean of the predictions in the transcripts that have the site.

Errors: `InputError` for a table without a committed part, one that cannot be read, an annotation or a usage table that
has no contig in common with it, and a usage table without one of its tissues.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from pipeline.coordinates import shortened
from pipeline.evaluation.correlation import Correlation, correlate
from pipeline.evaluation.labels import ALL, Group, labels_of
from pipeline.evaluation.ranking import TOP_FACTORS, Ranking, Reliability, ScoreBins
from pipeline.evaluation.truth import Truth, read_truth, table_contigs
from pipeline.inputs.annotation import Annotation
from pipeline.inputs.splice_sites import KINDS
from pipeline.tracks.reader import ShardPart, Tracks
from pipeline.tracks.scan import scan_parts
from pipeline.tracks.schema import SPLICE_STEPS, UNROUNDED, USAGE_STEPS
from sptx_core.channels import SPLICE
from sptx_core.errors import InputError

JSON_VERSION = 1
DEFINITIONS = {
    "donor": "last base of an exon that an intron follows, in transcription order",
    "acceptor": "first base of an exon that follows an intron, in transcription order",
    "positions": "rows that count: with flanks genomic each base of a strand once, with flanks transcript each base of "
    "each transcript; in a biotype those of its transcripts, less sites that only others have",
    "sites": "true sites among the positions; with flanks transcript the row's own transcript must have the site",
    "outside": "true sites of the annotation that the table does not hold; they enter no other figure",
    "top_k": "true sites among the int(f * k) highest scores / min(int(f * k), k), k = sites, ties in equal parts "
    "(Jaganathan et al. 2019, Cell 176:535; You et al. 2024, Nat Commun 15:9129)",
    "threshold": "score of the k-th highest position",
    "auprc": "average precision, sum of (R_n - R_(n-1)) P_n over descending scores, ties entering together",
    "calibration": "positions by score: mean score and share of true sites",
    "usage": "Spearman (ties by mean rank) and Pearson over (site, tissue) pairs with a given usage; specific: after "
    "each site's mean over its known tissues is removed from both sides, sites with at least two known tissues",
}


class SiteFigures(NamedTuple):
    """Figures of one kind of site in all of the table, or in one contig or biotype (`by`, `name`)."""

    kind: str
    by: str
    name: str
    positions: int
    sites: int
    outside: int
    top_k: dict[float, float | None]
    threshold: float | None
    auprc: float | None


class UsageFigures(NamedTuple):
    """Correlations by tissue, "all" last; sites given, of those annotated, of those in the table; columns not read."""

    given: int
    annotated: int
    compared: int
    ignored: tuple[str, ...]
    by_tissue: tuple[Correlation, ...]


class Coverage(NamedTuple):
    """How much of the plan was committed, and rows (flanks: transcript) of transcripts the annotation lacks."""

    shards: int
    missing_shards: int
    rows: int
    missing_rows: int
    unjudged_rows: int


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found; `rankings` holds all positions by kind, for curves."""

    table: str
    fingerprint: str
    flanks: str
    annotation: str
    contigs: dict[str, str]
    coverage: Coverage
    sites: tuple[SiteFigures, ...]
    rankings: Mapping[str, Ranking]
    usage: UsageFigures | None

    def of(self, kind: str, by: str = "all", name: str = "all") -> SiteFigures:
        """The figures of a kind of site, in all or in one contig or biotype; `KeyError` if there are none."""
        for figures in self.sites:
            if (figures.kind, figures.by, figures.name) == (kind, by, name):
                return figures
        raise KeyError((kind, by, name))

    def calibration(self) -> dict[str, tuple[Reliability, ...]]:
        """Reliability by kind."""
        return {kind: self.rankings[kind].reliability() for kind in KINDS}

    def to_json(self) -> str:
        """All figures with their definitions; a figure without a value is null."""
        document: dict[str, Any] = {
            "version": JSON_VERSION,
            "definitions": DEFINITIONS,
            "table": {"uri": self.table, "fingerprint": self.fingerprint, "flanks": self.flanks},
            "annotation": {"uri": self.annotation, "contigs": self.contigs},
            "coverage": self.coverage._asdict(),
            "sites": [
                figures._asdict() | {"top_k": {f"{factor:g}": share for factor, share in figures.top_k.items()}}
                for figures in self.sites
            ],
            "calibration": {kind: [line._asdict() for line in lines] for kind, lines in self.calibration().items()},
            "usage": self.usage
            and self.usage._asdict() | {"by_tissue": [line._asdict() for line in self.usage.by_tissue]},
        }
        return json.dumps(document, indent=1, allow_nan=False) + "\n"


def evaluate(
    tracks: Tracks,
    annotation: Annotation,
    usage: pl.DataFrame | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Evaluate a table; `usage` as `read_usage` gives it, `say` is told of what is missing and of each contig."""
    if not tracks.parts:
        raise InputError(f"{tracks.store.root} holds no committed part; run it first")
    truth = read_truth(annotation, tracks)
    measured = None if usage is None else _Measured.make(tracks, truth, usage)
    tally = _Tally(tracks, truth)
    say(f"{len(truth.contigs)} contigs in common: {shortened(list(truth.contigs.values()))}")
    by_contig: dict[str, list[ShardPart]] = {}
    for part in tracks.parts:
        by_contig.setdefault(part.key.chrom, []).append(part)
    for chrom, parts in by_contig.items():
        tally.contig(chrom, parts, measured)
        say(f"{chrom}: {tally.rows:,} rows read so far")
    coverage = Coverage(
        tracks.header.shards,
        tracks.header.shards - len(tracks.parts),
        tracks.header.rows,
        tracks.header.rows - tally.rows,
        tally.unjudged,
    )
    if coverage.missing_shards:
        say(
            f"incomplete: {coverage.missing_shards:,} of {coverage.shards:,} shards ({coverage.missing_rows:,} of "
            f"{coverage.rows:,} rows) are missing; the rest is evaluated"
        )
    if tally.unjudged:
        say(f"{tally.unjudged:,} rows are of transcripts that {annotation.uri} does not name, and do not count")
    figures = None if measured is None else measured.figures()
    if figures and figures.ignored:
        say(f"columns of the usage table that the tracks do not have: {shortened(figures.ignored)}")
    place = tracks.store.root, tracks.fingerprint, tracks.header.spec.flanks, annotation.uri, truth.contigs
    return Evaluation(*place, coverage, tally.figures(), tally.overall, figures)


class _Tally:
    """Rankings of all positions, by contig and by biotype, filled part by part."""

    def __init__(self, tracks: Tracks, truth: Truth) -> None:
        self.tracks, self.truth = tracks, truth
        schema = tracks.header.schema
        self.bins = ScoreBins(UNROUNDED if schema.spec.exact else SPLICE_STEPS)
        self.by_transcript = schema.by_transcript
        self.overall = self._empty()
        self.biotypes: dict[str, dict[str, Ranking]] = {}
        self.by_contig: list[SiteFigures] = []
        self.rows = self.unjudged = 0
        # A site is counted once a base, or with rows by transcript once a transcript.
        self.once = [*(["transcript_id"] if self.by_transcript else []), "chrom", "strand", "pos", "kind"]

    def contig(self, chrom: str, parts: Iterable[ShardPart], measured: _Measured | None) -> None:
        """Count the parts of one contig."""
        rankings = self._empty()
        for strand, of_strand in groupby(parts, key=lambda part: part.key.strand):
            labels = labels_of(self.truth, self.tracks.header.spec.flanks, chrom, strand)
            for part in of_strand:
                rows = read_part(self.tracks, part, KINDS)
                self.rows += len(rows)
                keys = {kind: self.bins.keys(rows[kind].to_numpy()) for kind in KINDS}
                judged = 0
                for group in labels.groups(rows):
                    if group.biotype is ALL:
                        judged = sum(end - start for start, end in group.slices)
                        targets = rankings
                    else:
                        targets = self.biotypes.setdefault(group.biotype, self._empty())
                    _count(targets, keys, group)
                self.unjudged += len(rows) - judged
                if measured is not None:
                    measured.read(part)
        here = self.truth.sites.filter(pl.col("chrom") == chrom)
        for kind in KINDS:
            self.by_contig.append(self._figures(kind, "contig", chrom, rankings[kind], here))
            self.overall[kind].add(rankings[kind])

    def figures(self) -> tuple[SiteFigures, ...]:
        """All, contigs in the order of the table, biotypes with the most sites first."""
        everything = [self._figures(kind, "all", "all", self.overall[kind], self.truth.sites) for kind in KINDS]
        by_size = sorted(self.biotypes, key=lambda name: (-sum(self.biotypes[name][kind].true for kind in KINDS), name))
        of_biotypes = [
            self._figures(kind, "biotype", name, self.biotypes[name][kind], sites)
            for name in by_size
            for sites in [self.truth.sites.filter(pl.col("biotype") == name)]
            for kind in KINDS
        ]
        return (*everything, *self.by_contig, *of_biotypes)

    def _figures(self, kind: str, by: str, name: str, ranking: Ranking, sites: pl.DataFrame) -> SiteFigures:
        annotated = sites.filter(pl.col("kind") == kind).select(self.once).n_unique()
        top = {factor: ranking.top_k(factor) for factor in TOP_FACTORS}
        counts = ranking.positions, ranking.true, annotated - ranking.true
        return SiteFigures(kind, by, name, *counts, top, ranking.threshold(), ranking.average_precision())

    def _empty(self) -> dict[str, Ranking]:
        return {kind: Ranking.empty(self.bins) for kind in KINDS}


class _Measured:
    """Given usage, and the predictions at its sites, filled part by part."""

    def __init__(self, tracks: Tracks, usage: pl.DataFrame, wanted: pl.DataFrame, tissues: Sequence[str]) -> None:
        self.tracks, self.usage, self.wanted, self.tissues = tracks, usage, wanted, tissues
        self.found: list[pl.DataFrame] = []

    @classmethod
    def make(cls, tracks: Tracks, truth: Truth, usage: pl.DataFrame) -> _Measured:
        """The sites that annotation and usage table have in common."""
        offered = [name for name in usage.columns if name not in (*_SITE, "contig")]
        stored = [name for name in tracks.channels if name not in SPLICE]
        tissues = [name for name in stored if name in offered]
        if not tissues:
            raise InputError(
                f"the usage table has no tissue of the tracks: it has {shortened(offered)}, they have "
                f"{shortened(stored)}"
            )
        contigs = table_contigs(tracks, usage["contig"].unique(maintain_order=True).to_list())
        if not contigs:
            raise InputError(
                f"the usage table has no contig of the tracks: it has {shortened(usage['contig'].unique().to_list())}, "
                f"they have {shortened(tracks.contigs['chrom'].to_list())}"
            )
        usage = usage.with_columns(pl.col("contig").replace(contigs).alias("chrom"))
        once = [*(["transcript_id"] if tracks.header.schema.by_transcript else []), *_SITE]
        wanted = truth.sites.select(once).unique().join(usage.select(_SITE), on=_SITE, how="semi")
        return cls(tracks, usage, wanted, tissues)

    def read(self, part: ShardPart) -> None:
        """Keep the predictions of a part's rows at wanted sites."""
        key = part.key
        within = pl.col("pos").is_between(key.first, key.last)
        here = self.wanted.filter((pl.col("chrom") == key.chrom) & (pl.col("strand") == key.strand) & within)
        if not here.is_empty():
            on = [name for name in here.columns if name != "kind"]
            self.found.append(read_part(self.tracks, part, self.tissues, at=here.select(on).unique()).join(here, on=on))

    def figures(self) -> UsageFigures:
        """Correlations of what was found."""
        offered = [name for name in self.usage.columns if name not in (*_SITE, "contig")]
        ignored = tuple(name for name in offered if name not in self.tissues)
        counts = len(self.usage), self.wanted.select(_SITE).n_unique()
        if not self.found:
            nothing = np.empty((0, len(self.tissues)))
            return UsageFigures(*counts, 0, ignored, correlate(self.tissues, nothing, nothing))
        values = [pl.col(name).cast(pl.Float64) for name in self.tissues]
        if not self.tracks.header.spec.exact:  # float32 steps as the decimals they stand for, so that ties stay ties
            values = [(value * USAGE_STEPS).round() / USAGE_STEPS for value in values]
        found = (
            pl.concat(self.found).with_columns(values).group_by(_SITE).agg(pl.col(self.tissues).mean().round(_DECIMALS))
        )
        both = found.join(self.usage, on=_SITE, suffix=_GIVEN).sort(_SITE)
        predicted = both.select(self.tissues).to_numpy()
        given = both.select(name + _GIVEN for name in self.tissues).to_numpy()
        return UsageFigures(*counts, len(both), ignored, correlate(self.tissues, predicted, given))


_SITE = ["chrom", "strand", "pos", "kind"]
_GIVEN = " given"
_DECIMALS = 9  # of a mean over transcripts: the order of adding must not undo a tie


def read_part(
    tracks: Tracks, part: ShardPart, columns: Sequence[str], *, at: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Rows of one part: chrom, strand, transcript_id if it has one, pos, then `columns`; only those that join `at`."""
    schema = tracks.header.schema
    names = ["chrom", "strand", *(["transcript_id"] if schema.by_transcript else []), "pos", *columns]
    frame = scan_parts(tracks.store, schema, [(part.key, part.name)]).select(names)
    if at is not None:
        frame = frame.join(at.lazy(), on=at.columns, how="semi", maintain_order="left")
    try:
        return frame.collect()
    except (OSError, pl.exceptions.PolarsError, pa.ArrowException) as error:
        raise InputError(f"{tracks.store.uri(part.name)} cannot be read ({error}); see `sptx verify`") from None


def _count(
    targets: Mapping[str, Ranking], keys: Mapping[str, np.ndarray[Any, np.dtype[np.int64]]], group: Group
) -> None:
    for kind, ranking in targets.items():
        bins = ranking.bins.count
        others = np.zeros(bins, np.int64)
        held = [keys[kind][start:end] for start, end in group.slices]
        others += np.bincount(held[0] if len(held) == 1 else np.concatenate(held), minlength=bins)
        sites = keys[kind][group.own[kind]]
        for rows in (group.own[kind], group.left_out[kind]):
            others -= np.bincount(keys[kind][rows], minlength=bins)
        ranking.count(sites, others)
