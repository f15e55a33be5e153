"""What a job and its worker need not say: the defaults of the contract."""

from __future__ import annotations

from pathlib import Path

import pytest
from material.toy_job import SquaresJob, SquaresWorker

from pipeline.batch.cluster import Pool
from pipeline.batch.job import Job, Worker
from pipeline.batch.layout import Part
from pipeline.batch.record import Execution
from pipeline.batch.units import Unit
from pipeline.settings import JobSettings

EXECUTION = Execution("cpu", "somewhere", "", "", 1, 4)


@pytest.fixture
def job(tmp_path: Path) -> SquaresJob:
    return SquaresJob(JobSettings(output=str(tmp_path)), 25)


def test_a_job_describes_itself_by_what_it_counts(job: SquaresJob) -> None:
    assert job.describe() == "25 numbers"
    assert job.units == 3
    assert [unit.size for unit in job.iter_units([0, 1, 2])] == [10, 10, 5]
    assert (job.about(), job.side_files(), job.local_inputs()) == ({}, {}, [])
    assert (job.side_names, job.agrees("run.json", b"any"), job.execution_of(b"a part")) == ((), True, None)
    assert job.manifest_columns(Part(0, "", "0-9", "squares/x", 5)) == {}


def test_a_run_goes_on_as_it_began(job: SquaresJob) -> None:
    chosen = job.choose_execution(Pool(2, 3, 0.0), None, print)
    assert (chosen.device, chosen.threads) == ("cpu", 3)
    assert job.choose_execution(Pool(2, 3, 0.0), EXECUTION, print) is EXECUTION


def test_a_worker_reads_its_unit_unless_it_says_otherwise() -> None:
    worker, unit = SquaresWorker(EXECUTION, 0.0), Unit(0, "x", 1)
    assert worker.open() is None
    assert worker.read(unit) is unit
    assert not worker.is_fatal(RuntimeError("CUDA error"))


@pytest.mark.parametrize("contract", [Job, Worker])
def test_what_must_be_given_is_abstract(contract: type) -> None:
    with pytest.raises(TypeError, match="abstract"):
        contract()
