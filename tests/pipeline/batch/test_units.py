"""Units travel as rows of plain columns and come back the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batch.units import Unit

COLUMNS = st.dictionaries(
    st.sampled_from(["chrom", "windows", "starts"]),
    st.one_of(st.integers(), st.text(), st.lists(st.integers())),
)


@given(st.integers(0, 10**9), st.text(min_size=1), st.integers(0, 10**9), st.text(), COLUMNS)
def test_a_unit_comes_back_from_its_row(index: int, label: str, size: int, place: str, columns: dict) -> None:
    unit = Unit(index, label, size, place, columns)
    assert Unit.from_row(unit.to_row()) == unit


def test_a_part_is_named_after_unit_and_run() -> None:
    unit = Unit(7, "101-400", 300, "chrom=chr9/strand=plus")
    assert unit.part_name("tracks", "0123456789abcdef") == (
        "tracks/chrom=chr9/strand=plus/000007-101-400-0123456789ab.parquet"
    )
    assert Unit(7, "x", 1).part_name("t", "0123456789abcdef") == "t/000007-x-0123456789ab.parquet"


def test_a_column_cannot_have_the_name_of_what_a_unit_has_itself() -> None:
    with pytest.raises(ValueError, match="cannot be called label or size"):
        Unit(7, "x", 1, columns={"size": 3, "label": "y", "chrom": "chr1"}).to_row()
