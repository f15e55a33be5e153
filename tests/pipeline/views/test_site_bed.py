"""Named sites as BED: half-open positions, colours, names without white space, sorted for tools that search."""

from __future__ import annotations

import polars as pl
import pytest
from material import tables

from pipeline.tracks.named_sites import frame_schema
from pipeline.views.pictures import COLOURS
from pipeline.views.site_bed import COLUMNS, bed_rows

SITE = {
    "chrom": "chr1",
    "strand": "-",
    "pos": 1_401,
    "kind": "donor",
    "bases": "GT",
    "motif": "GT-AG",
    "score": 0.8996,
    "called": True,
    "annotated": True,
    "gene_ids": ["G1", "G2"],
    "gene_names": ["CYX3;1", "HOX A"],
    "transcripts": ["T1", "T2"],
    "within": ["exon 2", "exon 1"],
    "nearest_distance": 0,
    "top_tissue": "brain",
    "tau": 0.44614,
}
NOTHING = {"gene_ids": [], "gene_names": [], "transcripts": [], "within": [], "top_tissue": None, "tau": None}


def rows(*changes: dict[str, object]) -> list[dict[str, object]]:
    schema = frame_schema(tables.schema())
    return bed_rows(pl.DataFrame([SITE | change for change in changes], schema, strict=False)).rows(named=True)


def test_a_site_is_one_base() -> None:
    (row,) = rows({})
    assert tuple(row) == COLUMNS
    nine = ("chr1", 1_400, 1_401, "CYX3_1,HOX_A", 900, "-", 1_400, 1_401, "213,94,0")
    own = ("donor", "GT", "GT-AG", "annotated", "G1,G2", "T1,T2", "exon_2,exon_1", "0", "brain", "0.446")
    assert tuple(row.values()) == (*nine, *own)


def test_what_is_not_known_is_a_dot() -> None:
    (row,) = rows(NOTHING | {"bases": None, "motif": None, "nearest_distance": None, "annotated": False})
    assert (row["name"], row["annotated"]) == ("donor", "novel")
    unknown = ("bases", "motif", "gene_ids", "transcripts", "within", "nearest_distance", "top_tissue", "tau")
    assert {row[column] for column in unknown} == {"."}


@pytest.mark.parametrize("kind", ["acceptor", "donor"])
def test_colours_tell_kind_novel_and_not_called(kind: str) -> None:
    (known,), (novel,), (below,) = (
        rows({"kind": kind, "annotated": annotated, "called": called})
        for annotated, called in ((True, True), (False, True), (True, False))
    )
    colours = [row["itemRgb"] for row in (known, novel, below)]
    as_hex = "#{:02x}{:02x}{:02x}".format(*map(int, str(colours[0]).split(",")))
    assert as_hex == COLOURS[kind]  # as in the plots
    assert len(set(colours)) == 3
    assert colours[2] == "153,153,153"


def test_rows_are_sorted_by_position_over_both_strands() -> None:
    found = rows({"pos": 30}, {"pos": 4, "strand": "+"}, {"pos": 30, "strand": "+"}, {"pos": 30, "kind": "acceptor"})
    assert [(row["chromStart"], row["strand"], row["kind"]) for row in found] == [
        (3, "+", "donor"),
        (29, "+", "donor"),
        (29, "-", "acceptor"),
        (29, "-", "donor"),
    ]


def test_scores_run_to_1000() -> None:
    assert [row["score"] for row in rows({"score": 1.0}, {"score": 0.0}, {"score": 0.1})] == [1_000, 0, 100]
