"""What a table says of itself: the header in `run.json`, and the small tables beside the parts, read back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import polars as pl

from pipeline.batch.layout import MANIFEST, RUN_FILE
from pipeline.batch.parquet import from_parquet
from pipeline.batch.record import RunRecord, read_record
from pipeline.batch.storage import StorageError, Store
from pipeline.tracks.schema import FORMAT_VERSION, TrackSchema
from pipeline.tracks.settings import TableSpec
from sptx_core.errors import InputError
from sptx_core.files import reading

NOTHING: Mapping[str, Any] = MappingProxyType({})
_REMEDY = "the same `sptx run` writes it again"


class Header(NamedTuple):
    """What `run.json` says of the table; `rows` are those of all its shards together, `fields` what defines it."""

    fingerprint: str
    schema: TrackSchema
    shards: int
    rows: int
    fields: Mapping[str, Any] = NOTHING

    @property
    def spec(self) -> TableSpec:
        """How the table is laid out."""
        return self.schema.spec


def read_header(store: Store) -> Header:
    """The table's header; `InputError` where there is no table, or one of another format version."""
    record = read_record(store, FORMAT_VERSION)
    if record is None:
        raise InputError(f"{store.uri()} holds no table: there is no {RUN_FILE}; give the --output of a run")
    return header_of(record, store.uri(RUN_FILE))


def header_of(record: RunRecord, where: str) -> Header:
    """The header in the record of a run, which lies at `where`."""
    if "job" in record.fields:  # which other jobs say, and this one never did
        raise InputError(
            f"{where} is of `sptx {record.fields['job']}`, so there are no tracks: give those of `sptx run`"
        )
    try:
        spec = TableSpec.from_record(record.fields, record.about)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where} is not the record of a table of tracks ({error!r})") from None
    return Header(record.fingerprint, TrackSchema(spec), record.units, record.size, record.fields)


def read_table(store: Store, name: str, recorded: Mapping[str, str] = NOTHING) -> pl.DataFrame:
    """One of the small tables, `name` without its ending.

    Raises
    ------
    InputError
        It cannot be read, or is not the one whose SHA-256 the manifest has (`recorded`, by the names of files).

    """
    path = f"{name}.parquet"
    try:
        with reading(store.uri(path)):
            content = store.read_bytes(path)
            frame = from_parquet(content)
    except StorageError:
        raise
    except InputError as error:
        raise InputError(f"{error}; {_REMEDY}") from error
    if recorded.get(path, digest := hashlib.sha256(content).hexdigest()) != digest:
        raise InputError(f"{store.uri(path)} was edited: its bytes are not those that {MANIFEST} recorded; {_REMEDY}")
    return frame
