"""The command `sptx finetune`: flags become settings, the report becomes lines."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli import flags
from pipeline.cli.console import INTERRUPTED, say
from pipeline.cli.flags import flag
from pipeline.finetuning.settings import FinetuneConfig, Freeze, TrainingFlanks
from pipeline.settings import Precision

DATA, LEARNING = "What is learned from", "How it is learned"

Usage = Annotated[
    str | None,
    flag("Measured usage of sites: Parquet or TSV with contig, position, strand, kind and a column a tissue.", DATA),
]
Junctions = Annotated[
    list[str] | None,
    flag("Instead of --usage: TISSUE=FILE[,FILE...], SJ.out.tab of STAR; once for each tissue.", DATA),
]
Start = Annotated[
    str | None,
    flag("Where to start: .ckpt, safetensors file or folder, or hub id; `network` in --config makes a new one.", DATA),
]
Folder = Annotated[str | None, flag("Folder or s3://, gs://, az:// URI of the training; goes on there.", DATA)]
Validation = Annotated[list[str] | None, flag("Contigs held back to choose the best state.", DATA)]
Test = Annotated[list[str] | None, flag("Contigs held back for the figures at the end.", DATA)]
Contigs = Annotated[list[str] | None, flag("Contigs to train on [all others].", DATA)]
Flanks = Annotated[
    TrainingFlanks | None, flag("Beyond a gene's ends: N [transcript], the genome, or both by turns.", DATA)
]
Core = Annotated[int | None, flag("Predicted bases of a training window [1000].", DATA)]
Empty = Annotated[float | None, flag("Windows without a site that an epoch sees for each with one [1].", DATA)]
FreezeFlag = Annotated[
    Freeze | None, flag("Keep as they are: nothing, the encoders, or all but the heads (body).", LEARNING)
]
Epochs = Annotated[float | None, flag("Passes over the windows with sites [10].", LEARNING)]
Batch = Annotated[int | None, flag("Windows of a step, of all workers together [16].", LEARNING)]
Rate = Annotated[float | None, flag("Largest learning rate [1e-4].", LEARNING)]
SiteWeight = Annotated[float | None, flag("Weight of a base that is a site, against 1 [10].", LEARNING)]
UsageWeight = Annotated[float | None, flag("Weight of the usage loss against the site loss [1].", LEARNING)]
PrecisionFlag = Annotated[
    Precision | None, flag("float32, or bfloat16: mixed, weights stay float32 [float32].", LEARNING)
]
Checkpointing = Annotated[
    bool | None,
    flag("Compute attention layers twice, to save memory.", LEARNING, "--gradient-checkpointing"),
]
Seed = Annotated[int | None, flag("Of random weights and of the order of windows [1].", LEARNING)]
Every = Annotated[int | None, flag("Steps between validations [an epoch].", LEARNING)]
Patience = Annotated[int | None, flag("Validations without a better one before it stops early [never].", LEARNING)]
Workers = Annotated[int | None, flag("Processes that share each batch [1].", flags.EXECUTION)]
Threads = Annotated[int | None, flag("CPU threads a worker [cores / workers].", flags.EXECUTION)]
Gpus = Annotated[float | None, flag("GPU of a worker; 0 computes on CPUs.", flags.EXECUTION)]


def finetune(
    config: flags.Config = None,
    fasta: flags.Fasta = None,
    gtf: flags.Gtf = None,
    usage: Usage = None,
    junctions: Junctions = None,
    checkpoint: Start = None,
    output: Folder = None,
    validation: Validation = None,
    test: Test = None,
    contigs: Contigs = None,
    genes: flags.Genes = None,
    biotypes: flags.Biotypes = None,
    tags: flags.Tags = None,
    flanks: Flanks = None,
    core: Core = None,
    empty_windows: Empty = None,
    freeze: FreezeFlag = None,
    epochs: Epochs = None,
    batch: Batch = None,
    learning_rate: Rate = None,
    site_weight: SiteWeight = None,
    usage_weight: UsageWeight = None,
    precision: PrecisionFlag = None,
    gradient_checkpointing: Checkpointing = None,
    seed: Seed = None,
    validate_every: Every = None,
    patience: Patience = None,
    workers: Workers = None,
    threads: Threads = None,
    gpus_per_worker: Gpus = None,
    address: flags.Address = None,
) -> None:
    """Train a network on an annotation and measured usage; killed, the same command goes on.

    Learns from windows of the selected genes' transcripts. Contigs are split: those of --validation choose the best
    state, those of --test only give figures at the end. OUTPUT/model is a checkpoint like any other. docs/finetune.md
    says how usage is computed from RNA-seq, how the loss is made, and what to mind.
    """
    given = dict(locals())
    from pipeline.finetuning.finetune import run
    from pipeline.finetuning.training_job import prepare
    from pipeline.finetuning.training_report import report_text

    settings = FinetuneConfig.load(given.pop("config"), given)
    try:
        report = run(prepare(settings, say), say)
    except KeyboardInterrupt:
        say("interrupted; the same command again goes on after the last saved state")
        raise typer.Exit(INTERRUPTED) from None
    typer.echo(report_text(report))
