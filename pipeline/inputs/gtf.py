"""A GTF or GFF3 file -> its genes, transcripts and exons as Polars frames that keep the line numbers.

In: a path or URI of a plain or gzip file (bgzip too; recognised by content, not by name). Formats: GTF 2.2 as GENCODE,
Ensembl, RefSeq and StringTie write it (`key "value";`, a key may repeat) and GFF3 1.26 (`key=value;`,
percent-encoded). The text is read in chunks, so memory holds one chunk and the fields kept so far, never the file.

Out: `Features` with two frames.

`named` has one row for each gene and transcript; in GFF3 for every feature with an `ID` that is not a part of a
transcript, such as a CDS. `exons` has one row for each exon and each transcript that the exon belongs to. The column
`key` identifies a transcript (`transcript_id` in GTF, `ID` in GFF3), and exons refer to it; `parent` is the key of the
gene. Some files describe transcripts by their exons alone. Therefore the first exon of a transcript that no line of the
same chunk names is a row of `named` too, with the feature "exon" and the transcript's key.

Coordinates are 0-based and half-open; lines count from 1.

Errors: `InputError` with the file and the first faulty line. Lines of other features are checked only for having nine
columns.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

import polars as pl

from pipeline.inputs.text import CHUNK_BYTES, decompressed, raise_for_first
from pipeline.inputs.uris import open_input
from sptx_core.errors import InputError

Dialect = Literal["gtf", "gff3"]

_COLUMNS = ("contig", "source", "feature", "start", "end", "score", "strand", "frame", "attributes")
_STRANDS = ("+", "-", ".", "?")
_GTF_FEATURES = ("gene", "transcript", "exon")
_GFF3_PARTS = ("CDS", "five_prime_UTR", "three_prime_UTR", "start_codon", "stop_codon", "intron")
_ATTRIBUTES = (  # become columns; every annotation has some of them
    *("gene_id", "gene_version", "gene_name", "gene", "gene_type", "gene_biotype"),
    *("transcript_id", "transcript_version", "transcript_type", "transcript_biotype"),
)
_GFF3_ATTRIBUTES = ("Name", "biotype", "version")
_PLACE = ("contig", "strand", "start", "end", "line")


@dataclass(frozen=True)
class Features:
    """Genes, transcripts and exons of a file, in its order; the module's docstring says what the rows are.

    Attributes
    ----------
    dialect : {"gtf", "gff3"}
    named : polars.DataFrame
        feature, key, parent (str); the attributes `gene_id`, `gene_name` and so on (str, null where the line has
        none); tags (list of str); contig, strand (str); start, end, line (int64).
    exons : polars.DataFrame
        key, contig, strand (str); start, end, line (int64).
    """

    dialect: Dialect
    named: pl.DataFrame
    exons: pl.DataFrame


def read_features(uri: str, chunk_bytes: int = CHUNK_BYTES) -> Features:
    """Read the genes, transcripts and exons of a file.

    Parameters
    ----------
    uri : str
        Path or URI of a GTF or GFF3 file.
    chunk_bytes : int
        Bytes of text that are parsed at a time.

    Returns
    -------
    Features

    Raises
    ------
    InputError
        If the file cannot be read, a line is malformed, or no line holds a feature.
    """
    dialect: Dialect | None = None
    named: list[pl.DataFrame] = []
    exons: list[pl.DataFrame] = []
    with open_input(uri) as stream:
        for first_number, lines in _chunks_of_lines(stream, uri, chunk_bytes):
            dialect = dialect or _dialect(lines)
            data_lines = _data_lines(lines, first_number, uri)
            if dialect is None or data_lines.is_empty():
                continue
            fields = _fields(_relevant(data_lines, dialect), uri)
            named_of_chunk, exons_of_chunk = _split(fields, dialect, uri)
            named.append(named_of_chunk)
            exons.append(exons_of_chunk)
    if dialect is None:
        raise InputError(f"{uri} holds no annotation: every line is empty or a comment")
    return Features(dialect, pl.concat(named), pl.concat(exons))


def _chunks_of_lines(stream: io.BufferedReader, uri: str, chunk_bytes: int) -> Iterator[tuple[int, list[str]]]:
    """Whole lines of the text, a chunk at a time, with the number of the chunk's first line."""
    first_number, unfinished = 1, b""
    for chunk in decompressed(stream, uri, chunk_bytes):
        if b"\0" in chunk:
            raise InputError(f"{uri} is not text: give a GTF or GFF3 file, plain or gzip")
        text = unfinished + chunk
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n")
        whole, newline, unfinished = text.rpartition(b"\n")
        if newline:
            lines = whole.decode(errors="replace").split("\n")
            if "##FASTA" in lines:  # in GFF3 the sequence follows this line
                yield first_number, lines[: lines.index("##FASTA")]
                return
            yield first_number, lines
            first_number += len(lines)
    if unfinished:
        yield first_number, [unfinished.decode(errors="replace")]


