"""Work for two processes that form a group on loopback, as the workers of a training do; and what they work on.

Processes are spawned, so what they run must be importable: tests themselves are not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from pipeline.finetuning.examples import Batch
from pipeline.finetuning.loop import Training, TrainingOrder, Worker
from pipeline.finetuning.validation import MetricCounter, Metrics
from sptx_core.losses import UNLABELLED

WORKERS = 2
CPU = torch.device("cpu")
ROWS, CORE, TISSUES = 6, 400, 3


def judged(seed: int = 0, rows: int = ROWS) -> tuple[Tensor, Batch]:
    """Logits that know a little about the classes, and a batch with unknown bases and unknown usage."""
    random = np.random.default_rng(seed)
    classes = random.choice([0, 1, 2, UNLABELLED], (rows, CORE), p=[0.9, 0.03, 0.03, 0.04])
    logits = random.normal(0, 2, (rows, CORE, 3 + TISSUES))
    for label in range(3):
        logits[..., label] += 2.0 * (classes == label)
    sites = np.flatnonzero((classes == 1) | (classes == 2))
    usage = 1 / (1 + np.exp(-logits.reshape(-1, 3 + TISSUES)[sites, 3:] - random.normal(0, 2, (len(sites), TISSUES))))
    usage[random.random(usage.shape) < 0.3] = np.nan
    codes = np.zeros((rows, CORE), np.uint8)
    batch = Batch(*map(torch.from_numpy, (codes, classes, sites, usage.astype(np.float32))))
    return torch.from_numpy(logits.astype(np.float32)), batch


def part(logits: Tensor, batch: Batch, first: int, end: int) -> tuple[Tensor, Batch]:
    own = (batch.sites >= first * CORE) & (batch.sites < end * CORE)
    some = Batch(batch.codes[first:end], batch.classes[first:end], batch.sites[own] - first * CORE, batch.usage[own])
    return logits[first:end], some


def run_together(work: Callable[..., object], folder: Path, *arguments: object) -> list[Any]:
    """`work(rank, *arguments)` in each of the processes; what they return."""
    mp.spawn(_joined, (work, str(folder), arguments), nprocs=WORKERS)
    return [torch.load(folder / f"{rank}.pt") for rank in range(WORKERS)]


def _joined(rank: int, work: Callable[..., object], folder: str, arguments: tuple[object, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORKERS)
    torch.save(work(rank, *arguments), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def count_share(rank: int) -> object:
    """Metrics of the batch of `judged`, of which each process counts every second row."""
    logits, batch = judged()
    counter = MetricCounter()
    for row in range(rank, ROWS, WORKERS):
        counter.add(*part(logits, batch, row, row + 1), 10.0)
    counter.reduce(CPU)
    return counter.metrics(1.0)


def count_and_learn(rank: int, orders: list[TrainingOrder]) -> tuple[object, object]:
    """`count_share` and `learn_shares`: processes take long to start, so several tests share them."""
    return count_share(rank), learn_shares(rank, orders)


def learn_shares(rank: int, orders: list[TrainingOrder]) -> object:
    """What each of the trainings comes to."""
    return [learned(Training(order, Worker(rank, WORKERS, CPU), lambda _: None)) for order in orders]


def learned(training: Training) -> tuple[dict[str, Tensor], Metrics | None, list[Metrics], dict[str, Tensor]]:
    """The best network's tensors, metrics of the test, the history, and gradients of the last step."""
    best, test = training.run()
    parameters = training.network.named_parameters()
    gradients = {name: x.grad.clone() for name, x in parameters if x.grad is not None}
    return best, test, training.state.history, gradients
