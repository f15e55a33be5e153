"""What a job gives to the workbench; everything else (resume, faults, commits, clusters) is written once, here.

A job is a `Job`: its units, the fields of its fingerprint, how it is executed, and how a worker is made. A `Worker` is
made once in each actor and turns units into parts in three steps, so that reading and writing overlap with computing:

    read(unit) -> inputs            on one of the actor's threads
    compute(inputs ...) -> outputs  on the device's thread, unit after unit
    encode(unit, inputs, outputs)   on the unit's own thread again: the bytes of the unit's part in each table

A worker knows nothing of storage, retries or Ray. What it raises concerns the unit alone: the unit is tried again and
then recorded as failed. The same unit must give the same bytes, or a resumed run is not the undisturbed one.
"""

from __future__ import annotations

import math
import platform
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pipeline.batch.claims import Crew
from pipeline.batch.cluster import Pool
from pipeline.batch.layout import ANY_PART, Part
from pipeline.batch.record import Execution
from pipeline.batch.units import Unit
from pipeline.settings import JobSettings
from sptx_core.words import counted

Say = Callable[[str], None]


class Worker(ABC):
    """A job's part of an actor; see the module. Reading and encoding are called from several threads at once."""

    execution: Execution
    """How this actor really computes; set before `open` returns."""

    def open(self) -> None:  # noqa: B027  # nothing to prepare is the usual case
        """Prepare the device; called once, on the device's thread, before any unit."""

    def read(self, unit: Unit) -> Any:
        """Inputs of a unit."""
        return unit

    @abstractmethod
    def compute(self, inputs: Iterator[Any | None]) -> Iterator[Any]:
        """Outputs of one unit after another, in the order of their inputs.

        An exception that is given instead of outputs is the unit's; one that is raised is every unit's that was begun.
        None among the inputs means that no unit waits now; see `pipeline.batch.device`.
        """

    @abstractmethod
    def encode(self, unit: Unit, inputs: Any, outputs: Any) -> Mapping[str, bytes]:
        """Table -> bytes of the unit's part."""

    def is_fatal(self, error: Exception) -> bool:  # noqa: ARG002  # for those that override it
        """Whether the process can compute nothing any more after this error; it is then ended, and started anew."""
        return False


@dataclass(frozen=True)
class Assignment:
    """What every actor of a run needs to know; travels once to each.

    `patience` are the seconds for which it waits for storage that fails; `proven` says that the run has committed parts
    before, so that it waits already at its first access, as does an actor that starts long after `begun`, the Unix time
    at which units were first sent out. `crew` is the crew of the actor where two work on the same units
    (`pipeline.batch.claims`).
    """

    make_worker: Callable[[], Worker]
    root: str
    fingerprint: str
    tables: tuple[str, ...]
    max_attempts: int
    patience: float = 0.0
    proven: bool = False
    begun: float = math.inf
    crew: Crew | None = None


class Job(ABC):
    """A checked job, ready to run: `pipeline.batch.run.run_job` computes what storage lacks of it."""

    tables: ClassVar[tuple[str, ...]]
    """Folders of its parts; the part in the first one is written last and is the unit's receipt."""
    parts_named: ClassVar[re.Pattern[str]] = ANY_PART
    """What `<place>/<label>` of its parts is like; files that are named otherwise are not its parts."""
    side_names: ClassVar[tuple[str, ...]] = ()
    """Names of `side_files`."""
    called: ClassVar[str] = "unit"
    """What people call one of its units; several have an s."""
    counted: ClassVar[str] = "unit"
    """What `Unit.size` counts, one of it; several have an s."""
    format_version: ClassVar[int] = 1
    """Of its files; another one is refused."""

    settings: JobSettings
    fields: Mapping[str, Any]
    """All that defines the results and nothing of how they are computed: the fingerprint covers it."""
    units: int
    """How many units there are; their indices are 0 .. units - 1."""
    size: int
    """Total size of the units."""

    @abstractmethod
    def iter_units(self, wanted: list[int]) -> Iterator[Unit]:
        """The units of these indices, in order."""

    @abstractmethod
    def make_worker(self, execution: Execution) -> Callable[[], Worker]:
        """What makes a worker in an actor; pickles."""

    def describe(self) -> str:
        """The job in a few words, for the line at its start."""
        return counted(self.size, self.counted)

    def about(self) -> Mapping[str, Any]:
        """What `run.json` says of the tables besides fields and execution, ready for JSON."""
        return {}

    def side_files(self) -> Mapping[str, bytes]:
        """Name -> content of small files beside `run.json`."""
        return {}

    def agrees(self, name: str, content: bytes) -> bool:
        """Whether `content`, which storage holds as a side file or as run.json, can be this job's.

        The fingerprint says nothing of some files' columns; a job whose files have such must not refuse them here.
        """
        return name not in self.side_names or content == self.side_files()[name]

    def execution_of(self, part: bytes) -> Execution | None:  # noqa: ARG002  # for those that override it
        """How a part of the first table was computed, where it says so itself."""
        return None

    def manifest_columns(self, part: Part) -> Mapping[str, Any]:  # noqa: ARG002  # for those that override it
        """What the manifest says of a unit besides its files."""
        return {}

    def local_inputs(self) -> list[str]:
        """Local paths of inputs that every node of a cluster must hold alike."""
        return []

    def choose_execution(self, pool: Pool, stored: Execution | None, say: Say) -> Execution:  # noqa: ARG002
        """How to compute with the actors of `pool`; `stored` is how the run began, if it did.

        A job whose bytes depend on the hardware returns `stored` where the hardware is the same.
        """
        return stored or Execution("cpu", platform.machine(), "", "", 1, pool.threads)
