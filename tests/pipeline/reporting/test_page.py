"""The page: well-formed, without script or request, every name as text, its figures those of the findings, small."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest
from material.reported import MARKUP

from pipeline.batch.history import Start
from pipeline.reporting.findings import Findings, Usage
from pipeline.reporting.page import MAX_BIOTYPES, MAX_CONTIGS, page

MAX_BYTES = 200_000
VOID = {"meta", "br", "img", "link"}


class Page(HTMLParser):
    """Tags, attributes and text of a page, whose tags must be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.cells: list[list[str]] = []
        self.words = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data
        if self.open[-1:] in (["td"], ["th"]):
            self.cells[-1][-1] += data


@pytest.fixture(scope="module")
def made(found: Findings) -> Page:
    return Page(page(found))


def test_it_runs_nothing_and_asks_for_nothing(found: Findings, made: Page) -> None:
    text = page(found)
    assert not {"script", "img", "link", "iframe", "object", "image", "use"} & {*made.tags}
    assert not [name for name, _ in made.attributes if name.startswith("on") or name in ("src", "srcset", "xlink:href")]
    assert all(value.startswith("#") for name, value in made.attributes if name == "href")
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in made.attributes
    assert not re.search(r"@import|url\(|https?://", text)


def test_names_are_text(found: Findings, made: Page) -> None:
    assert MARKUP in made.words  # a gene of a specific site
    coverage = found.coverage.with_columns(pl.col("chrom").replace("chr2", MARKUP))
    usage = found.usage
    assert usage is not None
    tissues = (MARKUP, *usage.tissues[1:])
    usage = dataclasses.replace(usage, tissues=tissues, specific=dict.fromkeys(tissues, 1))
    biotypes = found.biotypes.with_columns(pl.lit(MARKUP).alias("biotype"))
    record = dataclasses.replace(
        found.record,
        fields={MARKUP: MARKUP},
        execution=dataclasses.replace(found.record.execution, hardware=MARKUP, engine=MARKUP),
    )
    executions = {'{"hardware": "<b>", "engine": "<b>", "precision": "<b>"}': 1, "<b>": 1}
    odd = dataclasses.replace(
        found, name=MARKUP, coverage=coverage, usage=usage, biotypes=biotypes, record=record, executions=executions
    )
    shown = Page(page(dataclasses.replace(odd, named_by=MARKUP.replace("<", "a <"))))
    assert shown.words.count(MARKUP) > 8
    assert "img" not in shown.tags
    assert shown.tags.count("b") == made.tags.count("b")
    assert not [name for name, _ in shown.attributes if name.startswith("on")]


def test_its_figures_are_those_of_the_findings(found: Findings, made: Page) -> None:
    lines = {tuple(cell for cell in row if cell) for row in made.cells}
    assert ("all", "2,000,000", "2,990", "1,100") in lines
    assert ("chr1", "1,000,000", "2,400", "0.2 %", "1,100", "0.1 %") in lines
    for kind in ("acceptor", "donor"):
        counts = [
            found.count(kind=kind, called=called, annotated=annotated)
            for called, annotated in ((True, True), (False, True), (True, False))
        ]
        assert f"{kind}s: {counts[0]} annotated, called, {counts[1]} annotated, not called, {counts[2]}" in str(
            [value for name, value in made.attributes if name == "aria-label"]
        )
    for low, high, acceptor, donor in zip(
        *(found.scores.filter(kind="acceptor")[name] for name in ("low", "high", "rows")),
        found.scores.filter(kind="donor")["rows"],
        strict=True,
    ):
        assert (f"{low:g} to {high:g}", f"{acceptor:,}", f"{donor:,}") in lines
    for name, annotated, called, novel in found.biotypes.rows():
        assert (name, f"{annotated:,}", f"{called:,}", f"{100 * called / annotated:.1f} %", f"{novel:,}") in lines
    assert ("shards", "4 of 4") in lines
    assert ("tracks", f"{found.tracks_bytes:,} bytes, {found.tracks_bytes / found.rows:.2f} bytes a row") in lines


