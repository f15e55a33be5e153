"""The command that shows tables in a browser: `browse`."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.console import INCOMPLETE, INTERRUPTED, say
from pipeline.settings import absolute
from sptx_core.errors import InputError
from sptx_core.files import require_writable

if TYPE_CHECKING:
    from pipeline.browsing.session import Session


def browse(
    output: Annotated[
        list[str],
        typer.Argument(
            help="One or two tables of scores, optionally a table of variants, and optionally where to begin: DOCK8 or "
            "chr9:214,854-220,000.",
            show_default=False,
        ),
    ],
    gtf: Annotated[
        str | None,
        typer.Option(
            help="Annotation that names genes and sites; GTF or GFF3, path or URI (default: the transcripts of the "
            "run).",
            show_default=False,
        ),
    ] = None,
    fasta: Annotated[
        str | None,
        typer.Option(help="Genome FASTA, to show the sequence where the table has no rows.", show_default=False),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on (default: a free one).", min=1, max=65535, show_default=False)
    ] = None,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; with 0.0.0.0 everybody who can reach this machine can see the page."),
    ] = "127.0.0.1",
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open a browser.")] = False,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            help="Write the page of one gene or region to this HTML file instead; it can be sent to others.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show tables as a page in the browser: transcripts, scores, usage by tissue, sites with names.

    Reads the tables where they lie, on a disk or in an object store; the run need not be finished. Prints the address
    of the page and serves it until Ctrl-C. Nothing leaves this machine. --to ends with exit code 3 if a table is
    unfinished. Keys and tracks: docs/browse.md.
    """
    from pipeline.browsing.opening import open_session, split_locus
    from pipeline.inputs.annotation import read_annotation

    tables, locus = split_locus(output)
    if to is not None:
        if locus is None:
            raise InputError(f"--to {to} needs a locus: give a gene or a region behind the table, as in DOCK8")
        require_writable(to)
    annotation = read_annotation(absolute(gtf)) if gtf else None
    session = open_session(tables, locus=locus, annotation=annotation, fasta=fasta)
    for remark in annotation.remarks if annotation else ():
        say(remark)
    unfinished = [f"{view.store.uri()}: {view.unfinished} so far" for view in session.tables if view.unfinished]
    for line in unfinished:
        say(f"{line}; what is missing {'is shown as it comes' if to is None else 'is grey on the page'}")
    if to is None:
        _serve(session, host, port or 0, opened=not no_open)
        return
    from pipeline.browsing.one_file import write_page

    write_page(session, session.locus, to)
    say(f"{session.locus}: written to {to}")
    if unfinished:
        raise typer.Exit(INCOMPLETE)


def _serve(session: Session, host: str, port: int, *, opened: bool) -> None:
    """Answer until interrupted."""
    from pipeline.browsing.server import serve

    with serve(session, host=host, port=port) as server:
        typer.echo(server.url)
        sys.stdout.flush()  # whoever started it may wait for the address
        say("Ctrl-C ends it")
        if opened and _has_display():
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


def _has_display() -> bool:
    """Whether a browser can be shown; without, one of a terminal might be opened, which takes it over."""
    return sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
