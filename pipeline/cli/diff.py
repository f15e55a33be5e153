"""The command that compares two tables: `diff`."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import polars as pl
import typer

from pipeline.cli.console import INCOMPLETE, print_json, say
from pipeline.cli.flags import AsJson, Threshold
from pipeline.cli.printing import choose_format, print_table, rows_to
from pipeline.coordinates import shortened
from pipeline.settings import absolute
from sptx_core.channels import SPLICE
from sptx_core.words import counted

if TYPE_CHECKING:
    from pipeline.tracks.difference import Difference
    from pipeline.tracks.reader import Tracks

DIFFERENT = 1  # exit code, where it is asked for
WIDTH = 130  # columns of what is printed to a file or another program
DECIMALS = 6


def diff(
    first: Annotated[str, typer.Argument(help="A table: its folder or URI.", show_default=False)],
    second: Annotated[str, typer.Argument(help="The table to compare it with.", show_default=False)],
    gene: Annotated[str | None, typer.Option(help="Only rows of this gene, by name or id.", show_default=False)] = None,
    region: Annotated[
        str | None, typer.Option(help="Only rows in this region, such as chr9:214,854-220,000.", show_default=False)
    ] = None,
    least: Annotated[float, typer.Option(help="List only rows that differ by at least this.", min=0, max=1)] = 0.01,
    threshold: Threshold = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            help="File to write all rows to that differ by at least --least: .tsv, .csv or .parquet.",
            show_default=False,
        ),
    ] = None,
    exit_code: Annotated[
        bool,
        typer.Option("--exit-code", help="End with exit code 1 if the tables differ, as the Unix command diff does."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare two tables of one genome: how much rows differ, which differ most, and which sites are gained and lost.

    Compares the rows that both tables hold, and prints settings that differ. The exit code is 0 whether the tables
    differ or not, unless --exit-code is given; it is 3 if a table is unfinished. Details: docs/diff.md.
    """
    from pipeline.tracks.difference import compare
    from pipeline.tracks.reader import open_tracks

    form = None if to is None else choose_format(None, to, by_flag=False)
    tables = open_tracks(absolute(first)), open_tracks(absolute(second))
    asked = partial(compare, *tables, gene=gene, region=region, least=least, threshold=threshold)
    if to is None or form is None:
        found = asked()
    else:
        with rows_to(to, form) as rows:
            found = asked(take=rows)
            if rows.count is None:
                rows(found.largest.clear())
        say(f"{counted(rows.count or 0, 'row that differs', 'rows that differ')} by {least:g} or more: {to}")
    if as_json:
        print_json(_as_json(found))
    else:
        _print(tables, found, least)
    for name, missing in zip((first, second), found.unfinished, strict=True):
        if missing:
            say(f"{name} is {missing}; what both tables hold was compared")
    if exit_code and not found.is_none:
        raise typer.Exit(DIFFERENT)
    if any(found.unfinished):
        raise typer.Exit(INCOMPLETE)


def _print(tables: tuple[Tracks, Tracks], found: Difference, least: float) -> None:
    """Print what differs as tables for people."""
    for letter, tracks, rows in zip("AB", tables, (found.rows_first, found.rows_second), strict=True):
        typer.echo(f"{letter}: {tracks.store.uri()}, {counted(rows, 'row')}")
    typer.echo(
        f"rows of both: {found.shared:,}; of A alone: {found.rows_first - found.shared:,}; of B alone: "
        f"{found.rows_second - found.shared:,}"
    )
    for letter, only in (("A", found.only_first), ("B", found.only_second)):
        if only:
            typer.echo(f"{letter} alone has {shortened(only)}")
    if found.other_bases:
        rows_of_both = counted(found.other_bases, "row of both has", "rows of both have")
        typer.echo(f"{rows_of_both} another reference base: the genomes differ")
    if found.settings:
        _table(_frame(["setting", "A", "B"], found.settings), "Settings that differ")
    if not found.rows_differ:
        no = "no other difference" if found.other_bases else "no difference"
        typer.echo("no difference" if found.is_none else f"{no} in the rows of both")
        return
    _table(_steps(found), "Rows of both by their greatest difference")
    channels = [(name, f"{greatest:.4f}", f"{mean:.3g}") for name, greatest, mean in found.channels]
    _table(_frame(["channel", "greatest difference", "mean"], channels), "Channels")
    _table(found.sites.rename(_NAMES), f"Called sites, score of {found.threshold:g} or more")
    if found.changed.height:
        _table(_rounded(found.changed), "Sites gained and lost that differ most")
    if found.largest.height:
        _table(_rounded(found.largest), f"Rows that differ most, by {least:g} or more")


_NAMES = {"first": "A", "second": "B"}


def _steps(found: Difference) -> pl.DataFrame:
    """Steps as text."""
    rows = [
        ("0" if above is None else f"above {above:g}, up to {up_to:g}", splice, usage)
        for above, up_to, splice, usage in found.steps.iter_rows()
    ]
    has_usage = any(name not in SPLICE for name, *_ in found.channels)
    frame = _frame(["difference", "acceptor, donor, no splice", "usage"], rows)
    return frame if has_usage else frame.drop("usage")


def _rounded(frame: pl.DataFrame) -> pl.DataFrame:
    """Values as people read them; positions with thousands separators come from the table itself."""
    values = [name for name in ("first", "second", "difference") if name in frame.columns]
    texts = [pl.col(name).map_elements(lambda value: f"{value:.4f}", pl.String) for name in values]
    return frame.with_columns(texts).rename(_NAMES)


def _frame(names: list[str], rows: Any) -> pl.DataFrame:
    return pl.DataFrame(list(rows), names, orient="row")


def _table(frame: pl.DataFrame, title: str) -> None:
    print_table(frame, title, width=WIDTH)


def _as_json(found: Difference) -> dict[str, Any]:
    """All of it as plain values."""
    frames = {
        name: [
            {column: round(value, DECIMALS) if isinstance(value, float) else value for column, value in row.items()}
            for row in getattr(found, name).iter_rows(named=True)
        ]
        for name in ("steps", "largest", "sites", "changed")
    }
    channels = [channel._asdict() for channel in found.channels]
    settings = [dict(zip(("setting", "first", "second"), values, strict=True)) for values in found.settings]
    plain = {field.name: getattr(found, field.name) for field in fields(found)}
    return {"different": not found.is_none, **plain, **frames, "channels": channels, "settings": settings}
