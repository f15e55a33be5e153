"""Variants of a view, and the scores about one, against the rows of the table."""

from __future__ import annotations

from pathlib import Path

import pytest
from material import variant_tables
from material.variant_tables import around, scored

from pipeline.browsing.cache import ByteCache
from pipeline.browsing.variant_view import VariantView
from sptx_core.errors import InputError

CHANGED = scored("1", 1_500, "A", "C", gene="DOCK8", d_splice=0.81239, tissues=["brain"])
ROWS = (
    scored("1", 1_100, "A", "C", gene="DOCK8", d_splice=0.2) | {"record": 1},
    CHANGED | {"record": 2},
    scored("1", 1_500, "A", "C", gene="OTHER", strand="-", d_splice=0.1) | {"record": 2},
    scored("chr1", 1_700, "G", "GT", gene=None, strand=None, d_splice=None, status="no gene") | {"record": 3},
    scored("chr7", 5, "A", "C") | {"record": 4},
)


def opened(root: Path, sites: bool = True) -> VariantView:
    about = around(ROWS[1], {("donor", 1_510): 0.9}, {("donor", 1_510): 0.1, ("donor", 1_490): 0.70004}, 50)
    table = variant_tables.write(root, ROWS, about if sites else None)
    return VariantView(table, ["chr1", "chr2"], ByteCache(1 << 20))


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> VariantView:
    return opened(tmp_path_factory.mktemp("variants") / "v")


def test_variants_of_a_view_go_by_the_contigs_of_the_page(variants: VariantView) -> None:
    found = variants.within("chr1", 1_000, 2_000, 10)
    assert found["more"] == 0
    assert [(one["key"], one["gene"], one["d_splice"]) for one in found["variants"]] == [
        ("1-1100-A-C", "DOCK8", 0.2),
        ("1-1500-A-C", "DOCK8", 0.8124),
        ("1-1500-A-C", "OTHER", 0.1),
        ("chr1-1700-G-GT", None, None),
    ]
    assert found["variants"][1]["calls"] == ["brain"]
    assert found["variants"][2]["strand"] == "-"
    assert [one["pos"] for one in variants.within("chr1", 1_099, 1_100, 10)["variants"]] == [1_100]
    assert variants.within("chr2", 0, 10, 10) == {"more": 0, "variants": []}


def test_of_too_many_those_that_change_most_are_kept(variants: VariantView) -> None:
    found = variants.within("chr1", 0, 10_000, 2)
    assert found["more"] == 2
    assert [(one["pos"], one["gene"]) for one in found["variants"]] == [(1_100, "DOCK8"), (1_500, "DOCK8")]


def test_scores_about_a_variant_are_those_of_the_gene_that_changes_most(variants: VariantView) -> None:
    found = variants.scores("1-1500-A-C")
    assert (found["pos"], found["strand"]) == ([1_490, 1_510], "+")
    assert found["ref"] == {"acceptor": [0.0, 0.0], "donor": [0.0, 0.9]}
    assert found["alt"] == {"acceptor": [0.0, 0.0], "donor": [0.7, 0.1]}
    assert found["tissues"]["brain"] == {"ref": [None, None], "alt": [None, None]}


def test_without_a_table_of_sites_there_are_no_scores(tmp_path: Path) -> None:
    assert opened(tmp_path / "v", sites=False).scores("1-1500-A-C")["pos"] == []


def test_places_and_what_is_none(variants: VariantView) -> None:
    assert variants.place("1-1500-A-C") == ("chr1", 1_499, 1_500)
    assert variants.place("DOCK8") is None
    assert variants.place("chr7-5-A-C") is None  # a contig that the page has not
    assert variants.is_one("1-1500-A-C")
    assert not variants.is_one("1-1500-A-G")
    with pytest.raises(InputError, match="has no variant 1-1500-A-G"):
        variants.scores("1-1500-A-G")
