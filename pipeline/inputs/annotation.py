"""A GTF or GFF3 file -> its transcripts, checked.

In: a path or URI, read by `pipeline.inputs.gtf`. Out: an `Annotation`, whose frame `transcripts` has one row a
transcript, in the order of the file and with the file's contig names:

    transcript_id, gene_id   str, as the file writes them: with their version in GENCODE, without it in Ensembl
    transcript_version, gene_version   str or null: the version, where an attribute of its own gives it (Ensembl)
    gene_name                str, the gene's id if it has no name
    gene_type, transcript_type   str, biotypes; a transcript without one takes its gene's, "unknown" if there is none
    tags                     list of str, all values of the repeated attribute `tag` in the order of the line
    contig, strand           str, "+" or "-"
    start, end               int64, 0-based half-open
    line                     int64, number of the transcript's line, or of its first exon's if it has none
    exon_starts, exon_ends   list of int64, 0-based half-open, ascending; empty for a transcript without exons

A transcript without a line of its own (some GTF files hold only exons) spans its exons. In GFF3 every feature that an
exon names as its `Parent` is a transcript, and so is every feature of type `transcript` or `mRNA`. Transcripts of
unknown strand (`.` or `?`) are left out, because splice sites lie on a strand; `unstranded` lists them.

Errors: `InputError` with file and line for a malformed line, a transcript that is given twice (a gene in both
pseudoautosomal regions needs an id for each copy, as GENCODE's `_PAR_Y`), an exon outside its transcript or on
another contig or strand; and for a file without transcripts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

from pipeline.coordinates import ContigMap
from pipeline.inputs.gtf import Features, read_features
from pipeline.inputs.text import CHUNK_BYTES
from sptx_core.errors import InputError

Style = Literal["gencode", "ensembl", "gff3"]

UNKNOWN_BIOTYPE = "unknown"
_ID_PREFIX = r"^(?:transcript|gene|rna|id)[:-]"  # GFF3 writes `transcript:ENST...` (Ensembl), `rna-NM_...` (RefSeq)
_GFF3_TRANSCRIPTS = ("transcript", "mRNA")
_COLUMNS = (
    *("transcript_id", "transcript_version", "gene_id", "gene_version", "gene_name", "gene_type", "transcript_type"),
    *("tags", "contig", "strand", "start", "end", "line", "exon_starts", "exon_ends"),
)


@dataclass(frozen=True)
class Annotation:
    """The transcripts of a file.

    Attributes
    ----------
    uri : str
        The file that was read.
    style : {"gencode", "ensembl", "gff3"}
    transcripts : polars.DataFrame
        One row a transcript; the module's docstring lists the columns.
    unstranded : tuple of str
        Ids of the transcripts that were left out because their strand is unknown.
    """

    uri: str
    style: Style
    transcripts: pl.DataFrame
    unstranded: tuple[str, ...]


def read_annotation(uri: str, chunk_bytes: int = CHUNK_BYTES) -> Annotation:
    """Read and check all transcripts of a GTF or GFF3 file.

    Parameters
    ----------
    uri : str
        Path or URI.
    chunk_bytes : int
        Bytes of text that are parsed at a time.

    Returns
    -------
    Annotation

    Raises
    ------
    InputError
        See the module's docstring.
    """
    features = read_features(uri, chunk_bytes)
    named = _transcript_lines(features)
    derived = _transcripts_of_exons(features, named, uri)
    transcripts = pl.concat([named, derived], how="diagonal").sort("line").with_row_index("index")
    if transcripts.is_empty():
        raise InputError(f"{uri} holds no transcripts: it has neither transcript nor exon lines")
    _require_unique(transcripts, "key", uri)
    exons = _exons_by_transcript(features.exons, transcripts, uri)
    transcripts = _with_exons(_with_names(transcripts, features), exons)
    _require_unique(transcripts, "transcript_id", uri)
    stranded = pl.col("strand").is_in(["+", "-"])
    unstranded = transcripts.filter(~stranded)["transcript_id"]
    if len(unstranded) == len(transcripts):
        raise InputError(f"{uri} holds no transcript with a strand, such as {unstranded[0]}; splice sites need one")
    return Annotation(uri, _style(features), transcripts.filter(stranded).select(_COLUMNS), tuple(unstranded))


def check_spans(transcripts: pl.DataFrame, contigs: ContigMap, lengths: Mapping[str, int], uri: str) -> None:
    """Check that every transcript ends within its contig; those whose contig the FASTA does not hold are skipped.

    Parameters
    ----------
    transcripts : polars.DataFrame
        As `Annotation.transcripts`.
    contigs : ContigMap
        The annotation's contig names in the FASTA.
    lengths : mapping of str to int
        Bases of each contig, by FASTA name.
    uri : str
        The annotation, for the message.

    Raises
    ------
    InputError
        For the first transcript that ends beyond its contig.
    """
    known = {name: lengths[held] for name, held in contigs.mapping.items()}
    length = pl.col("contig").replace_strict(known, default=None, return_dtype=pl.Int64)
    beyond = transcripts.with_columns(length.alias("length")).filter(pl.col("end") > pl.col("length"))
    if not beyond.is_empty():
        first = beyond.row(0, named=True)
        raise InputError(
            f"{uri} line {first['line']}: transcript {first['transcript_id']} ends at "
            f"{first['contig']}:{first['end']}, but contig {contigs.mapping[first['contig']]} of the FASTA "
            f"has {first['length']} bases; annotation and FASTA are of different assemblies, or the FASTA is cut"
        )


def _style(features: Features) -> Style:
    """Ensembl writes `gene_biotype` where GENCODE writes `gene_type`."""
    if features.dialect == "gff3":
        return "gff3"
    has_biotype = features.named.select(pl.col("gene_biotype", "transcript_biotype").is_not_null().any())
    return "ensembl" if any(has_biotype.row(0)) else "gencode"


def _transcript_lines(features: Features) -> pl.DataFrame:
    """The rows of `Features.named` that describe a transcript on a line of its own."""
    if features.dialect == "gtf":
        return features.named.filter(pl.col("feature") == "transcript")
    lines = features.named.filter(pl.col("feature") != "exon")
    is_parent = pl.col("key").is_in(features.exons["key"].unique().implode())
    return lines.filter(is_parent | pl.col("feature").is_in(_GFF3_TRANSCRIPTS))


def _transcripts_of_exons(features: Features, named: pl.DataFrame, uri: str) -> pl.DataFrame:
    """Transcripts without a line: attributes of their first exon, from the first exon's start to the last one's end."""
    first = features.named.filter(pl.col("feature") == "exon").unique("key", keep="first", maintain_order=True)
    first = first.join(named, on="key", how="anti")
    span = (
        features.exons.join(first.select("key"), on="key", how="semi")
        .group_by("key")
        .agg(pl.col("start").min(), pl.col("end").max(), pl.col("contig", "strand").n_unique().name.suffix("_count"))
    )
    first = first.drop("start", "end").join(span, on="key")
    split = first.filter((pl.col("contig_count") > 1) | (pl.col("strand_count") > 1)).sort("line")
    if not split.is_empty():
        line, key = split.select("line", "key").row(0)
        raise InputError(f"{uri} line {line}: the exons of transcript {key} lie on several contigs or strands")
    return first.drop("contig_count", "strand_count")


def _require_unique(transcripts: pl.DataFrame, name: str, uri: str) -> None:
    """Raise `InputError` if two transcripts have the same value in column `name`."""
    repeats = transcripts.filter(pl.col(name).is_duplicated())
    if not repeats.is_empty():
        second = repeats.filter(~pl.col(name).is_first_distinct()).row(0, named=True)
        first = repeats.filter(pl.col(name) == second[name]).row(0, named=True)
        raise InputError(
            f"{uri} line {second['line']}: transcript {second[name]} on {second['contig']} was already given "
            f"on line {first['line']} ({first['contig']}); each copy needs an id of its own"
        )


def _exons_by_transcript(exons: pl.DataFrame, transcripts: pl.DataFrame, uri: str) -> pl.DataFrame:
    """Start and end of each exon with the index of its transcript; every exon must lie within its transcript."""
    placed = exons.join(transcripts.select("key", "index", "contig", "strand", "start", "end"), on="key", suffix="_tr")
    apart = (pl.col("contig") != pl.col("contig_tr")) | (pl.col("strand") != pl.col("strand_tr"))
    outside = (pl.col("start") < pl.col("start_tr")) | (pl.col("end") > pl.col("end_tr"))
    faults = placed.filter(apart | outside).sort("line")
    if not faults.is_empty():
        exon = faults.row(0, named=True)
        raise InputError(
            f"{uri} line {exon['line']}: exon {exon['contig']}:{exon['start'] + 1}-{exon['end']} ({exon['strand']}) "
            f"lies outside its transcript {exon['key']}, "
            f"{exon['contig_tr']}:{exon['start_tr'] + 1}-{exon['end_tr']} ({exon['strand_tr']})"
        )
    return placed.select("index", "start", "end")


def _with_names(transcripts: pl.DataFrame, features: Features) -> pl.DataFrame:
    """Add ids, names and biotypes, taken from the transcript's line or, where it lacks them, from its gene's."""
    is_gene = pl.col("feature") == "gene" if features.dialect == "gtf" else pl.col("feature") != "exon"
    gene = (
        features.named.filter(is_gene)
        .unique("key", keep="first")
        .select(
            pl.col("key").alias("parent"),
            pl.col("gene_id").alias("parent_id"),
            pl.coalesce("gene_version", "version").alias("parent_version"),
            pl.coalesce("gene_name", "gene", "Name").alias("parent_name"),
            pl.coalesce("gene_type", "gene_biotype", "biotype").alias("parent_type"),
        )
    )
    own_version = pl.when(pl.col("feature") != "exon").then("version")  # on an exon's line, the exon's version
    without_prefix = pl.col("key").str.replace(_ID_PREFIX, "")
    gene_type = pl.coalesce("gene_type", "gene_biotype", "parent_type")
    parent = pl.coalesce("parent", "key")  # a gene that exons name as Parent is its own transcript
    described = (
        transcripts.with_columns(parent)
        .join(gene, on="parent", how="left", maintain_order="left")
        .with_columns(
            pl.coalesce("transcript_id", without_prefix),
            pl.coalesce("transcript_version", own_version),
            pl.coalesce("gene_id", "parent_id", "gene", pl.col("parent").str.replace(_ID_PREFIX, ""), without_prefix),
            pl.coalesce("gene_version", "parent_version"),
            pl.coalesce("gene_name", "gene", "parent_name"),
            pl.coalesce(gene_type, pl.lit(UNKNOWN_BIOTYPE)).alias("gene_type"),
            pl.coalesce(
                *("transcript_type", "transcript_biotype", "biotype", gene_type), pl.lit(UNKNOWN_BIOTYPE)
            ).alias("transcript_type"),
        )
    )
    # In RefSeq's GFF3 the copies of a pseudoautosomal transcript share their transcript_id; their IDs differ.
    repeated = pl.col("transcript_id").is_duplicated()
    return described.with_columns(
        pl.coalesce("gene_name", "gene_id"),
        pl.when(repeated).then(without_prefix).otherwise("transcript_id").alias("transcript_id"),
    )


def _with_exons(transcripts: pl.DataFrame, exons: pl.DataFrame) -> pl.DataFrame:
    """Add the lists of exon starts and ends."""
    lists = (
        exons.sort("index", "start", "end")
        .group_by("index", maintain_order=True)
        .agg(pl.col("start").alias("exon_starts"), pl.col("end").alias("exon_ends"))
    )
    joined = transcripts.join(lists, on="index", how="left", maintain_order="left")
    return joined.with_columns(pl.col("exon_starts", "exon_ends").fill_null([]))
