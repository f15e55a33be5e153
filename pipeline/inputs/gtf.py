"""A GTF or GFF3 file -> its genes, transcripts and exons as Polars frames that keep the line numbers.

In: a path or URI of a plain or gzip file (bgzip too; recognised by content, not by name). Formats: GTF 2.2 as GENCODE,
Ensembl, RefSeq, StringTie, FlyBase and BRAKER write it, and GFF3 1.26. `pipeline.inputs.attributes` reads the ninth
column. In GFF3 contig names and ids are percent-decoded, and a sequence that follows the features is left alone,
whether `##FASTA` announces it or its first `>`. The text is read in chunks, so memory holds one chunk and the fields
kept so far, never the file.

Out: `Features` with three frames.

`named` has one row for each gene and transcript; in GFF3 for every feature with an `ID` that is not a part of a
transcript, such as a CDS. `exons` has one row for each exon and each transcript that the exon belongs to. The column
`key` identifies a transcript (`transcript_id` in GTF, `ID` in GFF3), and exons refer to it; `parent` is the key of the
gene (`gene_id`; `Parent`, or gffread's `geneID`). `parts` has the lines of coding sequence, UTR and codons in the form
of `exons`, of those transcripts that have no exon in the same chunk. Some files describe transcripts by their exons or
parts alone. Therefore the first exon, or else the first part, of a transcript that no line of the same chunk names is a
row of `named` too, with its own feature and the transcript's key. In GTF a transcript is named by its key and its gene.

Coordinates are 0-based and half-open; lines count from 1.

Errors: `InputError` with the file and the first faulty line. Lines that become no row are checked only for having nine
columns.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from pipeline.inputs.attributes import Dialect, all_values, decoded, first_values, ids_of_exons, readable
from pipeline.inputs.text import CHUNK_BYTES, decompressed, in_lines, raise_for_first
from pipeline.inputs.uris import open_input
from sptx_core.errors import InputError
from sptx_core.words import counted

PARTS = (
    *("CDS", "UTR", "five_prime_UTR", "three_prime_UTR", "five_prime_utr", "three_prime_utr"),
    *("5UTR", "3UTR", "5'-UTR", "3'-UTR", "start_codon", "stop_codon"),
)
"""Features that lie within an exon of their transcript."""
_COLUMNS = ("contig", "source", "feature", "start", "end", "score", "strand", "frame", "attributes")
_HEADER = "\t".join(_COLUMNS).encode() + b"\n"
_STRANDS = ("+", "-", ".", "?")
_GTF_NAMED = ("gene", "transcript")
_EXON = "exon"
_NO_ID_NEEDED = (*PARTS, "intron")  # features of GFF3 whose ID nothing refers to
_ATTRIBUTES = (  # become columns; every annotation has some of them
    *("gene_id", "gene_version", "gene_name", "gene_symbol", "gene", "gene_type", "gene_biotype"),
    *("transcript_id", "transcript_version", "transcript_type", "transcript_biotype"),
)
_GFF3_ATTRIBUTES = ("Name", "biotype", "version")
_NAME = {"gtf": ["key", "parent"], "gff3": ["key"]}  # what names a transcript
_PLACE = ("contig", "strand", "start", "end", "line")
_EXON_COLUMNS = ("key", "parent", *_PLACE)


@dataclass(frozen=True)
class Features:
    """Genes, transcripts and exons of a file, in its order; the module's docstring says what the rows are.

    Attributes
    ----------
    dialect : {"gtf", "gff3"}
    named : polars.DataFrame
        feature, key, parent (str); the attributes `gene_id`, `gene_name` and so on (str, null where the line has
        none); tags (list of str); contig, strand (str); start, end, line (int64).
    exons, parts : polars.DataFrame
        key, parent (str; in GTF the `gene_id`, else null), contig, strand (str); start, end, line (int64).
    circular : tuple of str
        Contigs that GFF3 declares circular.
    """

    dialect: Dialect
    named: pl.DataFrame
    exons: pl.DataFrame
    parts: pl.DataFrame
    circular: tuple[str, ...]


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
    begun = False
    chunks: list[Features] = []
    with open_input(uri) as stream:
        for first_number, content in _chunks_of_text(stream, uri, chunk_bytes):
            comments, lines, ended = _lines(content, first_number, uri, begun=begun)
            dialect = dialect or _dialect(comments, lines)
            if not lines.is_empty():
                begun = True
                chunks.append(_read_chunk(lines, dialect or "gtf", uri))
            if ended:
                break
    if not chunks:
        raise InputError(f"{uri} holds no annotation: every line is empty or a comment")
    named, exons, parts = (
        pl.concat([getattr(chunk, name) for chunk in chunks]) for name in ("named", "exons", "parts")
    )
    circular = dict.fromkeys(contig for chunk in chunks for contig in chunk.circular)
    return Features(dialect or "gtf", named, exons, parts, tuple(circular))


def _chunks_of_text(stream: io.BufferedReader, uri: str, chunk_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Whole lines of the text, a chunk at a time, below a line with `_COLUMNS`; and the number of the first line."""
    first_number, unfinished = 1, b""
    for chunk in in_lines(decompressed(stream, uri, chunk_bytes), uri):
        if b"\0" in chunk:
            raise InputError(f"{uri} is not text: give a GTF or GFF3 file, plain or gzip")
        text = b"".join((_HEADER, unfinished, chunk))
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n")
        end = text.rindex(b"\n")
        unfinished = text[end + 1 :]
        if end >= len(_HEADER):
            yield first_number, text[:end]
            first_number += text.count(b"\n", len(_HEADER), end) + 1
    if unfinished:
        yield first_number, _HEADER + unfinished


