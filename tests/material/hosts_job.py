"""The toy job on a cluster: `python hosts_job.py OUTPUT NUMBERS SECONDS_A_UNIT PATIENCE`.

Each host that computes a unit leaves a file of its name beside the output. PATIENCE is how many seconds the head may be
silent.
"""

import socket
import sys
from functools import partial
from pathlib import Path

from material.toy_job import SquaresJob, SquaresWorker

from pipeline.batch import head_watch
from pipeline.batch.run import run_job
from pipeline.cli.console import say
from pipeline.settings import JobSettings
from sptx_core.errors import UnfinishedError


class HostsWorker(SquaresWorker):
    """Tells where it computes."""

    def __init__(self, execution, seconds, told):
        super().__init__(execution, seconds)
        self.told = told

    def encode(self, unit, inputs, outputs):
        (Path(self.told) / f"{unit.index}-{socket.gethostname()}").touch()
        return super().encode(unit, inputs, outputs)


class HostsJob(SquaresJob):
    """The same squares, which tell where they were computed."""

    def make_worker(self, execution):
        return partial(HostsWorker, execution, self.seconds, f"{self.settings.output}-hosts")


if __name__ == "__main__":
    output, numbers, seconds, patience = sys.argv[1:]
    head_watch.PATIENCE = float(patience)
    Path(f"{output}-hosts").mkdir(exist_ok=True)
    settings = JobSettings(output=output, threads=1, address="auto", shared_output=True)
    try:
        outcome = run_job(HostsJob(settings, int(numbers), float(seconds)), say)
    except UnfinishedError as error:
        say(f"sptx: {error}")
        sys.exit(3)
    sys.exit(0 if outcome.complete else 3)
