"""The columns of published tables in words: type, unit and meaning, for people (the card) and programs (Croissant).

Types are those of Parquet as Arrow reads them. The columns of the folders (Hive partitions) come first. What each means
at length: docs/table.md and docs/variants.md.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from pipeline.inputs.splice_sites import KINDS
from pipeline.tracks.layout import SITES, TRACKS
from pipeline.tracks.schema import SPLICE_STEPS, USAGE_STEPS, TrackSchema
from pipeline.variants.schema import SITES as VARIANT_SITES
from pipeline.variants.schema import VARIANTS, VariantSchema
from sptx_core.channels import SPLICE

PROBABILITY, USAGE = "probability, 0 to 1", "usage, 0 to 1"
_EVENTS = {"ag": "gain of an acceptor", "al": "loss of an acceptor", "dg": "gain of a donor", "dl": "loss of a donor"}
_EVENT = f"(?P<event>{'|'.join(_EVENTS)})"
_KIND = f"(?P<kind>{'|'.join(KINDS)})"
_ALT_INDEX = ("number from 1", "the ALT's place in the record")
_MEANING = {
    "transcript_id": ("id", "the transcript that the row belongs to"),
    "pos": ("1-based position", "position on the contig's plus strand, as in GTF and VCF"),
    "ref": ("A, C, G, T, N", "base of the plus strand"),
    "acceptor": (PROBABILITY, "that the base is the first of an exon after an intron"),
    "donor": (PROBABILITY, "that the base is the last of an exon before an intron"),
    "no_splice": (PROBABILITY, "that the base is neither"),
}
_OF_VARIANTS = (
    ("record", "number from 0", "the record's place in the file"),
    ("alt_index", *_ALT_INDEX),
    ("pos|id|ref|alt", "as in a VCF", "as the file of the variants has it"),
    ("norm_(pos|ref|alt)", "as in a VCF", "the normal form of the change"),
    ("strand", "+ or -", "of the gene; null without one"),
    ("gene_id|gene_name", "text", "the gene; null without one"),
    ("transcripts", "ids", "the gene's transcripts; null without one"),
    ("status", "text", "scored, or why not"),
    ("d_splice", "0 to 1", "the largest change of max(acceptor, donor)"),
    ("dp_splice", "bases", "from norm_pos to the site of d_splice, along the plus strand"),
    ("splice_pos", "1-based position", "the site of d_splice"),
    (rf"ds_{_EVENT}", "0 to 1", "the largest {event}"),
    (rf"ds_{_EVENT}_masked", "0 to 1", "the largest {event}, without gains at annotated sites and losses elsewhere"),
    (rf"dp_{_EVENT}(_masked)?", "bases", "from norm_pos to the site of that {event}, along the plus strand"),
    (rf"{_EVENT}_pos(_masked)?", "1-based position", "the site of that {event}"),
    (r"ins_offset_\w+", "bases", "place of that site among inserted bases, from 1; else null"),
    (rf"{_EVENT}_ref", PROBABILITY, "score of the reference at the site of that {event}"),
    (rf"{_EVENT}_alt", PROBABILITY, "score of the alternative at the site of that {event}"),
    (r"d_(?P<tissue>.+)", "0 to 1", "the largest change of usage in {tissue}"),
    (r"signed_(?P<tissue>.+)", "-1 to 1", "that change with its sign"),
    (
        r"z_(?P<tissue>.+)",
        "standard deviations",
        "(d_{tissue} - mean of d over the tissues - mu) / sigma, the authors' constants",
    ),
    ("tissues", "names", "tissues that are called"),
    ("calibrated", "true or false", "whether the constants for the calls hold"),
    ("tie", "true or false", "other arithmetic may give another value"),
    ("sample", "text", "whose genotypes say where the allele lies; null where none were used"),
    ("haplotype", "number from 1, 0 for both", "which of the sample's holds the allele"),
    ("phase_set", "text", "within which the haplotype holds"),
    ("joint", "true or false", "whether the row is of several variants of a haplotype together"),
)
_OF_VARIANT_SITES = (
    ("pos", "1-based position", "the base; of an inserted one the base left of it"),
    ("ins_offset", "bases", "place of the base among inserted ones, from 1; else null"),
    ("alt_index", *_ALT_INDEX),
    (rf"ref_{_KIND}", PROBABILITY, "{kind} of the reference at the base; null at an inserted one"),
    (rf"alt_{_KIND}", PROBABILITY, "{kind} of the alternative at the base; null at a deleted one"),
    (r"ref_(?P<tissue>.+)", USAGE, "usage in {tissue} of the reference at the base; null at an inserted one"),
    (r"alt_(?P<tissue>.+)", USAGE, "usage in {tissue} of the alternative at the base; null at a deleted one"),
    *_OF_VARIANTS,
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
    tables = (VARIANTS, schema.variants(), _OF_VARIANTS), (VARIANT_SITES, schema.sites(), _OF_VARIANT_SITES)
    chrom = CHROM._replace(meaning="named as in the file of the variants; the folder's name, percent-encoded")
    return {table: (chrom, *(_explained(field, words) for field in fields)) for table, fields, words in tables}


def _scored(schema: TrackSchema, *, rounded: bool) -> list[Column]:
    found = []
    for column in schema.columns:
        unit, meaning = _MEANING.get(column.name, (USAGE, f"usage of the base as a splice site in {column.name}"))
        if column.steps and rounded and not schema.spec.exact:
            steps = SPLICE_STEPS if column.name in SPLICE else USAGE_STEPS
            unit += f" in steps of {1 / steps:.4f}".rstrip("0")
        found.append(Column(column.name, _type(column.type), unit, meaning))
    return found


def _explained(field: pa.Field, words: Sequence[tuple[str, str, str]]) -> Column:
    for pattern, unit, text in words:
        if match := re.fullmatch(pattern, field.name):
            names = match.groupdict()
            event = _EVENTS.get(names.get("event", ""), "")
            return Column(field.name, _type(field.type), unit, text.format(**names | {"event": event}))
    raise ValueError(field.name)


def _type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"list of {kind.value_type}"
    return "float32" if kind == pa.float32() else str(kind)
