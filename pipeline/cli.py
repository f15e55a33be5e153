"""`sptx`: the command line. Flags become settings, results become lines and exit codes; the work lies elsewhere.

Exit codes: 0 done; 2 bad input or settings (one sentence, no traceback); 3 incomplete (`run`, `status`) or unsound
(`verify`); 130 interrupted. Results go to standard output, what is said on the way to standard error.
"""

from __future__ import annotations

import inspect
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from pipeline import flags
from pipeline.console import INTERRUPTED, notes
from pipeline.console import say as _say
from pipeline.finetuning.command import finetune
from pipeline.printing import Format, print_table, write_rows
from pipeline.settings import RunConfig, absolute
from sptx_core.errors import InputError
from sptx_core.files import write_whole

BAD_INPUT, INCOMPLETE = 2, 3
SHOWN = 20  # shards that a message lists
PRINTED_WIDTH = 130  # of tables that go to a file or another program

app = typer.Typer(
    name="sptx",
    help="Splice-site and tissue-usage tracks of a genome, by SpTransformer on Ray Data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(rich_help_panel="Train")(finetune)


@app.command(rich_help_panel="Compute")
def run(
    config: flags.Config = None,
    fasta: flags.Fasta = None,
    gtf: flags.Gtf = None,
    checkpoint: flags.Checkpoint = None,
    output: flags.Output = None,
    genes: flags.Genes = None,
    transcripts: flags.Transcripts = None,
    regions: flags.Regions = None,
    contigs: flags.Contigs = None,
    biotypes: flags.Biotypes = None,
    tags: flags.Tags = None,
    flanks: flags.FlanksFlag = None,
    precision: flags.PrecisionFlag = None,
    core: flags.Core = None,
    overlap: flags.Overlap = None,
    windows_per_shard: flags.PerShard = None,
    exact: flags.Exact = None,
    sites_threshold: flags.Threshold = None,
    workers: flags.Workers = None,
    threads: flags.Threads = None,
    gpus_per_worker: flags.Gpus = None,
    batch: flags.Batch = None,
    engine: flags.Engine = None,
    address: flags.Address = None,
    shared_output: flags.Shared = None,
) -> None:
    """Compute the tracks of every base of the selected transcripts.

    Killing it loses nothing: the same command again computes just what is missing. Ends with 3 when shards
    failed; `sptx status` names them.
    """
    settings = _settings(locals())
    from pipeline.run import prepare
    from pipeline.run import run as run_job

    if settings.output is None:
        raise InputError("setting `output` is required (--output): where to put the table")
    try:
        outcome = run_job(prepare(settings, _say), _say)
    except KeyboardInterrupt:
        _say("interrupted; the same command again goes on with what is missing")
        raise typer.Exit(INTERRUPTED) from None
    for shard, error in sorted(outcome.failed.items())[:10]:
        _say(f"shard {shard} failed: {error}")
    if not outcome.complete:
        _say(
            f"incomplete: {outcome.done:,} of {outcome.shards:,} shards done, {len(outcome.failed):,} failed, "
            f"{outcome.missing:,} missing; run the same command again to try these, "
            f"`sptx status {settings.output}` names them"
        )
        raise typer.Exit(INCOMPLETE)
    _say(
        f"done: {outcome.rows:,} bases in {outcome.shards:,} parts ({outcome.computed:,} computed now), "
        f"{outcome.bytes:,} bytes, {outcome.bytes / outcome.rows:.2f} bytes per base, at {settings.output}"
    )


def plan(*, rate: Path | None = None, devices: list[str] | None = None, **given: Any) -> None:
    """Say what `run` would do, with the same flags: loci, bases, windows, shards, FLOPs, size, and with --rate hours.

    Nothing is computed but one window of N, to count its FLOPs, and nothing is written.
    """
    settings = _settings(given)
    from pipeline.estimate import duration, estimate
    from pipeline.run import prepare
    from sptx_core.engine.bench import BenchReport

    report = BenchReport.load(rate) if rate else None
    job = prepare(settings, _say)
    summary = estimate(job)
    print_table(summary.by_contig, "Plan by contig")
    typer.echo(summary.text)
    if report:
        typer.echo(duration(job, report, _numbers("--devices", devices or [])))


# `plan` takes the flags of `run`, so that a command turns into its plan by changing one word, and two of its own.
_OWN = {"rate": flags.Rate, "devices": flags.Devices}
plan.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
        *inspect.signature(run).parameters.values(),
        *(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_OWN[name])
            for name in _OWN
        ),
    ],
    return_annotation=None,
)
plan.__annotations__ = {**run.__annotations__, **_OWN}
app.command(rich_help_panel="Compute")(plan)


