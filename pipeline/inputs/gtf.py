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

Errors: `InputError` with the file and the first faulty line. Lines of other features are checked only for having nine
columns.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from pipeline.inputs.attributes import Dialect, all_values, decoded, first_values, ids_of_exons, readable
from pipeline.inputs.text import CHUNK_BYTES, decompressed, raise_for_first
from pipeline.inputs.uris import open_input
from sptx_core.errors import InputError

PARTS = (
    *("CDS", "UTR", "five_prime_UTR", "three_prime_UTR", "five_prime_utr", "three_prime_utr"),
    *("5UTR", "3UTR", "5'-UTR", "3'-UTR", "start_codon", "stop_codon"),
)
"""Features that lie within an exon of their transcript."""
_COLUMNS = ("contig", "source", "feature", "start", "end", "score", "strand", "frame", "attributes")
_STRANDS = ("+", "-", ".", "?")
_GTF_NAMED = ("gene", "transcript")
_EXON = "exon"
_NO_ID_NEEDED = (*PARTS, "intron")  # features of GFF3 whose ID nothing refers to
_ATTRIBUTES = (  # become columns; every annotation has some of them
    *("gene_id", "gene_version", "gene_name", "gene_symbol", "gene", "gene_type", "gene_biotype"),
    *("transcript_id", "transcript_version", "transcript_type", "transcript_biotype"),
)
_GFF3_ATTRIBUTES = ("Name", "biotype", "version")
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
        for first_number, text in _chunks_of_text(stream, uri, chunk_bytes):
            comments, lines, ended = _lines(text, first_number, uri, begun=begun)
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


def _chunks_of_text(stream: io.BufferedReader, uri: str, chunk_bytes: int) -> Iterator[tuple[int, str]]:
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
            yield first_number, whole.decode(errors="replace")
            first_number += whole.count(b"\n") + 1
    if unfinished:
        yield first_number, unfinished.decode(errors="replace")


def _lines(text: str, first_number: int, uri: str, *, begun: bool) -> tuple[pl.DataFrame, pl.DataFrame, bool]:
    """Comments and lines of features, as columns `line` (int64) and `text`, and whether the features have ended.

    Each line of features has nine columns. They end where a sequence begins; `begun` says whether any came before.
    """
    column = pl.col("text")
    frame = (
        pl.Series("text", [text]).str.split("\n").explode().to_frame()
        .with_row_index("line", offset=first_number)
        .with_columns(pl.col("line").cast(pl.Int64))
    )  # fmt: skip
    is_comment = frame["text"].str.starts_with("#")
    comments, lines = frame.filter(is_comment), frame.filter(~is_comment & column.str.contains(r"\S"))
    sequence = comments.filter(column.str.contains(r"^##FASTA\s*$"))["line"]
    if not sequence.is_empty():
        lines = lines.filter(pl.col("line") < sequence[0])
    faults = lines.filter(column.str.count_matches("\t", literal=True) + 1 != len(_COLUMNS))
    if faults.is_empty():
        return comments, lines, not sequence.is_empty()
    line, content = faults.row(0)
    before = lines.filter(pl.col("line") < line)
    if content.startswith(">") and (begun or not before.is_empty()):
        return comments.filter(pl.col("line") < line), before, True
    looks = "; it looks like FASTA" if content.startswith(">") else ""
    raise InputError(
        f"{uri} line {line}: {content.count(chr(9)) + 1} tab-separated columns where GTF and GFF3 have 9{looks}"
    )


def _dialect(comments: pl.DataFrame, lines: pl.DataFrame) -> Dialect | None:
    """The dialect, from the header or the first line with attributes; None if there is neither."""
    if comments["text"].str.contains(r"^##gff-version\s+3").any():
        return "gff3"
    attributes = lines.select(pl.col("text").str.extract(r"\t\s*([^\t]*)$").alias("attributes"))["attributes"]
    first = attributes.filter(~attributes.is_in(["", "."])).head(1)
    if first.is_empty():
        return None
    return "gff3" if first.str.contains(r'^[^\s;="]+=').item() else "gtf"


def _read_chunk(lines: pl.DataFrame, dialect: Dialect, uri: str) -> Features:
    """What the lines of one chunk add to the frames of `Features`."""
    if dialect == "gtf":
        relevant = _is_one_of((*_GTF_NAMED, _EXON))
    else:
        has_id = pl.col("text").str.contains(r"[\t;]\s*ID=")
        relevant = _is_one_of((_EXON,)) | (has_id & ~_is_one_of(_NO_ID_NEEDED))
    fields = _fields(lines.filter(relevant), dialect, uri)
    is_exon = pl.col("feature") == _EXON
    exons = _with_keys(fields.filter(is_exon), dialect, uri)
    key = "transcript_id" if dialect == "gtf" else "Parent"
    raise_for_first(exons, exons["key"].is_null(), uri, f"exon without {key}")
    named = _with_attributes(readable(fields.filter(~is_exon), dialect, uri), dialect)
    if dialect == "gtf":
        nameless = named["key"].is_null() & (named["feature"] == "transcript")
        raise_for_first(named, nameless, uri, "transcript without transcript_id")
    named = named.filter(pl.col("key").is_not_null())  # nothing can refer to a gene without an id
    parts = _parts_without_exon(lines.filter(_is_one_of(PARTS)), exons, dialect, uri)
    first = [_first_of_unnamed(frame, named, dialect, uri) for frame in (exons, parts)]
    circular = _circular(lines, uri) if dialect == "gff3" else ()
    return Features(
        dialect, pl.concat([named, *first]), exons.select(_EXON_COLUMNS), parts.select(_EXON_COLUMNS), circular
    )


