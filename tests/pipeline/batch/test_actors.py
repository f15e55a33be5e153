"""Workers that die as they start, each the real thing, on one embedded Ray."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from material.toy_job import SquaresJob

from pipeline.batch import actors, cluster
from pipeline.batch.actors import execute
from pipeline.batch.cluster import Cluster, Pool, session
from pipeline.batch.run import run_job
from pipeline.settings import JobSettings
from sptx_core.errors import InputError, UnfinishedError

pytestmark = [pytest.mark.slow, pytest.mark.operations, pytest.mark.filterwarnings("ignore")]

ROWS = [{"a": number} for number in range(12)]


@pytest.fixture(scope="module")
def joined() -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # workers import the toy job
        with session(None, object_store_mb=80, use_gpus=False) as started:
            yield started


def answers(make_call: Callable[[], Any]) -> list[dict[str, Any]]:
    return list(execute(ROWS, make_call, Pool(1, 1, 0.0), embedded=True))


# Functions below stand within others, so that they travel to a worker by value.


def test_workers_that_die_as_they_start_end_the_run_with_the_cause(joined: Cluster) -> None:
    def lacks_an_instruction() -> None:
        signal.raise_signal(signal.SIGILL)

    with pytest.raises(UnfinishedError, match=r"[3-9] deaths without a result in between.*illegal instruction"):
        answers(lacks_an_instruction)


def test_workers_that_die_before_their_first_work_is_on_the_device_end_the_run(joined: Cluster) -> None:
    with pytest.raises(UnfinishedError, match="it went well, so what ends them is their first work"):
        answers(lambda: lambda row: os._exit(1))


def test_a_worker_that_cannot_be_started_again_ends_the_run(joined: Cluster, tmp_path: Path) -> None:
    """Ray gives such an actor up, and Ray Data would wait for its rows for ever."""
    before = tmp_path / "was here"

    def loses_its_device() -> Any:
        if before.exists():
            raise RuntimeError("CUDA error: no device")
        before.touch()
        return lambda row: os._exit(1)

    with pytest.raises(UnfinishedError, match="it raised RuntimeError: CUDA error: no device"):
        answers(loses_its_device)


def test_what_a_worker_raises_as_it_starts_is_one_sentence(joined: Cluster) -> None:
    def fails() -> None:
        raise RuntimeError("CUDA error: out of memory")

    def refuses() -> None:
        raise InputError("the checkpoint is gone")

    with pytest.raises(UnfinishedError, match=r"^Ray could not go on: RuntimeError: CUDA error: out of memory\. What"):
        answers(fails)
    with pytest.raises(InputError, match=r"^the checkpoint is gone$"):
        answers(refuses)


def test_a_worker_that_fails_long_after_the_first_ends_the_run_only_if_no_start_comes_to_anything(
    joined: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a node that joins late, whose failure says nothing of the others."""
    monkeypatch.setattr(actors, "FIRST_STARTS_SECONDS", -1.0)

    def fails() -> None:
        raise RuntimeError("CUDA error: out of memory")

    with pytest.raises(UnfinishedError, match=r"[3-9] deaths without a result .* it raised RuntimeError: CUDA error"):
        answers(fails)


def test_a_unit_that_kills_its_worker_is_given_up_and_the_rest_goes_on(
    joined: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no other unit is left that would give an answer in between."""

    class Job(SquaresJob):
        def make_worker(self, execution: Any) -> Any:
            make = super().make_worker(execution)

            def worker() -> Any:
                made = make()
                compute = made.compute

                def kill(inputs: Iterator[Any]) -> Iterator[Any]:
                    for unit in inputs:
                        if unit is not None and unit.index in (0, 2):
                            os._exit(1)
                        yield from compute(iter([unit]))

                made.compute = kill
                return made

            return worker

    monkeypatch.setattr(cluster, "session", lambda *_, **__: nullcontext(joined))
    outcome = run_job(Job(JobSettings(output=str(tmp_path / "output"), workers=1, threads=1), 30), print)
    assert (outcome.done, sorted(outcome.failed), outcome.missing) == (1, [0, 2], 0)
    assert "died 3 times" in outcome.failed[0]
