"""A usage table -> measured usage of splice sites by tissue, checked; and back.

The table is Parquet or tab-separated text with a header (read from plain or gzip, told by content, not by name; by
path or URI):

    contig     name as in the annotation or the FASTA
    position   1-based, on the plus strand
    strand     + or -
    kind       acceptor or donor
    and a column for each tissue: usage from 0 to 1, empty (in Parquet null or NaN) where unknown

Out: a frame with contig, strand, kind, pos (int32, 1-based) and the tissues as float64, NaN where unknown.
Errors: `InputError` for a missing column, a value that is none of these (with its row, counted from 1 after the
header), a site given twice, and a target that cannot be written.
"""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path

import polars as pl

from pipeline.inputs import open_input
from pipeline.splice_sites import KINDS
from sptx_core.errors import InputError
from sptx_core.files import write_atomic

KEYS = ("contig", "position", "strand", "kind")
_PARQUET_MAGIC, _GZIP_MAGIC = b"PAR1", b"\x1f\x8b"
_LAST_POSITION = 2**31 - 1
_SUFFIXES = (".parquet", ".tsv")
_TAKEN = ("row", "pos", "chrom")
RESERVED = (*KEYS, *_TAKEN)  # no names of tissues


def read_usage(uri: str) -> pl.DataFrame:
    """Read and check a usage table; see the module's contract."""
    frame = _read(uri)
    tissues = [name for name in frame.columns if name not in KEYS]
    missing = [name for name in KEYS if name not in frame.columns]
    if missing or not tissues:
        lacks = f"has no column {missing[0]}" if missing else "has no column of a tissue"
        raise InputError(f"{uri} {lacks}; a usage table has {', '.join(KEYS)} and one column a tissue")
    other = next((name for name in frame.columns if name in _TAKEN or frame.schema[name].is_nested()), None)
    if other is not None:
        raise InputError(f"{uri}: column {other} is no tissue; beside {', '.join(KEYS)} leave only columns of usage")
    frame = frame.with_row_index("row", offset=1)
    if frame.is_empty():
        raise InputError(f"{uri} holds no site: it has a header alone")
    words = frame.with_columns(pl.col("contig", "strand", "kind").cast(pl.String).fill_null(""))
    numbers = words.with_columns(
        pl.col("position").cast(pl.Float64, strict=False).alias("pos"),  # integers would cut 7.5 to 7
        *(pl.col(name).cast(pl.Float64, strict=False) for name in tissues),
    )
    _refuse(words, words["contig"] == "", uri, "contig", "a name")
    _refuse(words, ~words["strand"].is_in(["+", "-"]), uri, "strand", "+ or -")
    _refuse(words, ~words["kind"].is_in(KINDS), uri, "kind", "acceptor or donor")
    pos = numbers["pos"]
    whole = (pos == pos.floor()) & pos.is_between(1, _LAST_POSITION)
    _refuse(words, ~whole.fill_null(value=False), uri, "position", "a whole number from 1")
    for name in tissues:
        unknown = words[name].is_null() | numbers[name].is_nan().fill_null(value=False)
        sound = unknown | numbers[name].is_between(0, 1).fill_null(value=False)
        _refuse(words, ~sound, uri, name, "a usage from 0 to 1, or empty")
    table = numbers.select("row", "contig", "strand", "kind", pl.col("pos").cast(pl.Int32), *tissues)
    repeats = table.filter(~pl.struct("contig", "strand", "kind", "pos").is_first_distinct())
    if not repeats.is_empty():
        row, contig, strand, kind, pos = repeats.row(0)[:5]
        raise InputError(f"{uri} row {row}: the {kind} at {contig}:{pos} ({strand}) was already given")
    return table.drop("row").with_columns(pl.col(tissues).fill_null(float("nan")))


def check_target(path: Path) -> None:
    """Raise `InputError` unless `write_usage` can write to `path`, as far as can be known before."""
    if path.suffix not in _SUFFIXES:
        raise InputError(f"{path} is neither named .parquet nor .tsv; the name's end says which form to write")
    if not path.parent.is_dir():
        raise InputError(f"{path} cannot be written: there is no folder {path.parent}")


def write_usage(usage: pl.DataFrame, path: Path) -> None:
    """Write what `read_usage` gives: text to a `.tsv`, else Parquet; whole or not at all, over what may be there."""
    tissues = [name for name in usage.columns if name not in RESERVED]
    table = usage.select("contig", pl.col("pos").alias("position"), "strand", "kind", pl.col(tissues).fill_nan(None))
    content = io.BytesIO()
    if path.suffix == ".tsv":
        table.write_csv(content, separator="\t")
    else:
        table.write_parquet(content)
    try:
        write_atomic(path, content.getvalue())
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


def _read(uri: str) -> pl.DataFrame:
    with open_input(uri) as stream:
        content = stream.read()
    try:
        if content.startswith(_PARQUET_MAGIC):
            return pl.read_parquet(io.BytesIO(content))
        if content.startswith(_GZIP_MAGIC):
            content = gzip.decompress(content)
        # As text first: a column whose first thousand lines are empty has no type to be guessed.
        frame = pl.read_csv(io.BytesIO(content), separator="\t", infer_schema=False)
    except (pl.exceptions.PolarsError, EOFError, OSError, zlib.error) as error:
        raise InputError(f"{uri} cannot be read as Parquet or tab-separated text ({error})") from None
    return frame.with_columns(pl.all().str.strip_chars()).with_columns(pl.all().replace("", None))


def _refuse(frame: pl.DataFrame, faulty: pl.Series, uri: str, column: str, expected: str) -> None:
    """Raise for the first faulty row."""
    if faulty.any():
        row, value = frame.filter(faulty).select("row", column).row(0)
        raise InputError(f"{uri} row {row}: {column} is {value!r}, not {expected}")