@app.command(rich_help_panel="Look")
def status(output: Annotated[str, typer.Argument(help="Root of the table.")]) -> None:
    """Say what is done, missing and failed; ends with 3 while anything is missing."""
    from pipeline.tracks import open_tracks

    found = open_tracks(absolute(output)).status()
    missing = len(found.missing)
    total = found.done + missing + len(found.failed)
    typer.echo(f"{found.done:,} of {total:,} shards done, {missing:,} missing, {len(found.failed):,} failed")
    if missing:
        more = ", ..." if missing > SHOWN else ""
        typer.echo(f"missing: {', '.join(map(str, found.missing[:SHOWN]))}{more}")
    for failure in found.failed:
        typer.echo(f"shard {failure.shard} failed after {failure.attempts} tries: {failure.error}")
        typer.echo("  " + failure.cause.strip().replace("\n", "\n  "))
    if found.done < total:
        raise typer.Exit(INCOMPLETE)


@app.command(rich_help_panel="Look")
def verify(output: Annotated[str, typer.Argument(help="Root of the table.")]) -> None:
    """Read every part back: schema, rows, coverage of the plan, checksums, probabilities; ends with 3 if unsound."""
    from pipeline.storage import Store
    from pipeline.verify import verify as verify_table

    report = verify_table(Store(absolute(output)))
    for problem in report.problems:
        typer.echo(problem)
    verdict = "unsound" if report.problems else "sound"
    typer.echo(f"{verdict}: {report.parts:,} parts, {report.rows:,} rows, {report.bytes:,} bytes")
    if report.problems:
        raise typer.Exit(INCOMPLETE)


@app.command(rich_help_panel="Look")
def query(
    output: Annotated[str, typer.Argument(help="Root of the table.")],
    what: flags.What,
    strand: Annotated[str | None, typer.Option(help="+ or -; both when not given.", show_default=False)] = None,
    columns: Annotated[
        str | None, typer.Option(help="Score columns, such as acceptor,donor,brain [all].", show_default=False)
    ] = None,
    sites: Annotated[bool, typer.Option("--sites", help="Read the sites table: unrounded, likely sites only.")] = False,
    form: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TABLE,
    to: Annotated[
        Path | None, typer.Option("--to", help="File to write instead of standard output.", show_default=False)
    ] = None,
) -> None:
    """Print the rows of a region, a gene or a transcript."""
    from pipeline.tracks import open_tracks

    names = [name.strip() for name in columns.split(",") if name.strip()] if columns else None
    frame = open_tracks(absolute(output)).query(what, strand=strand, columns=names, sites=sites)
    write_rows(frame, form, to)


@app.command(rich_help_panel="Look")
def plot(
    output: Annotated[str, typer.Argument(help="Root of the table.")],
    what: flags.What,
    to: Annotated[Path, typer.Option("--to", help="Picture to write; must end in .png or .svg.")],
    strand: Annotated[str | None, typer.Option(help="+ or -, of a region with both.", show_default=False)] = None,
    threshold: Annotated[float, typer.Option(help="Least max(acceptor, donor) of a called site.")] = 0.1,
    gtf: Annotated[
        str | None, typer.Option(help="Annotation to draw instead of the run's transcripts.", show_default=False)
    ] = None,
    usage: Annotated[
        str | None, typer.Option(help="Measured usage to draw below, as in `evaluate`.", show_default=False)
    ] = None,
    short_introns: Annotated[bool, typer.Option("--short-introns", help="Draw long introns short.")] = False,
) -> None:
    """Draw a gene, a transcript or a region: transcripts, scores, and usage of the called sites by tissue.

    One strand, positions from left to right as in the genome; needs matplotlib (the extra plots). docs/plot.md.
    """
    from pipeline.annotation import read_annotation
    from pipeline.figures import picture_path, write_figure
    from pipeline.gene_plot import draw_view
    from pipeline.gene_view import gene_view
    from pipeline.tracks import open_tracks
    from pipeline.usage import read_usage

    picture_path(to)
    tracks = open_tracks(absolute(output))
    annotation = read_annotation(absolute(gtf)) if gtf else None
    measured = read_usage(absolute(usage)) if usage else None
    view = gene_view(tracks, what, strand=strand, threshold=threshold, annotation=annotation, usage=measured, say=_say)
    write_figure(draw_view(view, short_introns=short_introns), to)
    _say(f"{view.chrom}:{view.first:,}-{view.last:,} ({view.strand}), {len(view.called)} called sites: drawn in {to}")


