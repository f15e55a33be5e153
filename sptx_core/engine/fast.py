"""The paths `shared`, `native` and `triton`: what the network computes, nothing computed twice or for nothing.

In and out as in `sptx_core.engine.reference`. Stretches are encoded in runs of windows (`sptx_core.engine.encoding`),
then windows pass the attention layers (`sptx_core.engine.transformer`): one by one in each thread of a CPU, in
micro-batches, gathered across stretches, on a GPU. Exact: in float64 it equals the network to rounding. In bfloat16
only the operands of products are; residuals, norms, softmax, the choice of buckets and accumulation are float32.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain

import torch
from torch import Tensor

from sptx_core.alphabet import Codes
from sptx_core.engine.encoding import Encoded, Encoder
from sptx_core.engine.memory import keep_freed_memory
from sptx_core.engine.native.encoding import NativeEncoder
from sptx_core.engine.native.layers import NativeTransformer
from sptx_core.engine.transformer import CPU_ROWS, Transformer
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec

CPU_RUN = 48  # windows encoded at once: the first of a run costs as much as three more, each takes some 15 MB
GPU_RUN = 96
ENCODING_SHARE = 4  # a window costs about this many times as much as its encoding


class SharedPath:
    """The network taken apart and folded for a window layout.

    Args:
        model: the network, on the device to be used.
        spec: how the windows lie; see `fits`.
        dtype: precision of the operands of products: float32, bfloat16, or float64 for tests.
        batch: windows of a micro-batch, None for a window a thread.
        path: "shared", or "native" or "triton", whose code must be usable and fit the network.

    """

    def __init__(
        self,
        model: SpTransformerModel,
        spec: WindowSpec,
        dtype: torch.dtype,
        batch: int | None = None,
        *,
        path: str = "shared",
    ) -> None:
        wide = torch.promote_types(dtype, torch.float32)
        exact = copy.deepcopy(model).double()
        self.spec, self.batch, self.device = spec, batch, next(model.parameters()).device
        self.native = path == "native"
        if self.device.type == "cpu":
            keep_freed_memory()
        self.run = CPU_RUN if batch is None else GPU_RUN
        self.encoder: Encoder
        self.transformer: Transformer
        if path == "native":
            self.encoder, self.transformer = NativeEncoder(exact, spec, dtype), NativeTransformer(exact, spec, dtype)
        elif path == "triton":
            from sptx_core.engine.gpu.encoding import GpuEncoder  # late: Triton comes with PyTorch for GPUs alone
            from sptx_core.engine.gpu.layers import GpuTransformer

            self.encoder, self.transformer = GpuEncoder(exact, spec, dtype), GpuTransformer(exact, spec, dtype)
        else:
            self.encoder = Encoder(exact, spec, dtype, wide)
            self.transformer = Transformer(exact, spec, dtype, wide, CPU_ROWS if batch is None else None)

    @property
    def ahead(self) -> bool:
        """Whether `logits` may be given several jobs, to begin one before the one before it is done.

        With threads, only where a run that is encoded by one of them has the bytes of one that is encoded by all.
        """
        return self.batch is not None or (self.native and self._threads > 1)

    @property
    def _threads(self) -> int:
        """That take windows one by one."""
        return torch.get_num_threads() if self.batch is None else 1

    def logits(self, jobs: Iterable[Sequence[Codes] | None]) -> Iterator[Tensor | None]:
        """Logits [rows, core, channels] of consecutive windows of each job's stretches, at most `batch` rows at a time.

        Without a micro-batch the caller's threads (`torch.set_num_threads`) are used one by one; see `_on_threads`.
        Micro-batches hold windows of one job alone and all have the same size: a job's last one is filled up with its
        first window, whose rows are dropped. None among the jobs says that there is none yet, for a path that begins
        `ahead`; with micro-batches it is handed on, so that the caller waits for those it has and no more.
        """
        if (threads := self._threads) > 1:
            yield from self._on_threads(jobs, threads)
            return
        for job in jobs:
            if job is None:
                yield None
            else:
                for x, windows in self._micro_batches(job, self.batch or 1):
                    yield self.transformer(x)[:windows]

    def recorded(self, stretch: Codes) -> tuple[Tensor, Tensor]:
        """Logits and chosen buckets of a stretch's windows in one micro-batch, for comparisons.

        Returns:
            [n, core, channels] and int64 [n, layers, heads, buckets], -1 where the choice is not needed.

        """
        chosen: list[Tensor] = []
        encoded = self.encoder(torch.from_numpy(stretch).to(self.device))
        logits = self.transformer(encoded.windows(), chosen)
        return logits, torch.stack(chosen, 1)

    def _micro_batches(self, job: Sequence[Codes], batch: int) -> Iterator[tuple[Tensor, int]]:
        """[batch, S, hidden] for the layers, and how many windows of the job that is."""
        like = self.encoder.position
        x, filled = like.new_empty(batch, *like.shape), 0
        for encoded in map(self.encoder, self._runs(job)):
            first = 0
            while first < len(encoded):
                some = min(batch - filled, len(encoded) - first)
                encoded.put(first, x[filled : filled + some])
                first, filled = first + some, filled + some
                if filled == batch:
                    yield x, filled
                    x, filled = torch.empty_like(x), 0  # the layers have overwritten the other
            del encoded  # half a gigabyte, which would outlast the encoding of the next run
        if filled:
            x[filled:] = x[:1]
            yield x, filled

    def _on_threads(self, jobs: Iterable[Sequence[Codes] | None], threads: int) -> Iterator[Tensor]:
        """Each thread takes a window through the attention layers, while one of them encodes the next run.

        Unlike threads within each operation they never wait for one another. A run is encoded by all only when there is
        nothing else to do. The next run is begun when no more than one run of windows is left to attend, which bounds
        what is kept.
        """
        runs = chain.from_iterable((None,) if job is None else self._runs(job) for job in jobs)
        left: deque[tuple[Encoded, int]] = deque()  # windows that no thread has been given yet
        attended: deque[Future[Tensor]] = deque()  # windows of which one has, few, so that a run need not wait
        ahead: Future[Encoded] | None = None
        torch.set_num_threads(1)  # of this thread too: OpenMP's would wait for its next operation in a busy loop
        pool = ThreadPoolExecutor(threads, "window", initializer=torch.set_num_threads, initargs=(1,))
        try:
            ended = False
            while not ended or ahead is not None or attended or left:
                encoded: Encoded | None = None
                if ahead is not None and (ahead.done() or not (attended or left)):
                    encoded, ahead = ahead.result(), None
                    left.extend((encoded, i) for i in range(len(encoded)))
                if ahead is None and not ended and len(left) <= self.run:
                    try:
                        run = next(runs)
                    except StopIteration:
                        run, ended = None, True
                    if run is not None and (attended or left):
                        ahead = pool.submit(self._encode, run, max(1, threads // ENCODING_SHARE))
                    elif run is not None:
                        encoded = self._encode(run, threads)
                        left.extend((encoded, i) for i in range(len(encoded)))
                while left and len(attended) < 2 * threads:
                    attended.append(pool.submit(self._attend, *left.popleft()))
                if attended:
                    yield attended.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)

    @torch.inference_mode()
    def _encode(self, run: Tensor, threads: int) -> Encoded:
        """A run encoded by so many threads."""
        if self.native:
            return self.encoder(run, threads)
        torch.set_num_threads(threads)
        try:
            return self.encoder(run)
        finally:
            torch.set_num_threads(1)

    def _runs(self, stretches: Iterable[Codes]) -> Iterator[Tensor]:
        """Codes of up to `run` consecutive windows at a time, on the device."""
        for stretch in stretches:
            windows = self.spec.count(len(stretch))
            for k in range(0, windows, self.run):
                first, end = self.spec.input_span(k, min(k + self.run, windows) - 1)
                codes = torch.from_numpy(stretch[first + self.spec.context : end + self.spec.context].copy())
                if self.device.type == "cuda":  # whose copies from other memory would wait for all that it has to do
                    codes = codes.pin_memory()
                yield codes.to(self.device, non_blocking=True)

    @torch.inference_mode()
    def _attend(self, encoded: Encoded, i: int) -> Tensor:
        return self.transformer(encoded.windows(i, 1))


def fits(model: SpTransformerModel, spec: WindowSpec) -> bool:
    """Whether windows are wider than their ends, so that there is something to share."""
    reach = [
        sum(stage.blocks * 2 * (stage.kernel_size // 2) * stage.dilation for stage in encoder.stages)
        for encoder in model.config.encoders
    ]
    return 2 * max(reach) < spec.width
