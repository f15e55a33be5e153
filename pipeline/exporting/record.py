"""The record of an export, `export.json` below its root: of which table it is, and of what of it.

It is written before the other files. A file that is there under the same record is whole and stays; so an export that
was interrupted goes on where it was. Of a table that has grown since, all is written anew. Another table or other
settings in the same place are refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from pipeline.batch.storage import Store
from pipeline.coordinates import shortened
from pipeline.tracks.reader import Tracks
from sptx_core.errors import InputError
from sptx_core.files import reading
from sptx_core.words import counted

RECORD = "export.json"
WORK = ".pieces"  # folder of what is computed on the way (`pipeline.exporting.job`)
FORMAT_VERSION = 1
SHOWN_DIGITS = 12  # of the table's fingerprint, as in the names of its parts
LEAST = 0.001  # below it the mean over a pixel hides sites: IGV shows nothing at 1 Mb
_TYPES = {"format_version": int, "table": str, "options": dict, "shards": int, "planned": int, "parts": str}
_GENOME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True)
class Options:
    """What is exported of a table.

    Parameters
    ----------
    least
        Least value that is written; 0 for every base.
    genome
        UCSC's id of the genome, such as hg38, after which contigs are named; None leaves names and makes no hub.
    genes, regions
        What to take (`pipeline.exporting.rows.Choice`).

    Raises
    ------
    InputError
        A value cannot be meant.

    """

    least: float = LEAST
    genome: str | None = None
    genes: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.least <= 1:
            raise InputError(f"--least {self.least:g} is no probability: give a value from 0 to 1")
        if self.genome is not None and not _GENOME.fullmatch(self.genome):
            raise InputError(f"--genome {self.genome!r} is no id of a genome: give one such as hg38 or GCA_009914755.4")


@dataclass(frozen=True)
class Record:
    """Contents of `export.json`; `parts` is a digest of the names of all committed parts of the table."""

    format_version: int
    table: str
    options: dict[str, object]
    shards: int
    planned: int
    parts: str

    @classmethod
    def of(cls, tracks: Tracks, options: Options) -> Record:
        """The record of an export of what the table holds now."""
        names = hashlib.sha256("\n".join(part.name for part in tracks.parts).encode()).hexdigest()
        plain = json.loads(json.dumps(asdict(options)))
        return cls(FORMAT_VERSION, tracks.fingerprint, plain, len(tracks.parts), tracks.header.shards, names)

    def to_json(self) -> bytes:
        """The file, the same bytes for the same record."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode()

    @property
    def digest(self) -> str:
        """12 hexadecimal digits that tell it from others."""
        return hashlib.sha256(self.to_json()).hexdigest()[:SHOWN_DIGITS]

    def defining(self) -> dict[str, object]:
        """What makes it this export, whatever the table holds by now."""
        return {"format_version": self.format_version, "table": self.table[:SHOWN_DIGITS], **self.options}

    @property
    def unfinished(self) -> str:
        """What is missing of the table, in a few words; empty when nothing is."""
        return f"unfinished: {self.shards:,} of {counted(self.planned, 'shard')}" if self.shards < self.planned else ""


def begin(store: Store, record: Record, files: Sequence[str], say: Callable[[str], None]) -> set[str]:
    """Write the record of a new export, or take up the one that is there.

    Parameters
    ----------
    store
        Where the export goes.
    record
        What it is of.
    files
        Names of all its other files.
    say
        Called with sentences for a person.

    Returns
    -------
    set of str
        Those of the files that are there already and stay.

    Raises
    ------
    InputError
        The place holds another export, or files of these names and no record.

    """
    held = store.list()
    present = {name for name in files if name in held}
    if RECORD not in held:
        if present or any(name.startswith(f"{WORK}/") for name in held):
            raise InputError(
                f"{store.uri()} holds {shortened(sorted(present) or [WORK])} but no {RECORD}, so nothing says what "
                "they are; choose another --to or remove them"
            )
        store.write_atomic(RECORD, record.to_json())
        now = store.list()
        if begun := [name for name in files if name in now]:  # since the listing before; of what, nobody can say now
            store.delete(RECORD)
            raise InputError(
                f"another export has begun in {store.uri()} at the same time and has written {shortened(begun)}; "
                "remove what is there, and give each export another --to"
            )
        return set()
    stored = _read(store)
    if stored == record:
        return present
    there, here = stored.defining(), record.defining()
    differing = sorted(name for name in there.keys() | here.keys() if there.get(name) != here.get(name))
    if differing:
        told = "; ".join(f"{name}: there {there.get(name)}, here {here.get(name)}" for name in differing)
        raise InputError(f"{store.uri()} holds another export ({told}); choose another --to")
    had = counted(stored.shards, "shard")
    say(f"the table had {had} when {store.uri()} was written and has {record.shards:,}: all anew")
    for name in sorted(present):  # before the record says of them what is not so
        store.delete(name)
    store.write_atomic(RECORD, record.to_json())
    return set()


def require_record(store: Store, record: Record) -> None:
    """Raise `InputError` where the record is another one by now: two exports have begun there at once."""
    if _read(store) != record:
        raise InputError(f"{store.uri()} is being written by another export, too; choose another --to for one of them")


def withdraw(store: Store, record: Record) -> None:
    """Remove the record of an export that was refused before it wrote anything else, and leave the place to others."""
    if store.list().keys() == {RECORD} and _read(store) == record:
        store.delete(RECORD)
        store.delete_folder(WORK)


def _read(store: Store) -> Record:
    where = store.uri(RECORD)
    with reading(where):
        body = json.loads(store.read_bytes(RECORD))
    if not isinstance(body, dict) or {name: type(value) for name, value in body.items()} != _TYPES:
        raise InputError(f"{where} is not the record of an export; choose another --to, or remove what is there")
    return Record(**body)
