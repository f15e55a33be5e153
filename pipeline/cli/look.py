"""Commands that look at a table: `status`, `verify`, `query`, `plot` and `evaluate`.

Modules that load PyTorch or draw are imported when a command runs, so that help and errors come at once.
"""

from __future__ import annotations

from dataclasses import asdict, astuple
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pipeline.cli.console import INCOMPLETE, print_json, say
from pipeline.cli.flags import AsJson, TableRoot, Verified
from pipeline.cli.printing import Format, choose_format, write_rows
from pipeline.settings import absolute
from sptx_core.errors import InputError
from sptx_core.files import require_writable, write_atomic, writing
from sptx_core.words import counted

if TYPE_CHECKING:
    from pipeline.batch.status import RunStatus
    from pipeline.batch.storage import Store
    from pipeline.tracks.verify import VerifyReport

MAX_SHARDS_SHOWN = 20  # of the missing ones, in `status`
PLACE = (
    "A region (chr9:214,854-220,000, 1-based inclusive) or a gene; in tracks also a transcript id, in variants also a "
    "variant (9-214900-G-A)."
)
PRINTED_WIDTH = 130  # columns of tables that go to a file or another program


def status(output: TableRoot, as_json: AsJson = False) -> None:
    """Say which shards are finished, missing and failed, and how long the run took; exit code 3 if any is missing."""
    from pipeline.batch.history import in_words, read_history
    from pipeline.batch.published import PublishedStore

    store = PublishedStore(absolute(output))
    found, history = _status(store), read_history(store)
    missing = len(found.missing)
    total = found.done + missing + len(found.failed)
    if as_json:
        failed = [
            {"shard": failure.unit, "attempts": failure.attempts, "error": failure.error, "cause": failure.cause}
            for failure in found.failed
        ]
        figures = {"shards": total, "done": found.done, "missing": list(found.missing), "failed": failed}
        print_json(figures | {"history": [asdict(start) for start in history]})
    else:
        typer.echo(
            f"{found.done:,} of {counted(total, 'shard')} done, {missing:,} missing, {len(found.failed):,} failed"
        )
        if history:
            typer.echo(f"wall time: {in_words(history)}")
        if missing:
            more = ", ..." if missing > MAX_SHARDS_SHOWN else ""
            typer.echo(f"missing: {', '.join(map(str, found.missing[:MAX_SHARDS_SHOWN]))}{more}")
        for failure in found.failed:
            typer.echo(
                f"shard {failure.unit} failed after {counted(failure.attempts, 'try', 'tries')}: {failure.error}"
            )
            typer.echo("  " + failure.cause.strip().replace("\n", "\n  "))
    if found.done < total:
        raise typer.Exit(INCOMPLETE)


def _status(store: Store) -> RunStatus:
    """The state of a table of either job."""
    from pipeline.tracks import header, reader
    from pipeline.variants import header as variants_header
    from pipeline.variants import reader as variants_reader

    if variants_header.holds_variants(store):
        return variants_reader.status_of(store, variants_header.read_header(store))
    return reader.status_of(store, header.read_header(store))


