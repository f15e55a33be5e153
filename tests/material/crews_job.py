"""The toy job for two crews: each kind of hardware has its pace, and leaves a file beside the output for each unit."""

import os
from functools import partial
from pathlib import Path

from material.toy_job import SquaresJob, SquaresWorker

from pipeline.batch.record import Execution

GPU, CPU = "a GPU", "a CPU"
QUICK, SLOW = 0.1, 0.4  # seconds a unit


class CrewsWorker(SquaresWorker):
    """Tells which hardware has computed a unit; dies as it starts where its pace is negative."""

    def __init__(self, execution, seconds, told):
        if seconds[execution.hardware] < 0:
            os._exit(1)
        super().__init__(execution, seconds[execution.hardware])
        self.told = told

    def encode(self, unit, inputs, outputs):
        (self.told / f"{unit.index}-{self.execution.hardware}").touch()
        return super().encode(unit, inputs, outputs)


class CrewsJob(SquaresJob):
    """The same squares; `asked` are the settings by which an execution was chosen."""

    def __init__(self, settings, count, *, cpu_seconds=SLOW, gpu_seconds=QUICK):
        super().__init__(settings, count)
        self.by_hardware = {GPU: gpu_seconds, CPU: cpu_seconds}
        self.asked = []

    @property
    def told(self):
        folder = Path(f"{self.settings.output}-told")
        folder.mkdir(exist_ok=True)
        return folder

    def choose_execution(self, pool, stored, say):
        self.asked.append(self.settings)
        return Execution("cuda" if pool.gpus else "cpu", GPU if pool.gpus else CPU, "", "", 1, pool.threads)

    def make_worker(self, execution):
        return partial(CrewsWorker, execution, self.by_hardware, self.told)

    def by(self, hardware):
        """How many units it has computed."""
        return len(list(self.told.glob(f"*-{hardware}")))
