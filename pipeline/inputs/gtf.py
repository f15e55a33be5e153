"""Text of a GTF or GFF3 file -> the lines that matter, as Polars frames that remember their line numbers.

In: a file by path or URI, plain or gzip (bgzip too; told by content, not by name). Formats: GTF 2.2 as written by
GENCODE, Ensembl, RefSeq and StringTie (`key "value";`, keys may repeat) and GFF3 1.26 (`key=value;`, percent-encoded).
The text is read in chunks, so memory holds one chunk of text and the fields kept so far, never the file.

Out: `Features`. `named` has a row for each line that names something (genes and transcripts; in GFF3 every feature
with an `ID` that is not a piece of a transcript), `exons` a row for each exon and transcript that it belongs to.
`key` is what exons refer to (`transcript_id` in GTF, `ID` in GFF3) and `parent` the key of the gene. An exon whose
transcript is not named in the same chunk is in `named` as well, as `feature` "exon" with its transcript's key: it is
all that is known about a transcript without a line. Coordinates are 0-based half-open, lines count from 1.

Errors: `InputError` with the file and the first line at fault. Lines of other features are only checked for having
nine columns.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

import polars as pl

from pipeline.inputs.uris import open_input
from sptx_core.errors import InputError

Dialect = Literal["gtf", "gff3"]

_CHUNK = 32 << 20  # bytes of text parsed at a time; larger ones gain no speed
_GZIP_MAGIC = b"\x1f\x8b"
_COLUMNS = ("contig", "source", "feature", "start", "end", "score", "strand", "frame", "attributes")
_STRANDS = ("+", "-", ".", "?")
_GTF_FEATURES = ("gene", "transcript", "exon")
_GFF3_PIECES = ("CDS", "five_prime_UTR", "three_prime_UTR", "start_codon", "stop_codon", "intron")
_ATTRIBUTES = (  # copied as they are; a file holds some of them
    *("gene_id", "gene_version", "gene_name", "gene", "gene_type", "gene_biotype"),
    *("transcript_id", "transcript_version", "transcript_type", "transcript_biotype"),
)
_GFF3_ATTRIBUTES = ("Name", "biotype", "version")
_PLACE = ("contig", "strand", "start", "end", "line")


@dataclass(frozen=True)
class Features:
    """What a file says about genes, transcripts and exons.

    `named`: feature, key, parent, the attributes (str, null where the line has none), tags list[str], contig, strand,
    start int64, end int64, line int64. `exons`: key, contig, strand, start, end, line. Both in the order of the file.
    """

    dialect: Dialect
    named: pl.DataFrame
    exons: pl.DataFrame


def read_features(uri: str) -> Features:
    """Read the genes, transcripts and exons of a file; see the module's contract."""
    dialect: Dialect | None = None
    named: list[pl.DataFrame] = []
    exons: list[pl.DataFrame] = []
    with open_input(uri) as stream:
        for number, lines in _chunks(stream, uri):
            dialect = dialect or _dialect(lines)
            frame = _data_lines(lines, number, uri)
            if dialect is None or frame.is_empty():
                continue
            kept = _fields(_of_interest(frame, dialect), uri)
            kept_named, kept_exons = _split(kept, dialect, uri)
            named.append(kept_named)
            exons.append(kept_exons)
    if dialect is None:
        raise InputError(f"{uri} holds no annotation: every line is empty or a comment")
    return Features(dialect, pl.concat(named), pl.concat(exons))


def _chunks(stream: io.BufferedReader, uri: str) -> Iterator[tuple[int, list[str]]]:
    """Whole lines of the text, some MiB at a time, each list with the number of its first line."""
    zipped = stream.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
    text = gzip.GzipFile(fileobj=stream) if zipped else stream
    number, rest = 1, b""
    while block := _read(text, uri):
        if b"\0" in block:
            raise InputError(f"{uri} is not text: give a GTF or GFF3 file, plain or gzip")
        unread = rest + block
        if b"\r" in unread:
            unread = unread.replace(b"\r\n", b"\n")
        whole, newline, rest = unread.rpartition(b"\n")
        if newline:
            lines = whole.decode(errors="replace").split("\n")
            if "##FASTA" in lines:  # GFF3: the sequence itself follows
                yield number, lines[: lines.index("##FASTA")]
                return
            yield number, lines
            number += len(lines)
    if rest:
        yield number, [rest.decode(errors="replace")]


def _read(text: io.BufferedIOBase, uri: str) -> bytes:
    try:
        return text.read(_CHUNK)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{uri} is a damaged or cut gzip file ({error}); copy it again") from error


def _dialect(lines: list[str]) -> Dialect | None:
    """The dialect of the text, by its header or its first feature; None while there are only comments."""
    for line in lines:
        if re.match(r"##gff-version\s+3", line):
            return "gff3"
        if line.strip() and not line.startswith("#"):
            attributes = line.rpartition("\t")[2]
            return "gff3" if re.match(r'[^\s;="]+=', attributes) else "gtf"
    return None


def _data_lines(lines: list[str], number: int, uri: str) -> pl.DataFrame:
    """Lines that are neither empty nor comments, checked for nine columns: line int64, text."""
    text = pl.col("text")
    frame = (
        pl.DataFrame({"text": lines})
        .with_row_index("line", offset=number)
        .with_columns(pl.col("line").cast(pl.Int64))
        .filter(~text.str.starts_with("#") & text.str.contains(r"\S"))
    )
    columns = text.str.count_matches("\t", literal=True) + 1
    faults = frame.filter(columns != len(_COLUMNS))
    if not faults.is_empty():
        line, content = faults.row(0)
        looks = "; it looks like FASTA" if content.startswith(">") else ""
        raise InputError(
            f"{uri} line {line}: {content.count(chr(9)) + 1} tab-separated columns where GTF and GFF3 have 9{looks}"
        )
    return frame