def verify(
    output: TableRoot,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Ray actors that read (default: one for each core for over 100 million rows or with --address, "
            "otherwise threads without Ray).",
            min=1,
            show_default=False,
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="Ray cluster to read on: auto or host:port; also set by RAY_ADDRESS (default: start a Ray on this "
            "machine).",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check all files of a table: columns, rows against the plan, checksums, probabilities; exit code 3 if unsound."""
    from pipeline.batch.published import PublishedStore
    from pipeline.batch.readback import Workbench
    from pipeline.tracks.verify import VerifyReport
    from pipeline.tracks.verify import verify as verify_table
    from pipeline.variants.header import holds_variants

    store = PublishedStore(absolute(output))
    if holds_variants(store):
        from pipeline.variants.verify import verify as verify_variants

        if workers is not None or address is not None:
            raise InputError("--workers and --address are of tracks; variants are read in this process")
        _tell_verdict(VerifyReport(*astuple(verify_variants(store))), as_json=as_json)
        return
    workbench = None if workers is None and address is None else Workbench(workers, address)
    _tell_verdict(verify_table(store, workbench), as_json=as_json)


def _tell_verdict(report: VerifyReport, *, as_json: bool) -> None:
    """Print what `verify` found, and end with 3 if that is anything."""
    sizes = {"parts": report.parts, "rows": report.rows, "bytes": report.bytes, "unread": report.unread}
    if as_json:
        print_json({"sound": not report.problems, "problems": list(report.problems), **sizes})
    else:
        for problem in report.problems:
            typer.echo(problem)
        verdict = "unsound" if report.damage else "not known to be sound" if report.problems else "sound"
        unread = f", {counted(report.unread, 'shard')} could not be read" if report.unread else ""
        held = ", ".join(counted(sizes[name], name.removesuffix("s")) for name in ("parts", "rows", "bytes"))
        typer.echo(f"{verdict}{unread}: {held}")
    if report.damage:
        say("delete a damaged part, then run the same command: it computes what is missing and restores other files")
    if report.problems:
        raise typer.Exit(INCOMPLETE)


def query(
    output: TableRoot,
    what: Annotated[
        str | None,
        typer.Argument(help=PLACE, show_default=False),
    ] = None,
    gene: Annotated[
        str | None, typer.Option(help="Variants: only those of this gene, by name or id.", show_default=False)
    ] = None,
    min_splice: Annotated[
        float | None, typer.Option(help="Variants: only those with a d_splice of at least this.", show_default=False)
    ] = None,
    tissue: Annotated[
        str | None, typer.Option(help="Variants: only those that are called in this tissue.", show_default=False)
    ] = None,
    strand: Annotated[str | None, typer.Option(help="Tracks: + or - (default: both).", show_default=False)] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            help="Columns to print, such as acceptor,donor,brain (default: all; on a terminal those that fit, and of "
            "variants a few).",
            show_default=False,
        ),
    ] = None,
    sites: Annotated[
        bool,
        typer.Option(
            "--sites",
            help="Tracks: print only likely splice sites, with unrounded scores (in a table for people 6 decimals).",
        ),
    ] = False,
    verified: Verified = False,
    form: Annotated[
        Format | None,
        typer.Option("--format", help="Format (default: by the name of --to, otherwise table).", show_default=False),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", help="File to write instead of standard output: .csv, .tsv or .parquet.", show_default=False
        ),
    ] = None,
) -> None:
    """Print the rows of a region, a gene, a transcript or a variant.

    With a table of variants the argument may be left out: then all variants are printed that --gene, --min-splice and
    --tissue let through.
    """
    from pipeline.batch.published import PublishedStore
    from pipeline.cli.variant_rows import Asked, print_variants
    from pipeline.tracks.reader import open_tracks
    from pipeline.variants.header import holds_variants
    from pipeline.variants.reader import open_variants

    chosen = choose_format(form, to)
    names = [name.strip() for name in columns.split(",") if name.strip()] if columns else None
    if holds_variants(PublishedStore(absolute(output))):
        if strand is not None or sites or verified:
            raise InputError("--strand, --sites and --verify are of tracks; this output holds variants")
        asked = Asked(what, gene, min_splice, tissue)
        print_variants(open_variants(absolute(output)), asked, names, chosen, to)
        return
    if not (gene is None and min_splice is None and tissue is None):
        raise InputError("--gene, --min-splice and --tissue are of variants; this output holds none")
    if what is None:
        raise InputError("say what of the tracks to print: a region, a gene or a transcript id")
    frame = open_tracks(absolute(output), verify=verified).query(what, strand=strand, columns=names, sites=sites)
    if frame.is_empty():
        on_strand = f" on strand {strand}" if strand else ""
        say(f"no row: {output} holds no {'likely splice site' if sites else 'computed base'} of {what}{on_strand}")
    write_rows(frame, chosen, to)


def plot(
    output: TableRoot,
    what: Annotated[
        str,
        typer.Argument(help=PLACE, show_default=False),
    ],
    to: Annotated[Path, typer.Option("--to", help="Picture to write; must end in .png or .svg.")],
    strand: Annotated[
        str | None, typer.Option(help="+ or -, if both strands have rows there.", show_default=False)
    ] = None,
    gene: Annotated[
        str | None, typer.Option(help="Variants: the gene to draw, if the variant lies in several.", show_default=False)
    ] = None,
    threshold: Annotated[
        float,
        typer.Option(help="Score from which a site is drawn as called; size from which a gain or loss is labelled."),
    ] = 0.1,
    gtf: Annotated[
        str | None,
        typer.Option(
            help="Annotation to draw; for tracks it replaces the transcripts of the run.",
            show_default=False,
        ),
    ] = None,
    usage: Annotated[
        str | None,
        typer.Option(
            help="Tracks: measured usage to draw below the predicted one, as for `evaluate`.", show_default=False
        ),
    ] = None,
    short_introns: Annotated[bool, typer.Option("--short-introns", help="Tracks: draw long introns short.")] = False,
) -> None:
    """Draw the scores of a gene, the effect of a variant, or a map of single-base changes.

    With a table of `run`, draws transcripts, scores and usage by tissue of a gene, a transcript or a region
    (docs/plot.md). With a table of `variants`, draws the scores before and after one variant; it must have been scored
    with --sites. With a table of `saturate`, draws a map of the changes of a gene or region (docs/variants.md). Needs
    matplotlib (the extra plots).
    """
    from pipeline.batch.published import PublishedStore
    from pipeline.inputs.annotation import read_annotation
    from pipeline.inputs.usage import read_usage
    from pipeline.tracks.reader import open_tracks
    from pipeline.variants.header import holds_variants
    from pipeline.views.gene_plot import draw_view
    from pipeline.views.gene_view import gene_view
    from pipeline.views.pictures import picture_path, write_picture

    picture_path(to)
    if holds_variants(PublishedStore(absolute(output))):
        if usage is not None or short_introns:
            raise InputError("--usage and --short-introns are of tracks; this output holds variants")
        _plot_variants(output, what, to, strand=strand, gene=gene, threshold=threshold, gtf=gtf)
        return
    if gene is not None:
        raise InputError("--gene is of variants; this output holds none: name the gene itself")
    tracks = open_tracks(absolute(output))
    annotation = read_annotation(absolute(gtf)) if gtf else None
    measured = read_usage(absolute(usage)) if usage else None
    view = gene_view(tracks, what, strand=strand, threshold=threshold, annotation=annotation, usage=measured, say=say)
    write_picture(draw_view(view, short_introns=short_introns), to)
    sites = counted(len(view.called), "called site")
    say(f"{view.chrom}:{view.first:,}-{view.last:,} ({view.strand}), {sites}: drawn in {to}")


def _plot_variants(
    output: str, what: str, to: Path, *, strand: str | None, gene: str | None, threshold: float, gtf: str | None
) -> None:
    """Draw a variant, or the map of a gene or region."""
    from pipeline.inputs.annotation import read_annotation
    from pipeline.variants.reader import open_variants
    from pipeline.views.pictures import write_picture
    from pipeline.views.saturation_plot import draw_saturation
    from pipeline.views.saturation_view import saturation_view
    from pipeline.views.variant_plot import draw_variant
    from pipeline.views.variant_view import variant_view

    table = open_variants(absolute(output))
    annotation = read_annotation(absolute(gtf)) if gtf else None
    if table.names_variant(what):
        one = variant_view(table, what, gene=gene, strand=strand, threshold=threshold, annotation=annotation, say=say)
        write_picture(draw_variant(one), to)
        told = f"{what}, {one.row['gene_name'] or 'no gene'} ({one.strand}), d_splice {one.row['d_splice']:.2f}"
    else:
        many = saturation_view(table, what, gene=gene, strand=strand, annotation=annotation, say=say)
        write_picture(draw_saturation(many), to)
        told = f"{many.chrom}:{many.first:,}-{many.last:,} ({many.strand}), {counted(many.changes, 'change')}"
    say(f"{told}: drawn in {to}")


class Picture(StrEnum):
    """How `evaluate` draws."""

    PNG = "png"
    SVG = "svg"


def evaluate(
    output: TableRoot,
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
    plots: Annotated[bool, typer.Option(help="Draw plots into --to; needs matplotlib (the extra plots).")] = True,
    form: Annotated[Picture, typer.Option("--format", help="Format of the plots.")] = Picture.PNG,
) -> None:
    """Compare the scores with an annotation (top-k accuracy, AUPRC) and the usage with measured usage (correlation).

    A donor is the last base of an exon before an intron, an acceptor the first base of an exon after one. Only
    positions that the table holds count; other true sites are reported as outside. Prints the metrics over all
    positions, by contig and by transcript biotype. --to writes them with their definitions, and draws plots.
    Definitions and citations: docs/evaluate.md.
    """
    from pipeline.evaluation.evaluate import evaluate as evaluate_table
    from pipeline.evaluation.report import tables
    from pipeline.inputs.annotation import read_annotation
    from pipeline.inputs.usage import read_usage
    from pipeline.tracks.reader import open_tracks

    if to and plots:
        from pipeline.views.evaluation_plots import draw_evaluation  # before any work: matplotlib may be missing
    tracks = open_tracks(absolute(output))
    if to:
        try:
            to.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--to {to} is no folder to write to ({error.strerror})") from None
        require_writable(to / "evaluation.json")
    measured = read_usage(absolute(usage)) if usage else None
    found = evaluate_table(tracks, read_annotation(absolute(gtf)), measured, say)
    width = None if Console().is_terminal else PRINTED_WIDTH
    console = Console(width=width, markup=False, emoji=False)  # names of contigs and biotypes are no markup
    for table in tables(found):
        console.print(table)
    if to:
        with writing(to / "evaluation.json"):
            write_atomic(to / "evaluation.json", found.to_json().encode())
        drawn = draw_evaluation(tracks, found, to, form.value) if plots else []
        say(f"written to {to}: {', '.join(['evaluation.json', *(path.name for path in drawn)])}")
