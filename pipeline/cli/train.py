"""Commands that train: `finetune`."""

from __future__ import annotations

import typer

from pipeline.cli.console import INTERRUPTED, say
from pipeline.cli.flags import with_flags
from pipeline.finetuning.settings import FinetuneConfig


@with_flags(FinetuneConfig)
def finetune(settings: FinetuneConfig) -> None:
    """Train a network on an annotation and measured usage; killed, the same command goes on.

    Learns from windows of the selected genes' transcripts. Contigs are split: those of --validation choose the best
    state, those of --test only give metrics at the end. OUTPUT/model is a checkpoint like any other. docs/finetune.md
    says how usage is computed from RNA-seq, how the loss is made, and what to mind.
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
