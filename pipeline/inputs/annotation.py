"""A GTF or GFF3 file -> its transcripts, checked.

In: a path or URI, read by `pipeline.inputs.gtf` and put together by `pipeline.inputs.transcripts`. Out: an
`Annotation`, whose frame `transcripts` has one row a transcript, in the order of the file and with the file's contig
names:

    transcript_id, gene_id   str, as the file writes them: with their version in GENCODE, without it in Ensembl; each
                             transcript_id is unique (`pipeline.inputs.transcripts` says how copies are named)
    transcript_version, gene_version   str or null: the version, where an attribute of its own gives it (Ensembl)
    gene_name                str, the gene's id if it has no name
    gene_type, transcript_type   str, biotypes; a transcript without one takes its gene's, "unknown" if there is none
    tags                     list of str, all values of the repeated attribute `tag` in the order of the line
    contig, strand           str, "+" or "-"
    start, end               int64, 0-based half-open
    line                     int64, number of the transcript's line, or of its first exon's if it has none
    exon_starts, exon_ends   list of int64, 0-based half-open, ascending; empty for a transcript without exons

An odd transcript, such as one without a strand (splice sites lie on one) or one whose exons lie on both strands, does
not refuse the others: it is left out, `left_out` holds it with the sentence that says why, and `remarks` counts and
names what was left out. A selection that names such a transcript is refused with its sentence.

Errors: `InputError` with file and line for a malformed line, and for a file without transcripts or with odd ones alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import polars as pl

from pipeline.coordinates import ContigMap, reconcile_contigs, shortened
from pipeline.inputs.gtf import read_features
from pipeline.inputs.text import CHUNK_BYTES
from pipeline.inputs.transcripts import UNSTRANDED, Assembly, Style, assemble
from sptx_core.errors import InputError
from sptx_core.redaction import without_secrets
from sptx_core.words import counted

BEYOND_ORIGIN = "beyond the end of a circular contig"
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
    left_out : polars.DataFrame
        The odd transcripts: the same columns, `kind` (what is odd, as in "2 transcripts without a strand") and `fault`
        (the sentence that refuses the transcript), str.
    notes : tuple of str
        What else a person should know of how the file was read, a sentence each.
    circular : tuple of str
        Contigs that the file declares circular.
    """

    uri: str
    style: Style
    transcripts: pl.DataFrame
    left_out: pl.DataFrame
    notes: tuple[str, ...] = ()
    circular: tuple[str, ...] = ()

    @property
    def unstranded(self) -> tuple[str, ...]:
        """Ids of the transcripts that were left out because their strand is unknown."""
        return tuple(self.left_out.filter(pl.col("kind") == UNSTRANDED)["transcript_id"])

    @property
    def remarks(self) -> tuple[str, ...]:
        """Lines for a person: how many transcripts were left out and why, with the first of their names, and notes."""
        kinds = self.left_out.group_by("kind", maintain_order=True).agg("transcript_id")
        left_out = (
            f"left out of {without_secrets(self.uri)}: {counted(len(ids), 'transcript')} {kind} ({shortened(ids)})"
            for kind, ids in kinds.iter_rows()
        )
        return (*left_out, *self.notes)


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
    found = assemble(read_features(uri, chunk_bytes), uri)
    left_out = found.left_out.select(*_COLUMNS, "kind", "fault")
    if found.transcripts.is_empty():
        if left_out.is_empty():
            raise InputError(f"{uri} holds no transcripts: it has neither transcript nor exon lines, nor CDS of one")
        if (left_out["kind"] == UNSTRANDED).all():
            first = left_out["transcript_id"][0]
            raise InputError(f"{uri} holds no transcript with a strand, such as {first}; splice sites need one")
        raise InputError(left_out["fault"][0])
    transcripts = found.transcripts.select(_COLUMNS)
    return Annotation(uri, found.style, transcripts, left_out, tuple(_notes(found, uri)), found.circular)


def read_on_genome(uri: str, lengths: Mapping[str, int], say: Callable[[str], None]) -> tuple[Annotation, ContigMap]:
    """Read an annotation and match its contig names with those of the genome.

    Parameters
    ----------
    uri : str
        Path or URI.
    lengths : mapping of str to int
        Bases of each contig, by FASTA name.
    say : callable
        Called with the annotation's remarks, among them what is left out.

    Returns
    -------
    Annotation
        Without the transcripts that lie across the origin of a circular contig.
    ContigMap
        From its names of contigs to those of the FASTA.

    Raises
    ------
    InputError
        The annotation cannot be read (see `read_annotation`).
    """
    annotation = read_annotation(uri)
    contigs = reconcile_contigs(annotation.transcripts["contig"].unique(maintain_order=True), lengths)
    annotation = within_circles(annotation, contigs, lengths)
    for remark in annotation.remarks:
        say(remark)
    return annotation, contigs


def within_circles(annotation: Annotation, contigs: ContigMap, lengths: Mapping[str, int]) -> Annotation:
    """Leave out the transcripts that GFF3 gives an end beyond a circular contig's length: they lie across its origin.

    Parameters
    ----------
    annotation : Annotation
        As it was read.
    contigs : ContigMap
        Its contig names in the FASTA.
    lengths : mapping of str to int
        Bases of each contig, by FASTA name.

    Returns
    -------
    Annotation
        `left_out` holds these transcripts too.

    Raises
    ------
    InputError
        If no other transcript is left.
    """
    circles = {name: lengths[held] for name, held in contigs.mapping.items() if name in annotation.circular}
    transcripts = annotation.transcripts
    length = pl.col("contig").replace_strict(circles, default=None, return_dtype=pl.Int64)
    fault = pl.format(
        "{} line {}: transcript {} ends at {}:{}, but the circular contig has {} bases; transcripts across its origin "
        "cannot be computed",
        *(pl.lit(annotation.uri), "line", "transcript_id", "contig", "end", length),
    )
    beyond = (pl.col("end") > length).fill_null(value=False)
    across = transcripts.filter(beyond).with_columns(pl.lit(BEYOND_ORIGIN).alias("kind"), fault.alias("fault"))
    if across.is_empty():
        return annotation
    if len(across) == len(transcripts):
        raise InputError(across["fault"][0])
    left_out = pl.concat([annotation.left_out, across])
    return replace(annotation, transcripts=transcripts.filter(~beyond), left_out=left_out)


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


def _notes(found: Assembly, uri: str) -> Iterator[str]:
    """What a person should know of transcripts that are not left out."""
    notes = (
        (found.from_parts, "without exon lines; CDS and UTR give the exons"),
        (found.without_exons, "without exons, of which no splice site is known"),
        (found.told_apart, "with an id that others share, named anew"),
    )
    for ids, note in notes:
        if len(ids):
            yield f"{uri}: {counted(len(ids), 'transcript')} {note} ({shortened(ids.to_list())})"
