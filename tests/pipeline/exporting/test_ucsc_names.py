"""Contig names as UCSC has them."""

from __future__ import annotations

import pytest

from pipeline.exporting.ucsc_names import ucsc_names


@pytest.mark.parametrize(
    ("name", "ucsc"),
    [("9", "chr9"), ("22", "chr22"), ("X", "chrX"), ("2L", "chr2L"), ("IV", "chrIV"), ("MT", "chrM"), ("chr9", "chr9")],
)
def test_chromosomes_have_ucscs_names(name: str, ucsc: str) -> None:
    names = ucsc_names({name: 1000}, "hg38")
    assert names.of == {name: ucsc}
    assert names.unknown == ()


@pytest.mark.parametrize("name", ["GL000220.1", "KI270706.1", "NC_000009.12", "HLA-A*01:01", "scaffold_12"])
def test_what_has_no_known_name_keeps_its_own(name: str) -> None:
    names = ucsc_names({"1": 1000, name: 100}, "hg38")
    assert names.of == {"1": "chr1", name: name}
    assert names.unknown == (name,)


def test_two_contigs_never_get_one_name() -> None:
    names = ucsc_names({"1": 1000, "chr1": 900, "2": 10}, "hg38")
    assert names.of == {"1": "1", "chr1": "chr1", "2": "chr2"}
    assert names.unknown == ("1", "chr1")


@pytest.mark.parametrize(
    ("name", "bases", "ucsc"),
    [("MT", 16_569, "chrMT"), ("chrM", 16_571, "chrM"), ("chrM", 16_569, "chrMT"), ("chrMT", 16_569, "chrMT")],
)
def test_hg19_has_two_mitochondria(name: str, bases: int, ucsc: str) -> None:
    assert ucsc_names({name: bases}, "hg19").of == {name: ucsc}
