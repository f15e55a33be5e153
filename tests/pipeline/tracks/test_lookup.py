"""Names of genes and transcripts, with and without versions, and the spans that transcripts cover."""

from __future__ import annotations

import polars as pl
import pytest

from pipeline.tracks.lookup import genes_called, merged_spans, nearest_name, transcripts_called

TRANSCRIPTS = pl.DataFrame(
    {
        "transcript_id": ["ENST01.3", "ENST02.1", "NM_203447"],
        "gene_id": ["ENSG01.7", "ENSG02.12_3", "DOCK8"],
        "gene_name": ["ONE", "ONE", "DOCK8"],
        "start": [100, 301, 200],
        "end": [200, 400, 300],
    }
)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("ONE", ["ENST01.3", "ENST02.1"]),
        ("ENSG01", ["ENST01.3"]),
        ("ENSG01.7", ["ENST01.3"]),
        ("ENSG01.8", []),
        ("ENSG02.12", ["ENST02.1"]),
        ("DOCK8", ["NM_203447"]),
        ("one", []),
    ],
)
def test_genes(name: str, found: list[str]) -> None:
    assert genes_called(TRANSCRIPTS, name)["transcript_id"].to_list() == found


@pytest.mark.parametrize(
    ("name", "found"), [("ENST01", 1), ("ENST01.3", 1), ("ENST01.4", 0), ("NM_203447.4", 1), ("ONE", 0)]
)
def test_transcripts(name: str, found: int) -> None:
    assert transcripts_called(TRANSCRIPTS, name).height == found


def test_the_nearest_name() -> None:
    assert nearest_name(TRANSCRIPTS, "DOCK9", ["gene_name", "gene_id"]) == "DOCK8"
    assert nearest_name(TRANSCRIPTS, "xyz", ["gene_name"]) is None
    assert nearest_name(TRANSCRIPTS, "", ["gene_name"]) is None


def test_spans_that_touch_are_one() -> None:
    assert merged_spans(TRANSCRIPTS) == [(100, 400)]
    apart = pl.DataFrame({"start": [500, 100, 110, 402], "end": [600, 400, 120, 450]})
    assert merged_spans(apart) == [(100, 400), (402, 450), (500, 600)]
