"""Transcripts in view, introns, and names: their order, their places, and what a person may type."""

from __future__ import annotations

import pytest

from pipeline.browsing.models import Models, Place
from pipeline.tracks.named_sites import transcripts_of
from pipeline.tracks.reader import Tracks


@pytest.fixture(scope="module")
def models(tracks: Tracks) -> Models:
    return Models(transcripts_of(tracks, None))


def test_transcripts_in_view_are_mane_first_and_then_the_longest(models: Models) -> None:
    shown = models.within("chr1", 0, 10**6, 10)
    assert [one["id"] for one in shown] == ["ENST02.1", "ENST03.1", "ENST05.1", "ENST01.2", "ENST04.1"]
    assert [one["mane"] for one in shown] == [True] + [False] * 4
    assert models.within("chr1", 0, 10**6, 2) == shown[:2]
    first = shown[0]
    assert (first["start"], first["end"], first["exons"]) == (1_100, 3_050, [[1_100, 1_200], [2_900, 3_050]])
    assert (first["gene"], first["gene_id"], first["strand"], first["canonical"]) == ("DOCK8", "G_DOCK8", "+", False)


def test_a_view_holds_what_touches_it(models: Models) -> None:
    def ids(start: int, end: int) -> set[str]:
        return {one["id"] for one in models.within("chr1", start, end, 10)}

    assert ids(3_049, 3_050) == {"ENST01.2", "ENST02.1"}
    assert ids(3_050, 3_100) == set()
    assert ids(1_000, 1_100) == set()
    assert ids(1_000, 1_101) == {"ENST01.2", "ENST02.1"}
    assert models.within("chr7", 0, 10**6, 10) == []


def test_introns_are_there_once_with_the_number_of_their_transcripts(models: Models) -> None:
    plus = models.introns("chr1", "+")
    assert list(zip(*(column.tolist() for column in plus), strict=True)) == [
        (1_200, 1_800, 1),
        (1_200, 2_900, 1),
        (1_900, 2_900, 1),
        (262_100, 262_200, 1),
        (262_300, 700_100, 1),
    ]
    assert models.introns("chr1", "-").start.tolist() == [2_200, 899_600]


@pytest.mark.parametrize("name", ["DOCK8", "dock8", "G_DOCK8"])
def test_a_gene_goes_by_name_or_id_whatever_the_case(models: Models, name: str) -> None:
    assert models.called(name) == [Place("DOCK8", "gene", "chr1", 1_100, 3_050, "+")]


@pytest.mark.parametrize("name", ["ENST01.2", "ENST01", "enst01.2", "ENST01.9"])
def test_a_transcript_goes_by_its_id_with_any_version_or_none(models: Models, name: str) -> None:
    assert models.called(name) == [Place("ENST01.2", "transcript", "chr1", 1_100, 3_050, "+")]


def test_beginnings_of_names_are_found_in_order(models: Models) -> None:
    assert [place.name for place in models.beginning("d", 5)] == ["DOCK8"]
    assert [place.name for place in models.beginning("ENST0", 3)] == ["ENST01.2", "ENST02.1", "ENST03.1"]
    assert models.beginning("zz", 5) == []


def test_the_gene_at_a_base_is_one_of_its_strand(models: Models) -> None:
    assert models.gene_at("chr1", "-", 2_150, 2_151) == Place(
        "<img src=x onerror=alert(1)>", "gene", "chr1", 2_100, 2_800, "-"
    )
    assert models.gene_at("chr1", "+", 500_000, 500_001) is not None  # within an intron of WIDE
    assert models.gene_at("chr1", "-", 5_000, 5_001) is None
