"""What a run has done, lacks and gave up, as storage tells it; and the records of units that were given up.

A unit that is given up leaves `failures/<unit>.json` (keys shard, error, cause, attempts). The record counts no longer
when the unit is committed after all. All records go when the run is complete, or started again, which tries every
missing unit afresh.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from pipeline.batch.layout import ANY_PART, FAILURES, failure_name, held
from pipeline.batch.storage import Store
from sptx_core.errors import InputError
from sptx_core.files import reading
from sptx_core.redaction import without_secrets


class Failure(NamedTuple):
    """A unit that was given up.

    `error` is one sentence, `cause` the traceback ("" where the process died), `attempts` how often it was tried.
    """

    unit: int
    error: str
    cause: str
    attempts: int


class RunStatus(NamedTuple):
    """Units of a run: how many are `done`, the numbers of the `missing`, and the `failed`, which are in neither."""

    done: int
    missing: tuple[int, ...]
    failed: tuple[Failure, ...]


def record_failure(store: Store, failure: Failure) -> None:
    """Write the record of a unit that was given up."""
    unit, error, cause, attempts = failure
    told, traced = without_secrets(error), without_secrets(cause)
    body = {"shard": unit, "error": told, "cause": traced, "attempts": attempts}
    store.write_atomic(failure_name(unit), (json.dumps(body, indent=1) + "\n").encode())


def read_status(
    store: Store, tables: Sequence[str], fingerprint: str, units: int, named: re.Pattern[str] = ANY_PART
) -> RunStatus:
    """The state of the run at `store` now; the first of `tables` holds the receipts, `units` is how many there are.

    A unit is done if every table has its part. `named` is as in `committed`.
    """
    done = held(store, tables, fingerprint, named).done
    failures = (_read_failure(store, name) for name in store.list(FAILURES))
    failed = tuple(failure for failure in failures if failure is not None and failure.unit not in done)
    ended = done.keys() | {failure.unit for failure in failed}
    return RunStatus(len(done), tuple(unit for unit in range(units) if unit not in ended), failed)


def _read_failure(store: Store, name: str) -> Failure | None:
    with reading(store.uri(name)):
        try:
            body = json.loads(store.read_bytes(name))
        except FileNotFoundError:  # tried again, and committed since the listing
            return None
    try:
        return Failure(body["shard"], body["error"], body["cause"], body["attempts"])
    except (KeyError, TypeError) as error:
        raise InputError(f"{store.uri(name)} is not the record of a failure ({error!r}); remove it") from None
