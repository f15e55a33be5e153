"""What is wrong with the files beside the parts: run.json, settings.yaml and the small tables.

settings.yaml must hold settings of a run, and those of them that define the table must be those of run.json. Of the
others the checksums in the manifest decide. Older tables and unfinished ones have none: there the small tables are held
against the plan and against the digests in run.json (of the transcripts' ids and spans, and of the loci), and what
run.json says of the table against its fields, which the fingerprint covers. What no other file tells (names, types and
exons of transcripts, names of contigs in the annotation) is then not checked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import polars as pl
import pyarrow as pa
import yaml
from pydantic import ValidationError

from pipeline.batch.layout import MANIFEST, RUN_FILE, SETTINGS_FILE
from pipeline.batch.parquet import from_parquet
from pipeline.batch.record import RunRecord
from pipeline.batch.storage import StorageError, Store
from pipeline.tracks.digests import loci_digest, transcripts_digest
from pipeline.tracks.layout import CONTIGS, LOCI, TRANSCRIPTS
from pipeline.tracks.settings import RunConfig, differing_settings
from pipeline.tracks.shard_check import VERIFY_AGAIN
from sptx_core.files import reason

REMEDY = "the same `sptx run` writes it again"
_LAYOUT = ("flanks", "exact", "sites_threshold", "channels")  # said twice in run.json


def side_problems(store: Store, record: RunRecord, plan: pl.DataFrame, recorded: Mapping[str, str]) -> list[str]:
    """Sentences that begin with the name of the file at fault.

    Parameters
    ----------
    store
        The table's root.
    record
        Its record.
    plan
        Its small table of that name.
    recorded
        Name -> SHA-256 of the files that the manifest knows; empty for none.

    """
    if recorded:
        return [*_differing(store, recorded), *_settings_problems(store, record)]
    problems = [*_record_problems(record), *_settings_problems(store, record)]
    for name, check in ((CONTIGS, _contig_problems), (LOCI, _locus_problems), (TRANSCRIPTS, _transcript_problems)):
        path = f"{name}.parquet"
        try:
            frame = from_parquet(store.read_bytes(path))
            problems += (f"{path}: {wrong}; {REMEDY}" for wrong in check(frame, plan, record.fields))
        except StorageError as error:
            problems.append(f"{path}: could not be read ({error}), {VERIFY_AGAIN}")
        except FileNotFoundError:
            problems.append(f"{path}: missing; {REMEDY}")
        except (OSError, UnicodeError, pa.ArrowException, pl.exceptions.PolarsError) as error:
            problems.append(f"{path}: damaged ({reason(error)}); {REMEDY}")
    return problems


def _differing(store: Store, recorded: Mapping[str, str]) -> Iterator[str]:
    for name, digest in recorded.items():
        try:
            content = store.read_bytes(name)
        except FileNotFoundError:
            yield f"{name}: missing; {REMEDY}"
        except (StorageError, OSError) as error:
            yield f"{name}: could not be read ({error}), {VERIFY_AGAIN}"
        else:
            if hashlib.sha256(content).hexdigest() != digest:
                yield f"{name}: its bytes are not those that {MANIFEST} recorded; {REMEDY}"


def as_fingerprinted(record: RunRecord) -> RunRecord:
    """The record with the layout that its fingerprint covers, whatever it says of it elsewhere.

    So an edited run.json does not make sound parts look damaged.
    """
    covered = {name: record.fields[name] for name in _LAYOUT if name in record.fields}
    if "channels" in covered:
        covered["channels"] = covered["channels"].split(",")
    return replace(record, about={**record.about, **covered})


def _record_problems(record: RunRecord) -> Iterator[str]:
    covered = as_fingerprinted(record).about
    for name in _LAYOUT:
        if record.about.get(name) != covered.get(name):
            yield f"{RUN_FILE}: was edited: {name} is {record.about.get(name)}, in its fields {covered[name]}; {REMEDY}"


def _settings_problems(store: Store, record: RunRecord) -> Iterator[str]:
    try:
        settings = RunConfig.model_validate(yaml.safe_load(store.read_bytes(SETTINGS_FILE)))
    except FileNotFoundError:
        yield f"{SETTINGS_FILE}: missing; {REMEDY}"
    except (StorageError, OSError) as error:
        yield f"{SETTINGS_FILE}: could not be read ({error}), {VERIFY_AGAIN}"
    except (ValidationError, ValueError, RecursionError, yaml.YAMLError):
        yield f"{SETTINGS_FILE}: does not hold the settings of a run; {REMEDY}"
    else:
        for name, value in differing_settings(settings, record.fields).items():
            yield f"{SETTINGS_FILE}: {name} is {value}, in {RUN_FILE} {record.fields[name]}; {REMEDY}"


def _contig_problems(contigs: pl.DataFrame, plan: pl.DataFrame, fields: Mapping[str, Any]) -> Iterator[str]:  # noqa: ARG001  # one form for all
    ends = plan.group_by("chrom", maintain_order=True).agg(pl.col("last").max())
    if contigs["chrom"].to_list() != ends["chrom"].to_list() or contigs["annotation_name"].null_count():
        yield "its contigs are not those of the plan"
    elif (contigs["length"] < ends["last"]).any():
        yield "a contig ends before the plan does"


def _locus_problems(loci: pl.DataFrame, plan: pl.DataFrame, fields: Mapping[str, Any]) -> Iterator[str]:
    pieces = (
        plan.select("chrom", "strand", "pieces")
        .explode("pieces")
        .unnest("pieces")
        .group_by("locus")
        .agg(
            pl.col("chrom", "strand").first(),
            pl.col("start").min(),
            pl.col("end").max(),
            (pl.col("end") - pl.col("start") + 1).sum().alias("bases"),
        )
        .sort("locus")
    )
    stored = loci.select(
        "locus", "chrom", "strand", "start", "end", (pl.col("end") - pl.col("start") + 1).alias("bases")
    )
    if stored.rows() != pieces.rows():
        yield "its loci are not those of the plan"
    name = pl.col("transcript_id") if "transcript_id" in loci.columns else pl.lit("").alias("transcript_id")
    zero_based = loci.select("chrom", "strand", pl.col("start") - 1, "end", name)
    if fields.get("loci", digest := loci_digest(zero_based)) != digest:
        yield f"its loci are not those of {RUN_FILE}"


def _transcript_problems(transcripts: pl.DataFrame, plan: pl.DataFrame, fields: Mapping[str, Any]) -> Iterator[str]:
    zero_based = transcripts.select(
        "transcript_id", pl.col("chrom").alias("contig"), "strand", pl.col("start") - 1, "end"
    )
    if fields.get("transcripts", digest := transcripts_digest(zero_based)) != digest:
        yield f"its transcripts are not those of {RUN_FILE}"
    places = plan.select("chrom", "strand", "pieces").explode("pieces").unnest("pieces")
    held = transcripts.select("chrom", "strand", "locus").explode("locus").drop_nulls().unique()
    if sorted(held.rows()) != sorted(places.select(held.columns).unique().rows()):
        yield "its transcripts do not lie in the loci of the plan"
    exons = transcripts.select(pl.col("exon_starts").list.len() == pl.col("exon_ends").list.len())
    if not exons.to_series().all():
        yield "an exon lacks its start or end"
