"""Read a whole table back and say what is wrong with it.

`verify(store)` compares storage with the plan: every planned part is there and no other; each holds what it should
(`pipeline.tracks.shard_check`); manifest and storage agree, and the manifest with its own checksum; the files beside
the parts are whole (`pipeline.tracks.side_check`). A small table is read in threads of this process, a large one by
actors on the workbench; the report is the same. It reads on after a part that cannot be read. Problems are sentences
that begin with the name of the file at fault. Errors: `InputError` where there is no table, or its plan cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

from pipeline.batch.layout import MANIFEST, RUN_FILE
from pipeline.batch.manifest import Manifest, read_manifest
from pipeline.batch.measures import Measures
from pipeline.batch.progress import Progress
from pipeline.batch.readback import READERS, UNREAD, Workbench, answers
from pipeline.batch.record import read_record
from pipeline.batch.storage import StorageError, Store
from pipeline.tracks.header import Header, header_of, read_header, read_table
from pipeline.tracks.layout import PLAN, SITES, TABLES, TRACKS
from pipeline.tracks.schema import FORMAT_VERSION
from pipeline.tracks.shard_check import VERIFY_AGAIN, Planned, ShardChecker, at_once, planned_shards
from pipeline.tracks.side_check import REMEDY, as_fingerprinted, side_problems
from sptx_core.errors import InputError
from sptx_core.words import counted

WORKBENCH_ROWS = 100_000_000  # about half a minute of one core; beyond it actors are worth their start
LINE_COLUMNS = ("shard", "path", "sites_path", "rows")


@dataclass(frozen=True)
class VerifyReport:
    """What was read (parts, rows and bytes of tracks) and what is wrong: the table is sound without `problems`.

    `unread` counts shards of which storage did not give a part; nothing is known of these.
    """

    problems: tuple[str, ...]
    parts: int
    rows: int
    bytes: int
    unread: int = 0

    @property
    def damage(self) -> tuple[str, ...]:
        """The problems that are of the files, not of the way to them."""
        return tuple(problem for problem in self.problems if not problem.endswith(VERIFY_AGAIN))


def verify(store: Store, workbench: Workbench | None = None) -> VerifyReport:
    """Check every file of the table at `store`.

    Parameters
    ----------
    store
        The table's root.
    workbench
        Where to spread the work. None: an embedded Ray, or that of RAY_ADDRESS, for a table of more than
        `WORKBENCH_ROWS` rows, else this process.

    """
    record = read_record(store, FORMAT_VERSION)
    listed = {**store.list(f"{TRACKS}/"), **store.list(f"{SITES}/")}
    if record is None:
        return _without_record(store, listed)
    header = header_of(as_fingerprinted(record), store.uri(RUN_FILE))
    manifest, wrong = _stored_manifest(store)
    files = manifest.side_files if manifest else {}
    plan = read_table(store, PLAN, files)
    if (len(plan), plan["rows"].sum()) != (header.shards, header.rows):
        raise InputError(f"{store.uri()}: plan.parquet and run.json differ in shards or rows; neither can be trusted")
    shards = planned_shards(store, header, plan, files)
    present = [shard for shard in shards if shard.tracks in listed]
    problems = [*_listing_problems(shards, listed), *wrong]
    if manifest is not None:
        problems += _line_problems(manifest, shards)
    elif not wrong and len(present) == len(shards):
        problems.append(f"{MANIFEST}: missing, though every part is there; the same `sptx run` writes it")
    problems += side_problems(store, record, plan, files)
    recorded = manifest.measures(TABLES) if manifest else {}
    found = sorted(_answers(store, header, present, listed, recorded, workbench), key=itemgetter("index"))
    problems += (line for answer in found for line in answer["problems"].splitlines())
    rows, size, unread = (sum(int(answer[column]) for answer in found) for column in ("rows", "bytes", UNREAD))
    return VerifyReport(tuple(problems), len(present), rows, size, unread)


def _without_record(store: Store, listed: Mapping[str, int]) -> VerifyReport:
    """What is said of a place without run.json."""
    parts = [name for name in listed if name.startswith(f"{TRACKS}/")]
    if not parts:
        read_header(store)  # which says that there is no table
    there = counted(len(parts), "part")
    problem = f"{RUN_FILE}: missing, though there {'is' if len(parts) == 1 else 'are'} {there}; {REMEDY}"
    return VerifyReport((problem,), 0, 0, 0)


def _listing_problems(shards: Sequence[Planned], listed: Mapping[str, int]) -> Iterator[str]:
    for shard in shards:
        if shard.tracks not in listed:
            yield f"{shard.tracks}: not committed"
        elif shard.sites not in listed:
            yield f"{shard.sites}: missing, though its tracks part is committed"
    planned = {name for shard in shards for name in (shard.tracks, shard.sites)}
    yield from (f"{name}: not a part of this run" for name in listed if name not in planned)


def _stored_manifest(store: Store) -> tuple[Manifest | None, list[str]]:
    """The manifest, None where it cannot be trusted, and why."""
    try:
        manifest = read_manifest(store)
    except StorageError as error:
        return None, [f"{MANIFEST}: could not be read ({error}), {VERIFY_AGAIN}"]
    except InputError as error:
        return None, [f"{MANIFEST}: cannot be read ({error}); {REMEDY}"]
    if manifest is not None and not {*LINE_COLUMNS} <= set(manifest.frame.columns):
        return None, [f"{MANIFEST}: cannot be read (its columns are {', '.join(manifest.frame.columns)}); {REMEDY}"]
    return manifest, []


def _line_problems(manifest: Manifest, shards: Sequence[Planned]) -> Iterator[str]:
    """What is wrong with the manifest as a list of this run's shards."""
    planned = [(shard.key.index, shard.tracks, shard.sites, shard.rows) for shard in shards]
    if manifest.frame.select(LINE_COLUMNS).rows() != planned:
        lines = counted(len(manifest.frame), "line is not that", "lines are not those")
        yield f"{MANIFEST}: its {lines} of the {counted(len(shards), 'planned shard')}"


def _answers(
    store: Store,
    header: Header,
    present: Sequence[Planned],
    listed: Mapping[str, int],
    recorded: Mapping[int, Measures],
    workbench: Workbench | None,
) -> Iterator[dict[str, Any]]:
    """What `ShardChecker` says of each shard, in any order, with a progress line where it takes long."""
    total = sum(shard.rows for shard in present)
    if workbench is None and total > WORKBENCH_ROWS:
        workbench = Workbench()
    largest = max((shard.rows for shard in present), default=1)
    by_index = {shard.key.index: shard for shard in present}
    checker = partial(ShardChecker, store.root, header, by_index, recorded, READERS)
    rows = [{"index": shard.key.index, "sites": shard.sites in listed} for shard in present]
    with Progress(total, 0, noun="row", shown=workbench is not None) as line:
        problems = 0
        for answer in answers(rows, checker, workbench, threads=at_once(largest, READERS)):
            problems += bool(answer["problems"])
            line.advance(by_index[int(answer["index"])].rows, failures=problems)
            yield answer
