"""An `Evaluation` as tables for a terminal. A metric that is not defined is shown as a dash."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from pipeline.evaluation.alternative import AlternativeUsage
from pipeline.evaluation.evaluate import Evaluation
from pipeline.evaluation.ranking import TOP_FACTORS
from pipeline.evaluation.site_metrics import SiteMetrics
from pipeline.evaluation.usage_metrics import UsageMetrics
from pipeline.inputs.splice_sites import KINDS
from sptx_core.words import counted

MAX_NAMES = 30  # contigs or biotypes in one table; evaluation.json has all


def tables(evaluation: Evaluation) -> Iterator[Table]:
    """Lay out an evaluation for a terminal.

    Parameters
    ----------
    evaluation : Evaluation
        The metrics.

    Yields
    ------
    rich.table.Table
        Sites of the whole table, by contig (unless there is only one) and by biotype, without those that have no true
        site; then usage by tissue, if it was compared.

    """
    titles = {"all": "Splice sites", "contig": "By contig", "biotype": "By transcript biotype"}
    for by, title in titles.items():
        shown = [metrics for metrics in evaluation.sites if metrics.by == by and metrics.sites]
        only_contig = by == "contig" and len(shown) <= len(KINDS)
        if shown and not only_contig:
            yield _site_table(title, shown)
    if evaluation.usage is not None:
        yield _usage_table(evaluation.usage)
        if evaluation.usage.alternative is not None:
            yield _alternative_table(evaluation.usage.alternative)


def _site_table(title: str, shown: Sequence[SiteMetrics]) -> Table:
    limit = len(KINDS) * MAX_NAMES
    hidden = (len(shown) - limit) // len(KINDS)
    table = Table(title=title, caption=f"and {hidden} more in the JSON" if len(shown) > limit else None)
    table.add_column("", overflow="fold")
    table.add_column("kind", no_wrap=True)
    top_k = ["top-k" if factor == 1 else f"top-{factor:g}k" for factor in TOP_FACTORS]
    for heading in ("positions", "sites", "outside", *top_k, "AUPRC", "threshold"):
        table.add_column(heading, justify="right")
    for metrics in shown[:limit]:
        counts = (f"{count:,}" for count in (metrics.positions, metrics.sites, metrics.outside))
        shares = (_number(value, 3) for value in (*metrics.top_k.values(), metrics.auprc))
        table.add_row(metrics.name, metrics.kind, *counts, *shares, _number(metrics.threshold, 4))
    return table


def _usage_table(usage: UsageMetrics) -> Table:
    counts = f"{counted(usage.given, 'site')} given, {usage.annotated:,} annotated, {usage.compared:,} in the table"
    table = Table(title="Usage: predicted against measured", caption=counts)
    table.add_column("tissue")
    for heading in ("pairs", "Spearman", "Pearson", "specific pairs", "Spearman", "Pearson"):
        table.add_column(heading, justify="right")
    for line in usage.by_tissue:
        whole = f"{line.pairs:,}", _number(line.spearman, 3), _number(line.pearson, 3)
        part = f"{line.specific_pairs:,}", _number(line.specific_spearman, 3), _number(line.specific_pearson, 3)
        table.add_row(line.tissue, *whole, *part)
    return table


def _alternative_table(usage: AlternativeUsage) -> Table:
    sites, pairs = counted(usage.sites, "site"), counted(usage.pairs, "pair")
    counts = f"{sites} that some transcripts skip, {pairs} of site and tissue"
    table = Table(title="Differences between tissues at alternative sites", caption=counts)
    table.add_column("specific part of")
    table.add_column("Spearman", justify="right")
    table.add_column("Pearson", justify="right")
    rows = (
        ("the network", usage.network_spearman, usage.network_pearson),
        ("the mean profile, for comparison", usage.profile_spearman, usage.profile_pearson),
        ("the network, beyond its mean profile", usage.beyond_spearman, usage.beyond_pearson),
    )
    for name, *values in rows:
        table.add_row(name, *(_number(value, 3) for value in values))
    return table


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
