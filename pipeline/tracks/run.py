"""The tracks job from Python, as the commands do it: `plan` says what a run would do, `run` does it.

In a notebook, sentences and the progress line appear below the cell.
"""

from __future__ import annotations

from pipeline.batch.job import Say
from pipeline.batch.run import Outcome, run_job
from pipeline.tracks.estimate import Estimate, estimate
from pipeline.tracks.prepare import prepare
from pipeline.tracks.settings import RunConfig
from sptx_core.errors import InputError


def plan(config: RunConfig, say: Say = print) -> Estimate:
    """Read and check the inputs, and say how much `run` would compute.

    Parameters
    ----------
    config : RunConfig
        The settings; `output` is not needed.
    say : callable
        Called with sentences for a person, such as how contigs were matched.

    Returns
    -------
    Estimate
        Loci, bases, windows, shards, FLOPs and bytes, in all and by contig; `print` it for a summary.

    Raises
    ------
    InputError
        An input cannot be read, or the inputs do not fit each other.

    """
    return estimate(prepare(config, say))


def run(config: RunConfig, say: Say = print, *, progress: bool = True) -> Outcome:
    """Compute the scores of every base of the selected transcripts, or those that are still missing.

    After a kill or an interruption the same call continues the run. It starts a Ray of its own and ends it, unless
    `address` or RAY_ADDRESS names a cluster to join. If Ray's process on this machine or the head of the cluster is
    lost, it prints a sentence and ends the Python process with exit code 3 (Ray itself would end it without a
    sentence).

    Parameters
    ----------
    config : RunConfig
        The settings; `output` is where the table goes.
    say : callable
        Called with sentences for a person, a few at the start.
    progress : bool
        Whether to show the progress line, on standard error.

    Returns
    -------
    Outcome
        What is done, and which shards failed with what error; `complete` when the table is whole.

    Raises
    ------
    InputError
        An input cannot be read, the inputs do not fit each other, `output` is not set, cannot be written or holds
        another run, or the actors do not fit the cluster.
    UnfinishedError
        Storage failed after the run had begun, and waiting for it was of no use or lasted too long. Or Ray cannot go
        on, or its workers die as they start. The same call goes on.

    """
    if config.output is None:
        raise InputError("setting `output` is required (--output): where to put the table")
    return run_job(prepare(config, say), say, progress=progress)
