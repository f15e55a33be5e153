"""The `sptx` program: its commands, and how it ends.

Exit codes: 0 done; 1 tables differ (`diff --exit-code`); 2 bad input or settings (one sentence, no traceback); 3 a run
that ended early or has shards missing (`run`, `variants`, `saturate`), an unfinished table (`status`, `sites`, `diff`,
`report`, `export`, `browse --to`, `publish`) or an unsound one (`verify`); 130 interrupted; 141 if the program that
reads standard output has closed it (`| head`). Results go to standard output, messages to standard error.

A fault of a user's file is an `InputError` where the file is read or written (`sptx_core.files`), and a run that cannot
go on is an `UnfinishedError`; both are printed here. Any other exception is a bug and shows its traceback.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from pipeline.cli import browse, compute, config, diff, export, look, network, publish, report, sites, train
from pipeline.cli import variants as alleles
from pipeline.cli.console import (
    BAD_INPUT,
    INCOMPLETE,
    READER_GONE,
    drop_output,
    flush_or_drop_output,
    output_told,
    print_error,
)
from pipeline.cli.examples import EXAMPLES
from pipeline.cli.version import version_text
from sptx_core.errors import InputError, UnfinishedError

COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Tracks": (
        *(compute.run, compute.plan, look.status, look.verify, look.query, look.plot, look.evaluate),
        *(sites.sites, browse.browse, report.report, diff.diff, export.export, publish.publish),
    ),
    "Variants": (alleles.variants, alleles.saturate),
    "Training": (compute.usage, train.finetune, compute.simulate),
    "Tools": (compute.example, config.config, network.convert, network.bench),
}
"""Panel of the help -> its commands, both in the order of the work."""

app = typer.Typer(
    name="sptx",
    help="Predict splice sites and their usage by tissue for genes, genomes and variants, with SpTransformer.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for panel, commands in COMMANDS.items():
    for command in commands:
        # A terminal breaks lines by its own width, not where the source does.
        paragraphs = [" ".join(text.split()) for text in (inspect.getdoc(command) or "").split("\n\n")]
        examples = ["Examples:", *EXAMPLES[command.__name__]]
        made = app.command(rich_help_panel=panel, help="\n\n".join(paragraphs), epilog="\n\n".join(examples))
        made(command)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(version_text())
        raise typer.Exit


@app.callback()
def _sptx(
    version: Annotated[  # its callback has printed it
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print versions and the engine paths that work on this machine.",
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the program: an `InputError` becomes one sentence and exit code 2, an `UnfinishedError` one and 3."""
    try:
        with output_told():
            app()
    except (InputError, UnfinishedError) as error:
        print_error(f"sptx: {error}")
        flush_or_drop_output()
        sys.exit(INCOMPLETE if isinstance(error, UnfinishedError) else BAD_INPUT)
    except SystemExit as ended:
        # Typer and Rich catch the closed pipe themselves, and end with 1.
        if isinstance(ended.__context__, BrokenPipeError):
            drop_output()
            sys.exit(READER_GONE)
        raise
