"""Rows as people and programs read them."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from pipeline.cli.printing import (
    SCREEN_ROWS,
    Format,
    choose_format,
    fitted,
    print_rows,
    print_table,
    rows_to,
    write_rows,
)
from sptx_core.errors import InputError

FRAME = pl.DataFrame({"chrom": ["chr1", "chr2"], "bases": [1_000_000, 5]})


def test_rows_are_printed_or_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(FRAME, Format.TABLE, None)
    assert "shape: (2, 2)" in capsys.readouterr().out
    for form in Format:
        write_rows(FRAME, form, tmp_path / form.value)
    assert "shape: (2, 2)" in (tmp_path / "table").read_text()
    assert (tmp_path / "csv").read_text() == "chrom,bases\nchr1,1000000\nchr2,5\n"
    assert (tmp_path / "tsv").read_text() == "chrom\tbases\nchr1\t1000000\nchr2\t5\n"
    assert pl.read_parquet(io.BytesIO((tmp_path / "parquet").read_bytes())).equals(FRAME)


def test_a_short_table_has_a_title_and_separated_thousands(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(FRAME, "Plan by contig")
    printed = capsys.readouterr().out
    assert "Plan by contig" in printed
    assert "1,000,000" in printed
    print_table(pl.DataFrame({"chrom": ["HLA[b]*01:01:01"]}), "Contigs")
    assert "HLA[b]*01:01:01" in capsys.readouterr().out


VARIANTS = pl.DataFrame(
    {
        "chrom": ["chr9", "chr17"],
        "pos": [154_708, 114_154_708],
        "id": ["a_broken_donor_of_a_short_exon", None],
        "ref": ["C", "ACGTTTGAAAAAAAAAAAAAA"],
        "alt": ["T", "A[chr2:321["],
        "status": ["scored", "ref_mismatch"],
        "d_splice": pl.Series([0.9921, None], dtype=pl.Float32),
        "ds_ag": [-0.00001, 0.5],
    }
)


def test_rows_are_fitted_to_a_terminal() -> None:
    text, left_out = fitted(VARIANTS, 3, None)
    assert text.splitlines() == [
        "shape: (2, 8)",
        "chrom       pos id                             ref                   alt         status       d_splice ds_ag",
        "chr9     154708 a_broken_donor_of_a_short_exon C                     T           scored          0.992   0.0",
        "chr17 114154708 -                              ACGTTTGAAAAAAAAAAAAAA A[chr2:321[ ref_mismatch        -   0.5",
    ]
    assert left_out == []
    text, left_out = fitted(VARIANTS, 3, 80)
    assert text.splitlines()[1:] == [
        "chrom       pos id          ref          alt         status       d_splice ds_ag",
        "chr9     154708 a_broken_d\u2026 C            T           scored          0.992   0.0",
        "chr17 114154708 -           ACGTTTGAAAA\u2026 A[chr2:321[ ref_mismatch        -   0.5",
    ]
    assert left_out == []
    text, left_out = fitted(VARIANTS, 3, 40)
    assert text.splitlines()[1:] == [
        "chrom       pos id      ref     alt",
        "chr9     154708 a_brok\u2026 C       T",
        "chr17 114154708 -       ACGTTT\u2026 A[chr2:\u2026",
    ]
    assert left_out == ["status", "d_splice", "ds_ag"]


def test_numbers_are_whole_and_have_the_decimals_that_they_need() -> None:
    scores = {"whole": [1.0, 0.0], "steps": pl.Series([0.5, 0.9998], dtype=pl.Float32), "small": [4e-9, -4e-9]}
    text, _ = fitted(pl.DataFrame(scores), 6, 20)
    assert text.splitlines() == ["shape: (2, 3)", "whole  steps small", "  1.0 0.5000   0.0", "  0.0 0.9998   0.0"]
    text, left_out = fitted(pl.DataFrame(scores), 6, 5)
    assert (text, left_out) == ("shape: (2, 3)\nwhole\n  1.0\n  0.0\n", ["steps", "small"])


def test_columns_that_do_not_fit_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("pipeline.cli.printing.Console", lambda: Console(force_terminal=True, width=60))
    print_rows(VARIANTS)
    printed = capsys.readouterr()
    assert max(map(len, printed.out.splitlines())) <= 60
    assert printed.err == "not shown, for the terminal is too narrow: ds_ag; --columns chooses others\n"


def test_of_many_rows_the_middle_is_left_out_on_a_screen() -> None:
    text, _ = fitted(pl.DataFrame({"pos": range(1, 1001)}), 3, 80)
    first, _, *lines = text.splitlines()
    assert first == "shape: (1000, 1)"
    assert len(lines) == SCREEN_ROWS + 1
    assert [line.strip() for line in lines[29:32]] == ["30", "...", "971"]


def test_a_file_holds_all_rows_whatever_its_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = pl.DataFrame({"pos": range(1, 250_001), "acceptor": [0.25] * 250_000})
    for name in ("rows.csv", "rows.TSV", "rows.parquet"):
        write_rows(long, choose_format(None, tmp_path / name), tmp_path / name)
    assert pl.read_csv(tmp_path / "rows.csv").equals(long)
    assert pl.read_csv(tmp_path / "rows.TSV", separator="\t").equals(long)
    assert pl.read_parquet(tmp_path / "rows.parquet").equals(long)
    some = long.head(3 * SCREEN_ROWS)
    write_rows(some, choose_format(Format.TABLE, tmp_path / "rows.txt"), tmp_path / "rows.txt")
    assert (tmp_path / "rows.txt").read_text().count("0.25") == 3 * SCREEN_ROWS
    write_rows(some, choose_format(None, None), None)
    assert capsys.readouterr().out.count("0.25") == SCREEN_ROWS


def test_text_in_slices_is_the_text_of_the_whole(tmp_path: Path) -> None:
    frame = pl.DataFrame({"chrom": ["a,b", 'c"d'] * 60_000, "usage": [1e-7, 0.1 + 0.2] * 60_000})
    write_rows(frame, Format.CSV, tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_text() == frame.write_csv()
    write_rows(frame.clear(), Format.CSV, tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_text() == "chrom,usage\n"


@pytest.mark.parametrize("form", [Format.CSV, Format.TSV, Format.PARQUET])
def test_rows_that_come_some_at_a_time_are_those_written_at_once(form: Format, tmp_path: Path) -> None:
    with rows_to(tmp_path / "pieces", form) as rows:
        assert rows.count is None
        for some in (FRAME.clear(), FRAME, FRAME):
            rows(some)
        assert not (tmp_path / "pieces").exists()
    assert rows.count == 4
    write_rows(pl.concat([FRAME, FRAME]), form, tmp_path / "whole")
    if form is Format.PARQUET:
        assert pl.read_parquet(tmp_path / "pieces").equals(pl.read_parquet(tmp_path / "whole"))
    else:
        assert (tmp_path / "pieces").read_bytes() == (tmp_path / "whole").read_bytes()


def test_rows_that_end_midway_leave_no_file(tmp_path: Path) -> None:
    def fails() -> None:
        with rows_to(tmp_path / "rows.parquet", Format.PARQUET) as rows:
            rows(FRAME)
            raise InputError("a part cannot be read")

    with pytest.raises(InputError, match="a part cannot be read"):
        fails()
    assert not list(tmp_path.iterdir())


def test_a_table_has_the_width_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    wide = pl.DataFrame({f"column {at}": ["x" * 20] for at in range(5)})
    print_table(wide, "wide", width=130)
    assert "x" * 20 in capsys.readouterr().out


@pytest.mark.parametrize(
    ("form", "name", "chosen"),
    [
        (None, None, Format.TABLE),
        (Format.CSV, None, Format.CSV),
        (None, "x.csv", Format.CSV),
        (None, "x.tsv", Format.TSV),
        (None, "x.PARQUET", Format.PARQUET),
        (Format.CSV, "x.csv", Format.CSV),
        (Format.CSV, "x.txt", Format.CSV),
        (Format.TABLE, "x", Format.TABLE),
    ],
)
def test_the_form_follows_the_name_or_the_flag(tmp_path: Path, form: Format, name: str, chosen: Format) -> None:
    assert choose_format(form, None if name is None else tmp_path / name) is chosen


@pytest.mark.parametrize(
    ("form", "name", "message"),
    [
        (None, "x.txt", r"x\.txt does not tell its form: end its name in \.csv, \.tsv, \.parquet, or give --format"),
        (None, "x", r"--to .*x does not tell its form"),
        (None, "x.csv.gz", r"x\.csv\.gz does not tell its form"),
        (Format.CSV, "x.parquet", r"x\.parquet is the name of a parquet file, but --format is csv; change one"),
        (Format.TABLE, "x.csv", r"x\.csv is the name of a csv file, but --format is table; change one"),
        (None, "no/x.csv", r"no/x\.csv cannot be written: there is no folder"),
        (None, "folder.csv", r"folder\.csv cannot be written: it is a folder"),
    ],
)
def test_forms_and_places_are_settled_before_the_work(tmp_path: Path, form: Format, name: str, message: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match=message):
        choose_format(form, tmp_path / name)


@pytest.mark.parametrize("form", Format)
def test_a_full_disk_is_told(form: Format) -> None:
    with pytest.raises(InputError, match="/dev/full cannot be written: No space left on device"):
        write_rows(FRAME, form, Path("/dev/full"))
