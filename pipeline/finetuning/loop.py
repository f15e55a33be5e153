"""The training loop of one worker: examples in, saved states and the best network out. Ray is not used here.

Each step takes `batch` windows, of which worker r of n takes every n-th. The gradient is that of the whole batch,
however many workers share it: losses are sums, divided by weights that are summed over all workers. Only BatchNorm sees
each worker's part on its own. Optimizer and learning rate: `pipeline.finetuning.optimizer`.

The order of the windows follows from seed and epoch alone, and a saved state holds everything else. A training that was
killed and resumed therefore takes the same steps as an undisturbed one; on a CPU with the same number of threads its
result is equal to the last bit.

Errors: `InputError` when the loss is no longer finite, and when there are fewer windows than a batch takes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.batch.patience import PatientStore
from pipeline.finetuning import states
from pipeline.finetuning.examples import Batch, Examples, Windows
from pipeline.finetuning.network import freeze, set_new_biases, starting_network
from pipeline.finetuning.optimizer import learning_rate_factor, make_optimizer
from pipeline.finetuning.settings import FinetuneConfig
from pipeline.finetuning.states import State
from pipeline.finetuning.validation import Metrics, format_metrics, validate
from pipeline.settings import Precision
from sptx_core.engine.machine import keep_freed_memory
from sptx_core.errors import InputError
from sptx_core.losses import Loss, splice_loss
from sptx_core.model import SpTransformerModel
from sptx_core.words import counted

PROGRESS_SECONDS = 15.0  # between lines of progress
STORAGE_PATIENCE = 300.0  # seconds; after 600 NCCL ends workers that wait for another (PyTorch's default)
PROGRESS_METRICS = ("loss", "acceptor_auprc", "donor_auprc", "usage", "specific_usage")  # in the line of a validation

Say = Callable[[str], None]


@dataclass(frozen=True)
class Worker:
    """One worker of a training.

    Attributes
    ----------
    rank, world_size : int
        Its rank from 0, and the number of workers; of more than one, the process group is initialized.
    device : torch.device
        What it computes on.

    """

    rank: int
    world_size: int
    device: torch.device


@dataclass(frozen=True, eq=False)
class TrainingOrder:
    """All that a worker needs to know; can be pickled.

    Attributes
    ----------
    config : FinetuneConfig
        The settings.
    usage_tissues : tuple of str
        Tissues of the usage table; empty without one.
    train, validation, test : Examples
        The three parts of the split; `test` may be None.
    root : str
        Folder or URI of the output.

    """

    config: FinetuneConfig
    usage_tissues: tuple[str, ...]
    train: Examples
    validation: Examples
    test: Examples | None
    root: str


class Step(NamedTuple):
    """A step that was taken.

    Attributes
    ----------
    number : int
        Number of the step, from 1.
    progress : float
        Share of the training that is done with it.
    loss : Tensor
        Loss of the whole batch, a float32 scalar on the worker's device.

    """

    number: int
    progress: float
    loss: Tensor


class Trained(NamedTuple):
    """Result of a training.

    Attributes
    ----------
    best : dict of str to Tensor
        State dict of the network with the lowest validation loss, on the CPU.
    test : dict of str to (float or None), or None
        Its metrics on the test contigs, if there are any.

    """

    best: dict[str, Tensor]
    test: Metrics | None


class NetworkWithLoss(nn.Module):
    """The network together with its loss, so that `DistributedDataParallel` can synchronize its gradients."""

    def __init__(self, network: SpTransformerModel, site_weight: float) -> None:
        super().__init__()
        self.network, self.site_weight = network, site_weight

    def forward(self, batch: Batch) -> Loss:
        """Compute the sums and weights of the losses of this worker's part of a batch."""
        logits = self.network(batch.codes, flanked=True).logits
        return splice_loss(logits, *batch[1:], site_weight=self.site_weight)


