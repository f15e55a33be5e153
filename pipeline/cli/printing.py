"""Tables on standard output or in a file, as `sptx` prints them.

A table for people is fitted to the screen (`print_rows`); a file always holds all rows and columns, whatever its form.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import polars as pl
import typer
from rich.console import Console
from rich.table import Table

from pipeline.cli.console import say
from sptx_core.errors import InputError
from sptx_core.files import replacing, require_writable, writing

if TYPE_CHECKING:
    import pyarrow.parquet as pq

SCREEN_ROWS = 60  # of a table for people, on standard output
DECIMALS = 6  # of scores that are not rounded
_WHOLE = ("chrom", "strand")  # texts that are never cut
_LEAST_WIDTH = 6  # to which others are
_ROWS_AT_A_TIME = 100_000  # of text: what a reader that closes the pipe does not want is not made


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    TSV = "tsv"
    PARQUET = "parquet"


SEPARATORS = {Format.CSV: ",", Format.TSV: "\t"}
_ENDINGS = {f".{form}": form for form in (*SEPARATORS, Format.PARQUET)}


def choose_format(form: Format | None, to: Path | None, *, by_flag: bool = True) -> Format:
    """The form in which rows are written, before any work is done.

    Parameters
    ----------
    form
        What was asked for, None for whatever fits.
    to
        File to write, None for standard output.
    by_flag
        Whether the command has a --format.

    Returns
    -------
    Format
        `form`, else what the ending of the file's name says, else a table for people.

    Raises
    ------
    InputError
        The name says another form than `form`, or none is given and it says none; or the file cannot be written.
    """
    if to is None:
        return form or Format.TABLE
    named = _ENDINGS.get(to.suffix.lower())
    if form is not None and named is not None and form is not named:
        raise InputError(f"--to {to} is the name of a {named} file, but --format is {form}; change one of the two")
    chosen = form or named
    if chosen is None:
        otherwise = ", or give --format" if by_flag else ""
        raise InputError(f"--to {to} does not tell its form: end its name in {', '.join(_ENDINGS)}{otherwise}")
    require_writable(to)
    return chosen


def write_rows(frame: pl.DataFrame, form: Format, to: Path | None) -> None:
    """Print `frame`, or write all of it to a file, which appears whole or not at all."""
    if to is None:
        if form is Format.TABLE:
            print_rows(frame)
        else:
            _write(frame, form, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        return
    with writing(to), replacing(to) as target, target.open("wb") as file:
        if form is Format.TABLE:
            file.write(_as_table(frame).encode())
        else:
            _write(frame, form, file)


class Rows:
    """A file of rows that come some at a time; each call writes some."""

    def __init__(self, form: Format, file: BinaryIO) -> None:
        self._form, self._file = form, file
        self._parquet: pq.ParquetWriter | None = None
        self.count: int | None = None
        """Rows written so far; None before the first call."""

    def __call__(self, frame: pl.DataFrame) -> None:
        """Write rows; all calls have the same columns, and the first one may have no row."""
        if self._form is Format.PARQUET:
            import pyarrow.parquet as pq  # late: help and errors come at once

            rows = frame.to_arrow(compat_level=pl.CompatLevel.oldest())  # types that every reader knows
            if self._parquet is None:
                self._parquet = pq.ParquetWriter(self._file, rows.schema, compression="zstd")
            self._parquet.write_table(rows)
        else:
            frame.write_csv(self._file, separator=SEPARATORS[self._form], include_header=self.count is None)
        self.count = (self.count or 0) + frame.height

    def close(self) -> None:
        """Complete the file."""
        if self._parquet is not None:
            self._parquet.close()


@contextmanager
def rows_to(to: Path, form: Format) -> Iterator[Rows]:
    """Write rows to a file as they come; it appears at the end, whole, or not at all."""
    with writing(to), replacing(to) as target, target.open("wb") as file, closing(Rows(form, file)) as rows:
        yield rows


def _write(frame: pl.DataFrame, form: Format, file: BinaryIO) -> None:
    if form is Format.PARQUET:
        content = io.BytesIO()  # Polars would report a closed pipe in words of its own
        frame.write_parquet(content)
        file.write(content.getbuffer())
        return
    separator = SEPARATORS[form]
    file.write(frame.clear().write_csv(separator=separator).encode())
    for some in frame.iter_slices(_ROWS_AT_A_TIME):
        file.write(some.write_csv(separator=separator, include_header=False).encode())


def print_rows(frame: pl.DataFrame, decimals: int = DECIMALS) -> None:
    """Print rows for a person on standard output, in lines that are no longer than the terminal.

    Numbers have at most so many decimals. Texts that do not fit are cut; columns that do not fit are left out from the
    last one on, which is said, and of more than `SCREEN_ROWS` rows those in the middle. Where there is no terminal,
    lines are as long as they need to be.
    """
    console = Console()
    text, left_out = fitted(frame, decimals, console.width if console.is_terminal else None)
    typer.echo(text, nl=False)
    if left_out:
        say(f"not shown, for the terminal is too narrow: {', '.join(left_out)}; --columns chooses others")


def fitted(frame: pl.DataFrame, decimals: int, width: int | None) -> tuple[str, list[str]]:
    """What `print_rows` prints on a terminal of so many columns (None: of any), and the columns that it leaves out."""
    half = SCREEN_ROWS // 2
    is_cut = len(frame) > SCREEN_ROWS
    shown = pl.concat([frame.head(half), frame.tail(half)]) if is_cut else frame
    columns = [_texts(column, decimals) for column in shown.get_columns()]
    if is_cut:
        for texts in columns:
            texts.insert(half + 1, "...")
    widths = [max(map(len, texts)) for texts in columns]
    gives_way = [kind == pl.String and name not in _WHOLE for name, kind in frame.schema.items()]
    if width is not None:
        least = [min(wide, _LEAST_WIDTH) if gives else wide for wide, gives in zip(widths, gives_way, strict=True)]
        while len(least) > 1 and sum(least) + len(least) - 1 > width:
            least.pop()
        widths = widths[: len(least)]
        while sum(widths) + len(widths) - 1 > width and widths != least:
            longest = max((at for at in range(len(widths)) if widths[at] > least[at]), key=widths.__getitem__)
            widths[longest] -= 1
    lines = [f"shape: {frame.shape}"]
    for cells in zip(*columns[: len(widths)], strict=True):
        cut = (
            cell if len(cell) <= wide else f"{cell[: wide - 1]}\u2026" for cell, wide in zip(cells, widths, strict=True)
        )
        padded = zip(cut, widths, frame.dtypes[: len(widths)], strict=True)
        lines.append(" ".join(f"{cell:{'<' if kind == pl.String else '>'}{wide}}" for cell, wide, kind in padded))
    return "".join(f"{line.rstrip()}\n" for line in lines), frame.columns[len(widths) :]


def _texts(column: pl.Series, decimals: int) -> list[str]:
    """Name and values of a column; all fractions with as many decimals as one of them needs, `decimals` at most."""
    values = column.to_list()
    if column.dtype.is_float():
        rounded = [None if value is None else f"{value:.{decimals}f}" for value in values]
        needed = max((len(text.rstrip("0").partition(".")[2]) for text in rounded if text), default=0)
        values = [None if value is None else f"{value:z.{max(needed, 1)}f}" for value in values]
    return [column.name, *("-" if value is None else str(value) for value in values)]


def _as_table(frame: pl.DataFrame) -> str:
    """All rows and columns as a person reads them."""
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=-1):
        return f"{frame}\n"


def print_table(frame: pl.DataFrame, title: str, *, width: int | None = None) -> None:
    """Print a short frame with its title, where no terminal says how wide in `width` columns."""
    is_terminal = Console().is_terminal
    console = Console(width=None if is_terminal else width, markup=False, emoji=False)  # names are no markup
    table = Table(title=title)
    for name in frame.columns:
        table.add_column(name, justify="left" if frame[name].dtype == pl.String else "right")
    for row in frame.iter_rows():
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row))
    console.print(table)