def test_the_same_findings_give_the_same_page(found: Findings) -> None:
    assert page(found) == page(found)


def test_a_whole_genome_of_many_tissues_stays_small(found: Findings) -> None:
    contigs, tissues = [f"{'scaffold' * 30}{at}" for at in range(700)], [f"{'tissue_' * 12}{at}" for at in range(60)]
    rows = [(name, 10**9, strand, 10**9 - at, 10**9 - at) for at, name in enumerate(contigs) for strand in "+-"]
    coverage = pl.DataFrame(rows, found.coverage.schema, orient="row")
    random = np.random.default_rng(0)
    usage = found.usage
    assert usage is not None
    most = usage.most_specific.with_columns(pl.lit(contigs[0]).alias("chrom"), pl.lit("gene, " * 200).alias("genes"))
    wide = Usage(
        tissues=tuple(tissues),
        sites=10**6,
        quantiles=np.sort(random.random((60, 5)), axis=1),
        correlation=random.random((60, 60)),
        used=10**6,
        tau=random.integers(0, 10**6, 20),
        specific={name: at for at, name in enumerate(tissues)},
        most_specific=most,
    )
    biotypes = pl.concat([found.biotypes.with_columns(pl.lit(f"biotype{at}").alias("biotype")) for at in range(60)])
    text = page(dataclasses.replace(found, coverage=coverage, usage=wide, biotypes=biotypes))
    assert len(text.encode()) < MAX_BYTES
    shown = Page(text)
    assert f"{700 - MAX_CONTIGS:,} others" in shown.words
    assert f"{2 * 60 - MAX_BIOTYPES:,} more biotypes each have" in shown.words
    assert "the 30 of 60 tissues" in shown.words


def test_what_is_missing_is_said_first(found: Findings) -> None:
    coverage = found.coverage.with_columns(pl.col("planned") * 2)
    text = page(dataclasses.replace(found, unfinished="unfinished: 4 of 9 shards", coverage=coverage, without_row=7))
    words = Page(text).words
    assert "The table is unfinished: 4 of 9 shards." in words
    assert "2,400 of 4,800" in words
    assert "7 annotated sites lie where the table has no row" in words


def test_a_network_without_tissues_or_with_one_has_fewer_sections(found: Findings) -> None:
    bare = Page(page(dataclasses.replace(found, usage=None)))
    assert "Usage by tissue" not in bare.words
    usage = found.usage
    assert usage is not None
    one = dataclasses.replace(usage, tissues=("brain",), quantiles=usage.quantiles[:1], correlation=np.ones((1, 1)))
    alone = Page(page(dataclasses.replace(found, usage=one)))
    assert "Usage by tissue" in alone.words
    assert "How alike tissues are" not in alone.words
    assert "Tissue-specific" not in alone.words


def test_parts_of_several_machines_are_told(found: Findings) -> None:
    way = '{{"hardware": "{}", "engine": "native", "precision": "float32"}}'
    text = page(dataclasses.replace(found, executions={way.format("H100"): 3, way.format("Zen 4"): 1, "odd": 1}))
    lines = Page(text).cells
    assert [row for row in lines if row[0].startswith("H100")] == [["H100, native engine, float32", "3"]]
    assert ["not given", "1"] in lines


def test_the_wall_time_is_the_sum_of_the_starts(found: Findings) -> None:
    starts = tuple(Start(f"2026-01-02T0{hour}:00:00+00:00", 1800.0, 1, 9_000, 2, "here") for hour in (3, 5))
    assert "1 h 00 min in 2 starts, 5 bases a second" in page(dataclasses.replace(found, history=starts))
    assert "not recorded" in page(found)


def test_rows_of_transcripts_are_called_so(found: Findings) -> None:
    words = Page(page(dataclasses.replace(found, by_transcript=True))).words
    assert "a base has a row for each transcript" in words
    assert "share of the contig" not in words