def _lines(content: bytes, first_number: int, uri: str, *, begun: bool) -> tuple[pl.DataFrame, pl.DataFrame, bool]:
    """Comments and lines of features with `line` (int64) and `_COLUMNS` (str), and whether the features have ended.

    Each line of features has nine columns. They end where a sequence begins; `begun` says whether any came before.
    """
    frame = _columns(content)
    frame = frame.with_row_index("line", offset=first_number).with_columns(pl.col("line").cast(pl.Int64))
    contig, line, count = pl.col("contig"), pl.col("line"), pl.col("count")
    is_comment = contig.str.starts_with("#")
    is_blank = (count == 1) & (contig.str.strip_chars() == "")
    comments, lines = frame.filter(is_comment), frame.filter(~is_comment & ~is_blank)
    sequence = comments.filter(contig.str.contains(r"^##FASTA\s*$"))["line"]
    if not sequence.is_empty():
        lines = lines.filter(line < sequence[0])
    faults = lines.filter(count != len(_COLUMNS))
    if faults.is_empty():
        return comments, lines, not sequence.is_empty()
    number, found, text = faults.select("line", "count", "contig").row(0)
    before = lines.filter(line < number)
    if text.startswith(">") and (begun or not before.is_empty()):
        return comments.filter(line < number), before, True
    looks = "; it looks like FASTA" if text.startswith(">") else ""
    columns = counted(found, "tab-separated column")
    raise InputError(f"{uri} line {number}: {columns} where GTF and GFF3 have 9{looks}")


def _columns(content: bytes) -> pl.DataFrame:
    """`_COLUMNS` (str) of each line and how many columns it has (`count`)."""
    try:
        frame = pl.read_csv(content, separator="\t", quote_char=None, infer_schema=False)
    except pl.exceptions.PolarsError:  # a line with more columns, or bytes that are no UTF-8
        return _columns_one_by_one(content)
    # Polars fills short lines with nulls, whether a column is missing or empty.
    is_comment = pl.col("contig").str.starts_with("#").fill_null(value=False)
    short = frame.filter(pl.col("attributes").is_null() & ~is_comment)
    is_blank = short.select(pl.all_horizontal(pl.exclude("contig").is_null())).to_series()
    if len(frame) != content.count(b"\n") or not is_blank.all():
        return _columns_one_by_one(content)
    count = pl.when(pl.col("attributes").is_null()).then(1).otherwise(len(_COLUMNS))
    return frame.with_columns(pl.all().fill_null(""), count.alias("count"))


