"""The command that describes a whole table on one page: `report`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.console import INCOMPLETE, say
from pipeline.cli.flags import TableRoot, Threshold
from pipeline.settings import absolute


def report(
    output: TableRoot,
    to: Annotated[str, typer.Option("--to", help="File to write, such as report.html or s3://bucket/report.html.")],
    gtf: Annotated[
        str | None,
        typer.Option(
            help="Annotation that decides which sites are annotated; GTF or GFF3, path or URI (default: the "
            "transcripts of the run).",
            show_default=False,
        ),
    ] = None,
    threshold: Threshold = None,
) -> None:
    """Write a report of a table: one page of HTML without scripts, to read, print and send.

    Shows coverage, scores, called and annotated sites by motif and biotype, usage by tissue, tissue-specific sites, and
    how the table was computed. The same table gives the same bytes. The exit code is 3 if the table is unfinished, and
    the report says so. What each figure means: docs/report.md.
    """
    from pipeline.inputs.annotation import read_annotation
    from pipeline.reporting.report import write_report
    from pipeline.tracks.reader import open_tracks

    tracks = open_tracks(absolute(output))
    annotation = read_annotation(absolute(gtf)) if gtf else None
    done = write_report(tracks, absolute(to), annotation=annotation, threshold=threshold)
    for remark in annotation.remarks if annotation else ():
        say(remark)
    typer.echo(f"{done.bytes:,} bytes written: {done.uri}")
    if done.unfinished:
        say(f"the table is {done.unfinished}; finish it with the same `sptx run`, then write the report again")
        raise typer.Exit(INCOMPLETE)
