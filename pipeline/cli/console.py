"""What commands say on the way, on standard error, and the exit codes that they end with."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console

BAD_INPUT, INCOMPLETE = 2, 3
INTERRUPTED = 130  # as shells count a process ended by SIGINT

_notes = Console(stderr=True, highlight=False, soft_wrap=True)


def say(sentence: str) -> None:
    """Print a line."""
    _notes.print(sentence, markup=False)


def speaker(quiet: bool) -> Callable[[str], None]:
    """`say`, or nothing where --quiet was given."""
    return (lambda _: None) if quiet else say


def print_json(values: dict[str, Any]) -> None:
    """Print a JSON object on standard output."""
    typer.echo(json.dumps(values, indent=2))


def print_error(sentence: str) -> None:
    """Print a line in red."""
    _notes.print(sentence, style="red", markup=False)
