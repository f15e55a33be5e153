"""A toy job on the workbench: squares of numbers, some a unit. `python toy_job.py OUTPUT SECONDS_A_UNIT` runs it."""

import io
import sys
import time
from functools import partial

import polars as pl

from pipeline.batch.job import Job, Worker
from pipeline.batch.run import run_job
from pipeline.batch.units import Unit
from pipeline.settings import JobSettings

NUMBERS_A_UNIT = 10


class SquaresWorker(Worker):
    """Numbers of a unit -> a Parquet table of them with their squares."""

    def __init__(self, execution, seconds):
        self.execution, self.seconds = execution, seconds

    def compute(self, inputs):
        for unit in inputs:
            if unit is not None:
                time.sleep(self.seconds)
                table = pl.DataFrame({"number": list(unit.columns["numbers"]), "name": list(unit.columns["names"])})
                yield table.with_columns(square=pl.col("number") ** 2)

    def encode(self, unit, inputs, outputs):
        content = io.BytesIO()
        outputs.write_parquet(content)
        return {"squares": content.getvalue()}


class SquaresJob(Job):
    """Squares of 0 .. count - 1."""

    tables, counted = ("squares",), "number"

    def __init__(self, settings: JobSettings, count: int, seconds: float = 0.0) -> None:
        self.settings, self.size, self.seconds = settings, count, seconds
        self.units = -(-count // NUMBERS_A_UNIT)
        self.fields = {"count": count, "numbers_a_unit": NUMBERS_A_UNIT}

    def iter_units(self, wanted):
        for index in wanted:
            numbers = list(range(index * NUMBERS_A_UNIT, min((index + 1) * NUMBERS_A_UNIT, self.size)))
            columns = {"numbers": numbers, "names": list(map(str, numbers))}
            yield Unit(index, f"{numbers[0]}-{numbers[-1]}", len(numbers), columns=columns)

    def make_worker(self, execution):
        return partial(SquaresWorker, execution, self.seconds)


if __name__ == "__main__":
    job = SquaresJob(JobSettings(output=sys.argv[1], workers=2, threads=1), 400, float(sys.argv[2]))
    sys.exit(0 if run_job(job, print).complete else 3)
