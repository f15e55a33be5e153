"""Read a whole table back and say what is wrong with it.

`verify(store)` compares storage with the plan: every planned part is there and no other; each can be read (page
checksums included), has the table's columns and metadata, exactly the rows of its pieces, bases and probabilities
that are such, on the steps of rounding; its sites part holds exactly the likely rows; manifest and storage agree.
Bytes of page headers that Arrow does not use are checked by the manifest alone. A few parts are in memory at a time,
whatever the size of the table. Problems are sentences that begin with the name of the file at fault. Errors:
`InputError` where there is no table, or its plan cannot be read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.batch.layout import MANIFEST
from pipeline.batch.manifest import READERS
from pipeline.batch.storage import Store
from pipeline.tracks.header import Header, read_header, read_table
from pipeline.tracks.layout import LOCI, PLAN, SITES, TRACKS, ShardKey
from pipeline.tracks.schema import SPLICE_STEPS, TrackSchema, round_to_steps
from sptx_core.alphabet import BASES
from sptx_core.channels import SPLICE
from sptx_core.errors import InputError

ROWS_IN_MEMORY = 4_000_000  # of the parts that are checked at once, about 100 bytes each
SUM_SLACK = 1e-5  # float32 softmax, beside what rounding adds
EDGE_SLACK = 1e-7  # float32 steps near the sites threshold


@dataclass(frozen=True)
class VerifyReport:
    """What was read (parts, rows and bytes of tracks) and what is wrong: the table is sound without `problems`."""

    problems: tuple[str, ...]
    parts: int
    rows: int
    bytes: int


class ManifestLine(NamedTuple):
    """What `manifest.parquet` says of a shard's two parts."""

    shard: int
    chrom: str
    strand: str
    path: str
    rows: int
    bytes: int
    sha256: str
    sites_path: str
    sites_rows: int
    sites_bytes: int
    sites_sha256: str


class _Planned(NamedTuple):
    """A shard as the plan has it; `pieces` are start and end (1-based inclusive) and the transcript id or ""."""

    key: ShardKey
    tracks: str
    sites: str
    rows: int
    pieces: tuple[tuple[int, int, str], ...]


class _Finding(NamedTuple):
    problems: tuple[str, ...]
    rows: int
    bytes: int


class _DamageError(Exception):
    """A part cannot be looked into; the message says why."""