class Picture(StrEnum):
    """How `evaluate` draws."""

    PNG = "png"
    SVG = "svg"


@app.command(rich_help_panel="Look")
def evaluate(
    output: Annotated[str, typer.Argument(help="Root of the table, from any run.")],
    gtf: Annotated[str, typer.Option(help="Annotation with the true splice sites; GTF or GFF3, path or URI.")],
    usage: Annotated[
        str | None,
        typer.Option(
            help="Measured usage, Parquet or TSV: contig, position (1-based), strand, kind (acceptor, donor) and a "
            "column for each tissue, empty where unknown.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="Folder to write evaluation.json and plots to.", show_default=False)
    ] = None,
    plots: Annotated[bool, typer.Option(help="Draw into --to; needs matplotlib (the extra plots).")] = True,
    form: Annotated[Picture, typer.Option("--format", help="Of the plots.")] = Picture.PNG,
) -> None:
    """Hold the scores against an annotation: top-k accuracy and AUPRC, and correlation with measured usage.

    A donor is the last base of an exon before an intron, an acceptor the first after one. Only positions that the
    table holds count; sites outside it are counted apart. Prints tables in all, by contig and by transcript biotype;
    --to writes every figure with its definition, and draws precision-recall, calibration, sequence logos of the
    called sites and usage by tissue. Definitions and citations: docs/evaluate.md.
    """
    from pipeline.annotation import read_annotation
    from pipeline.evaluation.evaluate import evaluate as evaluate_table
    from pipeline.evaluation.report import tables
    from pipeline.tracks import open_tracks
    from pipeline.usage import read_usage

    if to and plots:
        from pipeline.evaluation.plots import draw_evaluation  # before any work: matplotlib may be missing
    tracks = open_tracks(absolute(output))
    if to:
        try:
            to.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--to {to} is no folder to write to ({error.strerror})") from None
    measured = read_usage(absolute(usage)) if usage else None
    found = evaluate_table(tracks, read_annotation(absolute(gtf)), measured, _say)
    console = Console()
    for table in tables(found):
        (console if console.is_terminal else Console(width=PRINTED_WIDTH)).print(table)
    if to:
        write_whole(to / "evaluation.json", found.to_json().encode())
        drawn = draw_evaluation(tracks, found, to, form.value) if plots else []
        _say(f"written to {to}: {', '.join(['evaluation.json', *(path.name for path in drawn)])}")


@app.command(rich_help_panel="Compute")
def usage(
    junctions: Annotated[
        list[str],
        typer.Option(help="TISSUE=FILE[,FILE...]: SJ.out.tab of STAR, plain or gzip; once for each tissue."),
    ],
    to: Annotated[Path, typer.Option(help="File to write: .parquet or .tsv.")],
    min_reads: Annotated[int, typer.Option(help="Reads of a site and its rivals below which its usage is empty.")] = 10,
) -> None:
    """Measure the usage of splice sites in tissues from STAR's junctions, for `evaluate --usage`.

    Usage is the share of a site in the unique reads that leave the sites it is joined to: exact for skipped exons and
    for alternative sites, blind to retained introns. Replicates of a tissue are summed. Formula: docs/usage.md.
    """
    from pipeline.junctions import files_by_tissue, measure_usage
    from pipeline.usage import check_target, write_usage

    files = files_by_tissue(junctions)
    check_target(to)
    measured = measure_usage(files, min_reads, _say)
    write_usage(measured, to)
    _say(f"{len(measured):,} splice sites in {len(files):,} tissues written to {to}")


@app.command(rich_help_panel="Checkpoints and engine")
def convert(
    source: Annotated[str, typer.Argument(help="Official .ckpt, safetensors file or folder, or hub id.")],
    target: Annotated[Path, typer.Argument(help="Folder to write model.safetensors and config.json to.")],
) -> None:
    """Convert a checkpoint to safetensors + config.json."""
    from sptx_core.model import SpTransformerModel

    model = SpTransformerModel.from_pretrained(source)
    model.save_pretrained(target)
    _say(f"{source}: {sum(p.numel() for p in model.parameters()):,} parameters written to {target}")


@app.command(rich_help_panel="Checkpoints and engine")
def bench(
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    paths: Annotated[str, typer.Option(help="Engine paths, separated by commas.")] = "reference,auto",
    precisions: Annotated[str, typer.Option(help="Precisions.")] = "float32,bfloat16",
    batch: Annotated[int | None, typer.Option(help="Micro-batch of every path but the reference [fastest].")] = None,
    windows: Annotated[int, typer.Option(help="Consecutive windows in a turn.")] = 8,
    repeats: Annotated[int, typer.Option(help="Turns.")] = 3,
    save: Annotated[Path | None, typer.Option(help="Write the report as JSON.", show_default=False)] = None,
    compare: Annotated[
        Path | None, typer.Option(help="Show the ratios of an earlier --save beside the new ones.", show_default=False)
    ] = None,
) -> None:
    """Measure the engine's paths against the plain network on this machine; needs no files."""
    from sptx_core.engine.bench import BenchReport, format_report, pairs, run_bench

    earlier = BenchReport.load(compare) if compare else None
    runs = pairs(paths.split(","), precisions.split(","))
    report = run_bench(runs=runs, device=device, batch=batch, windows=windows, repeats=repeats)
    if save:
        report.save(save)
    typer.echo(format_report(report, earlier))


@app.command(rich_help_panel="Compute")
def example(folder: Annotated[Path, typer.Argument(help="Folder to write to.")]) -> None:
    """Write a small generated genome with a known answer, and a checkpoint for it, and say what to try on them."""
    from pipeline.example import GENE, write_example

    genome, annotation, usage, checkpoint = write_example(folder)
    tracks = folder / "tracks"
    _say("synthetic: genome and network say nothing about real genes")
    typer.echo(f"sptx run --fasta {genome} --gtf {annotation} --checkpoint {checkpoint} --output {tracks}")
    typer.echo(f"sptx evaluate {tracks} --gtf {annotation} --usage {usage} --to {folder / 'evaluation'}")
    typer.echo(f"sptx plot {tracks} {GENE} --usage {usage} --to {folder / 'gene.png'}")


@app.command(rich_help_panel="Compute")
def simulate(
    folder: Annotated[Path, typer.Argument(help="New or empty folder to write to.")],
    seed: Annotated[int, typer.Option(help="The same seed and sizes give the same bytes.")] = 1,
    contigs: Annotated[int | None, typer.Option(help="Contigs [4]; each is the same however many there are.")] = None,
    bases: Annotated[int | None, typer.Option(help="Bases of each contig [250,000: about 50 genes].")] = None,
    annotation_only: Annotated[
        bool, typer.Option("--annotation-only", help="Only a GTF as large as GENCODE's, to measure `plan` with.")
    ] = False,
    genes: Annotated[int | None, typer.Option(help="Genes of --annotation-only [63,000].")] = None,
    transcripts: Annotated[int | None, typer.Option(help="Transcripts of --annotation-only [250,000].")] = None,
    exons: Annotated[int | None, typer.Option(help="Exons of --annotation-only [1,600,000].")] = None,
) -> None:
    """Write a synthetic genome with a known answer: genome.fa.gz, annotation.gtf.gz and usage.parquet.

    Splice sites are drawn from made-up matrices among decoys; usage by tissue follows a made-up formula of enhancer
    and silencer motifs (docs/simulate.md). To train and test on; it says nothing about real genomes.
    """
    from pipeline.simulation.simulate import simulate as write_genome
    from pipeline.simulation.simulate import simulate_annotation

    of_genome = {"contigs": contigs, "bases": bases}
    of_annotation = {"genes": genes, "transcripts": transcripts, "exons": exons}
    meant, other = (of_annotation, of_genome) if annotation_only else (of_genome, of_annotation)
    for name, value in other.items():
        if value is not None:
            raise InputError(f"--{name} is an option {'without' if annotation_only else 'of'} --annotation-only")
    sizes = {name: value for name, value in meant.items() if value is not None}
    if annotation_only:
        _say(f"synthetic annotation written to {simulate_annotation(folder, seed=seed, **sizes)}")
        return
    made = write_genome(folder, seed=seed, **sizes)
    _say(f"synthetic: {made.genes:,} genes, {made.transcripts:,} transcripts, {made.sites:,} splice sites")
    typer.echo(f"--fasta {made.genome} --gtf {made.annotation} --usage {made.usage}")


def main() -> None:
    """Entry point: an `InputError` becomes one sentence and exit code 2."""
    try:
        app()
    except InputError as error:
        notes.print(f"sptx: {error}", style="red", markup=False)
        sys.exit(BAD_INPUT)


def _settings(given: dict[str, Any]) -> RunConfig:
    yaml_uri = given.pop("config")
    return RunConfig.load(yaml_uri, given)


def _numbers(flag: str, texts: list[str]) -> list[int]:
    """Integers of a flag given once or several times, separated by commas."""
    try:
        return [int(item) for text in texts for item in text.split(",")]
    except ValueError:
        raise InputError(f"{flag} {', '.join(texts)}: give whole numbers, separated by commas") from None
