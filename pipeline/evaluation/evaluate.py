"""Compare a table with the splice sites of an annotation, and its usage with measured usage.

In: an opened table, an annotation and, if there is one, a usage table. `evaluate` reads each committed part once for
the sites (three columns), and once more for usage if the part holds a measured site. Memory grows with the annotation
and the usage table, not with the genome.

Out: an `Evaluation`: metrics of acceptors and donors (`pipeline.evaluation.site_metrics`) and of usage
(`pipeline.evaluation.usage_metrics`); `DEFINITIONS` describes each in a sentence. Only positions that the table holds
count. True sites that it does not hold (not selected, on other contigs, in missing shards) are counted as `outside`.
An incomplete table is evaluated as far as it is committed, and the result says how much is missing.

Errors: `InputError` for a table without a committed part or with one that cannot be read, for an annotation or a usage
table that has no contig in common with it, and for a usage table without any of its tissues.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from pipeline.coordinates import mitochondrion_note, shortened
from pipeline.evaluation.ranking import Ranking, Reliability
from pipeline.evaluation.site_metrics import SiteCounter, SiteMetrics
from pipeline.evaluation.truth import read_truth
from pipeline.evaluation.usage_metrics import UsageComparison, UsageMetrics
from pipeline.inputs.annotation import Annotation
from pipeline.inputs.splice_sites import KINDS
from pipeline.tracks.reader import ShardPart, Tracks
from sptx_core.errors import InputError
from sptx_core.redaction import without_secrets
from sptx_core.words import counted

JSON_VERSION = 1
DEFINITIONS = {
    "donor": "last base of an exon that an intron follows, in transcription order",
    "acceptor": "first base of an exon that follows an intron, in transcription order",
    "positions": "rows that count: with flanks genomic each base of a strand once, with flanks transcript each base of "
    "each transcript; for a biotype those of its transcripts, without sites that only other biotypes have",
    "sites": "true sites among the positions; with flanks transcript those of the row's own transcript",
    "outside": "true sites of the annotation that the table does not hold; no other metric counts them",
    "top_k": "true sites among the int(f * k) highest scores / min(int(f * k), k), k = sites; where scores tie at the "
    "end of the list, the mean over all orders of the tied positions "
    "(Jaganathan et al. 2019, Cell 176:535; You et al. 2024, Nat Commun 15:9129)",
    "threshold": "score of the k-th highest position",
    "auprc": "average precision, sum of (R_n - R_(n-1)) P_n over descending scores, tied positions entering together",
    "calibration": "mean score and share of true sites of the positions in a range of scores",
    "usage": "Spearman (tied values get their mean rank) and Pearson correlation over (site, tissue) pairs with a "
    "measured usage; specific: after each site's mean over its measured tissues is subtracted from both sides, for "
    "sites with at least two measured tissues",
    "alternative": "correlation with the measured specific parts over the sites that a transcript of their gene lacks "
    "although it lies on both sides of them; network: of the predicted specific parts; profile: of the mean profile of "
    "these sites over tissues, the same for all; beyond: of prediction with measurement after means of sites and of "
    "tissues, fitted together by least squares, are subtracted from both sides",
}


class Coverage(NamedTuple):
    """How much of the planned table was evaluated; the field names are keys of `evaluation.json`.

    Attributes
    ----------
    shards, missing_shards : int
        Shards of the plan, and those that are not committed.
    rows, missing_rows : int
        Rows of the plan, and those that are not committed.
    unjudged_rows : int
        With flanks: transcript, committed rows of transcripts that the annotation does not name.

    """

    shards: int
    missing_shards: int
    rows: int
    missing_rows: int
    unjudged_rows: int


@dataclass(frozen=True)
class Evaluation:
    """Result of `evaluate`.

    Attributes
    ----------
    table, fingerprint, flanks : str
        Root, fingerprint and flanks of the table.
    annotation : str
        Path or URI of the annotation.
    contigs : dict of str to str
        Name in the annotation -> name in the table, of the contigs that both have.
    coverage : Coverage
        How much of the table was evaluated.
    sites : tuple of SiteMetrics
        The whole table, then contigs, then biotypes; each as acceptors and donors.
    rankings : mapping of kind to Ranking
        All positions by score, for curves.
    usage : UsageMetrics or None
        None without a usage table.

    """

    table: str
    fingerprint: str
    flanks: str
    annotation: str
    contigs: dict[str, str]
    coverage: Coverage
    sites: tuple[SiteMetrics, ...]
    rankings: Mapping[str, Ranking]
    usage: UsageMetrics | None

    def of(self, kind: str, by: str = "all", name: str = "all") -> SiteMetrics:
        """Metrics of one kind of site.

        Parameters
        ----------
        kind : str
            "acceptor" or "donor".
        by, name : str
            "contig" or "biotype" and its name; without them the whole table.

        Returns
        -------
        SiteMetrics
            The metrics.

        Raises
        ------
        KeyError
            There are none for that contig or biotype.

        """
        for metrics in self.sites:
            if (metrics.kind, metrics.by, metrics.name) == (kind, by, name):
                return metrics
        raise KeyError((kind, by, name))

    def calibration(self) -> dict[str, tuple[Reliability, ...]]:
        """Calibration of all positions by kind, in ranges of score."""
        return {kind: self.rankings[kind].reliability() for kind in KINDS}

    def to_json(self) -> str:
        """Text of `evaluation.json`: all metrics with their definitions; one that is not defined is null."""
        document: dict[str, Any] = {
            "version": JSON_VERSION,
            "definitions": DEFINITIONS,
            "table": {"uri": self.table, "fingerprint": self.fingerprint, "flanks": self.flanks},
            "annotation": {"uri": self.annotation, "contigs": self.contigs},
            "coverage": self.coverage._asdict(),
            "sites": [
                metrics._asdict() | {"top_k": {f"{factor:g}": share for factor, share in metrics.top_k.items()}}
                for metrics in self.sites
            ],
            "calibration": {kind: [group._asdict() for group in groups] for kind, groups in self.calibration().items()},
            "usage": self.usage and _usage_json(self.usage),
        }
        return json.dumps(document, indent=1, allow_nan=False) + "\n"


def evaluate(
    tracks: Tracks,
    annotation: Annotation,
    usage: pl.DataFrame | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Evaluate a table.

    Parameters
    ----------
    tracks : Tracks
        The table, complete or not.
    annotation : Annotation
        The true splice sites: those of all its transcripts.
    usage : DataFrame, optional
        Measured usage, as `pipeline.inputs.usage.read_usage` returns it.
    say : callable, optional
        Called with lines for a person: contigs in common, progress, what is missing, ignored or left out.

    Returns
    -------
    Evaluation
        The metrics.

    Raises
    ------
    InputError
        The inputs do not belong together, or a part cannot be read; see the module.

    """
    if not tracks.parts:
        raise InputError(f"{tracks.store.root} holds no committed part; run it first")
    truth = read_truth(annotation, tracks)
    comparison = None if usage is None else UsageComparison(tracks, truth, usage)
    counter = SiteCounter(tracks, truth)
    for remark in annotation.remarks:
        say(remark)
    say(f"{counted(len(truth.contigs), 'contig')} in common: {shortened(list(truth.contigs.values()))}")
    note = mitochondrion_note(truth.contigs, dict(tracks.contigs.select("chrom", "length").iter_rows()))
    if note:
        say(note)
    by_contig: dict[str, list[ShardPart]] = {}
    for part in tracks.parts:
        by_contig.setdefault(part.key.chrom, []).append(part)
    for chrom, parts in by_contig.items():
        counter.count_contig(chrom, parts)
        if comparison is not None:
            for part in parts:
                comparison.read(part)
        say(f"{chrom}: {counted(counter.rows, 'row')} read so far")
    usage_metrics = None if comparison is None else comparison.metrics()
    evaluation = Evaluation(
        table=tracks.store.uri(),
        fingerprint=tracks.fingerprint,
        flanks=tracks.header.spec.flanks,
        annotation=without_secrets(annotation.uri),
        contigs=truth.contigs,
        coverage=_coverage(tracks, counter),
        sites=counter.metrics(),
        rankings=counter.overall,
        usage=usage_metrics,
    )
    _say_omissions(evaluation, say)
    return evaluation


