"""What commands say on the way, on standard error, and the exit codes that they end with."""

from __future__ import annotations

from rich.console import Console

BAD_INPUT, INCOMPLETE = 2, 3
INTERRUPTED = 130  # as shells count a process ended by SIGINT

_notes = Console(stderr=True, highlight=False, soft_wrap=True)


def say(sentence: str) -> None:
    """Print a line."""
    _notes.print(sentence, markup=False)


def print_error(sentence: str) -> None:
    """Print a line in red."""
    _notes.print(sentence, style="red", markup=False)
