"""The columns of published tables in words: type, unit and meaning, for people (the card) and programs (Croissant).

Types are those of Parquet as Arrow reads them. The columns of the folders (Hive partitions) come first. What each means
at length: docs/table.md and docs/variants.md.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import pyarrow as pa

from pipeline.tracks.layout import SITES, TRACKS
from pipeline.tracks.schema import SPLICE_STEPS, USAGE_STEPS, TrackSchema
from pipeline.variants.schema import SITES as VARIANT_SITES
from pipeline.variants.schema import VARIANTS, VariantSchema
from sptx_core.channels import SPLICE

PROBABILITY = "probability, 0 to 1"
_MEANING = {
    "transcript_id": ("id", "the transcript that the row belongs to"),
    "pos": ("1-based position", "position on the contig's plus strand, as in GTF and VCF"),
    "ref": ("A, C, G, T, N", "base of the plus strand"),
    "acceptor": (PROBABILITY, "that the base is the first of an exon after an intron"),
    "donor": (PROBABILITY, "that the base is the last of an exon before an intron"),
    "no_splice": (PROBABILITY, "that the base is neither"),
}
_OF_VARIANTS = (
    ("record|alt_index", "number", "the record in the file from 0, the ALT in the record from 1"),
    ("norm_(pos|ref|alt)", "as in a VCF", "the normal form of the change"),
    (r"(\w+_)?pos(_masked)?", "1-based position", "of the change, or of the site that gains or loses most"),
    ("id|ref|alt", "text", "as the file of the variants has it"),
    ("strand", "+ or -", "of the gene"),
    ("gene_id|gene_name|transcripts", "text", "the gene and its transcripts; null without one"),
    ("status", "text", "scored, or why not"),
    ("d_splice", "0 to 1", "the largest change of max(acceptor, donor)"),
    (r"ds_\w+_masked", "0 to 1", "the same, without gains at annotated sites and losses elsewhere"),
    (r"ds_\w+", "0 to 1", "largest gain or loss (g, l) of an acceptor or donor (a, d)"),
    (r"dp_\w+", "bases", "from norm_pos to that site, along the plus strand"),
    (r"ins_offset\w*", "bases", "place of the site among inserted bases, from 1; else null"),
    (r"[ad][gl]_(ref|alt)", PROBABILITY, "score of the reference or alternative at that site"),
    (r"d_\w+", "0 to 1", "the largest change of usage in the tissue"),
    (r"signed_\w+", "-1 to 1", "that change with its sign"),
    (r"z_\w+", "standard deviations", "that change against the other tissues"),
    ("tissues|calibrated", "text", "tissues that are called, and whether the constants for it hold"),
    ("tie", "true or false", "other arithmetic may give another value"),
    ("sample|haplotype|phase_set|joint", "text", "where the allele lies in the genotypes, if these were used"),
    (r"(ref|alt)_\w+", PROBABILITY, "score or usage of the reference or alternative at the base"),
)


class Column(NamedTuple):
    """A column: `type` as NumPy calls it, "string" or "list of string"; `folder`: its value is a folder's name."""

    name: str
    type: str
    unit: str
    meaning: str
    folder: bool = False


CHROM = Column("chrom", "string", "contig", "named as in the genome's FASTA; the folder's name, percent-encoded", True)
STRAND = Column("strand", "string", "plus or minus", "strand; the folder's name", True)


def columns_of_tracks(schema: TrackSchema) -> dict[str, tuple[Column, ...]]:
    """Of `tracks` and `sites`."""
    return {table: (CHROM, STRAND, *_scored(schema, rounded=table == TRACKS)) for table in (TRACKS, SITES)}


def columns_of_variants(schema: VariantSchema) -> dict[str, tuple[Column, ...]]:
    """Of `variants` and the bases about them."""
    tables: dict[str, pa.Schema] = {VARIANTS: schema.variants(), VARIANT_SITES: schema.sites()}
    return {table: (CHROM, *(_of_variants(field) for field in fields)) for table, fields in tables.items()}


def _scored(schema: TrackSchema, *, rounded: bool) -> list[Column]:
    found = []
    for column in schema.columns:
        unit, meaning = _MEANING.get(
            column.name, ("usage, 0 to 1", f"usage of the base as a splice site in {column.name}")
        )
        if column.steps and rounded and not schema.spec.exact:
            steps = SPLICE_STEPS if column.name in SPLICE else USAGE_STEPS
            unit += f" in steps of {1 / steps:.4f}".rstrip("0")
        found.append(Column(column.name, _type(column.type), unit, meaning))
    return found


def _of_variants(field: pa.Field) -> Column:
    unit, meaning = next((unit, text) for names, unit, text in _OF_VARIANTS if re.fullmatch(names, field.name))
    return Column(field.name, _type(field.type), unit, meaning)


def _type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"list of {kind.value_type}"
    return "float32" if kind == pa.float32() else str(kind)