def verify(store: Store) -> VerifyReport:
    """Check every file of the table at `store`."""
    header = read_header(store)
    shards = _planned(store, header)
    listed = {**store.list(f"{TRACKS}/"), **store.list(f"{SITES}/")}
    present = [shard for shard in shards if shard.tracks in listed]
    problems = [*_listing_problems(shards, listed)]
    lines: dict[int, ManifestLine] = {}
    if store.exists(MANIFEST):
        lines, wrong = _read_manifest(store, shards)
        problems += wrong
    elif len(present) == len(shards):
        problems.append(f"{MANIFEST}: missing, though every part is there; the same `sptx run` writes it")

    def check(shard: _Planned) -> _Finding:
        return _check_shard(store, header, shard, lines.get(shard.key.index))

    largest = max((shard.rows for shard in present), default=1)
    with ThreadPoolExecutor(max(1, min(READERS, ROWS_IN_MEMORY // largest))) as pool:
        findings = list(pool.map(check, present))
    problems += (problem for finding in findings for problem in finding.problems)
    rows, size = sum(finding.rows for finding in findings), sum(finding.bytes for finding in findings)
    return VerifyReport(tuple(problems), len(present), rows, size)


def _planned(store: Store, header: Header) -> list[_Planned]:
    plan = read_table(store, PLAN)
    if (len(plan), plan["rows"].sum()) != (header.shards, header.rows):
        raise InputError(f"{store.root}: plan.parquet and run.json differ in shards or rows; neither can be trusted")
    ids = {}
    if header.schema.by_transcript:
        ids = dict(read_table(store, LOCI).select("locus", "transcript_id").iter_rows())
    shards = []
    for row in plan.iter_rows(named=True):
        key = ShardKey(row["shard"], row["chrom"], row["strand"], row["first"], row["last"])
        pieces = tuple((piece["start"], piece["end"], ids.get(piece["locus"], "")) for piece in row["pieces"])
        tracks, sites = (key.part_name(table, header.fingerprint) for table in (TRACKS, SITES))
        shards.append(_Planned(key, tracks, sites, row["rows"], pieces))
    return shards


def _listing_problems(shards: Sequence[_Planned], listed: Mapping[str, int]) -> Iterator[str]:
    for shard in shards:
        if shard.tracks not in listed:
            yield f"{shard.tracks}: not committed"
        elif shard.sites not in listed:
            yield f"{shard.sites}: missing, though its tracks part is committed"
    planned = {name for shard in shards for name in (shard.tracks, shard.sites)}
    yield from (f"{name}: not a part of this run" for name in listed if name not in planned)


def _read_manifest(store: Store, shards: Sequence[_Planned]) -> tuple[dict[int, ManifestLine], list[str]]:
    """Lines by shard, and what is wrong with the manifest as a list of this run's shards."""
    try:
        frame = read_table(store, MANIFEST.removesuffix(".parquet")).select(ManifestLine._fields)
    except (InputError, pl.exceptions.PolarsError) as error:
        return {}, [f"{MANIFEST}: cannot be read ({error})"]
    lines = {line.shard: line for line in map(ManifestLine._make, frame.iter_rows())}
    recorded = [(line.shard, line.path, line.sites_path, line.rows) for line in lines.values()]
    planned = [(shard.key.index, shard.tracks, shard.sites, shard.rows) for shard in shards]
    if len(frame) != len(lines) or recorded != planned:
        return lines, [f"{MANIFEST}: its {len(frame)} lines are not those of the {len(shards)} planned shards"]
    return lines, []


def _check_shard(store: Store, header: Header, shard: _Planned, line: ManifestLine | None) -> _Finding:
    """Both parts of a shard, read whole."""
    problems: list[str] = []
    size = 0
    frames: dict[str, pl.DataFrame] = {}
    for name, rounded in ((shard.tracks, not header.spec.exact), (shard.sites, False)):
        try:
            content = store.read_bytes(name)
            size += len(content) if name == shard.tracks else 0
            if line is not None and not _is_recorded(content, name, line):
                problems.append(f"{name}: its bytes are not those that {MANIFEST} recorded")
            frame = _read_part(content, header, shard.key, rounded=rounded)
            problems += (f"{name}: {wrong}" for wrong in _value_problems(frame, header.schema, rounded=rounded))
            frames[name] = frame
        except FileNotFoundError:
            continue  # a missing sites part is the listing's problem
        except _DamageError as damage:
            problems.append(f"{name}: {damage}")
    tracks, sites = frames.get(shard.tracks), frames.get(shard.sites)
    if tracks is not None:
        problems += (f"{shard.tracks}: {wrong}" for wrong in _row_problems(tracks, shard))
        if sites is not None:
            problems += (f"{shard.sites}: {wrong}" for wrong in _site_problems(tracks, sites, header))
    return _Finding(tuple(problems), 0 if tracks is None else len(tracks), size)


def _is_recorded(content: bytes, name: str, line: ManifestLine) -> bool:
    recorded = {line.path: (line.bytes, line.sha256), line.sites_path: (line.sites_bytes, line.sites_sha256)}
    return recorded.get(name) == (len(content), hashlib.sha256(content).hexdigest())


def _read_part(content: bytes, header: Header, key: ShardKey, *, rounded: bool) -> pl.DataFrame:
    """The rows of a part that has the table's columns and this shard's metadata."""
    try:
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        table = file.read()
    except Exception as error:  # damage can surface as any error of the decoder
        raise _DamageError(f"cannot be read ({error})") from None
    if not table.schema.equals(header.schema.arrow()):
        raise _DamageError(f"its columns are not those of the table but {', '.join(map(str, table.schema))}")
    stored = {key.decode(): value.decode() for key, value in (file.metadata.metadata or {}).items()}
    for name, value in header.schema.metadata(header.fingerprint, key.index, {}, rounded=rounded).items():
        if stored.get(name) != value:
            raise _DamageError(f"written for another run or shard: {name} is {stored.get(name)}, not {value}")
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _row_problems(tracks: pl.DataFrame, shard: _Planned) -> Iterator[str]:
    """Whether the rows are the bases of the planned pieces in their order."""
    if len(tracks) != shard.rows:
        yield f"has {len(tracks)} rows, the plan {shard.rows}"
        return
    planned = np.concatenate([np.arange(start, end + 1) for start, end, _ in shard.pieces])
    if not np.array_equal(tracks["pos"].to_numpy(), planned):
        row = int(np.flatnonzero(tracks["pos"].to_numpy() != planned)[0])
        yield f"row {row} is position {tracks['pos'][row]}, in the plan {planned[row]}"
    if "transcript_id" in tracks.columns:
        ids = pl.concat([pl.repeat(name, end - start + 1, eager=True) for start, end, name in shard.pieces])
        wrong = (tracks["transcript_id"] != ids).sum()
        if wrong:
            yield f"{wrong} rows carry another transcript than the plan"


def _value_problems(frame: pl.DataFrame, schema: TrackSchema, *, rounded: bool) -> Iterator[str]:
    """Whether bases are letters, scores probabilities on their steps, and splice probabilities sum to 1."""
    letters = (~frame["ref"].is_in(list(BASES))).sum()
    if letters:
        yield f"{letters} values of ref are none of {', '.join(BASES)}"
    for column in schema.scores:
        values = frame[column.name].to_numpy()
        numbers = np.isfinite(values)
        outside = int((numbers & ~((values >= 0) & (values <= 1))).sum())
        if not numbers.all():
            yield f"{int((~numbers).sum())} values of {column.name} are not numbers"
        if outside:
            yield f"{outside} values of {column.name} lie outside [0, 1]"
        if rounded and not np.array_equal(round_to_steps(values, column.steps), values, equal_nan=True):
            yield f"values of {column.name} are not in steps of 1/{column.steps}"
    total = sum(frame[name].to_numpy().astype(np.float64) for name in SPLICE)
    slack = SUM_SLACK + (len(SPLICE) * 0.5 / SPLICE_STEPS if rounded else 0)
    wrong = int((np.abs(total - 1) > slack).sum())
    if wrong:
        yield f"{wrong} rows whose {', '.join(SPLICE)} do not sum to 1"


def _site_problems(tracks: pl.DataFrame, sites: pl.DataFrame, header: Header) -> Iterator[str]:
    """Whether `sites` are exactly the likely rows of `tracks`, in their order and with their values unrounded."""
    keys = [name for name in ("transcript_id", "pos") if name in tracks.columns]
    peak, threshold = pl.max_horizontal("acceptor", "donor"), float(np.float32(header.spec.sites_threshold))
    # A rounded value tells on which side of the threshold the network's was unless it lies within half a step.
    doubt = 0.0 if header.spec.exact else 0.5 / SPLICE_STEPS + EDGE_SLACK
    possible = tracks.filter(peak >= threshold - doubt).with_row_index("row")
    lacking = possible.filter(peak >= threshold + doubt).join(sites, on=keys, how="anti")
    if len(lacking):
        yield f"lacks {len(lacking)} rows at or above {header.spec.sites_threshold}, the first at {lacking['pos'][0]}"
    matched = sites.join(possible, on=keys, how="left", maintain_order="left", suffix="_tracks")
    below = len(sites.filter(peak < threshold))
    foreign = matched["row"].null_count()
    if below or foreign:
        yield f"{max(below, foreign)} rows are not likely sites of the tracks part"
    matched = matched.drop_nulls("row")
    if (matched["row"].cast(pl.Int64).diff() <= 0).any():
        yield "rows are not in the order of the tracks part, or twice there"
    if (matched["ref"] != matched["ref_tracks"]).any():
        yield "ref differs from the tracks part"
    for column in header.schema.scores:
        steps = 0 if header.spec.exact else column.steps
        rounded = round_to_steps(matched[column.name].to_numpy(), steps)
        if not np.array_equal(rounded, matched[f"{column.name}_tracks"].to_numpy(), equal_nan=True):
            yield f"{column.name} differs from the tracks part"
