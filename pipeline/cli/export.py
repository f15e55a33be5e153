"""The command that makes files for genome browsers: `export`."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import TypeAdapter

from pipeline.cli.console import INCOMPLETE, say, speaker
from pipeline.cli.flags import Quiet, TableRoot, Verified, with_flags
from pipeline.cli.outcome import uninterrupted
from pipeline.settings import JobSettings, Names, Regions, absolute
from sptx_core.errors import InputError
from sptx_core.words import counted


@with_flags(
    JobSettings,
    {
        "workers": "Ray actors (default: one for each core for over 300 million bases or with a flag below, otherwise "
        "none)",
        "address": "Ray cluster to join: auto or host:port; also set by RAY_ADDRESS (default: a Ray on this machine)",
        "shared_output": "confirm that all nodes of the cluster mount a local --to",
        "object_store_mb": "memory in MiB, from 80, for the object store of a Ray that is started here (default: 200)",
    },
)
def export(
    settings: JobSettings,
    output: TableRoot,
    to: Annotated[str, typer.Option("--to", help="Folder to write to, or a URI such as s3://bucket/hub.")],
    least: Annotated[
        float | None,
        typer.Option(help="Leave values below this out of the bigWig files (default: 0.001).", show_default=False),
    ] = None,
    every_base: Annotated[bool, typer.Option("--every-base", help="Leave no base out; the files are larger.")] = False,
    genome: Annotated[
        str | None,
        typer.Option(
            help="UCSC's id of the genome, such as hg38; names contigs as UCSC does and also writes the track hub, "
            "hub.txt.",
            show_default=False,
        ),
    ] = None,
    genes: Annotated[
        list[str] | None, typer.Option(help="Only these genes or transcripts, separated by commas.", show_default=False)
    ] = None,
    regions: Annotated[
        list[str] | None,
        typer.Option(help="Only these regions, such as chr9:214,854-220,000 (1-based inclusive).", show_default=False),
    ] = None,
    verified: Verified = False,
    quiet: Quiet = False,
) -> None:
    """Write a table as files for genome browsers: bigWig, bigBed, a track hub, an IGV session.

    Writes acceptor and donor scores by strand, usage by tissue at likely sites, the sites, and the computed stretches.
    An export that was killed continues with the same command. The same table gives the same bytes. The exit code is 3
    if the table is unfinished. How to load the files: docs/export.md.
    """
    from pipeline.batch.storage import Store
    from pipeline.exporting.export import export as export_table
    from pipeline.exporting.record import LEAST, Options
    from pipeline.tracks.reader import open_tracks

    if not to.strip():
        raise InputError("--to is empty: give a folder or a URI")
    if every_base and least is not None:
        raise InputError("--every-base and --least exclude each other: give one of them")
    options = Options(
        0.0 if every_base else LEAST if least is None else least,
        genome,
        TypeAdapter(Names).validate_python(genes or ()),
        TypeAdapter(Regions).validate_python(regions or ()),
    )
    workbench = settings.model_copy(update={"threads": 1}) if settings.model_fields_set else None
    tracks, target = open_tracks(absolute(output), verify=verified), Store(absolute(to))
    done = uninterrupted(
        lambda: export_table(tracks, target, options, speaker(quiet), progress=not quiet, workbench=workbench)
    )
    kept = f", {len(done.kept):,} kept" if done.kept else ""
    typer.echo(f"{counted(len(done.written), 'file')} written{kept}: {target.uri()}")
    if genome is None:
        speaker(quiet)("there is no hub.txt without --genome, such as --genome hg38")
    if done.unfinished:
        say(f"the table is {done.unfinished}; finish it with the same `sptx run`, then export again")
        raise typer.Exit(INCOMPLETE)
