"""A table of the measured usage of splice sites by tissue: read and checked, or written.

The file is Parquet, or tab-separated text with a header, plain or gzip (recognised by content, not by name):

    contig     name as in the annotation or the FASTA
    position   1-based, on the plus strand
    strand     + or -
    kind       acceptor or donor
    and one column a tissue: usage from 0 to 1, empty (in Parquet null or NaN) where unknown

Spaces around names and values do not count, and neither do blank lines.

In memory it is a frame with contig, strand, kind (str), pos (int32, 1-based), and the tissues as float64, NaN where
unknown.

Errors: `InputError` for a column that is missing or given twice, for a value that is none of these (with its row,
counted from 1 after the header), for a site given twice, and for a file that cannot be written.
"""

from __future__ import annotations

import io
from itertools import chain
from pathlib import Path

import polars as pl

from pipeline.inputs.splice_sites import KINDS
from pipeline.inputs.text import decompressed, in_lines
from pipeline.inputs.uris import open_input
from sptx_core.errors import InputError
from sptx_core.files import reason, require_writable, tells_of_a_file, write_atomic, writing

KEYS = ("contig", "position", "strand", "kind")
_INTERNAL = ("row", "pos", "chrom")  # columns that this program adds to the frame
RESERVED = (*KEYS, *_INTERNAL)
"""Names that a tissue cannot have."""
_PARQUET_MAGIC = b"PAR1"
_MAX_POSITION = 2**31 - 1  # of an int32
_SUFFIXES = (".parquet", ".tsv")


def read_usage(uri: str) -> pl.DataFrame:
    """Read and check a usage table.

    Parameters
    ----------
    uri : str
        Path or URI.

    Returns
    -------
    polars.DataFrame
        As in the module's docstring, in the order of the file.

    Raises
    ------
    InputError
        See the module's docstring.
    """
    frame = _read(uri)
    tissues = _tissues(frame, uri)
    rows = (
        frame.with_row_index("row", offset=1)
        .filter(~pl.all_horizontal(pl.exclude("row").is_null()))
        .with_columns(pl.col("contig", "strand", "kind").cast(pl.String).fill_null(""))
    )
    if rows.is_empty():
        raise InputError(f"{uri} holds no site: it has a header alone")
    numbers = rows.with_columns(
        pl.col("position").cast(pl.Float64, strict=False).alias("pos"),  # a cast to integers would cut 7.5 to 7
        *(pl.col(name).cast(pl.Float64, strict=False) for name in tissues),
    )
    _require(rows, rows["contig"].str.contains(r"^[^\t\n]+$"), uri, "contig", "a name")
    _require(rows, rows["strand"].is_in(["+", "-"]), uri, "strand", "+ or -")
    _require(rows, rows["kind"].is_in(KINDS), uri, "kind", "acceptor or donor")
    pos = numbers["pos"]
    is_position = (pos == pos.floor()) & pos.is_between(1, _MAX_POSITION)
    _require(rows, is_position.fill_null(value=False), uri, "position", "a whole number from 1")
    for name in tissues:
        unknown = rows[name].is_null() | numbers[name].is_nan().fill_null(value=False)
        is_usage = unknown | numbers[name].is_between(0, 1).fill_null(value=False)
        _require(rows, is_usage, uri, name, "a usage from 0 to 1, or empty")
    table = numbers.select("row", "contig", "strand", "kind", pl.col("pos").cast(pl.Int32), *tissues)
    repeats = table.filter(~pl.struct("contig", "strand", "kind", "pos").is_first_distinct())
    if not repeats.is_empty():
        row, contig, strand, kind, pos = repeats.row(0)[:5]
        raise InputError(f"{uri} row {row}: the {kind} at {contig}:{pos} ({strand}) was already given")
    return table.drop("row").with_columns(pl.col(tissues).fill_null(float("nan")))


def check_target(path: Path) -> None:
    """Check, before any work is done, that `write_usage` can write a file.

    Parameters
    ----------
    path : Path
        The file to write.

    Raises
    ------
    InputError
        If the name ends neither in .parquet nor in .tsv, or it cannot be written.
    """
    if path.suffix not in _SUFFIXES:
        raise InputError(f"{path} is neither named .parquet nor .tsv; the name's ending chooses the format")
    require_writable(path)


def write_usage(usage: pl.DataFrame, path: Path) -> None:
    """Write a usage table, whole or not at all; an existing file is replaced.

    Parameters
    ----------
    usage : polars.DataFrame
        As `read_usage` returns it.
    path : Path
        Text is written if the name ends in `.tsv`, else Parquet.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    tissues = [name for name in usage.columns if name not in RESERVED]
    table = usage.select("contig", pl.col("pos").alias("position"), "strand", "kind", pl.col(tissues).fill_nan(None))
    content = io.BytesIO()
    if path.suffix == ".tsv":
        table.write_csv(content, separator="\t")
    else:
        table.write_parquet(content)
    with writing(path):
        write_atomic(path, content.getvalue())


def _read(uri: str) -> pl.DataFrame:
    """The table as it is in the file; text is read without guessing types, and empty text is null."""
    with open_input(uri) as stream:
        chunks = decompressed(stream, uri)
        head = next(chunks, b"")
        rest = chain([head], chunks)
        content = b"".join(rest if head.startswith(_PARQUET_MAGIC) else in_lines(rest, uri))
    try:
        if content.startswith(_PARQUET_MAGIC):
            return pl.read_parquet(io.BytesIO(content))
        # No types are guessed, because a tissue may be empty in as many rows as Polars looks at.
        # The header is read as a row, because Polars would rename columns of one name in silence.
        frame = pl.read_csv(io.BytesIO(content), separator="\t", has_header=False, infer_schema=False)
    except Exception as error:
        if not tells_of_a_file(error):
            raise
        raise InputError(f"{uri} cannot be read as Parquet or tab-separated text ({reason(error)})") from error
    frame = frame.with_columns(pl.all().str.strip_chars()).with_columns(pl.all().replace("", None))
    names = frame.row(0)
    for at, name in enumerate(names):
        if name is None:
            raise InputError(f"{uri}: column {at + 1} has no name")
        if name in names[:at]:
            raise InputError(f"{uri}: column {name} is given twice")
    return frame[1:].rename(dict(zip(frame.columns, names, strict=True)))


def _tissues(frame: pl.DataFrame, uri: str) -> list[str]:
    """The columns of tissues; raises `InputError` if columns are missing or not allowed, or there is no row."""
    tissues = [name for name in frame.columns if name not in KEYS]
    missing = [name for name in KEYS if name not in frame.columns]
    if missing or not tissues:
        lacks = f"has no column {missing[0]}" if missing else "has no column of a tissue"
        raise InputError(f"{uri} {lacks}; a usage table has {', '.join(KEYS)} and one column a tissue")
    other = next((name for name in frame.columns if name in _INTERNAL or frame.schema[name].is_nested()), None)
    if other is not None:
        raise InputError(f"{uri}: column {other} is no tissue; beside {', '.join(KEYS)} leave only columns of usage")
    return tissues


def _require(rows: pl.DataFrame, sound: pl.Series, uri: str, column: str, expected: str) -> None:
    """Raise `InputError` for the first row whose value in `column` is not as `expected`."""
    if not sound.all():
        row, value = rows.filter(~sound).select("row", column).row(0)
        raise InputError(f"{uri} row {row}: {column} is {value!r}, not {expected}")
