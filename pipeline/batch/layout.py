"""Names below the root of a run, and the listing that tells which units are done.

    run.json                    what defines the run and how it is executed (`pipeline.batch.record`)
    settings.yaml               the merged settings that it was started with
    manifest.parquet            rows, bytes and SHA-256 of every part, once the run is complete
    <table>/<place>/<part>      a unit's part of each of the job's tables
    strikes/, failures/         what is known of units that killed their process or were given up; empty in the end
    receipts/                   rows, bytes and SHA-256 of parts that are committed, until the manifest has them
    history/                    how long each start computed (`pipeline.batch.history`)

A job may put small files of its own beside these. A part is named

    <index, at least 6 digits>-<label>-<12 digits of the fingerprint>.parquet

for instance `tracks/chrom=chr9/strand=plus/000007-101-400-0123456789ab.parquet`. The name follows from the unit and the
run's fingerprint alone, so one listing of storage tells which units are done. The part in the job's first table is
written last: it is the receipt of the unit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from pipeline.batch.storage import Store

RUN_FILE = "run.json"
SETTINGS_FILE = "settings.yaml"
MANIFEST = "manifest.parquet"
STRIKES, FAILURES, RECEIPTS, HISTORY = "strikes/", "failures/", "receipts/", "history/"
NAME_DIGITS = 12  # of the fingerprint in a part's name

ANY_PART = re.compile(r".*")
_PART_NAME = re.compile(
    r"(?P<table>[^/]+)/(?:(?P<place>.+)/)?(?P<index>\d{6,})-(?P<label>[^/]+)-(?P<fingerprint>[0-9a-f]{12})\.parquet"
)


class Part(NamedTuple):
    """A committed object of a table, as a listing shows it.

    `unit` is the unit's index, `place` and `label` are the unit's too, `name` is the object's name below the root and
    `bytes` its size.
    """

    unit: int
    place: str
    label: str
    name: str
    bytes: int


def part_name(table: str, place: str, index: int, label: str, fingerprint: str) -> str:
    """Name of a unit's part of a table, below the root of the run."""
    folder = f"{table}/{place}" if place else table
    return f"{folder}/{index:06d}-{label}-{fingerprint[:NAME_DIGITS]}.parquet"


def committed(store: Store, table: str, fingerprint: str, named: re.Pattern[str] = ANY_PART) -> dict[int, Part]:
    """Unit -> its part of `table`, for every part of the run that storage holds, in the order of units; one listing.

    `named` is what `<place>/<label>` of a part is like. Files that are named otherwise are not looked at.
    """
    parts = []
    for name, size in store.list(f"{table}/").items():
        match = _PART_NAME.fullmatch(name)
        if match and match["table"] == table and match["fingerprint"] == fingerprint[:NAME_DIGITS]:
            part = Part(int(match["index"]), match["place"] or "", match["label"], name, size)
            if named.fullmatch(f"{part.place}/{part.label}"):
                parts.append(part)
    return {part.unit: part for part in sorted(parts)}


class Held(NamedTuple):
    """What storage holds of a run.

    `done` maps each unit whose parts are all there to these, in the order of the job's tables; units are in order.
    `lacking` maps a unit that has its receipt but not all of its other parts to the names of these.
    """

    done: dict[int, tuple[Part, ...]]
    lacking: dict[int, tuple[str, ...]]


def held(store: Store, tables: Sequence[str], fingerprint: str, named: re.Pattern[str] = ANY_PART) -> Held:
    """The units whose parts storage holds; one listing of each table, that of the receipts first in `tables`."""
    receipts, *others = (committed(store, table, fingerprint, named) for table in tables)
    result = Held({}, {})
    for unit, receipt in receipts.items():
        missing = tuple(
            part_name(table, receipt.place, unit, receipt.label, fingerprint)
            for table, parts in zip(tables[1:], others, strict=True)
            if unit not in parts
        )
        if missing:
            result.lacking[unit] = missing
        else:
            result.done[unit] = (receipt, *(parts[unit] for parts in others))
    return result


def failure_name(unit: int) -> str:
    """Name of the record of a unit that was given up."""
    return f"{FAILURES}{unit:06d}.json"


def strike_name(unit: int, token: str = "") -> str:
    """Name of a strike of a unit; without a token, what the names of all its strikes start with."""
    return f"{STRIKES}{unit:06d}-{token}"
