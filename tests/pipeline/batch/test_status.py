"""What a run has done, lacks and gave up."""

from __future__ import annotations

from pathlib import Path

from pipeline.batch.layout import part_name
from pipeline.batch.status import Failure, read_status, record_failure
from pipeline.batch.storage import Store

FINGERPRINT = "ab" * 32


def test_units_are_done_missing_or_failed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for unit in (0, 3):
        store.write_atomic(part_name("t", "", unit, "x", FINGERPRINT), b"")
    failure = Failure(1, "KeyError: 'chr9'", "Traceback ...", 3)
    record_failure(store, failure)
    record_failure(store, Failure(3, "failed, then committed by another actor", "", 3))
    status = read_status(store, ("t",), FINGERPRINT, 5)
    assert (status.done, status.missing, status.failed) == (2, (2, 4), (failure,))
