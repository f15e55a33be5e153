"""Read a whole table of variants back and say what is wrong with it.

Every planned shard has its parts; each part is what the manifest recorded, has intact pages, the columns of the table
and its fingerprint; the alleles of all parts are as many, of each status, as the plan had. Problems are sentences that
begin with the name of the file at fault. Errors: `InputError` where there is no table.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.batch.layout import MANIFEST, RUN_FILE, Part, held
from pipeline.batch.manifest import Manifest, read_manifest
from pipeline.batch.measures import Measure, measure
from pipeline.batch.storage import StorageError, Store
from pipeline.variants.header import Header, read_header
from pipeline.variants.layout import SHARD_PARTS
from pipeline.variants.schema import VARIANTS
from sptx_core.errors import InputError
from sptx_core.files import reason
from sptx_core.words import counted

READERS = 4
_KEY = ("record", "alt_index", "joint", "haplotype", "phase_set")


@dataclass(frozen=True)
class VerifyReport:
    """What was read and what is wrong: the table is sound without `problems`."""

    problems: tuple[str, ...]
    parts: int
    rows: int
    bytes: int


class _Found(NamedTuple):
    problems: list[str]
    rows: int
    bytes: int
    statuses: Counter[str]


def verify(store: Store) -> VerifyReport:
    """Check every part of the table at `store`."""
    header = read_header(store)
    there = held(store, header.tables, header.fingerprint, SHARD_PARTS)
    problems: list[str] = []
    manifest: Manifest | None = None
    try:
        manifest = read_manifest(store)
    except StorageError:
        raise
    except InputError as error:
        problems.append(f"{MANIFEST}: {error}")
    missing = [unit for unit in range(header.shards) if unit not in there.done]
    problems += [f"{name}: missing" for names in there.lacking.values() for name in names]
    if missing:
        lacking = counted(len(missing), "shard is", "shards are")
        problems.append(f"{VARIANTS}/: {lacking} not committed, the first is {missing[0]}")
    elif manifest is None and not problems:
        problems.append(f"{MANIFEST}: missing, though every part is there; the same command writes it")
    elif manifest is not None and not manifest.lists(header.tables, there.done):
        problems.append(f"{MANIFEST}: lists other parts than there are")
    if manifest is not None:
        problems += _side_problems(store, manifest)
    recorded = manifest.measures(header.tables) if manifest else {}
    jobs = [
        (table, part, recorded[unit][n] if unit in recorded else None)
        for unit, parts in there.done.items()
        for n, (table, part) in enumerate(zip(header.tables, parts, strict=True))
    ]
    with ThreadPoolExecutor(READERS) as readers:
        found = list(readers.map(lambda job: _check(store, header, *job), jobs))
    statuses: Counter[str] = sum((one.statuses for one in found), Counter())
    problems += [problem for one in found for problem in one.problems]
    whole = not missing and not any(one.problems for one in found)
    if whole and dict(statuses) != dict(header.statuses):
        problems.append(f"{RUN_FILE}: the plan had {dict(header.statuses)}, the parts hold {dict(statuses)}")
    return VerifyReport(tuple(problems), len(found), sum(one.rows for one in found), sum(one.bytes for one in found))


def _side_problems(store: Store, manifest: Manifest) -> Iterator[str]:
    """What is wrong with the files beside the parts whose checksums the manifest has: run.json."""
    for name, digest in manifest.side_files.items():
        if hashlib.sha256(store.read_bytes(name)).hexdigest() != digest:
            yield f"{name}: its bytes are not those that {MANIFEST} recorded; the same command writes it again"


def _check(store: Store, header: Header, table: str, part: Part, recorded: Measure | None) -> _Found:
    """One part."""
    try:
        content = store.read_bytes(part.name)
        if recorded is not None and measure(content) != recorded:
            return _Found([f"{part.name}: its bytes are not those that {MANIFEST} recorded"], 0, 0, Counter())
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        rows = file.read()
        rows.validate(full=True)
    except StorageError:
        raise
    except (OSError, UnicodeError, pa.ArrowException) as error:
        return _Found([f"{part.name}: cannot be read ({reason(error)})"], 0, 0, Counter())
    stored = (file.metadata.metadata or {}).get(b"sptx.fingerprint", b"").decode(errors="replace")
    problems = list(_problems(header, table, rows, stored))
    statuses = _statuses(rows) if table == VARIANTS and not problems else Counter()
    return _Found([f"{part.name}: {problem}" for problem in problems], rows.num_rows, len(content), statuses)


def _problems(header: Header, table: str, rows: pa.Table, fingerprint: str) -> Iterator[str]:
    wanted = header.schema.variants() if table == VARIANTS else header.schema.sites()
    if not rows.schema.remove_metadata().equals(wanted):
        yield "its columns are not those of the table"
        return
    if fingerprint != header.fingerprint:
        yield "it has the fingerprint of another run"
    for field in wanted:
        if field.type == pa.float32():
            values = rows.column(field.name).drop_null().to_numpy()
            if len(values) and not np.isfinite(values).all():
                yield f"{field.name} holds a value that is no number"


def _statuses(rows: pa.Table) -> Counter[str]:
    """How many alleles have each status; an allele has a row for each of its genes."""
    frame = pl.from_arrow(rows.select([*_KEY, "status"]))
    assert isinstance(frame, pl.DataFrame)
    counted = frame.unique().get_column("status").value_counts()
    return Counter(dict(counted.iter_rows()))
