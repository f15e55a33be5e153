"""What a finished table holds, as it is published: its parts with their checksums, the files beside them, its columns.

In goes the root of a table of tracks or of variants; `read_contents` looks whether it is whole, without reading parts:
every part of the manifest is listed and nothing else is, the files beside are those that the manifest recorded and
agree with the plan. Whoever reads the parts compares their SHA-256.

No path of the machine that computed the table goes out: of the settings those stay that define the table, and of the
files that they name only the names (`public_settings`).

Errors: `UnfinishedError` where shards are missing, `InputError` where there is no table or it is unsound.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import yaml

from pipeline.batch.layout import MANIFEST, RUN_FILE, SETTINGS_FILE
from pipeline.batch.manifest import Manifest
from pipeline.batch.parquet import from_parquet
from pipeline.batch.published import PublishedStore
from pipeline.batch.record import RunRecord, read_record
from pipeline.batch.status import RunStatus
from pipeline.batch.storage import Store
from pipeline.publishing.columns import Column, columns_of_tracks, columns_of_variants
from pipeline.settings import JobSettings
from pipeline.tracks import header as tracks_header
from pipeline.tracks import reader as tracks_reader
from pipeline.tracks.layout import PLAN, SITES, TRACKS
from pipeline.tracks.side_check import side_problems
from pipeline.tracks.side_tables import SIDE_TABLES
from pipeline.variants import header as variants_header
from pipeline.variants import reader as variants_reader
from pipeline.variants.schema import FORMAT_VERSION, VARIANTS
from sptx_core.errors import InputError, UnfinishedError
from sptx_core.files import reading
from sptx_core.redaction import HIDDEN
from sptx_core.words import counted

MAX_PROBLEMS_TOLD = 3
MIN_EXONS = 3  # of the gene in examples
_SIMPLE = re.compile(r"[\w.-]+")  # names of genes that stand in code and in a shell as they are


class File(NamedTuple):
    """A file of the published table."""

    name: str
    bytes: int
    sha256: str


class Table(NamedTuple):
    """A table of parts: its name, columns (those of the folders first), parts in order, and rows of all of them."""

    name: str
    columns: tuple[Column, ...]
    parts: tuple[File, ...]
    rows: int

    @property
    def depth(self) -> int:
        """Folders between the table's own and a part."""
        return self.parts[0].name.count("/") - 1


class Contents(NamedTuple):
    """A whole table; `beside` are the contents of the files beside the parts, ready to be published."""

    store: Store
    job: str
    """"tracks" or "variants"."""
    record: RunRecord
    settings: Mapping[str, Any]
    tables: tuple[Table, ...]
    beside: dict[str, bytes]
    manifest: bytes
    example: str
    """A gene to ask for; empty where there is none."""

    @property
    def fingerprint(self) -> str:
        """Of the run."""
        return self.record.fingerprint

    @property
    def parts(self) -> tuple[File, ...]:
        """The parts of all tables."""
        return tuple(part for table in self.tables for part in table.parts)

    def input_name(self, name: str) -> str:
        """The name of a file that the run was given; empty where it is not known."""
        return str(self.settings.get(name) or "")


def read_contents(store: PublishedStore) -> Contents:
    """The contents of the table at `store`; see the module."""
    record = read_record(store, FORMAT_VERSION)
    if variants_header.is_variants(record):
        header = variants_header.read_header(store)
        status, names, job = variants_reader.status_of(store, header), header.tables, VARIANTS
        columns = columns_of_variants(header.schema)
    else:
        own = tracks_header.read_header(store)
        status, names, job = tracks_reader.status_of(store, own), (TRACKS, SITES), TRACKS
        columns = columns_of_tracks(own.schema)
    assert record is not None  # the headers refuse a place without one
    manifest = _require_finished(store, status, record)
    content = store.read_bytes(MANIFEST)
    tables = tuple(_table(manifest, names, name, columns[name]) for name in names)
    _require_listed(store, tables)
    side_names = {VARIANTS: (RUN_FILE,), TRACKS: (RUN_FILE, *SIDE_TABLES)}[job]
    beside = {name: _read(store, name) for name in side_names}
    if job == TRACKS:
        plan = tracks_header.read_table(store, PLAN, manifest.side_files)
        _require_none(store, side_problems(store, record, plan, manifest.side_files))
    _require_none(store, list(_differing(beside, manifest.side_files)))
    settings = public_settings(_read(store, SETTINGS_FILE), store.uri(SETTINGS_FILE))
    beside[SETTINGS_FILE] = yaml.safe_dump(settings, sort_keys=False).encode()
    example = _gene_of(beside) if job == TRACKS else ""
    return Contents(store, job, record, settings, tables, beside, content, example)


