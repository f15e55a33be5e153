"""Commands that score variants: `variants` those of a VCF, `saturate` every change of genes or regions.

Modules that load PyTorch or Ray are imported when a command runs, so that help and errors come at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline.cli.console import print_json, speaker
from pipeline.cli.flags import AsJson, Quiet, with_flags
from pipeline.cli.outcome import require_complete, uninterrupted
from pipeline.settings import absolute
from pipeline.variants.settings import SaturateConfig, ScoringConfig, VariantsConfig
from sptx_core.errors import InputError
from sptx_core.words import counted

ESTIMATE = "Estimate"  # a panel of the help

OnlyPlan = Annotated[
    bool,
    typer.Option(
        "--plan", help="Compute nothing; say how many alleles and windows there are.", rich_help_panel=ESTIMATE
    ),
]
Rate = Annotated[
    Path | None,
    typer.Option(
        help="With --plan: report of `sptx bench --save`, to estimate how long it takes.",
        rich_help_panel=ESTIMATE,
        show_default=False,
    ),
]


@with_flags(VariantsConfig)
def variants(
    settings: VariantsConfig,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="VCF or BCF to write at the end: the lines of the input with the scores in INFO (.vcf, .vcf.gz, "
            ".bcf).",
            show_default=False,
        ),
    ] = None,
    spliceai_field: Annotated[
        str | None,
        typer.Option(help="Name of an INFO field in SpliceAI's format to add to --to.", show_default=False),
    ] = None,
    plan: OnlyPlan = False,
    rate: Rate = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Score what each allele of a VCF does to splicing: gain and loss of sites, and change of usage by tissue.

    Predicts the reference and the alternative sequence and stores their differences, one row for each allele and gene.
    An allele that cannot be scored has a row that says why. A run that was killed or interrupted continues with the
    same command. The exit code is 3 if shards failed. Definitions: docs/variants.md.
    """
    if spliceai_field is not None and to is None:
        raise InputError("--spliceai-field is a field of the VCF that --to names: give --to as well")
    if to is not None and not plan:
        from pipeline.variants.vcf_writer import require_target

        require_target(absolute(to), settings.vcf, spliceai_field)
    _run(settings, plan=plan, rate=rate, quiet=quiet, as_json=as_json)
    if to is not None and not plan:
        _write_vcf(settings, absolute(to), spliceai_field, quiet=quiet)


@with_flags(SaturateConfig)
def saturate(
    settings: SaturateConfig, plan: OnlyPlan = False, rate: Rate = None, quiet: Quiet = False, as_json: AsJson = False
) -> None:
    """Score every single-base change of genes or regions, and optionally short deletions and insertions.

    The table has the columns of `variants`. A run that was killed or interrupted continues with the same command. The
    exit code is 3 if shards failed.
    """
    _run(settings, plan=plan, rate=rate, quiet=quiet, as_json=as_json)


def _run(settings: ScoringConfig, *, plan: bool, rate: Path | None, quiet: bool, as_json: bool) -> None:
    if rate is not None and not plan:
        raise InputError("--rate says how long --plan takes it to last: give --plan too")
    tell = speaker(quiet)
    if plan:
        _estimate(settings, rate, quiet=quiet, as_json=as_json)
        return
    from pipeline.batch.storage import Store
    from pipeline.variants.header import read_header
    from pipeline.variants.run import score_variants

    outcome = uninterrupted(lambda: score_variants(settings, tell, progress=not quiet))
    assert settings.output is not None  # it has run
    statuses = read_header(Store(settings.output)).statuses
    if as_json:
        print_json({"output": settings.output, **outcome.to_dict(), "statuses": dict(statuses)})
    require_complete(outcome, settings.output)
    if not as_json and not quiet:
        table = Table("status", "alleles", title="Alleles by status")
        table.columns[1].justify = "right"
        for status, count in statuses.items():
            table.add_row(status, f"{count:,}")
        Console(stderr=True).print(table)
    tell(
        f"done: {counted(outcome.size, 'allele')} in {counted(outcome.units, 'part')} "
        f"({outcome.computed:,} computed now), {outcome.bytes:,} bytes, at {settings.output}"
    )


def _write_vcf(settings: VariantsConfig, to: str, spliceai_field: str | None, *, quiet: bool) -> None:
    """Write the VCF of a run that is complete."""
    from pipeline.coordinates import reconcile_contigs
    from pipeline.inputs.genome import Genome
    from pipeline.variants.annotate import annotate
    from pipeline.variants.reader import open_variants

    assert settings.output is not None  # it has run
    table, tell = open_variants(settings.output), speaker(quiet)
    lengths = Genome(settings.fasta).lengths
    alike = {name: reconcile_contigs([name], lengths).mapping.get(name) for name in table.contigs}
    known = {name: lengths[held] for name, held in alike.items() if held is not None}
    written = annotate(table, settings.vcf, to, known, spliceai_field)
    if written.note:
        tell(written.note)
    tell(f"{counted(written.records, 'record')} written to {to}")


def _estimate(settings: ScoringConfig, rate: Path | None, *, quiet: bool, as_json: bool) -> None:
    """Say what a run would do."""
    from pipeline.variants.estimate import estimate
    from pipeline.variants.run import prepare
    from sptx_core.engine.bench import BenchReport

    report = BenchReport.load(rate) if rate else None
    found = estimate(prepare(settings, speaker(quiet)), report)
    if as_json:
        print_json(found.to_dict())
    else:
        typer.echo(str(found))