def _is_one_of(features: Sequence[str]) -> pl.Expr:
    """Whether the third column of a line is one of these."""
    return pl.col("text").str.contains(rf"^[^\t]*\t[^\t]*\t\s*(?:{'|'.join(features)})\s*\t")


def _fields(lines: pl.DataFrame, dialect: Dialect, uri: str) -> pl.DataFrame:
    """Split lines into line, feature, attributes, contig, strand, start and end; the coordinates are checked."""
    columns = pl.col("text").str.splitn("\t", len(_COLUMNS)).struct.rename_fields(_COLUMNS).struct.unnest()
    plain = pl.col("contig", "feature", "start", "end", "strand").str.strip_chars()
    fields = lines.select("line", columns).with_columns(plain)
    number = fields.select(pl.col(name).cast(pl.Int64, strict=False) for name in ("start", "end"))
    raise_for_first(fields, fields["contig"] == "", uri, "the name of the contig is empty")
    for name in ("start", "end"):
        raise_for_first(fields, number[name].is_null(), uri, f"{name} is {{{name}!r}}, not a whole number")
    raise_for_first(fields, number["start"] < 1, uri, "start is {start}, but positions count from 1")
    raise_for_first(fields, number["end"] < number["start"], uri, "end {end} lies before start {start}")
    raise_for_first(fields, ~fields["strand"].is_in(_STRANDS), uri, "strand is {strand!r}, which is neither + nor -")
    contig = decoded(fields["contig"]) if dialect == "gff3" else fields["contig"]
    return fields.select("line", "feature", "attributes", contig, "strand", number["start"] - 1, number["end"])


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
    attributes = pl.col("text").str.splitn("\t", len(_COLUMNS)).struct[len(_COLUMNS) - 1].alias("attributes")
    keyed = _with_keys(lines.with_columns(attributes, pl.lit("").alias("feature")), dialect, uri)
    left = keyed.filter(pl.col("key").is_not_null() & ~pl.col("key").is_in(exons["key"].unique().implode()))
    return _fields(left, dialect, uri).with_columns(left["key"], left["parent"])


def _with_attributes(lines: pl.DataFrame, dialect: Dialect) -> pl.DataFrame:
    """Rows of `Features.named` of lines with a name of their own, or of other lines that have the column `key`."""
    tags = all_values(lines, "tag", dialect).alias("tags")
    if dialect == "gtf":
        columns = first_values(lines, _ATTRIBUTES, dialect)
        columns = columns.with_columns(pl.lit(None, pl.String).alias(name) for name in _GFF3_ATTRIBUTES)
        own = pl.when(lines["feature"] == "gene").then("gene_id").otherwise("transcript_id").alias("key")
        parent = pl.col("gene_id").alias("parent")
    else:
        names = (*_ATTRIBUTES, *_GFF3_ATTRIBUTES, "ID", "geneID")
        columns = first_values(lines, names, dialect)
        own = pl.col("ID").alias("key")
        genes = all_values(lines, "Parent", dialect).list.first()
        # An exon's parent is its transcript, whose gene no line names.
        parent = pl.coalesce(pl.when(lines["feature"] != _EXON).then(genes), "geneID").alias("parent")
    columns = columns.with_columns(lines["key"] if "key" in lines.columns else own, parent)
    return pl.concat([lines.select("feature", *_PLACE), columns, tags.to_frame()], how="horizontal").select(
        "feature", "key", "parent", *_ATTRIBUTES, *_GFF3_ATTRIBUTES, "tags", *_PLACE
    )


def _first_of_unnamed(frame: pl.DataFrame, named: pl.DataFrame, dialect: Dialect, uri: str) -> pl.DataFrame:
    """Rows of `Features.named` for the transcripts of `frame`, exons or parts, that are not in `named`."""
    name = ["key", "parent"] if dialect == "gtf" else ["key"]
    unnamed = frame.join(named, on=name, how="anti")
    first = unnamed.unique(name, keep="first", maintain_order=True).sort("line", maintain_order=True)
    return _with_attributes(readable(first, dialect, uri), dialect)


def _circular(lines: pl.DataFrame, uri: str) -> tuple[str, ...]:
    """Contigs whose line says so: a landmark from the first base on."""
    declared = _fields(lines.filter(pl.col("text").str.contains("Is_circular=true", literal=True)), "gff3", uri)
    return tuple(declared.filter(pl.col("start") == 0)["contig"].unique(maintain_order=True))
