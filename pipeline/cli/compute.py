"""Commands that compute: `run` and `plan` tables, measure `usage`, write an `example`, `simulate` genomes.

Modules that load PyTorch or Ray are imported when a command runs, so that help and errors come at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.console import print_json, say, speaker
from pipeline.cli.flags import AsJson, Quiet, with_flags
from pipeline.cli.outcome import require_complete, uninterrupted
from pipeline.cli.printing import print_table
from pipeline.tracks.settings import RunConfig
from sptx_core.errors import InputError
from sptx_core.words import counted

ESTIMATE = "Estimate"  # a panel of the help


@with_flags(RunConfig)
def run(settings: RunConfig, quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Compute the tracks of every base of the selected transcripts.

    A run that was killed or interrupted continues with the same command, which computes only what is missing. The exit
    code is 3 if shards failed; `sptx status` names them.
    """
    from pipeline.tracks.run import run as run_tracks

    tell = speaker(quiet)
    outcome = uninterrupted(lambda: run_tracks(settings, tell, progress=not quiet))
    if as_json:
        print_json({"output": settings.output, **outcome.to_dict()})
    require_complete(outcome, settings.output)
    tell(
        f"done: {counted(outcome.size, 'base')} in {counted(outcome.units, 'part')} "
        f"({outcome.computed:,} computed now), {outcome.bytes:,} bytes, "
        f"{outcome.bytes / outcome.size:.2f} bytes per base, at {settings.output}"
    )
    tell(f"what it holds, on one page: sptx report {settings.output} --to report.html")


