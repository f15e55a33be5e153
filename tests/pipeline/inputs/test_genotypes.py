"""Genotypes of a sample: alleles, phase and phase set as VCF 4.1 to 4.4 write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inputs.genotypes import Genotype, read_genotype

ALTS = ("C", "G")


def read(genotype: str, **others: str) -> Genotype:
    values = {"GT": genotype, **others}
    return read_genotype(":".join(values).encode(), ":".join(values.values()).encode(), ALTS)


@pytest.mark.parametrize(
    ("text", "alleles", "phased"),
    [
        ("0/1", (0, 1), False),
        ("0|2", (0, 2), True),
        ("1/1", (1, 1), False),
        ("1", (1,), True),
        (".", (None,), True),
        ("./.", (None, None), False),
        (".|1", (None, 1), True),
        ("|0|1", (0, 1), True),
        ("/0/1", (0, 1), False),
        ("/0|1", (0, 1), False),
        ("|0/1", (0, 1), False),
        ("/1", (1,), False),
        ("|1", (1,), True),
    ],
)
def test_alleles_and_phase(text: str, alleles: tuple[int | None, ...], phased: bool) -> None:
    genotype = read(text)
    assert (genotype.alleles, genotype.phased, genotype.phase_set, genotype.problem) == (alleles, phased, None, None)
    assert genotype.ploidy == len(alleles)
    assert genotype.missing == (set(alleles) == {None})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0/1/2", "GT is '0/1/2', which has 3 alleles; at most 2 are understood"),
        ("0|3", "GT is '0|3', but there are only 2 ALTs"),
        ("A/C", "GT is 'A/C', which is no genotype"),
        ("0/", "GT is '0/', which is no genotype"),
        ("-1/0", "GT is '-1/0', which is no genotype"),
        ("x" * 99, f"GT is '{'x' * 30}...', which is no genotype"),
    ],
)
def test_what_is_not_understood_is_named(text: str, message: str) -> None:
    genotype = read(text)
    assert (genotype.alleles, genotype.missing, genotype.phased) == ((), True, False)
    assert genotype.problem == message


@pytest.mark.parametrize(("names", "values"), [(b"", b""), (b".", b"."), (b"DP:AD", b"3:1,2"), (b"GT", b"")])
def test_a_sample_without_genotype(names: bytes, values: bytes) -> None:
    assert read_genotype(names, values, ALTS) == Genotype(())


def test_values_at_the_end_may_be_left_out() -> None:
    assert read_genotype(b"GT:AD:PS", b"0|1", ALTS) == Genotype((0, 1), True)


@pytest.mark.parametrize(
    ("others", "phased", "phase_set"),
    [
        ({"PS": "90"}, True, "90"),
        ({"PS": "."}, True, None),
        ({"PS": "chr1_block"}, True, "chr1_block"),
        ({"PSL": "a,a"}, True, "a"),
        ({"PSL": "a,a", "PS": "3"}, True, "a"),
        ({"PSL": "a,b"}, False, None),
        ({"PSL": "a,."}, False, None),
        ({"PSL": ".,."}, False, None),
        ({"PSL": "."}, True, None),
    ],
)
def test_phase_sets(others: dict[str, str], phased: bool, phase_set: str | None) -> None:
    genotype = read("0|1", **others)
    assert (genotype.phased, genotype.phase_set) == (phased, phase_set)


@given(names=st.binary(max_size=20), values=st.binary(max_size=20))
def test_no_columns_end_in_an_exception(names: bytes, values: bytes) -> None:
    for given_names in (names, b"GT:" + names):
        genotype = read_genotype(given_names, values, ALTS)
        assert genotype.problem is None or not genotype.alleles
        assert genotype.ploidy <= 2