def _dialect(lines: list[str]) -> Dialect | None:
    """The dialect, from the header or the first feature; None if the lines are all comments or empty."""
    for line in lines:
        if re.match(r"##gff-version\s+3", line):
            return "gff3"
        if line.strip() and not line.startswith("#"):
            attributes = line.rpartition("\t")[2]
            return "gff3" if re.match(r'[^\s;="]+=', attributes) else "gtf"
    return None


def _data_lines(lines: list[str], first_number: int, uri: str) -> pl.DataFrame:
    """The columns `line` (int64) and `text` of the lines that are neither empty nor comments; each has nine columns."""
    text = pl.col("text")
    frame = (
        pl.DataFrame({"text": lines})
        .with_row_index("line", offset=first_number)
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


def _relevant(frame: pl.DataFrame, dialect: Dialect) -> pl.DataFrame:
    """The lines that become rows of `Features.named` or `Features.exons`."""
    feature = pl.col("text").str.extract(r"^[^\t]*\t[^\t]*\t([^\t]*)")
    if dialect == "gtf":
        return frame.filter(feature.is_in(_GTF_FEATURES))
    named = pl.col("text").str.contains(r"[\t; ]ID=") & ~feature.is_in(_GFF3_PARTS)
    return frame.filter((feature == "exon") | named)


def _fields(frame: pl.DataFrame, uri: str) -> pl.DataFrame:
    """Split the lines into columns and check the coordinates; `text` is kept, since attributes are taken from it."""
    columns = pl.col("text").str.splitn("\t", len(_COLUMNS)).struct.rename_fields(_COLUMNS).struct.unnest()
    fields = frame.with_columns(columns)
    number = fields.select("line", *(pl.col(name).cast(pl.Int64, strict=False) for name in ("start", "end")))
    for name in ("start", "end"):
        raise_for_first(fields, number[name].is_null(), uri, f"{name} is {{{name}!r}}, not a whole number")
    raise_for_first(fields, number["start"] < 1, uri, "start is {start}, but positions count from 1")
    raise_for_first(fields, number["end"] < number["start"], uri, "end {end} lies before start {start}")
    raise_for_first(fields, ~fields["strand"].is_in(_STRANDS), uri, "strand is {strand!r}, which is neither + nor -")
    place = (fields["contig"], fields["feature"], fields["strand"], number["start"] - 1, number["end"])
    return frame.with_columns(*place)


def _split(fields: pl.DataFrame, dialect: Dialect, uri: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that the lines of one chunk add to `Features.named` and `Features.exons`."""
    is_exon = pl.col("feature") == "exon"
    own_key, exon_key = ("transcript_id", "transcript_id") if dialect == "gtf" else ("ID", "Parent")
    exons = fields.filter(is_exon).with_columns(_attribute(exon_key, dialect).alias("key"))
    raise_for_first(exons, exons["key"].is_null(), uri, f"exon without {exon_key}")
    if dialect == "gff3":  # an exon of several transcripts lists them
        exons = exons.with_columns(pl.col("key").str.split(",")).explode("key")
    named = fields.filter(~is_exon)
    key = _attribute(own_key, dialect)
    if dialect == "gtf":
        key = pl.when(pl.col("feature") == "gene").then(_attribute("gene_id", dialect)).otherwise(key)
    named = named.with_columns(key.alias("key"))
    raise_for_first(
        named, named["key"].is_null() & (named["feature"] == "transcript"), uri, f"transcript without {own_key}"
    )
    unnamed = exons.join(named, on="key", how="anti").unique("key", keep="first", maintain_order=True)
    named = pl.concat([named, unnamed.select(named.columns)])
    return _with_attributes(named, dialect), exons.select("key", *_PLACE)


def _with_attributes(named: pl.DataFrame, dialect: Dialect) -> pl.DataFrame:
    """`named` with a column for each attribute in place of the text."""
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
    return columns if dialect == "gtf" else _percent_decoded(columns)


def _attribute(name: str, dialect: Dialect) -> pl.Expr:
    """The attribute's first value in the line; null where the attribute is missing or empty."""
    value = rf'[\t; ]{name} +"?([^";]+)' if dialect == "gtf" else rf"[\t; ]{name}=([^;]+)"
    return pl.col("text").str.extract(value)


def _percent_decoded(columns: pl.DataFrame) -> pl.DataFrame:
    """Decode the attributes of GFF3; keys are only compared with each other and stay as written."""
    names = [*_ATTRIBUTES, *_GFF3_ATTRIBUTES]
    encoded = pl.any_horizontal(pl.col(names).str.contains("%", literal=True).fill_null(value=False))
    if columns.filter(encoded).is_empty():
        return columns
    return columns.with_columns(pl.col(names).map_elements(unquote, return_dtype=pl.String))
