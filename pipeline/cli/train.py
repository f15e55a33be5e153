"""Commands that train: `finetune`."""

from __future__ import annotations

import typer

from pipeline.cli.console import INTERRUPTED, say
from pipeline.cli.flags import with_flags
from pipeline.finetuning.settings import FinetuneConfig


@with_flags(FinetuneConfig)
def finetune(settings: FinetuneConfig) -> None:
    """Train a network on the splice sites of an annotation and on measured usage by tissue.

    Trains on the selected transcripts, except on the contigs of --validation, which choose the best state, and of
    --test, which give metrics at the end. Writes a checkpoint to OUTPUT/model. A training that was killed continues
    with the same command. Training data, loss and advice: docs/finetune.md.
    """
    from pipeline.finetuning.finetune import run
    from pipeline.finetuning.training_job import prepare
    from pipeline.finetuning.training_report import report_text

    try:
        report = run(prepare(settings, say), say)
    except KeyboardInterrupt:
        say("interrupted; the same command again goes on after the last saved state")
        raise typer.Exit(INTERRUPTED) from None
    typer.echo(report_text(report))
