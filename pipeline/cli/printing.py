"""Tables on standard output or in a file, as `sptx` prints them."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Any

import polars as pl
import typer
from rich.console import Console
from rich.table import Table


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    PARQUET = "parquet"


def write_rows(frame: pl.DataFrame, form: Format, to: Path | None) -> None:
    """Print `frame`, or write it to a file."""
    if form is Format.TABLE:
        with pl.Config(tbl_rows=60, tbl_cols=-1, tbl_width_chars=200, tbl_hide_dataframe_shape=False):
            text = f"{frame}\n"
        if to is None:
            typer.echo(text, nl=False)
        else:
            to.write_text(text)
        return
    target: Any = to if to is not None else sys.stdout.buffer
    if form is Format.CSV:
        frame.write_csv(target)
    else:
        frame.write_parquet(target)


def print_table(frame: pl.DataFrame, title: str) -> None:
    """Print a short frame with its title."""
    table = Table(title=title)
    for name in frame.columns:
        table.add_column(name, justify="left" if frame[name].dtype == pl.String else "right")
    for row in frame.iter_rows():
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row))
    Console().print(table)
