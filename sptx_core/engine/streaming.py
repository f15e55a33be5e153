"""Jobs of stretches in, their scores out, while an engine path computes the next ones.

A job is a list of stretches of consecutive windows, uint8 codes 5' to 3'. Its scores are a list with one array for each
stretch, float32 [n, core, channels], by window and 5' to 3'.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sptx_core import channels
from sptx_core.alphabet import Codes
from sptx_core.engine.machine import exact_arithmetic
from sptx_core.windows import WindowSpec

Scores = npt.NDArray[np.float32]
GPU_QUEUE = 2  # micro-batches that a GPU has been given while the caller waits for one


class LogitsPath(Protocol):
    """What a stream asks of an engine path; `StretchPath.logits` says what each part means."""

    @property
    def overlaps_jobs(self) -> bool:
        """Whether `logits` takes a job before the one before it is done."""

    def logits(self, jobs: Iterable[Sequence[Codes] | None]) -> Iterator[Tensor | None]:
        """Logits [rows, core, channels] of all windows of all jobs in order, on the device."""


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

    @torch.inference_mode()
    def __call__(self, jobs: Iterable[Sequence[Codes] | None]) -> Iterator[list[Scores] | ArithmeticError]:
        """Scores of each job, or the error that stands for them; `Predictor.stream` has the contract."""
        for group in (jobs,) if self.path.overlaps_jobs else ([job] for job in jobs if job is not None):
            begun: deque[JobScores] = deque()
            for scores in self._exactly(self._on_host(self.path.logits(self._noted(group, begun)))):
                while begun[0].is_complete():  # a job without windows
                    yield begun.popleft().outcome()
                begun[0].add(scores.numpy())
                if begun[0].is_complete():
                    yield begun.popleft().outcome()
            for job in begun:
                yield job.outcome()

    def _noted(
        self, jobs: Iterable[Sequence[Codes] | None], begun: deque[JobScores]
    ) -> Iterator[Sequence[Codes] | None]:
        """Pass the jobs on, and add each to `begun`."""
        for job in jobs:
            if job is not None:
                begun.append(JobScores([self.spec.count(len(stretch)) for stretch in job], self.spec, self.channels))
            yield job

    def _exactly(self, scores: Iterator[Tensor]) -> Iterator[Tensor]:
        """Compute each item in `exact_arithmetic`, which ends before the caller gets it."""
        while True:
            with exact_arithmetic(self.device):
                found = next(scores, None)
            if found is None:
                return
            yield found

    def _on_host(self, batches: Iterable[Tensor | None]) -> Iterator[Tensor]:
        """Scores of logits in the host's memory; up to `queued` more have begun when the caller gets some.

        None among the logits means that nothing else can be begun at the moment: then everything is delivered.
        """
        under_way: deque[Callable[[], Tensor]] = deque()
        for batch in batches:
            if batch is not None:
                under_way.append(self.deliver(batch))
            while len(under_way) > (0 if batch is None else self.queued):
                yield under_way.popleft()()
        for wait in under_way:
            yield wait()


class JobScores:
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

    def add(self, scores: Scores) -> None:
        """Add the scores [rows, core, channels] of the next windows."""
        self._scores[self._done : self._done + len(scores)] = scores
        self._done += len(scores)
        self._finite = self._finite and bool(np.isfinite(scores).all())

    def outcome(self) -> list[Scores] | ArithmeticError:
        """Scores of each stretch, or an error where some are not finite."""
        if not self._finite:
            return ArithmeticError("the network's output is not finite: checkpoint or precision is at fault")
        return np.split(self._scores, np.cumsum(self.counts)[:-1]) if self.counts else []


def begin_delivery(logits: Tensor) -> Callable[[], Tensor]:
    """Begin to copy the scores of logits to the host's memory; the function returned waits for them."""
    scores = channels.scores(logits)
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
