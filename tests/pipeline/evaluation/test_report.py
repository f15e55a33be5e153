"""Tables for a terminal: which there are, what stands in a row, and what is left to the JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from pipeline.evaluation.alternative import AlternativeUsage
from pipeline.evaluation.correlation import Correlation
from pipeline.evaluation.evaluate import Coverage, Evaluation
from pipeline.evaluation.report import MAX_NAMES, tables
from pipeline.evaluation.site_metrics import SiteMetrics
from pipeline.evaluation.usage_metrics import UsageMetrics
from pipeline.inputs.splice_sites import KINDS

TOP_K = {0.5: None, 1.0: 0.75, 2.0: 0.875, 4.0: 1.0}


def metrics(kind: str, by: str = "all", name: str = "all", sites: int = 12) -> SiteMetrics:
    return SiteMetrics(kind, by, name, 34_740, sites, 3, TOP_K, 0.43211, 0.98765)


def evaluation(by_contig: int = 2, by_biotype: int = 1, usage: UsageMetrics | None = None) -> Evaluation:
    names = [("all", "all")]
    names += [("contig", f"chr{at}") for at in range(by_contig)]
    names += [("biotype", f"type{at}") for at in range(by_biotype)]
    sites = tuple(metrics(kind, by, name) for by, name in names for kind in KINDS)
    coverage = Coverage(1, 0, 34_740, 0, 0)
    return Evaluation("/table", "f" * 64, "genomic", "x.gtf", {"chr1": "chr1"}, coverage, sites, {}, usage)


@pytest.fixture
def printed() -> Callable[[Any], str]:
    def call(table: Any) -> str:
        console = Console(width=130)
        with console.capture() as capture:
            console.print(table)
        return capture.get()

    return call


def test_sites_in_all_by_contig_and_by_biotype(printed: Callable[[Any], str]) -> None:
    shown = list(tables(evaluation()))
    assert [table.title for table in shown] == ["Splice sites", "By contig", "By transcript biotype"]
    assert [table.row_count for table in shown] == [2, 4, 2]
    words = printed(shown[0])
    for heading in ("positions", "sites", "outside", "top-0.5k", "top-k", "top-2k", "top-4k", "AUPRC", "threshold"):
        assert heading in words
    (row,) = [line for line in words.splitlines() if "donor" in line]
    cells = [cell.strip() for cell in row.strip("│┃").split("│")]
    assert cells == ["all", "donor", "34,740", "12", "3", "-", "0.750", "0.875", "1.000", "0.988", "0.4321"]


def test_one_contig_is_not_shown_beside_all() -> None:
    assert [table.title for table in tables(evaluation(by_contig=1))] == ["Splice sites", "By transcript biotype"]


def test_kinds_without_a_site_are_not_shown() -> None:
    found = evaluation(by_contig=0, by_biotype=0)
    empty = Evaluation(**{**vars(found), "sites": (metrics("acceptor", sites=0), metrics("donor"))})
    (table,) = tables(empty)
    assert table.row_count == 1
    nothing = Evaluation(**{**vars(found), "sites": (metrics("acceptor", sites=0), metrics("donor", sites=0))})
    assert list(tables(nothing)) == []


@pytest.mark.parametrize(
    ("names", "rows", "caption"),
    [(MAX_NAMES, 2 * MAX_NAMES, None), (MAX_NAMES + 1, 2 * MAX_NAMES, "and 1 more in the JSON")],
)
def test_long_tables_are_cut_and_say_so(names: int, rows: int, caption: str | None) -> None:
    table = list(tables(evaluation(by_biotype=names)))[-1]
    assert (table.row_count, table.caption) == (rows, caption)


def test_usage_by_tissue(printed: Callable[[Any], str]) -> None:
    lines = (Correlation("brain", 1234, 0.51234, -0.25, 0, None, None), Correlation("all", 1234, 0.5, 0.25, 7, 1, 0))
    usage = UsageMetrics(1500, 1400, 1234, ("unheard",), lines)
    table = list(tables(evaluation(usage=usage)))[-1]
    words = printed(table)
    assert "1,500 sites given, 1,400 annotated, 1,234 in the table" in words
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in words.splitlines() if line[0] == "│"]
    assert rows == [
        ["brain", "1,234", "0.512", "-0.250", "0", "-", "-"],
        ["all", "1,234", "0.500", "0.250", "7", "1.000", "0.000"],
    ]


def test_usage_of_alternative_sites_stands_beside_their_mean_profile(printed: Callable[[Any], str]) -> None:
    lines = (Correlation("all", 9, 0.5, 0.25, 7, 1, 0),)
    alternative = AlternativeUsage(12, 1234, 0.61, 0.6, 0.15, 0.1, 0.59, None)
    table = list(tables(evaluation(usage=UsageMetrics(9, 9, 9, (), lines, alternative))))[-1]
    words = printed(table)
    assert "12 sites that some transcripts skip, 1,234 pairs" in words
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in words.splitlines() if line[0] == "│"]
    assert [row[1:] for row in rows] == [["0.610", "0.600"], ["0.150", "0.100"], ["0.590", "-"]]
