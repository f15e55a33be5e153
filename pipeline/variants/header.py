"""What a table of variants says of itself in `run.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pipeline.batch.layout import RUN_FILE
from pipeline.batch.record import RunRecord, read_record
from pipeline.batch.storage import Store
from pipeline.variants.schema import FORMAT_VERSION, JOB, SITES, VARIANTS, VariantSchema
from sptx_core.errors import InputError


class Header(NamedTuple):
    """What `run.json` says: `alleles` are those of all shards, `statuses` how many of them have each status."""

    fingerprint: str
    schema: VariantSchema
    shards: int
    alleles: int
    statuses: Mapping[str, int]
    tables: tuple[str, ...]
    fields: Mapping[str, Any]


def is_variants(record: RunRecord | None) -> bool:
    """Whether a record is of this job."""
    return record is not None and record.fields.get("job") == JOB


def holds_variants(store: Store) -> bool:
    """Whether an output is of this job; what is wrong with it else is for its reader to say."""
    try:
        return is_variants(read_record(store, FORMAT_VERSION))
    except InputError:
        return False


def read_header(store: Store) -> Header:
    """The header; `InputError` where there is no table of variants, or one of another format version."""
    record = read_record(store, FORMAT_VERSION)
    if record is None:
        raise InputError(f"{store.uri()} holds no variants: there is no {RUN_FILE}; give the --output of a run")
    if not is_variants(record):
        raise InputError(f"{store.uri()} holds no variants, but the results of another command")
    try:
        schema = VariantSchema(tuple(record.about["tissues"]))
        statuses = {str(name): int(count) for name, count in record.about["statuses"].items()}
        tables = (VARIANTS, SITES) if record.fields["sites"] else (VARIANTS,)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{store.uri(RUN_FILE)} is not the record of a table of variants ({error!r})") from None
    return Header(record.fingerprint, schema, record.units, record.size, statuses, tables, record.fields)
