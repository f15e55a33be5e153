"""The page of a hub says what is shown of which table, in HTML that can be set into another page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from material import tables

from pipeline.exporting.description import description
from pipeline.exporting.record import Options
from pipeline.tracks.header import Header, read_header
from sptx_core.channels import TISSUES


@pytest.fixture(scope="module")
def header(tmp_path_factory: pytest.TempPathFactory) -> Header:
    root = tmp_path_factory.mktemp("table")
    return tables.write(root, [tables.Part("chr1", "+", range(1, 101), donor={50: 0.5})]).header


def page(header: Header, options: Options | None = None, tissues: Sequence[str] = TISSUES, unfinished: str = "") -> str:
    return description(options or Options(genome="hg38"), header, tissues, unfinished).decode("ascii")


class Tags(HTMLParser):
    """Checks that elements end in the order in which they begin, and keeps their names and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not attrs
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_it_is_plain_html_without_attributes(header: Header) -> None:
    tags = Tags()
    tags.feed(page(header))
    assert not tags.open
    assert tags.seen == {"title", "h2", "p", "ul", "li", "b"}


def test_it_says_what_is_shown_of_which_table(header: Header) -> None:
    text = page(header._replace(fields={"checkpoint": "a1", "genome": "b2", "precision": "float32"}))
    assert f"fingerprint of the table: {header.fingerprint}" in text
    assert "SHA-256 of the tensors of the network: a1" in text
    assert "SHA-256 of the contigs of the genome: b2" in text
    assert not any(word in text for word in ("SHA-256 of the transcripts", "float32"))
    assert "at least 0.01, in the colour" in text
    assert "at least 0.25, in the colour" in page(
        header._replace(schema=replace(header.schema, spec=replace(header.spec, sites_threshold=0.25)))
    )
    assert "usage of likely sites in adipose tissue, blood, " in text
    assert " and stomach, predicted" in text
    assert "SpTransformer" not in text


def test_it_speaks_of_usage_where_there_is_usage(header: Header) -> None:
    assert "Usage</b> (green" in page(header, tissues=["brain"])
    assert "usage of likely sites in brain, predicted" in page(header, tissues=["brain"])
    assert "usage" not in page(header, tissues=[]).lower()


def test_it_says_what_a_gap_means(header: Header) -> None:
    usual, every = (page(header, Options(least=least)) for least in (0.002, 0.0))
    assert "A base there without a probability has less than 0.002." in usual
    assert "at likely sites alone, from 0.002 on." in usual
    assert "Every base there has a probability." in every
    assert "at likely sites alone." in every


def test_it_says_what_is_missing(header: Header) -> None:
    unfinished = page(header, Options(genes=("A&B", "<i>")), unfinished="unfinished: 1 < 2 shards")
    assert "<b>The table is unfinished: 1 &lt; 2 shards.</b>" in unfinished
    assert "hold these genes of the table alone: A&amp;B, &lt;i&gt;." in unfinished
    assert "hold these regions of the table alone: chr1:1-50, chr2." in page(
        header, Options(regions=("chr1:1-50", "chr2"))
    )
    assert not any(word in page(header) for word in ("unfinished", "of the table alone"))


def test_names_are_text_in_any_encoding(header: Header) -> None:
    assert "usage of likely sites in Gef&#228;&#223; &lt;b&gt; and T&amp;B, predicted" in page(
        header, tissues=["Gefäß_<b>", "T&B"]
    )


def test_it_says_how_rows_of_transcripts_are_shown(header: Header, tmp_path: Path) -> None:
    assert "of the transcripts that hold it" not in page(header)
    by_transcript = tables.write_example(tmp_path / "table", flanks="transcript")
    assert "of the transcripts that hold it" in page(read_header(by_transcript))
