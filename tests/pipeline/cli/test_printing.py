"""Rows as people and programs read them."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl
import pytest

from pipeline.cli.printing import Format, print_table, write_rows

FRAME = pl.DataFrame({"chrom": ["chr1", "chr2"], "bases": [1_000_000, 5]})


def test_rows_are_printed_or_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(FRAME, Format.TABLE, None)
    assert "shape: (2, 2)" in capsys.readouterr().out
    for form in Format:
        write_rows(FRAME, form, tmp_path / form.value)
    assert "shape: (2, 2)" in (tmp_path / "table").read_text()
    assert (tmp_path / "csv").read_text() == "chrom,bases\nchr1,1000000\nchr2,5\n"
    assert pl.read_parquet(io.BytesIO((tmp_path / "parquet").read_bytes())).equals(FRAME)


def test_a_short_table_has_a_title_and_separated_thousands(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(FRAME, "Plan by contig")
    printed = capsys.readouterr().out
    assert "Plan by contig" in printed
    assert "1,000,000" in printed
