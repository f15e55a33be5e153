"""An `Evaluation` as tables for a terminal. A figure without a value is a dash."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from pipeline.evaluation.evaluate import Evaluation, SiteFigures
from pipeline.evaluation.ranking import TOP_FACTORS

SHOWN = 30  # contigs and biotypes; the JSON has all


def tables(evaluation: Evaluation) -> Iterator[Table]:
    """Sites in all, by contig and by biotype, then usage by tissue."""
    names = {"all": "Splice sites", "contig": "By contig", "biotype": "By transcript biotype"}
    for by, title in names.items():
        lines = [figures for figures in evaluation.sites if figures.by == by and figures.sites]
        if lines and not (by == "contig" and len(lines) <= 2):  # one contig is all
            yield _sites(title, lines)
    if evaluation.usage is not None:
        yield _usage(evaluation)


def _sites(title: str, lines: list[SiteFigures]) -> Table:
    more = len(lines) - 2 * SHOWN
    table = Table(title=title, caption=f"and {more // 2} more in the JSON" if more > 0 else None)
    table.add_column("", overflow="fold")
    table.add_column("kind", no_wrap=True)
    tops = ["top-k" if factor == 1 else f"top-{factor:g}k" for factor in TOP_FACTORS]
    for heading in ("positions", "sites", "outside", *tops, "AUPRC", "threshold"):
        table.add_column(heading, justify="right")
    for line in lines[: 2 * SHOWN]:
        counts = (f"{count:,}" for count in (line.positions, line.sites, line.outside))
        shares = (_figure(value, 3) for value in (*line.top_k.values(), line.auprc))
        table.add_row(line.name, line.kind, *counts, *shares, _figure(line.threshold, 4))
    return table


def _usage(evaluation: Evaluation) -> Table:
    usage = evaluation.usage
    assert usage is not None
    counts = f"{usage.given:,} sites given, {usage.annotated:,} annotated, {usage.compared:,} in the table"
    table = Table(title="Usage: predicted against given", caption=counts)
    table.add_column("tissue")
    for heading in ("pairs", "Spearman", "Pearson", "specific pairs", "Spearman", "Pearson"):
        table.add_column(heading, justify="right")
    for line in usage.by_tissue:
        whole = f"{line.pairs:,}", _figure(line.spearman, 3), _figure(line.pearson, 3)
        part = f"{line.specific_pairs:,}", _figure(line.specific_spearman, 3), _figure(line.specific_pearson, 3)
        table.add_row(line.tissue, *whole, *part)
    return table


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
