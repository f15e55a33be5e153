"""A group of training workers on Ray Train. It imports Ray, as do only `cluster` and `actors` beside it."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import torch

from pipeline.batch.cluster import Pool
from sptx_core.errors import InputError

POLL_SECONDS = 0.5  # between two looks at what the workers have said


def train(
    work: Callable[[int, int, torch.device, Callable[[str], None]], None],
    pool: Pool,
    *,
    max_failures: int,
    say: Callable[[str], None],
) -> None:
    """Run `work(rank, workers, device, say)` in each worker of a Ray Train group; return when all have ended.

    The workers share a `torch.distributed` process group. When one of them dies, all are started again; `work` itself
    must go on where it was, by states that it saves.

    Parameters
    ----------
    work
        What each worker runs: its rank, the number of workers, its device, and what prints a line at the driver.
    pool
        How many workers, and what each holds.
    max_failures
        How many times the workers are started again.
    say
        Prints a line.

    Raises
    ------
    InputError
        The one that a worker raised.
    ray.train.TrainingFailedError
        Workers failed more often than `max_failures`.

    """
    import ray
    from ray.train import RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer, get_device
    from ray.util.queue import Queue

    queue = Queue(actor_options={"num_cpus": 0})

    def loop() -> None:
        context = ray.train.get_context()
        torch.set_num_threads(pool.threads)
        device = get_device() if pool.gpus else torch.device("cpu")
        try:
            work(context.get_world_rank(), context.get_world_size(), device, lambda line: queue.put((True, line)))
        except InputError as error:
            queue.put((False, str(error)))
            raise  # so that the other workers, which may wait for this one, are ended too

    resources = {"CPU": 1.0, **({"GPU": pool.gpus} if pool.gpus else {})}
    scaling = ScalingConfig(num_workers=pool.workers, use_gpu=bool(pool.gpus), resources_per_worker=resources)
    for failures in count(1):
        refused: list[str] = []
        try:
            with (
                _forward_lines(queue, say, refused),
                # The folder takes Ray Train's own record of the group, which nothing reads.
                tempfile.TemporaryDirectory(prefix="sptx-train-", ignore_cleanup_errors=True) as folder,
            ):
                run = RunConfig(name="sptx", storage_path=folder)
                trainer = TorchTrainer(loop, scaling_config=scaling, run_config=run)
                # Ray's own handler of SIGINT would end this process with 1, and silently.
                trainer._register_sigint_handler = lambda _: None  # type: ignore[attr-defined]  # mypy sees a base class without it
                trainer.fit()
        except TrainingFailedError as error:
            if refused:
                raise InputError(refused[0]) from None
            if failures > max_failures:
                raise
            say(f"workers are started again, because one has failed: {' '.join(str(error).split())[:200]}")
        else:
            return


@contextmanager
def _forward_lines(queue: Any, say: Callable[[str], None], refused: list[str]) -> Iterator[None]:
    """Pass on what workers put into the queue: lines to `say`, the sentence of an `InputError` to `refused`."""
    ended = threading.Event()

    def listen() -> None:
        while True:
            last = ended.is_set()
            for fine, line in queue.get_nowait_batch(queue.qsize()):
                if fine:
                    say(line)
                else:
                    refused.append(line)
            if last:
                return
            ended.wait(POLL_SECONDS)

    listener = threading.Thread(target=listen, name="listener")
    listener.start()
    try:
        yield
    finally:
        ended.set()
        listener.join()
