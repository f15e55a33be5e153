"""What commands say on the way, on standard error, and how an interrupted one ends."""

from __future__ import annotations

from rich.console import Console

INTERRUPTED = 130  # exit code, as shells count a process ended by SIGINT

notes = Console(stderr=True, highlight=False, soft_wrap=True)


def say(sentence: str) -> None:
    """Print a line."""
    notes.print(sentence, markup=False)
