"""The command `config`: settings files to start from."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.console import say
from pipeline.finetuning.settings import FinetuneConfig
from pipeline.settings import Settings, ready_settings
from pipeline.tracks.settings import RunConfig
from pipeline.variants.settings import SaturateConfig, VariantsConfig
from sptx_core.errors import InputError
from sptx_core.files import require_writable, write_atomic, writing


class Configurable(StrEnum):
    """Commands that take a settings file."""

    RUN = "run"
    VARIANTS = "variants"
    SATURATE = "saturate"
    FINETUNE = "finetune"


SETTINGS: dict[Configurable, type[Settings]] = {
    Configurable.RUN: RunConfig,
    Configurable.VARIANTS: VariantsConfig,
    Configurable.SATURATE: SaturateConfig,
    Configurable.FINETUNE: FinetuneConfig,
}


def config(
    command: Annotated[Configurable, typer.Argument(help="The command whose settings are written.")] = Configurable.RUN,
    to: Annotated[
        Path | None, typer.Option("--to", help="File to write instead of standard output.", show_default=False)
    ] = None,
) -> None:
    """Write a YAML file with all settings of a command and what they mean, for its --config.

    Also names the settings files that come with sptx, such as gpu-cluster; --config takes these names in place of a
    file.
    """
    head = f"# Settings of `sptx {command.value}`, for --config: each with its default. Flags win over this file."
    text = f"{head}\n\n{SETTINGS[command].template()}"
    if to is None:
        typer.echo(text, nl=False)
    else:
        require_writable(to)
        if to.exists():
            raise InputError(f"--to {to} exists already; it is not overwritten")
        with writing(to):
            write_atomic(to, text.encode())
    say(f"ready settings, by name: {', '.join(ready_settings(SETTINGS[command])) or 'none here'}")
