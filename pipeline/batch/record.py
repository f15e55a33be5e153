"""The record of a run beside its parts: what was planned, from what, and how it is executed.

`run.json` holds the fingerprint with its fields and the execution that the first commit fixed; `settings.yaml`
the merged settings; `contigs`, `loci`, `transcripts` and `plan` (one row a shard) are small Parquet tables for
people, with 1-based inclusive positions. `run.json` is written last: where it exists, the rest does. Errors:
another fingerprint in the same place is an `InputError` that names the fields that differ.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import polars as pl

from pipeline.batch.storage import Store
from pipeline.settings import Flanks
from pipeline.tracks.parts import RUN_FILE
from pipeline.tracks.plan import Plan, fingerprint
from pipeline.tracks.schema import FORMAT_VERSION
from sptx_core.errors import InputError

SETTINGS_FILE = "settings.yaml"


@dataclass(frozen=True)
class Execution:
    """How windows are computed; fixed before the first commit, so that a resumed run gives the same bytes.

    `device` is "cpu" or "cuda", `hardware` its name, `batch` the windows of a micro-batch, `threads` those of
    the CPU an actor computes with.
    """

    device: str
    hardware: str
    engine: str
    precision: str
    batch: int
    threads: int


@dataclass(frozen=True)
class RunRecord:
    """Contents of `run.json`."""

    fields: dict[str, Any]
    execution: Execution
    flanks: str
    channels: tuple[str, ...]
    exact: bool
    sites_threshold: float
    shards: int
    rows: int

    @property
    def fingerprint(self) -> str:
        """Digest of the fields that define the table."""
        return fingerprint(self.fields)

    def to_json(self) -> bytes:
        """`run.json`, the same bytes for the same record."""
        body = {"format_version": FORMAT_VERSION, "fingerprint": self.fingerprint, **asdict(self)}
        return (json.dumps(body, indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, where: str) -> Self:
        """The record in `data`, which lies at `where`."""
        try:
            body = json.loads(data)
            version = body.pop("format_version")
            if version != FORMAT_VERSION:
                raise InputError(f"{where} has format version {version}; this program reads {FORMAT_VERSION}")
            stored = body.pop("fingerprint")
            record = cls(**{**body, "execution": Execution(**body["execution"]), "channels": tuple(body["channels"])})
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise InputError(f"{where} is not the record of a run ({error!r})") from None
        if record.fingerprint != stored:
            raise InputError(f"{where} was edited: its fingerprint does not match its fields")
        return record


def read_record(store: Store) -> RunRecord | None:
    """The record of the run at `store`, or None where there is none."""
    if not store.exists(RUN_FILE):
        return None
    return RunRecord.from_json(store.read_bytes(RUN_FILE), store.uri(RUN_FILE))


def refuse_other(store: Store, fields: dict[str, Any]) -> RunRecord | None:
    """The record at `store`, None where there is none; `InputError` when it is of a run with other `fields`."""
    present = read_record(store)
    if present is None or present.fields == fields:
        return present
    differing = sorted(name for name in {*present.fields, *fields} if present.fields.get(name) != fields.get(name))
    told = "; ".join(
        f"{name}: there {_short(present.fields.get(name))}, here {_short(fields.get(name))}" for name in differing
    )
    raise InputError(f"{store.root} holds another run ({told}); choose another --output or the same settings")


def adopt(store: Store, record: RunRecord, plan: Plan, settings_yaml: str) -> tuple[RunRecord, str | None]:
    """Write the run's record, or take up the one already there.

    Returns the record to run with and a sentence for the person when the hardware is another one than the run
    began on. Raises `InputError` when the place holds another run.
    """
    present = refuse_other(store, record.fields)
    if present is None:
        _write_tables(store, plan)
        store.put_atomic(SETTINGS_FILE, settings_yaml.encode())
        store.put_atomic(RUN_FILE, record.to_json())
        return record, None
    was, now = present.execution, record.execution
    if (was.device, was.hardware) == (now.device, now.hardware):
        return present, None
    return replace(present, execution=now), (
        f"the run began on {was.hardware} and goes on on {now.hardware}: equal within a storage step, not byte for byte"
    )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else text[:12] + "…"


def _write_tables(store: Store, plan: Plan) -> None:
    one_based = (pl.col("start") + 1).cast(pl.Int32).alias("start"), pl.col("end").cast(pl.Int32)
    transcript = ["transcript_id"] if plan.flanks is Flanks.TRANSCRIPT else []
    loci = plan.loci.select("locus", "chrom", "strand", *one_based, "transcripts", *transcript)
    pieces = plan.pieces.group_by("shard", maintain_order=True).agg(
        pl.struct(pl.col("locus"), *one_based).alias("pieces")
    )
    shards = plan.shards.join(pieces, on="shard", maintain_order="left").with_columns(
        (pl.col("first", "last") + 1).cast(pl.Int32)
    )
    tables = {"contigs": plan.contigs, "loci": loci, "transcripts": _transcript_table(plan), "plan": shards}
    for name, frame in tables.items():
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd")
        store.put_atomic(f"{name}.parquet", buffer.getvalue())


def _transcript_table(plan: Plan) -> pl.DataFrame:
    """Selected transcripts with the loci that hold them."""
    if plan.flanks is Flanks.TRANSCRIPT:
        held = plan.loci.group_by("transcript_id").agg(pl.col("locus"))
    else:
        held = _covering_loci(plan.transcripts, plan.loci)
    return plan.transcripts.join(held, on="transcript_id", how="left", maintain_order="left").select(
        "transcript_id",
        "gene_id",
        "gene_name",
        "gene_type",
        "transcript_type",
        "tags",
        pl.col("contig").alias("chrom"),
        "strand",
        (pl.col("start") + 1).cast(pl.Int32).alias("start"),
        pl.col("end").cast(pl.Int32),
        pl.col("exon_starts").list.eval(pl.element() + 1).cast(pl.List(pl.Int32)),
        pl.col("exon_ends").cast(pl.List(pl.Int32)),
        pl.col("locus").fill_null([]),
    )


def _covering_loci(transcripts: pl.DataFrame, loci: pl.DataFrame) -> pl.DataFrame:
    """transcript_id -> the loci it overlaps; loci of a contig and strand are disjoint and sorted."""
    frames = []
    for (chrom, strand), group in loci.group_by("chrom", "strand", maintain_order=True):
        own = transcripts.filter((pl.col("contig") == chrom) & (pl.col("strand") == strand))
        first = np.searchsorted(group["end"].to_numpy(), own["start"].to_numpy(), side="right")
        end = np.searchsorted(group["start"].to_numpy(), own["end"].to_numpy(), side="left")
        base = int(group["locus"].item(0))
        frames.append(
            own.select("transcript_id").with_columns(
                pl.int_ranges(pl.Series(first + base), pl.Series(end + base), eager=True)
                .cast(pl.List(pl.Int32))
                .alias("locus")
            )
        )
    return pl.concat(frames)
