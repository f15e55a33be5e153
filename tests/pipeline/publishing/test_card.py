"""The dataset card: a header that the hub reads, what the table is, and code that runs."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from pipeline.batch.published import PublishedStore
from pipeline.publishing.card import Publication, card
from pipeline.publishing.contents import read_contents


def header_of(text: str) -> dict[str, object]:
    match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    assert match
    header: dict[str, object] = yaml.safe_load(match[1])
    return header


@pytest.mark.parametrize(
    ("licence", "told"),
    [
        ("", {"license": "unknown"}),
        ("CC-BY-4.0", {"license": "cc-by-4.0"}),
        ("Our own: 1", {"license": "other", "license_name": "Our own: 1"}),
    ],
)
def test_the_header_says_what_the_hub_asks(table: Path, licence: str, told: dict[str, str]) -> None:
    text = card(read_contents(PublishedStore(table)), Publication(".", licence))
    header = header_of(text)
    assert {name: value for name, value in header.items() if name.startswith("license")} == told
    assert header["configs"] == [
        {"config_name": "tracks", "data_files": "tracks/*/*/*.parquet", "default": True},
        {"config_name": "sites", "data_files": "sites/*/*/*.parquet"},
    ]
    assert header["size_categories"] == ["1K<n<10K"]
    assert f"Licence of this table: {licence or '**to be filled in**'}" in text


def test_the_patterns_of_the_header_are_the_parts(either: PublishedStore) -> None:
    contents = read_contents(either)
    for found, config in zip(contents.tables, header_of(card(contents, Publication()))["configs"], strict=True):  # type: ignore[call-overload]
        held = {path.relative_to(either.path()).as_posix() for path in Path(either.path()).glob(config["data_files"])}
        assert held == {part.name for part in found.parts}


def test_it_names_inputs_by_digest_and_columns_by_unit_but_no_path(either: PublishedStore) -> None:
    contents = read_contents(either)
    text = card(contents, Publication())
    assert contents.fingerprint in text
    assert "`GRCh38.fa.gz`" in text
    assert "`gencode.gtf.gz`" in text
    for found in contents.tables:
        for column in found.columns:
            assert f"| `{column.name}` | {column.type} | {column.unit} | {column.meaning} |" in text
    assert "somebody" not in text
    assert either.path() not in text


def test_the_paper_of_the_network_is_cited_where_the_columns_are_its(table: Path) -> None:
    contents = read_contents(PublishedStore(table))
    assert "10.1038/s41467-024-53088-6" in card(contents, Publication())
    about = {**contents.record.about, "channels": ["no_splice", "acceptor", "donor"]}
    other = contents._replace(record=replace(contents.record, about=about))
    assert "10.1038" not in card(other, Publication())


def test_usage_is_spoken_of_where_there_is_usage(either: PublishedStore) -> None:
    contents = read_contents(either)
    lines = card(contents, Publication()).split("## What it was made from")[0]
    assert "usage" in lines
    about = {**contents.record.about, "channels": ["no_splice", "acceptor", "donor"], "tissues": []}
    other = contents._replace(record=replace(contents.record, about=about))
    lines = card(other, Publication()).split("## What it was made from")[0]
    assert "usage" not in lines
    assert "splice" in lines


def test_the_digest_of_alleles_is_that_of_the_variants(scores: Path) -> None:
    contents = read_contents(PublishedStore(scores))
    fields = {**contents.record.fields, "alleles": "abc"}
    text = card(contents._replace(record=replace(contents.record, fields=fields)), Publication())
    assert "| variants | `in.vcf.gz` | SHA-256 of the alleles `abc` |" in text
    assert "| annotation | `gencode.gtf.gz` |  |" in text
    assert "1 row in 1 part," in text