def _columns_one_by_one(content: bytes) -> pl.DataFrame:
    """As `_columns`, of any text; this takes three times as long."""
    text = pl.col("text")
    lines = content[len(_HEADER) :].decode(errors="replace").split("\n")
    columns = text.str.splitn("\t", len(_COLUMNS)).struct.rename_fields(_COLUMNS).struct.unnest()
    count = text.str.count_matches("\t", literal=True).cast(pl.Int32) + 1
    return pl.DataFrame({"text": lines}).select(columns, count.alias("count"))


def _dialect(comments: pl.DataFrame, lines: pl.DataFrame) -> Dialect | None:
    """The dialect, from the header or the first line with attributes; None if there is neither."""
    if comments["contig"].str.contains(r"^##gff-version\s+3").any():
        return "gff3"
    attributes = lines["attributes"].str.strip_chars()
    first = attributes.filter(~attributes.is_in(["", "."])).head(1)
    if first.is_empty():
        return None
    return "gff3" if first.str.contains(r'^[^\s;="]+=').item() else "gtf"


def _read_chunk(lines: pl.DataFrame, dialect: Dialect, uri: str) -> Features:
    """What the lines of one chunk add to the frames of `Features`."""
    feature = pl.col("feature")
    lines = lines.with_columns(feature.str.strip_chars())
    if dialect == "gtf":
        relevant = feature.is_in([*_GTF_NAMED, _EXON])
    else:
        has_id = pl.col("attributes").str.contains(r"(?:^|;)\s*ID=")
        relevant = (feature == _EXON) | (has_id & ~feature.is_in(_NO_ID_NEEDED))
    fields = _fields(lines.filter(relevant), dialect, uri)
    exons = _with_keys(fields.filter(feature == _EXON), dialect, uri)
    key = "transcript_id" if dialect == "gtf" else "Parent"
    raise_for_first(exons, exons["key"].is_null(), uri, f"exon without {key}")
    named = _with_attributes(readable(fields.filter(feature != _EXON), dialect, uri), dialect)
    if dialect == "gtf":
        nameless = named["key"].is_null() & (named["feature"] == "transcript")
        raise_for_first(named, nameless, uri, "transcript without transcript_id")
    named = named.filter(pl.col("key").is_not_null())  # nothing can refer to a gene without an id
    parts = _parts_without_exon(lines.filter(feature.is_in(PARTS)), exons, dialect, uri)
    first = [_first_of_unnamed(frame, named, dialect, uri) for frame in (exons, parts)]
    circular = _circular(lines, uri) if dialect == "gff3" else ()
    return Features(
        dialect, pl.concat([named, *first]), exons.select(_EXON_COLUMNS), parts.select(_EXON_COLUMNS), circular
    )


def _fields(lines: pl.DataFrame, dialect: Dialect, uri: str) -> pl.DataFrame:
    """`lines` without needless columns, with start and end as numbers, which are checked, and contigs decoded."""
    plain = pl.col("contig", "start", "end", "strand").str.strip_chars()
    fields = lines.drop("source", "score", "frame", "count").with_columns(plain)
    number = fields.select(pl.col(name).cast(pl.Int64, strict=False) for name in ("start", "end"))
    raise_for_first(fields, fields["contig"] == "", uri, "the name of the contig is empty")
    for name in ("start", "end"):
        raise_for_first(fields, number[name].is_null(), uri, f"{name} is {{{name}!r}}, not a whole number")
    raise_for_first(fields, number["start"] < 1, uri, "start is {start}, but positions count from 1")
    raise_for_first(fields, number["end"] < number["start"], uri, "end {end} lies before start {start}")
    raise_for_first(fields, ~fields["strand"].is_in(_STRANDS), uri, "strand is {strand!r}, which is neither + nor -")
    contig = decoded(fields["contig"]) if dialect == "gff3" else fields["contig"]
    return fields.with_columns(contig, number["start"] - 1, number["end"])


