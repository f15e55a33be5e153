"""The columns of the tables that the variants job writes.

`variants/`: one row a record, ALT and gene (and one more for each joint haplotype), or one with the gene and all
numbers null for an allele that touches no gene or is not scored. `sites/`, where it was asked for: every base about a
change; scores of the reference are null at inserted bases, those of the alternative at deleted ones.

Positions are 1-based and genomic. `dp_*` are distances from `norm_pos` along the plus strand, whatever the gene's. Of
an inserted base, the position is that of the base left of it, and `ins_offset_*` its place in the alternative's bases
from 1, left to right; elsewhere this is null. The contig, as the file writes it, is the value of the folder
(`chrom=9`).

Format: Apache Parquet 2.6, https://parquet.apache.org/docs/file-format/.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.inputs.splice_sites import KINDS
from pipeline.variants.calls import has_background
from pipeline.variants.deltas import EVENTS

FORMAT_VERSION = 1
VARIANTS, SITES = "variants", "sites"
JOB = "variants"  # what run.json calls the job
_WRITER: dict[str, Any] = {
    "version": "2.6",
    "compression": "zstd",
    "compression_level": 1,
    "store_schema": False,
    "write_page_checksum": True,
}


@dataclass(frozen=True)
class VariantSchema:
    """Columns of a run's tables, for a network with these tissues."""

    tissues: tuple[str, ...]

    @property
    def has_z(self) -> bool:
        """Whether tissues are called: the network has those that the authors' constants are of."""
        return has_background(self.tissues)

    def variants(self) -> pa.Schema:
        """Columns of `variants/`."""
        number, place, text = pa.float32(), pa.int32(), pa.string()
        names = pa.list_(pa.string())
        fields = [("record", pa.int64()), ("alt_index", place), ("pos", pa.int64())]
        fields += [(name, text) for name in ("id", "ref", "alt")]
        fields += [("norm_pos", pa.int64()), ("norm_ref", text), ("norm_alt", text)]
        fields += [("strand", text), ("gene_id", text), ("gene_name", text), ("transcripts", names), ("status", text)]
        fields += [("d_splice", number), ("dp_splice", place), ("splice_pos", pa.int64()), ("ins_offset_splice", place)]
        for event in EVENTS:
            fields += [(f"ds_{event}", number), (f"dp_{event}", place), (f"{event}_pos", pa.int64())]
            fields += [(f"ins_offset_{event}", place), (f"{event}_ref", number), (f"{event}_alt", number)]
            fields += [
                (f"ds_{event}_masked", number),
                (f"dp_{event}_masked", place),
                (f"{event}_pos_masked", pa.int64()),
            ]
            fields += [(f"ins_offset_{event}_masked", place)]
        fields += [(f"d_{tissue}", number) for tissue in self.tissues]
        fields += [(f"signed_{tissue}", number) for tissue in self.tissues]
        if self.has_z:
            fields += [(f"z_{tissue}", number) for tissue in self.tissues]
            fields += [("tissues", names), ("calibrated", pa.bool_())]
        fields += [
            ("tie", pa.bool_()),
            ("sample", text),
            ("haplotype", place),
            ("phase_set", text),
            ("joint", pa.bool_()),
        ]
        return pa.schema([pa.field(name, kind) for name, kind in fields])

    def sites(self) -> pa.Schema:
        """Columns of `sites/`."""
        fields: list[tuple[str, pa.DataType]] = [("record", pa.int64()), ("alt_index", pa.int32())]
        fields += [("haplotype", pa.int32()), ("joint", pa.bool_()), ("strand", pa.string()), ("gene_id", pa.string())]
        fields += [("pos", pa.int64()), ("ins_offset", pa.int32())]
        for sequence in ("ref", "alt"):
            fields += [(f"{sequence}_{channel}", pa.float32()) for channel in (*KINDS, *self.tissues)]
        return pa.schema([pa.field(name, kind) for name, kind in fields])

    @property
    def digest(self) -> str:
        """SHA-256 over all that decides how values are stored: part of a run's fingerprint."""
        columns = [[str(field) for field in schema] for schema in (self.variants(), self.sites())]
        return hashlib.sha256(json.dumps([columns, sorted(_WRITER.items())]).encode()).hexdigest()


def to_parquet(table: pa.Table, metadata: dict[str, str]) -> bytes:
    """Bytes of a part; equal tables give equal bytes."""
    sink = pa.BufferOutputStream()
    plain = table.replace_schema_metadata(None)
    with pq.ParquetWriter(sink, plain.schema, **_WRITER) as writer:
        writer.write_table(plain)
        writer.add_key_value_metadata(metadata)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def to_table(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table; a column that a row lacks is null there."""
    return pa.Table.from_pylist(list(rows), schema=schema)