def _of_interest(frame: pl.DataFrame, dialect: Dialect) -> pl.DataFrame:
    feature = pl.col("text").str.extract(r"^[^\t]*\t[^\t]*\t([^\t]*)")
    if dialect == "gtf":
        return frame.filter(feature.is_in(_GTF_FEATURES))
    names_something = pl.col("text").str.contains(r"[\t; ]ID=") & ~feature.is_in(_GFF3_PIECES)
    return frame.filter((feature == "exon") | names_something)


def _fields(frame: pl.DataFrame, uri: str) -> pl.DataFrame:
    """Split into columns and check the coordinates; `text` stays for the attributes."""
    columns = pl.col("text").str.splitn("\t", len(_COLUMNS)).struct.rename_fields(_COLUMNS).struct.unnest()
    fields = frame.with_columns(columns)
    number = fields.select("line", *(pl.col(name).cast(pl.Int64, strict=False) for name in ("start", "end")))
    for name in ("start", "end"):
        _refuse(fields, number[name].is_null(), uri, f"{name} is {{{name}!r}}, not a whole number")
    _refuse(fields, number["start"] < 1, uri, "start is {start}, but positions count from 1")
    _refuse(fields, number["end"] < number["start"], uri, "end {end} lies before start {start}")
    _refuse(fields, ~fields["strand"].is_in(_STRANDS), uri, "strand is {strand!r}, which is neither + nor -")
    place = (fields["contig"], fields["feature"], fields["strand"], number["start"] - 1, number["end"])
    return frame.with_columns(*place)


def _split(fields: pl.DataFrame, dialect: Dialect, uri: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Lines of one chunk as `named` and `exons` of `Features`."""
    is_exon = pl.col("feature") == "exon"
    own_key, exon_key = ("transcript_id", "transcript_id") if dialect == "gtf" else ("ID", "Parent")
    exons = fields.filter(is_exon).with_columns(_attribute(exon_key, dialect).alias("key"))
    _refuse(exons, exons["key"].is_null(), uri, f"exon without {exon_key}")
    if dialect == "gff3":  # an exon of several transcripts lists them
        exons = exons.with_columns(pl.col("key").str.split(",")).explode("key")
    named = fields.filter(~is_exon)
    key = _attribute(own_key, dialect)
    if dialect == "gtf":
        key = pl.when(pl.col("feature") == "gene").then(_attribute("gene_id", dialect)).otherwise(key)
    named = named.with_columns(key.alias("key"))
    _refuse(named, named["key"].is_null() & (named["feature"] == "transcript"), uri, f"transcript without {own_key}")
    unnamed = exons.join(named, on="key", how="anti").unique("key", keep="first", maintain_order=True)
    named = pl.concat([named, unnamed.select(named.columns)])
    return _described(named, dialect), exons.select("key", *_PLACE)


def _described(named: pl.DataFrame, dialect: Dialect) -> pl.DataFrame:
    """Add the attributes of each line and drop its text."""
    parent = _attribute("gene_id" if dialect == "gtf" else "Parent", dialect)
    attributes = [_attribute(name, dialect).alias(name) for name in _ATTRIBUTES]
    if dialect == "gtf":
        attributes += [pl.lit(None, pl.String).alias(name) for name in _GFF3_ATTRIBUTES]
        tags = (
            pl.col("text")
            .str.extract_all(r'[\t; ]tag +"?[^";]+')
            .list.eval(pl.element().str.extract(r'tag +"?([^";]+)'))
        )
    else:
        attributes += [_attribute(name, dialect).alias(name) for name in _GFF3_ATTRIBUTES]
        tags = _attribute("tag", dialect).str.split(",").fill_null([])
    columns = named.select("feature", "key", parent.alias("parent"), *attributes, tags.alias("tags"), *_PLACE)
    return columns if dialect == "gtf" else _decoded(columns)


def _attribute(name: str, dialect: Dialect) -> pl.Expr:
    """Value of an attribute in a line's text (the first one, if it repeats), null without it or when empty."""
    value = rf'[\t; ]{name} +"?([^";]+)' if dialect == "gtf" else rf"[\t; ]{name}=([^;]+)"
    return pl.col("text").str.extract(value)


def _decoded(columns: pl.DataFrame) -> pl.DataFrame:
    """Percent-decode the text attributes of GFF3; keys stay as written, for they are only compared."""
    names = [*_ATTRIBUTES, *_GFF3_ATTRIBUTES]
    encoded = pl.any_horizontal(pl.col(names).str.contains("%", literal=True).fill_null(value=False))
    if columns.filter(encoded).is_empty():
        return columns
    return columns.with_columns(pl.col(names).map_elements(unquote, return_dtype=pl.String))


def _refuse(fields: pl.DataFrame, faulty: pl.Series, uri: str, problem: str) -> None:
    """Raise for the first faulty line; `problem` may name its fields in braces."""
    if faulty.any():
        first = fields.filter(faulty).row(0, named=True)
        raise InputError(f"{uri} line {first['line']}: {problem.format(**first)}")
