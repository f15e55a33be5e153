"""An actor's work: one unit in, its parts committed, a receipt out. No Ray here.

`UnitWorker` is made once in an actor and called from several threads with a row each (see `Unit.to_row`). Errors never
leave a call: a unit is tried `max_attempts` times, then its error is recorded in storage and told in the receipt. A
unit that kills its process cannot report; `pipeline.batch.strikes` says how it is found out. An error after which the
process can compute nothing more ends the process on purpose, with the strike in place.

Storage that fails is no error of a unit: the worker waits for it where it is (`pipeline.batch.patience`). Where waiting
is of no use or lasted too long, the unit is not given up; its receipt says that the run must end.

Where two crews work on the same units (`pipeline.batch.claims`), a unit that the other crew has committed is not
computed, and its receipt is given again. The second crew gives nothing up: a unit that it cannot compute, or that has a
strike, is left to the first one.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, NamedTuple

from pipeline.batch.claims import SECOND
from pipeline.batch.device import Device, Request
from pipeline.batch.job import Assignment, Worker
from pipeline.batch.measures import to_text
from pipeline.batch.patience import PatientStore
from pipeline.batch.status import Failure, record_failure
from pipeline.batch.storage import StorageError
from pipeline.batch.strikes import Strikes
from pipeline.batch.units import Unit
from sptx_core.redaction import without_secrets
from sptx_core.words import counted

FIRST_ACCESS_SECONDS = 120.0  # of a run, within which storage that fails is taken for storage that never works
MAX_ERROR_CHARACTERS = 500  # of an error's sentence in a receipt


class Receipt(NamedTuple):
    """What the driver learns of a unit.

    `error` is empty when the unit was committed; `size` and `bytes` are 0 when it was not. `hardware` is what computed
    it. `no_storage` says that the error is not the unit's: nothing can be stored, so that the run must end. `measures`
    is what the manifest will say of its parts (`pipeline.batch.measures.to_text`); empty when this actor did not write
    them. `left` says that the unit is the other crew's now, by this error.
    """

    unit: int
    size: int
    bytes: int
    hardware: str
    error: str = ""
    no_storage: bool = False
    measures: str = ""
    left: bool = False


class UnitWorker:
    """Computes and commits units; see the module.

    Parameters
    ----------
    assignment
        What to work on.
    waiting
        The device's queue; a test may give one that it watches.

    """

    def __init__(self, assignment: Assignment, *, waiting: SimpleQueue[Request] | None = None) -> None:
        self.assignment = assignment
        proven = assignment.proven or time.time() - assignment.begun > FIRST_ACCESS_SECONDS
        self.store = PatientStore(assignment.root, patience=assignment.patience, proven=proven)
        self.crew = assignment.crew
        self.worker: Worker = assignment.make_worker()
        self.strikes = Strikes(self.store, second=self._second)
        self.device = Device(self._open, self.strikes, waiting=waiting)

    def _open(self) -> Any:
        self.worker.open()
        return self.worker.compute

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Work on the unit that `row` describes and return its receipt as a row."""
        unit = Unit.from_row(row)
        try:
            return self._try(unit)._asdict()
        except StorageError as error:
            no_storage = _ends_run(error)
            return self._refusal(unit, str(error) if no_storage else _sentence(error), no_storage=no_storage)._asdict()
        except Exception as error:  # what cannot be recorded is still told
            return self._refusal(unit, _sentence(error))._asdict()

    def _try(self, unit: Unit) -> Receipt:
        if other := self._answer(unit):
            return other
        strikes, max_attempts = self.strikes.count(unit.index), self.assignment.max_attempts
        if strikes and self._second:
            return self._refusal(unit, "a process died while computing it")
        if strikes >= max_attempts:
            return self._give_up(unit, f"the process died {counted(strikes, 'time')} while computing it", "", strikes)
        for attempt in range(1, max_attempts + 1):
            try:
                return self._compute(unit, alone=strikes > 0 or attempt > 1 or max_attempts == 1)
            except Exception as error:  # one unit's failure is recorded; the run goes on
                if isinstance(error, StorageError) and _ends_run(error):
                    raise
                if attempt == max_attempts:
                    return self._give_up(unit, _sentence(error), traceback.format_exc(), attempt)
        raise AssertionError("max_attempts is at least 1")

    def _compute(self, unit: Unit, *, alone: bool) -> Receipt:
        inputs = self.worker.read(unit)
        if other := self._answer(unit):  # reading may be long, and the device is dear
            return other
        strike = self.strikes.of(unit.index, alone=alone)
        try:
            outputs = self.device.submit(inputs, strike).result()
            receipt = self._commit_once(unit, self.worker.encode(unit, inputs, outputs))
        except Exception as error:
            if self.worker.is_fatal(error):
                os._exit(1)  # the strike stays, as after any death of the process
            with suppress(StorageError):  # the error before it says more
                self.strikes.end(strike)
            raise
        self.strikes.end(strike)
        return receipt

    def _answer(self, unit: Unit) -> Receipt | None:
        """The receipt of a unit that the other crew has committed."""
        answer = self.crew and self.crew.answer(unit.index)
        return Receipt(**answer) if answer else None

    def _commit_once(self, unit: Unit, parts: Mapping[str, bytes]) -> Receipt:
        """Write the parts unless the other crew has; the receipt of whoever did."""
        if self.crew is None:
            return self._commit(unit, parts)
        if answer := self.crew.claim(unit.index):
            return Receipt(**answer)
        with self.crew.committing(unit.index):
            receipt = self._commit(unit, parts)
        self.crew.committed(unit.index, receipt._asdict())
        return receipt

    def _commit(self, unit: Unit, parts: Mapping[str, bytes]) -> Receipt:
        """Write the unit's parts, the one that is its receipt in storage last.

        A unit that is there already is left as it is: an actor that outlived its driver may have been faster. One that
        has lost a part is written anew as a whole, because its parts must come from one computation.
        """
        tables = self.assignment.tables
        receipt, *others = tables
        names = {table: unit.part_name(table, self.assignment.fingerprint) for table in tables}
        measures, known = "", self.store.exists(names[receipt])
        if not known or not all(self.store.exists(names[table]) for table in others):
            if known:  # whatever happens in between, the parts of two computations never count as done
                self.store.delete(names[receipt])
            measures = to_text([parts[table] for table in tables])
            for table in (*others, receipt):
                self.store.write_atomic(names[table], parts[table])
        size = sum(map(len, parts.values()))
        return Receipt(unit.index, unit.size, size, self.worker.execution.hardware, measures=measures)

    @property
    def _second(self) -> bool:
        return self.crew is not None and self.crew.name == SECOND

    def _give_up(self, unit: Unit, error: str, cause: str, attempts: int) -> Receipt:
        if self._second:
            return self._refusal(unit, error)
        record_failure(self.store, Failure(unit.index, error, cause, attempts))
        return self._refusal(unit, error)

    def _refusal(self, unit: Unit, error: str, *, no_storage: bool = False) -> Receipt:
        left = self._second and not no_storage
        return Receipt(unit.index, 0, 0, self.worker.execution.hardware, error, no_storage, left=left)


def _ends_run(error: StorageError) -> bool:
    """Whether no other unit would fare better; else it is a matter of this unit's names."""
    return error.transient or error.total


def _sentence(error: Exception) -> str:
    text = without_secrets(f"{type(error).__name__}: {' '.join(str(error).split())}")
    return text[:MAX_ERROR_CHARACTERS]
