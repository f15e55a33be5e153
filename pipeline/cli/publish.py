"""The command that puts a finished table where others read it: `publish`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.console import speaker
from pipeline.cli.flags import Quiet, TableRoot
from pipeline.settings import absolute
from sptx_core.errors import InputError
from sptx_core.redaction import without_secrets
from sptx_core.words import counted


def publish(
    output: TableRoot,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="Where to copy it: a folder, s3://bucket/tracks or hf://datasets/OWNER/NAME. If it is the table "
            "itself, only the card, checksums and metadata are added to it.",
        ),
    ],
    licence: Annotated[
        str, typer.Option(help="Licence of the table, such as CC-BY-4.0 (default: left open).", show_default=False)
    ] = "",
    at: Annotated[
        str,
        typer.Option(
            help="Address at which others will find it, such as https://host/tracks (default: --to).",
            show_default=False,
        ),
    ] = "",
    quiet: Quiet = False,
) -> None:
    """Copy a finished table to where others read it, with a dataset card, checksums and Croissant metadata.

    A copy that was killed continues with the same command. The same table gives the same bytes. The exit code is 3 if
    the table is unfinished, and 2 if it is damaged. How others read it: docs/publish.md.
    """
    from pipeline.batch.published import PublishedStore
    from pipeline.publishing.publish import Options
    from pipeline.publishing.publish import publish as publish_table

    if not to.strip():
        raise InputError("--to is empty: give a folder or a URI")
    place = absolute(to)
    done = publish_table(
        PublishedStore(absolute(output)), place, Options(licence, at), speaker(quiet), progress=not quiet
    )
    kept = f", {len(done.kept):,} kept" if done.kept else ""
    typer.echo(f"{counted(len(done.written), 'file')} written{kept}: {without_secrets(place)}")