def public_settings(content: bytes, where: str) -> dict[str, Any]:
    """Of the settings of a run those that others may read: none of how it was executed, of files their names alone."""
    with reading(where):
        values = yaml.safe_load(content)
    if not isinstance(values, dict):
        raise InputError(f"{where} does not hold the settings of a run; the same command writes it again")
    return {name: _public(value) for name, value in values.items() if name not in JobSettings.model_fields}


def _public(value: Any) -> Any:
    if isinstance(value, list):
        return [_public(one) for one in value]
    if not isinstance(value, str) or not (value.startswith("/") or "://" in value):
        return value
    return value.removesuffix(f"?{HIDDEN}").partition("?")[0].rstrip("/").rpartition("/")[2]


def _require_finished(store: PublishedStore, status: RunStatus, record: RunRecord) -> Manifest:
    again = "finish it with the same command, then publish it again"
    if status.done < record.units:
        raise UnfinishedError(
            f"{store.uri()} is unfinished: {status.done:,} of {counted(record.units, 'shard')}; {again}"
        )
    if store.manifest is None:
        raise UnfinishedError(f"{store.uri()} has every part but no {MANIFEST}; {again}")
    return store.manifest


def _table(manifest: Manifest, names: tuple[str, ...], name: str, columns: tuple[Column, ...]) -> Table:
    place, measures = names.index(name), manifest.measures(names)
    paths = manifest.frame["path" if place == 0 else f"{name}_path"]
    parts = tuple(
        File(path, measures[unit][place].bytes, measures[unit][place].sha256)
        for unit, path in zip(manifest.frame["shard"], paths, strict=True)
    )
    return Table(name, columns, parts, sum(one[place].rows for one in measures.values()))


def _require_listed(store: Store, tables: tuple[Table, ...]) -> None:
    """The parts of the manifest are what storage lists, by name and size."""
    problems = []
    for table in tables:
        listed, recorded = store.list(f"{table.name}/"), {part.name: part.bytes for part in table.parts}
        problems += [f"{name}: not a part of this run" for name in listed.keys() - recorded.keys()]
        problems += [
            f"{name}: not the size that {MANIFEST} recorded" for name in recorded if listed.get(name) != recorded[name]
        ]
    _require_none(store, sorted(problems))


def _differing(beside: Mapping[str, bytes], recorded: Mapping[str, str]) -> Iterator[str]:
    for name, content in beside.items():
        if recorded.get(name, digest := hashlib.sha256(content).hexdigest()) != digest:
            yield f"{name}: its bytes are not those that {MANIFEST} recorded"


def _require_none(store: Store, problems: list[str]) -> None:
    if problems:
        more = f" and {len(problems) - MAX_PROBLEMS_TOLD:,} more" if len(problems) > MAX_PROBLEMS_TOLD else ""
        raise InputError(
            f"{store.uri()} is unsound and is not published: {'; '.join(problems[:MAX_PROBLEMS_TOLD])}{more}; `sptx "
            "verify` says what to do"
        )


def _read(store: Store, name: str) -> bytes:
    with reading(store.uri(name)):
        return store.read_bytes(name)


def _gene_of(beside: Mapping[str, bytes]) -> str:
    """A gene that the table has rows of, to ask for in examples: a short one, with introns if there is such."""
    columns = ["gene_name", "start", "end", "exon_starts", "locus"]
    rows = from_parquet(beside["transcripts.parquet"]).select(columns).iter_rows()
    named = [
        (len(exons) < MIN_EXONS, end - start, gene)
        for gene, start, end, exons, loci in rows
        if gene and loci and _SIMPLE.fullmatch(gene)
    ]
    return min(named)[2] if named else ""
