"""The one description of the table's columns: names, types, units, rounding, encodings, file metadata.

Columns of a part, none nullable, in this order:

  transcript_id  string    only with flanks: transcript
  pos            int32     1-based position on the contig's plus strand
  ref            string    base of the plus strand: A C G T N
  acceptor, donor, no_splice  float32  probabilities that sum to 1 (the network's own order begins with no_splice)
  one per tissue float32   usage, 0..1, in the network's order

Chromosome and strand are the values of the folders (`chrom=chr9/strand=plus`), not columns of the files.

A track is rounded to the nearest step, each value by itself: 1e-4 for the three splice probabilities and 1e-3 for
usage, so the error is at most half a step (beside float32's own 3e-8). Equal steps are the identical float32, which
is what lets a column of 262,144 values be a dictionary of at most 10,001. With `exact`, and always in the sites
table, values are the network's float32, byte-stream-split. Row groups hold 262,144 rows in one page a column, as
neither Polars nor DuckDB reads the page index.

Format: Apache Parquet 2.6, https://parquet.apache.org/docs/file-format/.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.inputs.splice_sites import KINDS
from pipeline.tracks.settings import Flanks, TableSpec
from sptx_core.alphabet import BASES
from sptx_core.channels import SPLICE
from sptx_core.errors import InputError

FORMAT_VERSION = 1
ROW_GROUP_ROWS = 262_144
SPLICE_STEPS = 10_000  # steps of 1e-4 between 0 and 1
USAGE_STEPS = 1_000  # steps of 1e-3
UNROUNDED = 0
PAGE_BYTES = 1 << 30  # never reached: rows alone end a page
ZSTD_LEVEL = 1
EXECUTION_KEY = b"sptx.execution"  # of a part's metadata: how it was computed, as JSON
COORDINATES = "1-based inclusive positions on the plus strand"
RESERVED = ("chrom", "strand", "transcript_id", "pos", "ref")

Floats = npt.NDArray[np.float32]


class Column(NamedTuple):
    """One column of a part: `steps` between 0 and 1 that its values are rounded to, 0 for those never rounded."""

    name: str
    type: pa.DataType
    unit: str
    steps: int = UNROUNDED


@dataclass(frozen=True)
class TrackSchema:
    """Columns and encodings of a table.

    Raises
    ------
    InputError
        The three splice channels are not all there, a name is there twice, or a channel has the name of another column.

    """

    spec: TableSpec

    def __post_init__(self) -> None:
        channels = self.channels
        missing = [name for name in SPLICE if name not in channels]
        taken = [name for name in channels if name in RESERVED]
        if missing or taken or len(set(channels)) < len(channels):
            raise InputError(
                f"channels {', '.join(channels)} cannot be columns: each name once, {', '.join(SPLICE)} among them, "
                f"none of {', '.join(RESERVED)}"
            )

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the score columns in the network's order."""
        return self.spec.channels

    @property
    def by_transcript(self) -> bool:
        """Whether rows carry a transcript."""
        return self.spec.flanks is Flanks.TRANSCRIPT

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """All columns in the order in which they are stored."""
        others = (name for name in SPLICE if name not in KINDS)
        tissues = (name for name in self.channels if name not in SPLICE)
        return tuple(
            chain(
                [Column("transcript_id", pa.string(), "id")] if self.by_transcript else [],
                [Column("pos", pa.int32(), "base"), Column("ref", pa.string(), "A, C, G, T or N")],
                (Column(name, pa.float32(), "probability", SPLICE_STEPS) for name in (*KINDS, *others)),
                (Column(name, pa.float32(), "usage", USAGE_STEPS) for name in tissues),
            )
        )

    @cached_property
    def scores(self) -> tuple[Column, ...]:
        """The columns that hold a channel of the network."""
        return tuple(column for column in self.columns if column.steps)

    def arrow(self) -> pa.Schema:
        """Columns and types as every reader of a part sees them."""
        return pa.schema([pa.field(column.name, column.type, nullable=False) for column in self.columns])

    def encoded(self) -> pa.Schema:
        """`arrow` with text as dictionaries, the form in which a part is handed to the writer."""
        text = {pa.string(): pa.dictionary(pa.int32(), pa.string())}
        return pa.schema([field.with_type(text.get(field.type, field.type)) for field in self.arrow()])

    def writer_options(self, *, rounded: bool) -> dict[str, Any]:
        """Arguments of `pyarrow.parquet.ParquetWriter`; the same rows give the same bytes."""
        text = [column.name for column in self.columns if column.type == pa.string()]
        scores = [column.name for column in self.scores]
        return {
            "version": "2.6",
            "compression": "zstd",
            "compression_level": ZSTD_LEVEL,
            "use_dictionary": text + scores if rounded else text,
            "column_encoding": {"pos": "DELTA_BINARY_PACKED"}
            | ({} if rounded else dict.fromkeys(scores, "BYTE_STREAM_SPLIT")),
            "write_statistics": [name for name in ("transcript_id", "pos", "acceptor", "donor") if name in self._names],
            "write_page_checksum": True,
            "store_schema": False,  # readers other than pyarrow do not see it, and types must not depend on it
            "data_page_size": PAGE_BYTES,
            "max_rows_per_page": ROW_GROUP_ROWS,
        }

    def metadata(self, fingerprint: str, shard: int, provenance: Mapping[str, str], *, rounded: bool) -> dict[str, str]:
        """Key-value metadata of a part; `provenance` entries are stored as `sptx.<key>`."""
        splice, usage = (SPLICE_STEPS, USAGE_STEPS) if rounded else (UNROUNDED, UNROUNDED)
        return {
            "sptx.format_version": str(FORMAT_VERSION),
            "sptx.fingerprint": fingerprint,
            "sptx.coordinates": COORDINATES,
            "sptx.units": json.dumps({column.name: column.unit for column in self.columns}),
            "sptx.step_splice": _step(splice),
            "sptx.step_usage": _step(usage),
            "sptx.flanks": self.spec.flanks.value,
            "sptx.shard": str(shard),
            **{f"sptx.{key}": value for key, value in sorted(provenance.items())},
        }

    @property
    def digest(self) -> str:
        """SHA-256 over all that decides how values are stored: part of a run's fingerprint."""
        settings = [self.writer_options(rounded=not self.spec.exact), self.writer_options(rounded=False)]
        text = json.dumps([ROW_GROUP_ROWS, [[*map(str, column)] for column in self.columns], settings], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


def round_to_steps(values: Floats, steps: int) -> Floats:
    """`values` in [0, 1] to the nearest k / `steps`; the same k is always the same float32.

    The arithmetic is float64: in float32 the product itself would be rounded, and ties would tip by more than half
    a step. 0 steps leaves the values as they are.
    """
    if steps == UNROUNDED:
        return values
    return (np.rint(np.multiply(values, steps, dtype=np.float64)) / steps).astype(np.float32)


def ref_letters(codes: npt.NDArray[np.uint8]) -> pa.DictionaryArray:
    """Codes 0..4 as the letters A C G T N."""
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(list(BASES)))


def _step(steps: int) -> str:
    """The width of a step as a decimal, "0" for unrounded values."""
    return f"{1 / steps:.10f}".rstrip("0") if steps else "0"
