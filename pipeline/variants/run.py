"""The variants job from Python, as the commands do it.

In a notebook, sentences and the progress line appear below the cell.
"""

from __future__ import annotations

from pipeline.batch.job import Say
from pipeline.batch.run import Outcome, run_job
from pipeline.variants.job import VariantsJob
from pipeline.variants.prepare import prepare_saturation, prepare_variants
from pipeline.variants.settings import SaturateConfig, ScoringConfig, VariantsConfig
from sptx_core.errors import InputError


def prepare(config: ScoringConfig, say: Say = print) -> VariantsJob:
    """Read and check the inputs of either command, and plan.

    Raises
    ------
    InputError
        An input cannot be read, or the inputs do not fit each other.

    """
    if isinstance(config, SaturateConfig):
        return prepare_saturation(config, say)
    if isinstance(config, VariantsConfig):
        return prepare_variants(config, say)
    raise TypeError("give a VariantsConfig or a SaturateConfig")


def score_variants(config: ScoringConfig, say: Say = print, *, progress: bool = True) -> Outcome:
    """Score all alleles, or those that are still missing; after a kill the same call continues the run.

    Parameters
    ----------
    config : VariantsConfig or SaturateConfig
        The settings; `output` is where the table goes.
    say : callable
        Called with sentences for a person.
    progress : bool
        Whether to show the progress line, on standard error.

    Raises
    ------
    InputError, UnfinishedError
        As `pipeline.run` does.

    """
    if config.output is None:
        raise InputError("setting `output` is required (--output): where to put the scores")
    return run_job(prepare(config, say), say, progress=progress)