def _with_keys(lines: pl.DataFrame, dialect: Dialect, uri: str) -> pl.DataFrame:
    """A row for each line and transcript that it belongs to, with the columns `key` and `parent`."""
    if dialect == "gtf":
        ids = ids_of_exons(lines, uri)
        return lines.with_columns(ids["transcript_id"].alias("key"), ids["gene_id"].alias("parent"))
    parents = all_values(lines, "Parent", dialect)
    none = pl.lit([None], dtype=pl.List(pl.String))  # which becomes a row too
    key = pl.when(parents.list.len() > 0).then(parents).otherwise(none).alias("key")
    return lines.with_columns(key, pl.lit(None, pl.String).alias("parent")).explode("key")


def _parts_without_exon(lines: pl.DataFrame, exons: pl.DataFrame, dialect: Dialect, uri: str) -> pl.DataFrame:
    """Parts of transcripts that have no exon among `exons`, in its form; parts of no transcript are left out."""
    keyed = _with_keys(lines, dialect, uri).filter(pl.col("key").is_not_null())
    with_exons = exons.select(_NAME[dialect]).unique()
    return _fields(keyed.join(with_exons, on=_NAME[dialect], how="anti", maintain_order="left"), dialect, uri)


def _with_attributes(lines: pl.DataFrame, dialect: Dialect) -> pl.DataFrame:
    """Rows of `Features.named` of lines with a name of their own, or of other lines that have the column `key`."""
    tags = all_values(lines, "tag", dialect).alias("tags")
    named = "key" not in lines.columns
    if dialect == "gtf":
        columns = first_values(lines, _ATTRIBUTES, dialect)
        columns = columns.with_columns(pl.lit(None, pl.String).alias(name) for name in _GFF3_ATTRIBUTES)
        own = pl.when(lines["feature"] == "gene").then("gene_id").otherwise("transcript_id").alias("key")
        parent = pl.col("gene_id").alias("parent")
    else:
        names = (*_ATTRIBUTES, *_GFF3_ATTRIBUTES, "ID", "geneID")
        columns = first_values(lines, names, dialect)
        own = pl.col("ID").alias("key")
        parent = pl.col("geneID").alias("parent")
        if named:  # the parent of another line is its transcript, whose gene no line names
            parent = pl.coalesce(all_values(lines, "Parent", dialect).list.first(), parent).alias("parent")
    columns = columns.with_columns(own if named else lines["key"], parent)
    return pl.concat([lines.select("feature", *_PLACE), columns, tags.to_frame()], how="horizontal").select(
        "feature", "key", "parent", *_ATTRIBUTES, *_GFF3_ATTRIBUTES, "tags", *_PLACE
    )


def _first_of_unnamed(frame: pl.DataFrame, named: pl.DataFrame, dialect: Dialect, uri: str) -> pl.DataFrame:
    """Rows of `Features.named` for the transcripts of `frame`, exons or parts, that are not in `named`."""
    name = _NAME[dialect]
    unnamed = frame.join(named, on=name, how="anti")
    first = unnamed.unique(name, keep="first", maintain_order=True).sort("line", maintain_order=True)
    return _with_attributes(readable(first, dialect, uri), dialect)


def _circular(lines: pl.DataFrame, uri: str) -> tuple[str, ...]:
    """Contigs whose line says so: a landmark from the first base on."""
    declared = _fields(lines.filter(pl.col("attributes").str.contains("Is_circular=true", literal=True)), "gff3", uri)
    return tuple(declared.filter(pl.col("start") == 0)["contig"].unique(maintain_order=True))
