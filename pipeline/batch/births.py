"""Workers that die as they start: counted, so that the run ends, and asked for the cause.

Ray starts a dead actor again for ever, and its units wait for it. Where no start leads to anything (the memory limit
is too low, the CPU lacks an instruction, the GPU is gone) a run would neither end nor get further. The rules:

1. Deaths are counted since the last answer of any actor.
2. A death that leaves a strike is a unit's, which is given up after a few of them (`pipeline.batch.strikes`). Each
   strike excuses one death.
3. After `MAX_DEATHS` other deaths for each actor that there is, the run ends.
4. The cause is found by one more start, in a process of its own, whose end a worker watches (`cause_of_death`).

No Ray here: `pipeline.batch.actors` says how often actors were started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Self

MAX_DEATHS = 3  # of an actor
LOOK_SECONDS = 2.0  # between two looks at Ray's list of actors, which is a request to the head
START_SECONDS = 120.0  # within which a start that is watched should have come to something

CAUSES = {
    signal.SIGILL: "an illegal instruction (SIGILL): this CPU lacks what the compiled code uses; install sptx anew on "
    "a machine of its kind, or choose another --engine",
    signal.SIGKILL: "SIGKILL, as at a memory limit of the container, the job or the node: give each worker more "
    "memory, or take fewer --workers",
    signal.SIGTERM: "SIGTERM, by somebody else",
}


class Deaths(RuntimeError):  # noqa: N818  # told to the caller, never to a person
    """Actors have died too often; `node` is where, as Ray calls it."""

    def __init__(self, count: int, node: str) -> None:
        super().__init__(f"{count} workers died")
        self.count, self.node = count, node


class ActorLife(NamedTuple):
    """An actor as Ray's list has it: how often it was started again, the node that it was on, whether it is wanted."""

    restarts: int
    node: str
    wanted: bool


class Births:
    """The count of starts; see the module. Safe to use from two threads, one of which calls `answered`.

    Parameters
    ----------
    look
        Gives the actors.
    excuses
        Counts deaths that have a reason of their own. Called only where the run would end otherwise.

    """

    def __init__(self, look: Callable[[], list[ActorLife]], excuses: Callable[[], int]) -> None:
        self._look, self._excuses = look, excuses
        self._answered = False
        self._settled = sum(actor.restarts for actor in look())  # restarts that do not count
        self._excused = 0
        self._looked = time.monotonic()

    def answered(self) -> None:
        """An actor has given an answer: deaths are counted anew."""
        self._answered = True

    def check(self) -> None:
        """Look at the actors, if it is time.

        Raises
        ------
        Deaths
            Too many.

        """
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        actors = self._look()
        restarts = sum(actor.restarts for actor in actors)
        if self._answered:
            self._answered, self._settled = False, max(self._settled, restarts)
        allowed = MAX_DEATHS * max(1, sum(actor.wanted for actor in actors))
        if restarts - self._settled < allowed:
            return
        excuses = self._excuses()
        if excuses > self._excused:
            self._settled += excuses - self._excused
            self._excused = excuses
        if restarts - self._settled >= allowed:
            often = max(actors, key=lambda actor: actor.restarts)
            raise Deaths(restarts - self._settled, often.node)


class StepWatch:
    """`check`, called at each step of an execution of Ray Data; what it raises ends the execution.

    It has the methods of Ray Data's `ExecutionCallback`, and makes itself where Ray Data expects a class. It travels to
    the actors with Ray Data's settings, where it is nothing.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check

    def __call__(self) -> Self:
        """Itself, where Ray Data makes an instance."""
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __reduce__(self) -> Any:
        return StepWatch, (_nothing,)

    def before_execution_starts(self, executor: Any) -> None:
        """Ray Data is about to begin."""

    def on_execution_step(self, executor: Any) -> None:  # noqa: ARG002  # Ray Data's signature
        """Ray Data is at work."""
        self._check()

    def after_execution_succeeds(self, executor: Any) -> None:
        """Ray Data has ended."""

    def after_execution_fails(self, executor: Any, error: Exception) -> None:
        """Ray Data has ended with this error."""


def _nothing() -> None:
    """Check nothing."""


def cause_of_death(start: bytes) -> str:
    """Have a process of its own do what an actor does as it starts, and say how that ends; empty if nothing is wrong.

    Parameters
    ----------
    start
        A pickled callable without arguments.

    """
    program = "import pickle, sys; pickle.load(sys.stdin.buffer)()"
    path = os.pathsep.join(filter(None, sys.path))
    try:
        done = subprocess.run(  # noqa: S603  # this very Python
            [sys.executable, "-c", program],
            input=start,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            timeout=START_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it has not come to an end within {START_SECONDS:.0f} s"
    if done.returncode < 0:
        number = signal.Signals(-done.returncode)
        return f"it was ended by {CAUSES.get(number, f'a crash ({number.name})')}"
    if done.returncode == 0:
        return ""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    if lines and "Traceback (most recent call last):" in lines:
        return f"it raised {lines[-1].strip()}"
    return f"it ended itself with exit code {done.returncode}"
