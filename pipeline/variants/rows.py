"""From deltas to the rows of the tables: positions as a VCF has them, values under their column names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.coordinates import Strand
from pipeline.inputs.splice_sites import KINDS
from pipeline.variants.alleles import Allele
from pipeline.variants.calls import called, z_scores
from pipeline.variants.deltas import ACCEPTOR, DONOR, EVENTS, TISSUES, Extreme, deltas
from pipeline.variants.geometry import NOWHERE, Readings
from pipeline.variants.schema import VariantSchema
from pipeline.variants.scoring import Look, Scores

Row = dict[str, Any]
_COLUMN = {"ag": ACCEPTOR, "al": ACCEPTOR, "dg": DONOR, "dl": DONOR}
_KEY = ("record", "alt_index", "haplotype", "joint")


def entry_row(entry: Mapping[str, Any], allele: Allele | None) -> Row:
    """What a row says of an allele, whatever its gene and scores."""
    row = {name: entry[name] for name in ("record", "alt_index", "pos", "id", "ref", "alt", "status")}
    row |= {name: entry[name] for name in ("sample", "haplotype", "phase_set", "joint")}
    if allele is not None:
        row["norm_pos"], row["norm_ref"], row["norm_alt"] = allele.to_vcf()
    return row


def gene_row(gene: Mapping[str, Any] | None, strand: str) -> Row:
    """What a row says of its gene; of none, the strand alone."""
    if gene is None:
        return {"strand": strand}
    return {"strand": strand, **{name: gene[name] for name in ("gene_id", "gene_name", "transcripts")}}


def places(readings: Readings, strand: str, alternative: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """1-based genomic position and insertion offset of each reading; `alternative` is the alternative's length.

    The offset counts the alternative's bases from 1, left to right; 0 for bases of the reference.
    """
    if strand != Strand.MINUS:
        return readings.position + 1, readings.inserted
    inserted = readings.inserted > 0
    # Position t is g = -1 - t, 1-based -t; the base left of an inserted one is the next on this strand.
    return -readings.position - inserted, np.where(inserted, alternative + 1 - readings.inserted, 0)


def annotated_sites(
    gene: Mapping[str, Any] | None, readings: Readings, strand: str
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each reading is an acceptor, and a donor, of the gene's transcripts."""
    found = []
    for kind in ("acceptors", "donors"):
        at = np.array([] if gene is None else gene[kind], dtype=np.int64)
        on_axis = -1 - at if strand == Strand.MINUS else at
        found.append(np.isin(readings.position, on_axis) & (readings.inserted == 0))
    return found[0], found[1]


def score_row(
    look: Look,
    scores: tuple[Scores, Scores],
    allele: Allele,
    strand: str,
    gene: Mapping[str, Any] | None,
    schema: VariantSchema,
    *,
    calibrated: bool,
) -> Row:
    """The numbers of a row.

    Parameters
    ----------
    look
        The change and its readings.
    scores
        Of reference and alternative at each reading, [n, 3 + tissues]; [n, 0] where nothing changes.
    allele, strand, gene, schema
        What the row is of.
    calibrated
        Whether z scores are what the authors' constants are of.

    """
    readings = look.readings
    reference, alternative = scores
    if not reference.shape[1]:
        reference = alternative = np.zeros((len(readings.position), TISSUES + len(schema.tissues)), dtype=np.float32)
    found = deltas(readings, reference, alternative, annotated_sites(gene, readings, strand))
    at, offsets = places(readings, strand, len(allele.alt))
    norm_pos = allele.to_vcf()[0]

    def placed(extreme: Extreme, prefix: str, position: str, offset: str) -> Row:
        if extreme.at < 0:
            return {}
        where, inside = int(at[extreme.at]), int(offsets[extreme.at])
        return {prefix: where - norm_pos, position: where, offset: inside or None}

    row: Row = {"d_splice": found.splice.value}
    row |= placed(found.splice, "dp_splice", "splice_pos", "ins_offset_splice")
    for event in EVENTS:
        extreme, masked = found.events[event], found.masked[event]
        row |= {f"ds_{event}": extreme.value, f"ds_{event}_masked": masked.value}
        row |= placed(extreme, f"dp_{event}", f"{event}_pos", f"ins_offset_{event}")
        row |= placed(masked, f"dp_{event}_masked", f"{event}_pos_masked", f"ins_offset_{event}_masked")
        if extreme.at >= 0:
            row |= _raw(readings, reference, alternative, event, extreme.at)
    row |= {f"d_{name}": float(value) for name, value in zip(schema.tissues, found.usage, strict=True)}
    row |= {f"signed_{name}": float(value) for name, value in zip(schema.tissues, found.signed, strict=True)}
    if schema.has_z:
        z = z_scores(found.usage, schema.tissues)
        row |= {f"z_{name}": float(value) for name, value in zip(schema.tissues, z, strict=True)}
        row |= {"tissues": called(found.splice.value, found.usage, z, schema.tissues), "calibrated": calibrated}
    return row


def site_table(
    look: Look, scores: tuple[Scores, Scores], row: Row, allele: Allele, strand: str, schema: VariantSchema
) -> pa.Table:
    """Rows of the sites table: the scores of each base about a change, left to right."""
    at, offsets = places(look.readings, strand, len(allele.alt))
    order = slice(None, None, -1 if strand == Strand.MINUS else 1)
    columns = schema.sites()
    shared = {name: row[name] for name in _KEY} | {"strand": strand, "gene_id": row.get("gene_id")}
    found = {name: pa.repeat(pa.scalar(value, columns.field(name).type), len(at)) for name, value in shared.items()}
    found |= {"pos": at[order], "ins_offset": pa.array(offsets[order], pa.int32(), mask=offsets[order] == 0)}
    kept = [ACCEPTOR, DONOR, *range(TISSUES, TISSUES + len(schema.tissues))]
    for sequence, values, coordinates in zip(
        ("ref", "alt"), scores, (look.readings.reference, look.readings.alternative), strict=True
    ):
        lacking = coordinates[order] == NOWHERE
        by_column = np.ascontiguousarray(values[order].T) if values.shape[1] else None
        for name, column in zip((*KINDS, *schema.tissues), kept, strict=True):
            found[f"{sequence}_{name}"] = (
                pa.nulls(len(at), pa.float32())
                if by_column is None
                else pa.array(by_column[column], pa.float32(), mask=lacking)
            )
    return pa.table(found, schema=columns)


def _raw(readings: Readings, reference: Scores, alternative: Scores, event: str, at: int) -> Row:
    """The scores behind an event, null for a sequence that lacks the base."""
    row: Row = {}
    for name, values, coordinates in (
        ("ref", reference, readings.reference),
        ("alt", alternative, readings.alternative),
    ):
        if coordinates[at] != NOWHERE:
            row[f"{event}_{name}"] = float(values[at, _COLUMN[event]])
    return row
