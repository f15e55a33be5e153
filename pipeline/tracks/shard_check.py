"""What is wrong with the parts of a shard, held against plan and manifest.

`part_problems(content, ...)` looks at the bytes of one part: those that the manifest recorded; readable (page checksums
included); the table's columns, this run's and shard's metadata; exactly the rows of its pieces; bases and probabilities
that are such, on the steps of rounding. `ShardChecker` reads both parts of a shard, in an actor or a thread, and also
holds them against each other: the sites part holds exactly the likely rows of the tracks part. Problems are sentences;
those of a shard begin with the name of the file at fault.

Bytes of page headers that Arrow does not use are checked by the manifest alone. An error of storage is told as such,
never as damage.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.batch.layout import MANIFEST
from pipeline.batch.measures import Measure, Measures
from pipeline.batch.published import is_listed
from pipeline.batch.readback import UNREAD
from pipeline.batch.storage import StorageError, Store
from pipeline.tracks.header import NOTHING, Header, read_table
from pipeline.tracks.layout import LOCI, SITES, TABLES, TRACKS, ShardKey
from pipeline.tracks.schema import SPLICE_STEPS, TrackSchema, round_to_steps
from sptx_core.alphabet import BASES
from sptx_core.channels import SPLICE
from sptx_core.files import reason
from sptx_core.words import counted

ROWS_IN_MEMORY = 4_000_000  # of the parts that a process checks at once, about 100 bytes each
SUM_SLACK = 1e-5  # float32 softmax, beside what rounding adds
VERIFY_AGAIN = "which says nothing of the file: verify again"  # ends a sentence that tells of no damage
EDGE_SLACK = 1e-7  # float32 steps near the sites threshold


class Planned(NamedTuple):
    """A shard as the plan has it; `pieces` are start and end (1-based inclusive) and the transcript id or ""."""

    key: ShardKey
    tracks: str
    sites: str
    rows: int
    pieces: tuple[tuple[int, int, str], ...]

    def part(self, table: str) -> str:
        """Name of its part of a table."""
        return self.tracks if table == TRACKS else self.sites


def planned_shards(
    store: Store, header: Header, plan: pl.DataFrame, recorded: Mapping[str, str] = NOTHING
) -> list[Planned]:
    """The shards of a table, given its small table `plan`; `recorded` is as in `read_table`."""
    ids = {}
    if header.schema.by_transcript:
        ids = dict(read_table(store, LOCI, recorded).select("locus", "transcript_id").iter_rows())
    shards = []
    for row in plan.iter_rows(named=True):
        key = ShardKey(row["shard"], row["chrom"], row["strand"], row["first"], row["last"])
        pieces = tuple((piece["start"], piece["end"], ids.get(piece["locus"], "")) for piece in row["pieces"])
        tracks, sites = (key.part_name(table, header.fingerprint) for table in TABLES)
        shards.append(Planned(key, tracks, sites, row["rows"], pieces))
    return shards


def at_once(largest: int, workers: int) -> int:
    """How many of `workers` threads may check shards of so many rows at once within a process's memory."""
    return max(1, min(workers, ROWS_IN_MEMORY // max(1, largest)))


class ShardChecker:
    """Checks one shard after another; called from several threads.

    Parameters
    ----------
    root
        Of the table.
    header
        Its header.
    shards
        The shards to check, by index.
    recorded
        What the manifest says of the parts of each shard, as far as it does.
    threads
        How many calls there may be at once; fewer are let in where shards are large.

    """

    def __init__(
        self, root: str, header: Header, shards: Mapping[int, Planned], recorded: Mapping[int, Measures], threads: int
    ) -> None:
        self.store, self.header, self.shards, self.recorded = Store(root), header, shards, recorded
        self._free = threading.Semaphore(at_once(max((shard.rows for shard in shards.values()), default=1), threads))

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Check the shard `index`; `sites` tells whether a listing showed its sites part.

        Returns index, problems (lines), rows and bytes of its tracks part, and whether a part could not be read.
        """
        with self._free:
            return self._check(self.shards[int(row["index"])], with_sites=bool(row["sites"]))

    def _check(self, shard: Planned, *, with_sites: bool) -> dict[str, Any]:
        problems: list[str] = []
        unread, size = False, 0
        frames: dict[str, pl.DataFrame] = {}
        measures = self.recorded.get(shard.key.index, (None, None))
        for table, recorded in zip(TABLES, measures, strict=True):
            name = shard.part(table)
            if table == SITES and not with_sites:
                continue
            try:
                content = self.store.read_bytes(name)
            except FileNotFoundError:
                if not is_listed(self.store):
                    problems.append(f"{name}: missing, though {MANIFEST} lists it")
                    continue
                unread = True
                problems.append(f"{name}: was removed while the table was verified, {VERIFY_AGAIN}")
                continue
            except (StorageError, OSError) as error:
                unread = True
                told = " ".join(str(error).split()) or type(error).__name__
                problems.append(f"{name}: could not be read ({told}), {VERIFY_AGAIN}")
                continue
            size += len(content) if table == TRACKS else 0
            found, frame = part_problems(content, self.header, shard, table, recorded)
            problems += (f"{name}: {wrong}" for wrong in found)
            if frame is not None:
                frames[table] = frame
        if len(frames) == len(TABLES):
            problems += (
                f"{shard.sites}: {wrong}" for wrong in _site_problems(frames[TRACKS], frames[SITES], self.header)
            )
        rows = len(frames[TRACKS]) if TRACKS in frames else 0
        lines = "\n".join(" ".join(problem.split()) for problem in problems)
        return {"index": shard.key.index, "problems": lines, "rows": rows, "bytes": size, UNREAD: unread}


def part_problems(
    content: bytes, header: Header, shard: Planned, table: str, recorded: Measure | None
) -> tuple[list[str], pl.DataFrame | None]:
    """What is wrong with a part, and its rows where they can be looked into."""
    problems = []
    if recorded is not None and (len(content), hashlib.sha256(content).hexdigest()) != (
        recorded.bytes,
        recorded.sha256,
    ):
        problems.append(f"its bytes are not those that {MANIFEST} recorded")
    rounded = table == TRACKS and not header.spec.exact
    try:
        frame = _read_part(content, header, shard.key, rounded=rounded)
    except _DamageError as damage:
        return [*problems, str(damage)], None
    problems += _value_problems(frame, header.schema, rounded=rounded)
    if table == TRACKS:
        problems += _row_problems(frame, shard)
    return problems, frame


class _DamageError(Exception):
    """A part cannot be looked into; the message says why."""


def _read_part(content: bytes, header: Header, key: ShardKey, *, rounded: bool) -> pl.DataFrame:
    """The rows of a part that has the table's columns and this shard's metadata."""
    try:
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        table = file.read()
        table.validate(full=True)
    except Exception as error:  # damage can surface as any error of the decoder
        raise _DamageError(f"cannot be read ({reason(error)})") from None
    if not table.schema.equals(header.schema.arrow()):
        raise _DamageError(f"its columns are not those of the table but {', '.join(map(str, table.schema))}")
    metadata = file.metadata.metadata or {}
    for name, value in header.schema.metadata(header.fingerprint, key.index, {}, rounded=rounded).items():
        stored = metadata.get(name.encode(), b"None").decode(errors="replace")
        if stored != value:
            raise _DamageError(f"written for another run or shard: {name} is {stored}, not {value}")
    frame = pl.from_arrow(table.replace_schema_metadata(None))  # Polars panics where it is no text
    assert isinstance(frame, pl.DataFrame)
    return frame


def _row_problems(tracks: pl.DataFrame, shard: Planned) -> Iterator[str]:
    """Whether the rows are the bases of the planned pieces in their order."""
    if len(tracks) != shard.rows:
        yield f"has {counted(len(tracks), 'row')}, the plan {shard.rows:,}"
        return
    planned = np.concatenate([np.arange(start, end + 1) for start, end, _ in shard.pieces])
    if not np.array_equal(tracks["pos"].to_numpy(), planned):
        row = int(np.flatnonzero(tracks["pos"].to_numpy() != planned)[0])
        yield f"row {row} is position {tracks['pos'][row]}, in the plan {planned[row]}"
    if "transcript_id" in tracks.columns:
        ids = pl.concat([pl.repeat(name, end - start + 1, eager=True) for start, end, name in shard.pieces])
        wrong = int((tracks["transcript_id"] != ids).sum())
        if wrong:
            yield f"{counted(wrong, 'row carries', 'rows carry')} another transcript than the plan"


def _value_problems(frame: pl.DataFrame, schema: TrackSchema, *, rounded: bool) -> Iterator[str]:
    """Whether bases are letters, scores probabilities on their steps, and splice probabilities sum to 1."""
    letters = int((~frame["ref"].is_in(list(BASES))).sum())
    if letters:
        yield f"{counted(letters, 'value of ref is', 'values of ref are')} none of {', '.join(BASES)}"
    for column in schema.scores:
        values = frame[column.name].to_numpy()
        numbers = np.isfinite(values)
        outside = int((numbers & ~((values >= 0) & (values <= 1))).sum())
        if not numbers.all():
            one, many = f"value of {column.name} is not a number", f"values of {column.name} are not numbers"
            yield counted(int((~numbers).sum()), one, many)
        if outside:
            yield f"{counted(outside, f'value of {column.name} lies', f'values of {column.name} lie')} outside [0, 1]"
        if rounded and not np.array_equal(round_to_steps(values, column.steps), values, equal_nan=True):
            yield f"values of {column.name} are not in steps of 1/{column.steps}"
    total = sum(frame[name].to_numpy().astype(np.float64) for name in SPLICE)
    slack = SUM_SLACK + (len(SPLICE) * 0.5 / SPLICE_STEPS if rounded else 0)
    wrong = int((np.abs(total - 1) > slack).sum())
    if wrong:
        yield f"{counted(wrong, 'row')} whose {', '.join(SPLICE)} do not sum to 1"


def _site_problems(tracks: pl.DataFrame, sites: pl.DataFrame, header: Header) -> Iterator[str]:
    """Whether `sites` are exactly the likely rows of `tracks`, in their order and with their values unrounded."""
    keys = [name for name in ("transcript_id", "pos") if name in tracks.columns]
    peak, threshold = pl.max_horizontal("acceptor", "donor"), float(np.float32(header.spec.sites_threshold))
    # A rounded value tells on which side of the threshold the network's was unless it lies within half a step.
    doubt = 0.0 if header.spec.exact else 0.5 / SPLICE_STEPS + EDGE_SLACK
    possible = tracks.filter(peak >= threshold - doubt).with_row_index("row")
    lacking = possible.filter(peak >= threshold + doubt).join(sites, on=keys, how="anti")
    if len(lacking):
        rows = counted(len(lacking), "row")
        yield f"lacks {rows} at or above {header.spec.sites_threshold}, the first at {lacking['pos'][0]}"
    matched = sites.join(possible, on=keys, how="left", maintain_order="left", suffix="_tracks")
    below = len(sites.filter(peak < threshold))
    foreign = matched["row"].null_count()
    if below or foreign:
        yield f"{counted(max(below, foreign), 'row is no likely site', 'rows are not likely sites')} of the tracks part"
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