@with_flags(RunConfig)
def plan(
    settings: RunConfig,
    rate: Annotated[
        Path | None,
        typer.Option(
            help="Report of `sptx bench --save`, to estimate how long the run takes.",
            rich_help_panel=ESTIMATE,
            show_default=False,
        ),
    ] = None,
    devices: Annotated[
        list[str] | None,
        typer.Option(
            help="Numbers of such devices to estimate the time for, separated by commas: 8,64.",
            rich_help_panel=ESTIMATE,
            show_default=False,
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Say how much `run` would compute with the same flags: bases, windows, shards, size, and with --rate the time.

    Writes nothing, and computes only one window, to count its operations.
    """
    from pipeline.tracks.estimate import duration, estimate
    from pipeline.tracks.prepare import prepare
    from sptx_core.engine.bench import BenchReport

    report = BenchReport.load(rate) if rate else None
    if devices and report is None:
        say("--devices is not used: --rate says how fast one of them is")
    job = prepare(settings, speaker(quiet))
    estimated = estimate(job)
    lasting = duration(job, report, _numbers("--devices", devices or [])) if report else None
    if as_json:
        print_json({**estimated.to_dict(), **({"duration": lasting.to_dict()} if lasting else {})})
        return
    print_table(estimated.by_contig, "Plan by contig")
    typer.echo(str(estimated))
    if lasting:
        typer.echo(str(lasting))


def usage(
    junctions: Annotated[
        list[str],
        typer.Option(
            help="SJ.out.tab files of STAR for one tissue, plain or gzip, as TISSUE=FILE[,FILE...]; once for each "
            "tissue."
        ),
    ],
    to: Annotated[Path, typer.Option(help="File to write: .parquet or .tsv.")],
    min_reads: Annotated[
        int, typer.Option(help="Fewest reads of a site and its competitors in a tissue; with fewer its usage is empty.")
    ] = 10,
) -> None:
    """Measure the usage of splice sites by tissue from STAR's junctions, for `evaluate`, `plot` and `finetune`.

    The usage of a site is the share of spliced molecules that use it. Only uniquely mapping reads count, and the files
    of a tissue are added up. Retained introns cannot be seen in junctions. Formula: docs/usage.md.
    """
    from pipeline.inputs.junctions import files_by_tissue, measure_usage
    from pipeline.inputs.usage import check_target, write_usage

    files = files_by_tissue(junctions)
    check_target(to)
    measured = measure_usage(files, min_reads, say)
    write_usage(measured, to)
    say(f"{counted(len(measured), 'splice site')} in {counted(len(files), 'tissue')} written to {to}")


def example(
    folder: Annotated[Path, typer.Argument(help="Folder to write to.")],
    generated: Annotated[
        bool,
        typer.Option(
            "--generated", help="Write a generated genome instead, with the true usage of its splice sites by tissue."
        ),
    ] = False,
) -> None:
    """Write example files (human genes and a trained network), and print commands to try on them.

    The files are GRCh38 chr9:1-500,000 with GENCODE's genes, and a network of CI-SpliceAI, which predicts splice sites
    but no usage by tissue. NOTICE.txt names their sources and licences. --generated writes a synthetic genome and a
    network that also predicts usage; they say nothing about real genes.
    """
    if generated:
        _generated_example(folder)
        return
    from pipeline.example.human import GENE, GENES, write_human_example

    made = write_human_example(folder)
    tracks, scores = folder / "tracks", folder / "scores"
    say(f"real genes: GRCh38 chr9:1-500,000, GENCODE 27, a network of CI-SpliceAI; whose they are: {made.notice}")
    inputs = f"--fasta {made.genome} --gtf {made.annotation} --checkpoint {made.checkpoint}"
    typer.echo(f"sptx run {inputs} --genes {','.join(GENES)} --tags basic --output {tracks}")
    typer.echo(f"sptx plot {tracks} {GENE} --short-introns --to {folder / 'gene.png'}")
    typer.echo(f"sptx evaluate {tracks} --gtf {made.annotation} --to {folder / 'evaluation'}")
    typer.echo(f"sptx variants --vcf {made.variants} {inputs} --output {scores} --sites")


def _generated_example(folder: Path) -> None:
    """`sptx example --generated`."""
    from pipeline.simulation.example import GENE, write_example

    genome, annotation, usage, checkpoint = write_example(folder)
    tracks = folder / "tracks"
    say("synthetic: genome and network say nothing about real genes")
    typer.echo(f"sptx run --fasta {genome} --gtf {annotation} --checkpoint {checkpoint} --output {tracks}")
    typer.echo(f"sptx evaluate {tracks} --gtf {annotation} --usage {usage} --to {folder / 'evaluation'}")
    typer.echo(f"sptx plot {tracks} {GENE} --usage {usage} --to {folder / 'gene.png'}")


def simulate(
    folder: Annotated[Path, typer.Argument(help="New or empty folder to write to.")],
    seed: Annotated[int, typer.Option(help="The same seed and sizes give the same bytes.")] = 1,
    contigs: Annotated[
        int | None, typer.Option(help="Contigs (default: 4); each is the same however many there are.")
    ] = None,
    bases: Annotated[int | None, typer.Option(help="Bases of each contig (default: 250,000, about 50 genes).")] = None,
    clusters: Annotated[
        bool,
        typer.Option(
            "--clusters",
            help="Give cassette exons clusters of regulators whose effects cancel in the mean (docs/simulate.md).",
        ),
    ] = False,
    annotation_only: Annotated[
        bool, typer.Option("--annotation-only", help="Only a GTF as large as GENCODE's, to measure `plan` with.")
    ] = False,
    genes: Annotated[int | None, typer.Option(help="Genes of --annotation-only (default: 63,000).")] = None,
    transcripts: Annotated[
        int | None, typer.Option(help="Transcripts of --annotation-only (default: 250,000).")
    ] = None,
    exons: Annotated[int | None, typer.Option(help="Exons of --annotation-only (default: 1,600,000).")] = None,
) -> None:
    """Write a synthetic genome with a known answer: genome.fa.gz, annotation.gtf.gz and usage.parquet.

    Splice sites follow made-up matrices, among decoys, and usage by tissue follows a made-up formula of enhancer and
    silencer motifs (docs/simulate.md). It is for training and tests; it says nothing about real genomes.
    """
    from pipeline.simulation.simulate import simulate as write_genome
    from pipeline.simulation.simulate import simulate_annotation

    of_genome = {"contigs": contigs, "bases": bases, "clusters": clusters or None}
    of_annotation = {"genes": genes, "transcripts": transcripts, "exons": exons}
    meant, other = (of_annotation, of_genome) if annotation_only else (of_genome, of_annotation)
    for name, value in other.items():
        if value is not None:
            raise InputError(f"--{name} is an option {'without' if annotation_only else 'of'} --annotation-only")
    sizes: dict[str, Any] = {name: value for name, value in meant.items() if value is not None}
    if annotation_only:
        say(f"synthetic annotation written to {simulate_annotation(folder, seed=seed, **sizes)}")
        return
    made = write_genome(folder, seed=seed, **sizes)
    sizes_made = ((made.genes, "gene"), (made.transcripts, "transcript"), (made.sites, "splice site"))
    say(f"synthetic: {', '.join(counted(*size) for size in sizes_made)}")
    typer.echo(f"--fasta {made.genome} --gtf {made.annotation} --usage {made.usage}")


def _numbers(flag: str, texts: list[str]) -> list[int]:
    """Integers of a flag given once or several times, separated by commas."""
    try:
        return [int(item) for text in texts for item in text.split(",")]
    except ValueError:
        raise InputError(f"{flag} {', '.join(texts)}: give whole numbers, separated by commas") from None
