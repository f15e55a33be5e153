"""Names of sites and of what lies around a position, base by base on a hand-made gene and its mirror image."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from material.named_table import Scene

from pipeline.tracks.known_sites import KnownSites, known_sites

GENE = [  # exons 11-20, 31-40, 61-70; T2 skips the second; T3 is of another gene within the last intron
    ("T1", "G1", [(10, 20), (30, 40), (60, 70)]),
    ("T2", "G1", [(10, 20), (60, 70)]),
    ("T3", "G2", [(44, 50), (52, 58)]),
    ("T4", "G3", []),
]
LENGTH = 100


def known(strand: str, transcripts: object = GENE) -> KnownSites:
    scene = Scene("A" * LENGTH, "+", transcripts)  # type: ignore[arg-type]
    scene = scene if strand == "+" else scene.mirrored()
    return known_sites(scene.frame(), strand)


def place(pos: int, strand: str) -> int:
    return pos if strand == "+" else LENGTH + 1 - pos


@pytest.mark.parametrize("strand", ["+", "-"])
def test_sites_have_the_exons_that_use_them(strand: str) -> None:
    expected = [
        (20, "donor", ["G1"], ["T1", "T2"], ["exon 1", "exon 1"]),
        (31, "acceptor", ["G1"], ["T1"], ["exon 2"]),
        (40, "donor", ["G1"], ["T1"], ["exon 2"]),
        (50, "donor", ["G2"], ["T3"], ["exon 1"]),
        (53, "acceptor", ["G2"], ["T3"], ["exon 2"]),
        (61, "acceptor", ["G1"], ["T1", "T2"], ["exon 3", "exon 2"]),
    ]
    placed = sorted((place(pos, strand), *row) for pos, *row in expected)
    found = known(strand).sites
    assert found.select("pos", "kind", "gene_ids", "transcripts", "within").rows() == placed
    assert found["gene_names"].to_list() == [[f"name of {gene}" for gene in row[2]] for row in placed]
    pairs = known(strand).introns.rows()
    assert sorted(pairs) == sorted(
        (place(d, strand), place(a, strand)) for d, a in ((20, 31), (40, 61), (20, 61), (50, 53))
    )


@pytest.mark.parametrize("strand", ["+", "-"])
@pytest.mark.parametrize(
    ("pos", "held"),
    [
        (10, {}),
        (11, {"T1": "exon 1", "T2": "exon 1"}),
        (20, {"T1": "exon 1", "T2": "exon 1"}),
        (21, {"T1": "intron 1", "T2": "intron 1"}),
        (30, {"T1": "intron 1", "T2": "intron 1"}),
        (31, {"T1": "exon 2", "T2": "intron 1"}),
        (40, {"T1": "exon 2", "T2": "intron 1"}),
        (41, {"T1": "intron 2", "T2": "intron 1"}),
        (51, {"T1": "intron 2", "T2": "intron 1", "T3": "intron 1"}),
        (53, {"T1": "intron 2", "T2": "intron 1", "T3": "exon 2"}),
        (60, {"T1": "intron 2", "T2": "intron 1"}),
        (61, {"T1": "exon 3", "T2": "exon 2"}),
        (70, {"T1": "exon 3", "T2": "exon 2"}),
        (71, {}),
    ],
)
def test_what_holds_a_position(pos: int, held: dict[str, str], strand: str) -> None:
    found = known(strand).around(pl.Series([place(pos, strand)], dtype=pl.Int32))
    rows = found.rows(named=True)
    assert [dict(zip(row["transcripts"], row["within"], strict=True)) for row in rows] == ([held] if held else [])
    genes = list(dict.fromkeys("G2" if name == "T3" else "G1" for name in held))
    assert [sorted(row["gene_ids"]) for row in rows] == ([genes] if held else [])


@pytest.mark.parametrize(
    ("strand", "pos", "kind", "nearest"),
    [
        ("+", 30, "donor", 20),  # as far from 40: the 5' one
        ("+", 31, "donor", 40),
        ("+", 1, "donor", 20),
        ("+", 99, "donor", 50),
        ("+", 46, "acceptor", 53),
        ("+", 53, "acceptor", 53),
        ("-", 71, "donor", 81),  # 30 mirrored: of 81 and 61 the 5' one
        ("-", 70, "donor", 61),
        ("-", 1, "donor", 51),
    ],
)
def test_the_nearest_of_its_kind(strand: str, pos: int, kind: str, nearest: int) -> None:
    sites = pl.DataFrame({"pos": [pos], "kind": [kind]}, {"pos": pl.Int32, "kind": pl.String})
    assert known(strand).nearest(sites).to_list() == [nearest]


def test_without_introns_nothing_is_near() -> None:
    empty = known("+", [("T1", "G1", [(10, 20)])])
    assert empty.sites.is_empty()
    assert empty.introns.is_empty()
    sites = pl.DataFrame({"pos": [5], "kind": ["donor"]}, {"pos": pl.Int32, "kind": pl.String})
    assert empty.nearest(sites).to_list() == [None]
    assert empty.around(pl.Series([15], dtype=pl.Int32))["within"].to_list() == [["exon 1"]]


@settings(max_examples=40)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=6, unique=True), st.integers(1, 60), st.sampled_from("+-"))
def test_nearest_is_the_least_distance(donors: list[int], pos: int, strand: str) -> None:
    sites = pl.DataFrame({"pos": sorted(donors)}, {"pos": pl.Int32}).with_columns(kind=pl.lit("donor"))
    one = KnownSites(strand, sites, pl.DataFrame(), pl.DataFrame())
    asked = pl.DataFrame({"pos": [pos], "kind": ["donor"]}, {"pos": pl.Int32, "kind": pl.String})
    upstream = (lambda at: at) if strand == "+" else (lambda at: -at)
    assert one.nearest(asked).item() == min(donors, key=lambda at: (abs(at - pos), upstream(at)))