def _usage_json(usage: UsageMetrics) -> dict[str, Any]:
    """Metrics of usage as plain values."""
    return usage._asdict() | {
        "by_tissue": [tissue._asdict() for tissue in usage.by_tissue],
        "alternative": usage.alternative and usage.alternative._asdict(),
    }


def _coverage(tracks: Tracks, counter: SiteCounter) -> Coverage:
    header = tracks.header
    missing_shards, missing_rows = header.shards - len(tracks.parts), header.rows - counter.rows
    return Coverage(header.shards, missing_shards, header.rows, missing_rows, counter.unjudged)


def _say_omissions(evaluation: Evaluation, say: Callable[[str], None]) -> None:
    """Say what of the inputs did not count."""
    coverage, usage = evaluation.coverage, evaluation.usage
    if coverage.missing_shards:
        verb = "is" if coverage.missing_shards == 1 else "are"
        say(
            f"incomplete: {coverage.missing_shards:,} of {counted(coverage.shards, 'shard')} "
            f"({coverage.missing_rows:,} of {counted(coverage.rows, 'row')}) {verb} missing; the rest is evaluated"
        )
    if coverage.unjudged_rows:
        rows = counted(coverage.unjudged_rows, "row belongs", "rows belong")
        say(f"not counted: {rows} to transcripts that {evaluation.annotation} does not name")
    if usage and usage.ignored:
        say(f"columns of the usage table that the tracks do not have: {shortened(usage.ignored)}")
