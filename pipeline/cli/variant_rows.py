"""Rows of a table of variants as `sptx query` prints and writes them.

On a screen they have the columns that a person reads, unless others were chosen; otherwise all. An empty answer is no
error: a sentence says which of the filters left no row.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import polars as pl
import polars.selectors as cs

from pipeline.cli.console import say
from pipeline.cli.printing import DECIMALS, Format, print_rows, write_rows
from pipeline.variants.reader import Variants
from sptx_core.errors import InputError
from sptx_core.words import counted

KEY = ("chrom", "pos", "id", "ref", "alt", "gene_name")  # columns of every answer with chosen columns
ON_SCREEN = ("status", "d_splice", "ds_ag", "ds_al", "ds_dg", "ds_dl")  # of 60 and more
SCREEN_DECIMALS = 3


class Asked(NamedTuple):
    """Which rows are wanted: of a place or a gene, from a d_splice on, called in a tissue; None: all of them."""

    what: str | None = None
    gene: str | None = None
    min_splice: float | None = None
    tissue: str | None = None


def print_variants(table: Variants, asked: Asked, columns: list[str] | None, form: Format, to: Path | None) -> None:
    """Print the rows that were asked for, or write them to a file.

    Parameters
    ----------
    table : Variants
        The table.
    asked : Asked
        Which rows.
    columns : list of str, optional
        Columns besides `KEY`; None for those of the screen, or for all where there is none.
    form : Format
        How they are printed.
    to : Path, optional
        File to write instead of standard output.

    Raises
    ------
    InputError
        There is no such contig, gene, variant, tissue or column, or a part cannot be read.

    """
    on_screen = form is Format.TABLE and to is None
    rows = _rows(table, asked, ON_SCREEN if on_screen and columns is None else columns)
    if on_screen:
        if columns is None and not rows.is_empty():
            shown = ", ".join(ON_SCREEN)
            say(f"columns shown: {shown}; --columns chooses others, the other formats have all, unrounded")
        print_rows(_without_lists(rows), SCREEN_DECIMALS if columns is None else DECIMALS)
    else:
        write_rows(rows if form is Format.PARQUET else _without_lists(rows), form, to)


def _rows(table: Variants, asked: Asked, columns: tuple[str, ...] | list[str] | None) -> pl.DataFrame:
    if asked.gene is not None:
        if asked.what is not None:
            raise InputError(f"give {asked.what} or --gene {asked.gene}, not both")
        rows = table.gene(asked.gene).lazy()
    else:
        rows = table.scan() if asked.what is None else table.query(asked.what).lazy()
    steps = [rows.drop("record", "alt_index")]  # what each filter has left
    if asked.min_splice is not None:
        steps.append(steps[-1].filter(pl.col("d_splice") >= asked.min_splice))
    if asked.tissue is not None:
        steps.append(steps[-1].filter(table.called_in(asked.tissue)))
    wanted = steps[-1] if columns is None else steps[-1].select(_chosen(table, steps[-1], columns))
    done, shards = len(table.parts), table.header.shards
    if done < shards:
        all_hold = counted(shards, "shard holds", "shards hold")
        say(f"{table.store.uri()} is not complete: only what {done:,} of {all_hold} is printed")
    found = table.collected(wanted)
    if found.is_empty():
        say(f"no row: {_why_none(table, asked, steps)}")
    return found


def _chosen(table: Variants, rows: pl.LazyFrame, columns: tuple[str, ...] | list[str]) -> list[str]:
    held = rows.collect_schema().names()
    unknown = [name for name in columns if name not in held]
    if unknown:
        raise InputError(f"{table.store.uri()} has no column {unknown[0]}; it has {', '.join(held)}")
    return list(dict.fromkeys([*KEY, *columns]))


def _why_none(table: Variants, asked: Asked, steps: list[pl.LazyFrame]) -> str:
    """Which filter left no row; `steps` are the rows before all of them and after each."""
    place = asked.gene or asked.what
    where = f"{table.store.uri()} in {place}" if place else table.store.uri()
    counts = [table.collected(rows.select(pl.len())).item() for rows in steps]
    if not counts[0]:
        return f"there is no variant of {where}"
    least = "" if asked.min_splice is None else f"a d_splice of at least {asked.min_splice:g}"
    if least and not counts[1]:
        largest = table.collected(steps[0].select(pl.max("d_splice"))).item()
        told = "none is scored" if largest is None else f"the largest is {largest:.3g}"
        return f"no variant of {where} has {least}; {told}"
    return f"no variant of {where}{least and f' with {least}'} is called in {asked.tissue}"


def _without_lists(rows: pl.DataFrame) -> pl.DataFrame:
    """Lists as texts, which CSV can hold."""
    return rows.with_columns(cs.list().list.join(";"))
