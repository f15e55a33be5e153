"""The progress line of a run, as a log shows it."""

from __future__ import annotations

import itertools

import pytest

from pipeline.batch import progress
from pipeline.batch.progress import Progress


def test_a_log_gets_a_line_now_and_then_and_one_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(step=10)  # seconds; two looks a call
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    with Progress(1_000, 400, noun="base") as shown:
        for _ in range(6):
            shown.advance(100, failures=1)
    lines = capsys.readouterr().err.splitlines()
    assert 1 < len(lines) < 7
    assert lines[-1].startswith("1,000 of 1,000 bases (100.0%), ")
    assert lines[-1].endswith("0.0 min left, 1 failure")
    assert all("bases/s" in line for line in lines)


def test_the_rate_counts_what_this_run_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 10.0, 10.0, 10.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    shown = Progress(1_000, 400, noun="base")
    shown.advance(200, failures=0)
    assert shown.rate == 20.0


def test_nothing_is_printed_where_it_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(10, 0, noun="base", shown=False) as line:
        line.advance(10, failures=0)
    assert line.done == 10
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "shown"), [(3.0, " 3.7 alleles/s,"), (32.0, " 0.34 alleles/s,"), (0.5, " 22 alleles/s,")]
)
def test_a_small_rate_is_not_nought(
    seconds: float, shown: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.chain([0.0], itertools.repeat(seconds))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with Progress(11, 0, noun="allele") as line:
        line.advance(11, failures=0)
    assert shown in capsys.readouterr().err
