"""The record of a run, `run.json` below its root: what defines the run, and how it is executed.

What defines a run are its fields (digests of the inputs, settings that change results). Their digest, the fingerprint,
is in the name of every part. How a run is executed (`Execution`) is not part of it, but is fixed before the first
commit and taken up again by every later start, because the same bytes come out only of the same execution.

`run.json` holds format_version, fingerprint, fields, execution, what the job says of its tables, `shards` (the number
of units) and `rows` (their total size). It is written last, after the merged settings (`settings.yaml`) and the small
files that the job puts beside it: where `run.json` exists, the rest does.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from pipeline.batch.layout import RUN_FILE, SETTINGS_FILE
from pipeline.batch.storage import Store
from sptx_core.errors import InputError
from sptx_core.files import reading, writing
from sptx_core.words import counted

_REMEDY = "if a run's file was damaged there, delete it: the same command writes it again beside the run's parts"


@dataclass(frozen=True)
class Execution:
    """How units are computed; fixed before the first commit, so that a resumed run gives the same bytes.

    Parameters
    ----------
    device
        "cpu" or "cuda".
    hardware
        Name of the processor or GPU, as precise as rounding depends on it.
    engine
        Path of the engine that computes.
    precision
        Arithmetic, such as "float32".
    batch
        What the device computes at once (windows).
    threads
        CPU threads that an actor computes with.

    """

    device: str
    hardware: str
    engine: str
    precision: str
    batch: int
    threads: int

    def __str__(self) -> str:
        """The execution in a few words, as a run's first line has it."""
        engine = self.engine and f"{self.engine} engine"
        parts = (self.hardware, engine, self.precision, f"batch {self.batch}", counted(self.threads, "thread"))
        return ", ".join(filter(None, parts))

    def same_hardware(self, other: Execution) -> bool:
        """Whether both give the same bytes as far as hardware decides it."""
        return (self.device, self.hardware) == (other.device, other.hardware)


@dataclass(frozen=True)
class RunRecord:
    """Contents of `run.json`; `about` is what the job says of its tables, ready for JSON."""

    format_version: int
    fields: Mapping[str, Any]
    execution: Execution
    about: Mapping[str, Any]
    units: int
    size: int

    @property
    def fingerprint(self) -> str:
        """Digest of the fields, 64 hexadecimal digits."""
        return fingerprint(self.fields)

    def to_json(self) -> bytes:
        """`run.json`, the same bytes for the same record."""
        body = {
            "format_version": self.format_version,
            "fingerprint": self.fingerprint,
            "fields": self.fields,
            "execution": asdict(self.execution),
            **self.about,
            "shards": self.units,
            "rows": self.size,
        }
        return (json.dumps(body, indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes, where: str, format_version: int) -> Self:
        """The record in `content`, the bytes of the file at `where`.

        Raises
        ------
        InputError
            The file is no record of a run, is of another format version, or its fingerprint does not match its fields.

        """
        try:
            body = json.loads(content)
            version = body.pop("format_version")
            if version != format_version:  # before anything else, which another version may not have
                raise InputError(f"{where} has format version {version}; this program reads {format_version}")
            stored, fields, executed = body.pop("fingerprint"), body.pop("fields"), body.pop("execution")
            execution = Execution(**{field.name: executed[field.name] for field in dataclasses.fields(Execution)})
            record = cls(version, fields, execution, body, body.pop("shards"), body.pop("rows"))
        except (AttributeError, KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise InputError(
                f"{where} is not the record of a run ({type(error).__name__}: {error}); {_REMEDY}"
            ) from None
        if record.fingerprint != stored:
            raise InputError(f"{where} was edited: its fingerprint does not match its fields; {_REMEDY}")
        return record


def fingerprint(fields: Mapping[str, Any]) -> str:
    """SHA-256 of the fields that define a run, as 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def read_record(store: Store, format_version: int) -> RunRecord | None:
    """The record of the run at `store`, None where there is none.

    Raises
    ------
    InputError
        The record cannot be read, or is of another format version.

    """
    if not store.exists(RUN_FILE):
        return None
    where = store.uri(RUN_FILE)
    with reading(where):
        content = store.read_bytes(RUN_FILE)
    return RunRecord.from_json(content, where, format_version)


def require_same_run(store: Store, stored: RunRecord | None, fields: Mapping[str, Any]) -> None:
    """Raise `InputError`, naming what differs, where `store` holds a run with other fields."""
    if stored is None or stored.fields == fields:
        return
    differing = sorted(name for name in {*stored.fields, *fields} if stored.fields.get(name) != fields.get(name))
    told = "; ".join(
        f"{name}: there {_shortened(stored.fields.get(name))}, here {_shortened(fields.get(name))}"
        for name in differing
    )
    raise InputError(f"{store.uri()} holds another run ({told}); choose another --output or the same settings")


def create_or_resume(
    store: Store,
    record: RunRecord,
    settings_yaml: str,
    side_files: Callable[[], Mapping[str, bytes]],
) -> tuple[RunRecord, str | None]:
    """Write the record of a new run, or take up the one that storage holds at this moment.

    Parameters
    ----------
    store
        Root of the run.
    record
        What this start would record.
    settings_yaml
        The merged settings.
    side_files
        Makes the small files that the job puts beside the record: name -> content. Called for a new run alone.

    Returns
    -------
    tuple
        The record to go on with, and a sentence for the person when the hardware is another one than the run began on.

    Raises
    ------
    InputError
        Storage holds another run: a second driver may have begun it meanwhile.

    """
    stored = read_record(store, record.format_version)
    require_same_run(store, stored, record.fields)
    if stored is None:
        files = {**side_files(), SETTINGS_FILE: settings_yaml.encode(), RUN_FILE: record.to_json()}
        for name, content in files.items():
            with writing(store.uri(name)):
                store.write_atomic(name, content)
        return record, None
    was, now = stored.execution, record.execution
    if was.same_hardware(now):
        return stored, None
    return replace(stored, execution=now), (
        f"the run began on {was.hardware} and goes on on {now.hardware}: equal within a storage step, not byte for byte"
    )


def _shortened(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else text[:12] + "…"