class Training:
    """A training as one worker sees it; it starts from the newest saved state, if there is one.

    Parameters
    ----------
    order : TrainingOrder
        Settings and examples.
    worker : Worker
        This worker.
    say : callable
        Called with lines of progress for a person, by the worker of rank 0 only.
    on_step : callable, optional
        Called after each step, when a state that is due has been saved. An exception that it raises ends the training.

    Attributes
    ----------
    network : SpTransformerModel
        The network that is trained.
    optimizer : torch.optim.AdamW
        Its optimizer.
    state : State
        How far the training is.
    store : PatientStore
        The output.

    """

    def __init__(
        self, order: TrainingOrder, worker: Worker, say: Say, on_step: Callable[[Step], None] = lambda _: None
    ) -> None:
        config = order.config
        self.order, self.config, self.worker, self.on_step = order, config, worker, on_step
        if worker.device.type == "cpu":
            keep_freed_memory()
        self.say: Say = say if worker.rank == 0 else lambda _: None
        # The driver has written there before it started the workers.
        self.store = PatientStore(order.root, patience=STORAGE_PATIENCE, proven=True, notice=self.say)
        start = starting_network(config.checkpoint, config.network, order.usage_tissues, config.seed, config.encoders)
        set_new_biases(start, order.train.sites, order.train.genes.bases, site_weight=config.site_weight)
        self.network = start.model.to(worker.device)
        self.network.gradient_checkpointing_enable(config.gradient_checkpointing)
        self._frozen = freeze(self.network, config.freeze, new=start.checkpoint_tissues is None)
        self.optimizer = make_optimizer(self.network, config)
        with_loss: nn.Module = NetworkWithLoss(self.network, config.site_weight)
        self._with_loss = DistributedDataParallel(with_loss) if worker.world_size > 1 else with_loss
        self.state = states.load_newest(self.store) or State(0, 0, 0, {}, {}, {}, [], 0)
        if self.state.step:
            self.network.load_state_dict(self.state.network)
            self.optimizer.load_state_dict(self.state.optimizer)
            self.say(f"goes on after step {self.state.step:,}")
        self._validation_windows = order.validation.centred(config.validation_windows)

    def run(self) -> Trained:
        """Train to the end, then evaluate the best network on the test contigs.

        Returns
        -------
        Trained
            The best network and its metrics; the same for every worker.

        Raises
        ------
        InputError
            The loss is no longer finite, or there are fewer windows than a batch takes.

        """
        stopped = self._stops_early()
        while not stopped and self.state.epoch < self.config.epochs:
            stopped = self._train_epoch()
        self.network.load_state_dict(self.state.best)
        test, metrics = self.order.test, None
        if test is not None:
            metrics = self._metrics(test, test.centred())
            self.say(f"test: {format_metrics(metrics)}")
        return Trained(self.state.best, metrics)

    def _train_epoch(self) -> bool:
        """Train to the end of the current epoch; whether the training stopped early in it."""
        config, state = self.config, self.state
        windows = self.order.train.epoch(config.seed, state.epoch, config.empty_windows)
        batches = batches_per_epoch(windows, config.batch)
        wanted = min(batches, math.ceil((config.epochs - state.epoch) * batches))
        began, before = time.monotonic(), state.step
        for batch in self._batches(windows, state.batch, wanted):
            progress = (state.epoch + (state.batch + 1) / batches) / config.epochs
            loss = self._take_step(batch, progress)
            state.step, state.batch = state.step + 1, state.batch + 1
            if time.monotonic() - began >= PROGRESS_SECONDS:
                speed = (state.step - before) * config.batch / (time.monotonic() - began)
                self.say(
                    f"epoch {state.epoch + state.batch / batches:.2f} of {config.epochs:g}, step {state.step:,}: "
                    f"loss {float(loss):.4f}, {speed:,.1f} windows/s"
                )
                began, before = time.monotonic(), state.step
            at_end = state.batch == wanted
            if at_end:
                state.epoch, state.batch = state.epoch + 1, 0
            validated = at_end or (config.validate_every is not None and state.step % config.validate_every == 0)
            if validated:
                self._validate()
            if validated or state.step % config.checkpoint_every == 0:
                self._save()
            self.on_step(Step(state.step, progress, loss))
            if validated and self._stops_early():
                self.say(f"no lower loss in {counted(state.stale, 'validation')}: stops early")
                return True
        return False

    def _batches(self, windows: Windows, first: int, end: int) -> Iterator[Batch]:
        """Parts of the batches first .. end - 1 for this worker; each is made while the one before it is computed."""
        size, worker = self.config.batch, self.worker

        def make(number: int) -> Batch:
            rows = slice(number * size + worker.rank, (number + 1) * size, worker.world_size)
            return self.order.train.batch(windows.take(rows))

        with ThreadPoolExecutor(1, "examples") as maker:
            following = maker.submit(make, first)
            for number in range(first, end):
                batch = following.result()
                if number + 1 < end:
                    following = maker.submit(make, number + 1)
                yield batch.to(worker.device)

    def _take_step(self, batch: Batch, progress: float) -> Tensor:
        """Take a step of the optimizer with the learning rate at `progress`; returns the loss of the whole batch."""
        config = self.config
        self._with_loss.train()
        for part in self._frozen:
            part.eval()
        with self._autocast():
            loss: Loss = self._with_loss(batch)
        total = Loss(*loss)
        if self.worker.world_size > 1:
            sums = torch.stack([x.detach() for x in loss])
            dist.all_reduce(sums)
            total = Loss(*sums)
        site, usage = (x.clamp(min=1.0) for x in (total.site_weight, total.usage_weight))  # a batch may have no site
        whole = (total.site / site + config.usage_weight * total.usage / usage).detach()
        if not torch.isfinite(whole):
            raise InputError(
                f"the loss is no longer finite at step {self.state.step + 1:,}: lower --learning-rate "
                f"({config.learning_rate:g}) and start again in another --output"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * learning_rate_factor(progress, config.warmup)
        self.optimizer.zero_grad(set_to_none=True)
        own = loss.site / site + config.usage_weight * loss.usage / usage
        # DistributedDataParallel averages gradients over the workers; their sum is wanted.
        (own * self.worker.world_size).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
        self.optimizer.step()
        return whole

    def _validate(self) -> None:
        """Record the metrics of the network, and keep it if it is the best so far."""
        state = self.state
        if self.worker.world_size > 1:  # the statistics of BatchNorm differ: each worker saw batches of its own
            for buffer in self.network.buffers():
                dist.broadcast(buffer, 0)
        metrics = self._metrics(self.order.validation, self._validation_windows)
        losses = [past["loss"] for past in state.history]
        better = metrics["loss"] is not None and all(loss is None or metrics["loss"] < loss for loss in losses)
        state.history.append({"step": state.step, "epoch": state.epoch, **metrics})
        state.stale = 0 if better else state.stale + 1
        if better or not state.best:
            state.best = {name: x.detach().cpu().clone() for name, x in self.network.state_dict().items()}
        best = " (best)" if better else ""
        self.say(f"step {state.step:,}: validation {format_metrics(metrics, PROGRESS_METRICS)}{best}")

    def _metrics(self, examples: Examples, windows: Windows) -> Metrics:
        return validate(
            self.network,
            examples,
            windows,
            batch_size=max(1, self.config.batch // self.worker.world_size),
            site_weight=self.config.site_weight,
            usage_weight=self.config.usage_weight,
            autocast=self._autocast(),
            rank=self.worker.rank,
            world_size=self.worker.world_size,
        )

    def _stops_early(self) -> bool:
        return self.config.patience is not None and self.state.stale >= self.config.patience

    def _save(self) -> None:
        self.state.network = self.network.state_dict()
        self.state.optimizer = self.optimizer.state_dict()
        if self.worker.rank == 0:
            states.save(self.store, self.state)

    def _autocast(self) -> torch.autocast:
        enabled = self.config.precision is Precision.BFLOAT16
        return torch.autocast(self.worker.device.type, torch.bfloat16, enabled=enabled)


def batches_per_epoch(windows: Windows, size: int) -> int:
    """Count the whole batches of an epoch; the windows left over may be drawn in another epoch.

    Parameters
    ----------
    windows : Windows
        Windows of the epoch.
    size : int
        Windows in a batch.

    Returns
    -------
    int
        At least one.

    Raises
    ------
    InputError
        There are fewer windows than a batch takes.

    """
    if windows.size < size:
        held = counted(windows.size, "window to train on is", "windows to train on are")
        raise InputError(f"{held} less than a batch ({size}): select more")
    return windows.size // size
