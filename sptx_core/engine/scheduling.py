"""The order of work of the paths `shared`, `native` and `triton`: runs of windows, micro-batches and threads.

In: jobs of stretches, uint8 codes (A C G T N = 0..4) [(n - 1) * stride + core + 2 * context], 5' to 3'. Out: logits
[rows, core, channels] on the device, of all windows of all stretches in order. Or in: families of windows and of
changes of them (`sptx_core.engine.families`); out: logits of their windows, and how near a tie each was.

Stretches are encoded in runs of windows; then windows pass the attention layers: one by one in each thread of a CPU,
in micro-batches, gathered across stretches, on a GPU. In float64 the result equals the network's to rounding. In
bfloat16 only the operands of products are; residual stream, norms, softmax, the choice of buckets and sums are float32.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from sptx_core.alphabet import Codes
from sptx_core.engine.encoding import EncodedStretch, StretchEncoder
from sptx_core.engine.families import Family, FamilyRun, PlannedFamily, plan_family
from sptx_core.engine.machine import keep_freed_memory, to_device
from sptx_core.windows import WindowSpec

# Windows of a run: its first window costs as much to encode as three more. Each takes some 15 MB.
CPU_RUN = 48
GPU_RUN = 96
UNATTENDED_RUN = 131_072  # predicted bases of a run without attention layers: its flanks cost 5 % more
ENCODING_SHARE = 4  # a window costs about this many times as much as its encoding, so one thread in four encodes


class Transformer(Protocol):
    """The attention and feed-forward layers of a path."""

    def __call__(self, x: Tensor, choices: list[Tensor] | None = None, gaps: list[Tensor] | None = None) -> Tensor:
        """[B, S, hidden], which is overwritten -> logits [B, core, channels]; lists as for `TorchTransformer`."""


class LogitsAndGaps(NamedTuple):
    """What is computed of windows of a family."""

    logits: Tensor
    """[rows, core, channels]."""
    gaps: Tensor
    """[rows], the smallest difference between the two best buckets that a Sinkhorn head chose from."""


def smallest_of(gaps: Sequence[Tensor], logits: Tensor) -> Tensor:
    """The smallest gap of each window [B] over layers; infinity in a network without layers."""
    return torch.stack([*gaps, logits.new_full((len(logits),), torch.inf)]).amin(0)


Job = Sequence[Codes] | PlannedFamily
Run = Tensor | FamilyRun
Item = TypeVar("Item")


class StretchPath:
    """An engine path that encodes whole stretches and then takes their windows through the layers.

    Parameters
    ----------
    encoder : StretchEncoder
        The convolutional part.
    transformer : Transformer
        The attention and feed-forward layers.
    spec : WindowSpec
        How the windows lie.
    batch : int or None
        Windows of a micro-batch; None to give each thread one window at a time.
    run : int, optional
        Windows that are encoded at once, by default `CPU_RUN` without and `GPU_RUN` with micro-batches, or as many as
        have `UNATTENDED_RUN` predicted bases where there are no attention layers.
    attends : bool
        Whether there are attention layers. Without them the encoder has all the work, and all threads.
    """

    def __init__(
        self,
        encoder: StretchEncoder,
        transformer: Transformer,
        spec: WindowSpec,
        *,
        batch: int | None = None,
        run: int | None = None,
        attends: bool = True,
    ) -> None:
        self.encoder, self.transformer, self.spec, self.batch = encoder, transformer, spec, batch
        self.attends, self.family_run = attends, run or (CPU_RUN if batch is None else GPU_RUN)
        self.run = self.family_run if run or attends else max(1, UNATTENDED_RUN // spec.stride)
        self.device = encoder.device
        if self.device.type == "cpu":
            keep_freed_memory()

    @property
    def overlaps_jobs(self) -> bool:
        """Whether `logits` takes a job before the one before it is done.

        On several threads that needs an encoder whose bytes do not depend on how many of them encode.
        """
        return self.batch is not None or (self.encoder.divides_work and self._threads > 1)

    @property
    def _threads(self) -> int:
        """Threads that take windows one by one; 1 with micro-batches, and where nothing but the encoder has work."""
        return torch.get_num_threads() if self.batch is None and self.attends else 1

    def logits(self, jobs: Iterable[Sequence[Codes] | None]) -> Iterator[Tensor | None]:
        """Logits of consecutive windows of the stretches of each job.

        Without micro-batches the threads of `torch.set_num_threads` each take a window at a time. Micro-batches hold
        windows of one job only and all have the same size: the last one of a job is filled up with its first window,
        whose rows are dropped.

        Parameters
        ----------
        jobs : iterable of (sequence of Codes or None)
            None means that no job is waiting at the moment; only a path that overlaps jobs is given None.

        Yields
        ------
        Tensor or None
            [rows, core, channels], at most `batch` rows. With micro-batches None is passed on, so that the caller
            can finish what has begun.
        """
        return self._computed(jobs, lambda x, windows: self.transformer(x)[:windows])

    def family_logits(self, families: Iterable[PlannedFamily | None]) -> Iterator[LogitsAndGaps | None]:
        """Logits and gaps of the windows of each family, in the order of its runs.

        As `logits`, but that micro-batches of a family with fewer windows than `batch` are as small as the next power
        of two.

        Parameters
        ----------
        families : iterable of (PlannedFamily or None)
            From `plan`; None as for `logits`.

        Yields
        ------
        LogitsAndGaps or None
            As `logits`.
        """

        def transform(x: Tensor, windows: int) -> LogitsAndGaps:
            gaps: list[Tensor] = []
            logits = self.transformer(x, None, gaps)
            return LogitsAndGaps(logits[:windows], smallest_of(gaps, logits)[:windows])

        return self._computed(families, transform)

    def plan(self, family: Family) -> PlannedFamily:
        """The windows of a family in runs, as this path encodes them."""
        return plan_family(family, self.spec.width, self.family_run, evenly=self.encoder.evenly)

    def _computed(self, jobs: Iterable[Job | None], transform: Callable[[Tensor, int], Item]) -> Iterator[Item | None]:
        """What `transform` makes of the windows of each job, given [batch, S, hidden] and how many of them count."""
        if (threads := self._threads) > 1:
            yield from self._on_threads(jobs, threads, transform)
            return
        for job in jobs:
            if job is None:
                yield None
            else:
                for x, windows in self._micro_batches(job, self._batch(job)):
                    yield transform(x, windows)

    def _batch(self, job: Job) -> int:
        """Windows of a micro-batch of a job; on a CPU without attention layers as many as a run has."""
        if self.batch is None and not self.attends:
            windows = len(job) if isinstance(job, PlannedFamily) else sum(self.spec.count(len(each)) for each in job)
            return max(1, min(self.run, windows))
        batch = self.batch or 1
        return min(batch, 1 << (len(job) - 1).bit_length()) if isinstance(job, PlannedFamily) and len(job) else batch

    def recorded(self, stretch: Codes) -> tuple[Tensor, Tensor]:
        """Logits and chosen buckets of a stretch's windows in one micro-batch, for comparisons.

        Returns
        -------
        tuple of Tensor
            [n, core, channels] and int64 [n, layers, Sinkhorn heads, buckets], -1 where no choice is needed.
        """
        chosen: list[Tensor] = []
        encoded = self.encoder(torch.from_numpy(stretch).to(self.device))
        logits = self.transformer(encoded.windows(), chosen)
        return logits, _choices(chosen, logits)

    def recorded_family(self, family: PlannedFamily) -> tuple[Tensor, Tensor]:
        """`recorded` for the windows of a family."""
        found = []
        for run in family.runs:
            encoded = self._encoded(run)
            for i in range(len(encoded)):
                chosen: list[Tensor] = []
                logits = self.transformer(encoded.windows(i, 1), chosen)
                found.append((logits, _choices(chosen, logits)))
        logits, choices = (torch.cat(part) for part in zip(*found, strict=True))
        return logits, choices

    def _micro_batches(self, job: Job, batch: int) -> Iterator[tuple[Tensor, int]]:
        """[batch, S, hidden] for the layers, and how many windows of the job that is."""
        like = self.encoder.positions.position
        x, filled = like.new_empty(batch, *like.shape), 0
        threads = 1 if self.attends else torch.get_num_threads()
        for encoded in (self._encoded(run, threads) for run in self._runs(job)):
            first = 0
            while first < len(encoded):
                some = min(batch - filled, len(encoded) - first)
                encoded.put(first, x[filled : filled + some])
                first, filled = first + some, filled + some
                if filled == batch:
                    yield x, filled
                    x, filled = torch.empty_like(x), 0  # the layers have overwritten the other
            del encoded  # half a gigabyte, which would otherwise stay until the next run is encoded
        if filled:
            x[filled:] = x[:1]
            yield x, filled

    def _encoded(self, run: Run, threads: int = 1) -> EncodedStretch:
        if isinstance(run, FamilyRun):
            return self.encoder.encode_family(run, threads)
        return self.encoder(run, threads)

    def _on_threads(
        self, jobs: Iterable[Job | None], threads: int, transform: Callable[[Tensor, int], Item]
    ) -> Iterator[Item]:
        """Each thread takes one window at a time through the layers, while one of them encodes the next run.

        Unlike threads within each operation they never wait for one another. All threads encode together only when
        there is nothing else to do. The next run is begun when at most one run of windows has not been given to a
        thread yet, which bounds the memory. Of small runs of families several are encoded at a time.
        """
        runs = chain.from_iterable((None,) if job is None else self._runs(job) for job in jobs)
        waiting: deque[tuple[EncodedStretch, int]] = deque()  # windows that no thread has been given yet
        attended: deque[Future[Item]] = deque()  # windows that a thread has; few, so that a run need not wait
        encoding: deque[tuple[Future[EncodedStretch], Run]] = deque()
        torch.set_num_threads(1)  # of this thread too: OpenMP's would wait for its next operation in a busy loop
        pool = ThreadPoolExecutor(threads, "window", initializer=torch.set_num_threads, initargs=(1,))
        try:
            ended = False
            while not ended or encoding or attended or waiting:
                if encoding and encoding[0][0].done():
                    waiting.extend(_numbered(encoding.popleft()[0].result()))
                while not ended and self._has_room([run for _, run in encoding], len(waiting), threads):
                    try:
                        run = next(runs)
                    except StopIteration:
                        run, ended = None, True
                    if run is None:
                        break
                    if not (encoding or attended or waiting):
                        waiting.extend(_numbered(self._encode(run, threads)))
                        break
                    share = 1 if self._is_small(run) else max(1, threads // ENCODING_SHARE)
                    encoding.append((pool.submit(self._encode, run, share), run))
                while waiting and len(attended) < 2 * threads:
                    attended.append(pool.submit(self._attend, transform, waiting.popleft()))
                if attended:
                    yield attended.popleft().result()
                elif encoding:
                    waiting.extend(_numbered(encoding.popleft()[0].result()))
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)

    def _is_small(self, run: Run) -> bool:
        """Whether a run is encoded by one thread beside other runs: of few windows, so that threads would wait."""
        return isinstance(run, FamilyRun) and self.encoder.divides_work and 2 * len(run.windows) < self.run

    def _has_room(self, encoding: list[Run], waiting: int, threads: int) -> bool:
        """Whether another run may be begun, beside those that are being encoded and windows that wait."""
        if not encoding:
            return waiting <= self.run
        windows = sum(len(run.windows) if isinstance(run, FamilyRun) else self.run for run in encoding)
        return all(map(self._is_small, encoding)) and len(encoding) < threads // 2 and windows + waiting < self.run

    @torch.inference_mode()
    def _encode(self, run: Run, threads: int) -> EncodedStretch:
        """Encode a run by so many threads; this thread otherwise uses one."""
        if self.encoder.divides_work:
            return self._encoded(run, threads)
        torch.set_num_threads(threads)
        try:
            return self._encoded(run)
        finally:
            torch.set_num_threads(1)

    @torch.inference_mode()
    def _attend(self, transform: Callable[[Tensor, int], Item], window: tuple[EncodedStretch, int]) -> Item:
        encoded, number = window
        return transform(encoded.windows(number, 1), 1)

    def _runs(self, job: Job) -> Iterator[Run]:
        """Codes of up to `run` consecutive windows at a time, on the device; the runs of a family as they are."""
        if isinstance(job, PlannedFamily):
            yield from job.runs
            return
        for stretch in job:
            windows = self.spec.count(len(stretch))
            for k in range(0, windows, self.run):
                first, end = self.spec.input_span(k, min(k + self.run, windows) - 1)
                codes = torch.from_numpy(stretch[first + self.spec.context : end + self.spec.context].copy())
                yield to_device(codes, self.device)


def _choices(chosen: Sequence[Tensor], logits: Tensor) -> Tensor:
    """Chosen buckets, int64 [n, layers, Sinkhorn heads, buckets]; no layers of none where nothing attends."""
    return torch.stack(list(chosen), 1) if chosen else logits.new_empty(len(logits), 0, 0, 0).long()


def _numbered(encoded: EncodedStretch) -> Iterator[tuple[EncodedStretch, int]]:
    """Each window of what was encoded."""
    return ((encoded, window) for window in range(len(encoded)))
