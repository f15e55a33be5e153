"""How commands that compute on the workbench end: interrupted, incomplete, or done."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import typer

from pipeline.cli.console import INCOMPLETE, INTERRUPTED, say
from sptx_core.words import counted

if TYPE_CHECKING:
    from pipeline.batch.run import Outcome

MAX_FAILURES_SHOWN = 10

T = TypeVar("T")


def uninterrupted(run: Callable[[], T]) -> T:
    """What `run` returns; an interrupted one says how to go on, and ends the program."""
    try:
        return run()
    except KeyboardInterrupt:
        say("interrupted; the same command again goes on with what is missing")
        raise typer.Exit(INTERRUPTED) from None


def require_complete(outcome: Outcome, output: str | None) -> None:
    """End the program where shards are missing, after the first of their errors are told."""
    for shard, error in sorted(outcome.failed.items())[:MAX_FAILURES_SHOWN]:
        say(f"shard {shard} failed: {error}")
    if not outcome.complete:
        say(
            f"incomplete: {outcome.done:,} of {counted(outcome.units, 'shard')} done, {len(outcome.failed):,} failed, "
            f"{outcome.missing:,} missing; run the same command again to try these, "
            f"`sptx status {output}` names them"
        )
        raise typer.Exit(INCOMPLETE)
