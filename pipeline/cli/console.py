"""What commands say on the way, on standard error; standard output whose faults are told; and exit codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

import typer
from rich.console import Console

from sptx_core.errors import InputError
from sptx_core.files import reason
from sptx_core.redaction import shown, without_secrets

BAD_INPUT, INCOMPLETE = 2, 3
INTERRUPTED = 130  # as shells count a process ended by SIGINT
READER_GONE = 141  # as shells count a process ended by SIGPIPE: `| head` has seen enough

_notes = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)  # HLA-A:100:1 is a name


def say(sentence: str) -> None:
    """Print a line, without the secrets of URIs in it."""
    _notes.print(without_secrets(sentence), markup=False)


def speaker(quiet: bool) -> Callable[[str], None]:
    """`say`, or nothing where --quiet was given."""
    return (lambda _: None) if quiet else say


def print_json(values: dict[str, Any]) -> None:
    """Print a JSON object on standard output, without the secrets of URIs in it."""
    typer.echo(json.dumps(shown(values), indent=2))


def print_error(sentence: str) -> None:
    """Print a line in red, without the secrets of URIs in it."""
    _notes.print(without_secrets(sentence), style="red", markup=False)


class _Output:
    """A stream whose faults are told as those of standard output, whatever prints there: Typer, Rich or a command."""

    def __init__(self, stream: IO[Any]) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def buffer(self) -> _Output:
        """The same for bytes."""
        return _Output(self._stream.buffer)  # type: ignore[attr-defined]

    def write(self, content: Any) -> int:
        """As the stream does."""
        with _told():
            return self._stream.write(content)

    def flush(self) -> None:
        """As the stream does."""
        with _told():
            self._stream.flush()


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # no fault: whoever reads has seen enough
        raise
    except OSError as error:
        raise InputError(f"standard output cannot be written: {reason(error)}") from error


@contextmanager
def output_told() -> Iterator[None]:
    """Within it, what keeps standard output from being written is an `InputError`."""
    stream = sys.stdout
    sys.stdout = _Output(stream)
    try:
        yield
    finally:
        sys.stdout = stream


def flush_or_drop_output() -> None:
    """Print what still waits for standard output, if that can be."""
    try:
        sys.stdout.flush()
    except OSError:
        drop_output()


def drop_output() -> None:
    """Lead standard output nowhere, or Python would complain of it once more as it ends."""
    with suppress(OSError, ValueError):  # a stream of a test or notebook has no descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
