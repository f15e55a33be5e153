"""What a person may type to go somewhere; a miss is empty, whatever was typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from material import tables, variant_tables

from pipeline.browsing.cache import ByteCache
from pipeline.browsing.models import Models, Place
from pipeline.browsing.search import MAX_FOUND, Search
from pipeline.browsing.variant_view import VariantView
from pipeline.tracks.named_sites import transcripts_of
from pipeline.tracks.reader import Tracks, open_tracks


def searched(tracks: Tracks, variants: VariantView | None = None) -> Search:
    return Search(Models(transcripts_of(tracks, None)), tracks, variants)


@pytest.fixture(scope="module")
def search(tracks: Tracks) -> Search:
    return searched(tracks)


@pytest.mark.parametrize(
    ("text", "kind", "start", "end"),
    [
        ("chr1:1,001-2,000", "region", 1_000, 2_000),
        ("1:1001-2000", "region", 1_000, 2_000),
        ("chr1:999,000-2,000,000", "region", 998_999, 10**6),
        ("chr1:1,001", "site", 1_000, 1_001),
        ("chr1", "contig", 0, 10**6),
        (" 1 ", "contig", 0, 10**6),
        ("chr1:999,001-", "region", 999_000, 10**6),
        ("DOCK8", "gene", 1_100, 3_050),
    ],
)
def test_places(search: Search, text: str, kind: str, start: int, end: int) -> None:
    first = search.find(text)[0]
    assert (first.kind, first.chrom, first.start, first.end) == (kind, "chr1", start, end)
    assert search.exact(text) == first


@pytest.mark.parametrize(
    "text", ["", "  ", "chr2", "chr1:0-5", "chr1:2,000,000", "chr1:9-3", "nothing", "x" * 500, ":"]
)
def test_a_miss_is_empty(search: Search, text: str) -> None:
    assert search.find(text) == []
    assert search.exact(text) is None


@given(st.text())
@settings(max_examples=50)
def test_any_text_is_answered(search: Search, text: str) -> None:
    assert len(search.find(text)) <= MAX_FOUND


def test_what_begins_so_comes_after_what_is_called_so(search: Search) -> None:
    assert [place.name for place in search.find("ENST0")] == [f"ENST0{at}.{2 if at == 1 else 1}" for at in range(1, 6)]
    assert search.exact("ENST0") is None


def test_contigs_go_by_the_names_of_the_annotation_and_may_hold_colons(tmp_path: Path) -> None:
    tables.write_example(tmp_path / "t")
    search = searched(open_tracks(tmp_path / "t"))
    assert search.aliases == {"9": "chr9", "chrHLA-A*01:01": "HLA-A*01:01", "HLA-A": "HLA-A*01:01"}
    assert search.find("HLA-A")[0].chrom == "HLA-A*01:01"
    assert search.find("HLA-A*01:01")[0] == Place("HLA-A*01:01", "contig", "HLA-A*01:01", 0, 100, None)
    assert search.find("HLA-A*01:01:11-20")[0][3:5] == (10, 20)
    for alias, name in search.aliases.items():
        assert search.find(alias)[0].chrom == name


def test_a_variant_goes_by_its_key(tracks: Tracks, tmp_path: Path) -> None:
    row = variant_tables.scored("1", 1_500, "AC", "A", gene="DOCK8", d_splice=0.4)
    table = variant_tables.write(tmp_path / "v", [row])
    search = searched(tracks, VariantView(table, ["chr1"], ByteCache(1 << 20)))
    assert search.find("1-1500-AC-A") == [Place("1-1500-AC-A", "variant", "chr1", 1_499, 1_501, None)]
    assert search.find("1-1500-AC-G") == []
