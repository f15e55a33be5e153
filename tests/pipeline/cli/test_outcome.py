"""What a command says of a run that is not complete, and with what it ends."""

from __future__ import annotations

import pytest
import typer

from pipeline.batch.run import Outcome
from pipeline.cli.outcome import require_complete


def outcome(failed: int, missing: int) -> Outcome:
    errors = {shard: f"error {shard}" for shard in reversed(range(failed))}
    return Outcome(1_100, 1_100 - failed - missing, 0, errors, missing, 5_000, 99)


def test_the_first_failures_are_told_in_order_and_all_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        require_complete(outcome(12, 2), "s3://bucket/table")
    *failures, last = capsys.readouterr().err.splitlines()
    assert failures == [f"shard {shard} failed: error {shard}" for shard in range(10)]
    assert last.startswith("incomplete: 1,086 of 1,100 shards done, 12 failed, 2 missing; ")
    assert last.endswith("`sptx status s3://bucket/table` names them")
    assert ended.value.exit_code == 3


@pytest.mark.parametrize(("failed", "missing"), [(1, 0), (0, 1)])
def test_a_single_shard_is_enough(failed: int, missing: int) -> None:
    with pytest.raises(typer.Exit):
        require_complete(outcome(failed, missing), "table")


def test_of_a_complete_run_nothing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    require_complete(outcome(0, 0), "table")
    assert capsys.readouterr().err == ""
