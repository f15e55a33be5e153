"""Jobs of stretches in, their scores out, while an engine path computes the next ones.

A job is a list of stretches of consecutive windows, uint8 codes 5' to 3'. Its scores are a list with one array for each
stretch, float32 [n, core, channels], by window and 5' to 3'. Families (`sptx_core.engine.families`) go the same way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sptx_core import channels
from sptx_core.alphabet import Codes
from sptx_core.engine.families import Family, PlannedFamily
from sptx_core.engine.machine import exact_arithmetic
from sptx_core.engine.scheduling import LogitsAndGaps
from sptx_core.windows import WindowSpec

Scores = npt.NDArray[np.float32]
GPU_QUEUE = 2  # micro-batches that a GPU has been given while the caller waits for one
NOT_FINITE = "the network's output is not finite: checkpoint or precision is at fault"
Job = TypeVar("Job")
Logits = TypeVar("Logits")
Found = TypeVar("Found")
Outcome = TypeVar("Outcome")


class FamilyScores(NamedTuple):
    """Scores of a family, in the order of its references and alternatives."""

    references: Scores
    """float32 [references, core, channels]."""
    alternatives: Scores
    """float32 [alternatives, core, channels]."""
    reference_gaps: npt.NDArray[np.float32]
    """[references]: the smallest difference between the two best buckets that a Sinkhorn head of the window chose from,
    in float32; infinity where there was no choice. Other arithmetic may choose the other bucket where it is tiny."""
    alternative_gaps: npt.NDArray[np.float32]
    """[alternatives], the same."""


class LogitsPath(Protocol):
    """What a stream asks of an engine path; `StretchPath.logits` says what each part means."""

    @property
    def overlaps_jobs(self) -> bool:
        """Whether `logits` takes a job before the one before it is done."""

    def logits(self, jobs: Iterable[Sequence[Codes] | None]) -> Iterator[Tensor | None]:
        """Logits [rows, core, channels] of all windows of all jobs in order, on the device."""

    def family_logits(self, families: Iterable[PlannedFamily | None]) -> Iterator[LogitsAndGaps | None]:
        """Logits and gaps of all windows of all families in order, on the device."""

    def plan(self, family: Family) -> PlannedFamily:
        """The windows of a family as this path computes them."""


class ScoreStream:
    """Turns jobs into scores.

    Parameters
    ----------
    path : LogitsPath
        Computes logits.
    spec : WindowSpec
        How the windows lie.
    channels : int
        Channels of the scores.
    device : torch.device
        Where the path computes.
    queued : int, optional
        Micro-batches that may have begun while the caller waits for one; by default `GPU_QUEUE` on a GPU and none on a
        CPU.
    deliver : callable, optional
        Begins to bring the scores of logits to the host, and returns a function that waits for them; by default
        `begin_delivery`.
    """

    def __init__(
        self,
        path: LogitsPath,
        spec: WindowSpec,
        *,
        channels: int,
        device: torch.device,
        queued: int | None = None,
        deliver: Callable[[Tensor], Callable[[], Tensor]] | None = None,
    ) -> None:
        self.path, self.spec, self.channels, self.device = path, spec, channels, device
        self.queued = (GPU_QUEUE if device.type == "cuda" else 0) if queued is None else queued
        self.deliver = deliver or begin_delivery

    def __call__(self, jobs: Iterable[Sequence[Codes] | None]) -> Iterator[list[Scores] | ArithmeticError]:
        """Scores of each job, or the error that stands for them; `Predictor.stream` has the contract."""

        def begin(job: Sequence[Codes]) -> JobScores:
            return JobScores([self.spec.count(len(stretch)) for stretch in job], self.spec, self.channels)

        def deliver(logits: Tensor) -> Callable[[], Scores]:
            wait = self.deliver(logits)
            return lambda: wait().numpy()

        return self._streamed(jobs, self.path.logits, begin, deliver)

    def families(self, families: Iterable[Family | None]) -> Iterator[FamilyScores | ArithmeticError]:
        """Scores of each family, or the error that stands for them; `Predictor.stream_families` has the contract."""

        def begin(family: PlannedFamily) -> FamilyInProgress:
            return FamilyInProgress(family, self.spec, self.channels)

        planned = (None if family is None else self.path.plan(family) for family in families)
        return self._streamed(planned, self.path.family_logits, begin, begin_family_delivery)

    @torch.inference_mode()
    def _streamed(
        self,
        jobs: Iterable[Job | None],
        logits: Callable[[Iterable[Job | None]], Iterator[Logits | None]],
        begin: Callable[[Job], InProgress[Found, Outcome]],
        deliver: Callable[[Logits], Callable[[], Found]],
    ) -> Iterator[Outcome | ArithmeticError]:
        """What becomes of each job."""

        def noted(some: Iterable[Job | None]) -> Iterator[Job | None]:
            for job in some:
                if job is not None:
                    begun.append(begin(job))
                yield job

        groups: Iterable[Iterable[Job | None]] = (
            (jobs,) if self.path.overlaps_jobs else ([job] for job in jobs if job is not None)
        )
        for group in groups:
            begun: deque[InProgress[Found, Outcome]] = deque()
            for found in self._exactly(self._on_host(logits(noted(group)), deliver)):
                while begun[0].is_complete():  # a job without windows
                    yield begun.popleft().outcome()
                begun[0].add(found)
                if begun[0].is_complete():
                    yield begun.popleft().outcome()
            for job in begun:
                yield job.outcome()

    def _exactly(self, scores: Iterator[Found]) -> Iterator[Found]:
        """Compute each item in `exact_arithmetic`, which ends before the caller gets it."""
        while True:
            with exact_arithmetic(self.device):
                found = next(scores, None)
            if found is None:
                return
            yield found

    def _on_host(
        self, batches: Iterable[Logits | None], deliver: Callable[[Logits], Callable[[], Found]]
    ) -> Iterator[Found]:
        """Scores of logits in the host's memory; up to `queued` more have begun when the caller gets some.

        None among the logits means that nothing else can be begun at the moment: then everything is delivered.
        """
        under_way: deque[Callable[[], Found]] = deque()
        for batch in batches:
            if batch is not None:
                under_way.append(deliver(batch))
            while len(under_way) > (0 if batch is None else self.queued):
                yield under_way.popleft()()
        for wait in under_way:
            yield wait()


class InProgress(ABC, Generic[Found, Outcome]):
    """A job whose scores come in."""

    @abstractmethod
    def is_complete(self) -> bool:
        """Whether the scores of all windows have been added."""

    @abstractmethod
    def add(self, found: Found) -> None:
        """Add what was found of the next windows."""

    @abstractmethod
    def outcome(self) -> Outcome | ArithmeticError:
        """What the job gets, or the error that stands for it."""


class JobScores(InProgress[Scores, list[Scores]]):
    """The scores of a job as they come in, window by window.

    Parameters
    ----------
    counts : list of int
        Windows of each stretch.
    spec : WindowSpec
        How the windows lie.
    channels : int
        Channels of the scores.
    """

    def __init__(self, counts: list[int], spec: WindowSpec, channels: int) -> None:
        self.counts, self._done, self._finite = counts, 0, True
        self._scores = np.empty((sum(counts), spec.core, channels), dtype=np.float32)

    def is_complete(self) -> bool:
        """Whether the scores of all windows have been added."""
        return self._done == len(self._scores)

    def add(self, found: Scores) -> None:
        """Add the scores [rows, core, channels] of the next windows."""
        self._scores[self._done : self._done + len(found)] = found
        self._done += len(found)
        self._finite = self._finite and bool(np.isfinite(found).all())

    def outcome(self) -> list[Scores] | ArithmeticError:
        """Scores of each stretch, or an error where some are not finite."""
        if not self._finite:
            return ArithmeticError(NOT_FINITE)
        return np.split(self._scores, np.cumsum(self.counts)[:-1]) if self.counts else []


class FamilyInProgress(InProgress[tuple[Tensor, Tensor], FamilyScores]):
    """The scores of a family as they come in, window by window.

    Parameters
    ----------
    family : PlannedFamily
        The family.
    spec : WindowSpec
        How the windows lie.
    channels : int
        Channels of the scores.
    """

    def __init__(self, family: PlannedFamily, spec: WindowSpec, channels: int) -> None:
        self.family = family
        self._scores = JobScores([len(family)], spec, channels)
        self._gaps: list[Tensor] = []

    def is_complete(self) -> bool:
        """Whether the scores of all windows have been added."""
        return self._scores.is_complete()

    def add(self, found: tuple[Tensor, Tensor]) -> None:
        """Add scores [rows, core, channels] and gaps [rows] of the next windows."""
        scores, gaps = found
        self._scores.add(scores.numpy())
        self._gaps.append(gaps.float())

    def outcome(self) -> FamilyScores | ArithmeticError:
        """Scores and gaps of the windows wanted, or an error where some are not finite."""
        found = self._scores.outcome()
        if isinstance(found, ArithmeticError):
            return found
        (scores,), gaps = found, torch.cat([torch.empty(0), *self._gaps]).numpy()
        references, alternatives = self.family.references, self.family.alternatives
        return FamilyScores(scores[references], scores[alternatives], gaps[references], gaps[alternatives])


def begin_delivery(logits: Tensor) -> Callable[[], Tensor]:
    """Begin to copy the scores of logits to the host's memory; the function returned waits for them."""
    return _begin_copy(channels.scores(logits))


def begin_family_delivery(found: LogitsAndGaps) -> Callable[[], tuple[Tensor, Tensor]]:
    """`begin_delivery` of scores together with gaps."""
    scores, gaps = begin_delivery(found.logits), _begin_copy(found.gaps)
    return lambda: (scores(), gaps())


def _begin_copy(scores: Tensor) -> Callable[[], Tensor]:
    if scores.device.type != "cuda":
        return lambda: scores
    host = torch.empty(scores.shape, dtype=scores.dtype, pin_memory=True)
    host.copy_(scores, non_blocking=True)
    copied = torch.cuda.Event()  # type: ignore[no-untyped-call]  # of PyTorch
    copied.record()

    def wait() -> Tensor:
        copied.synchronize()
        return host

    return wait
