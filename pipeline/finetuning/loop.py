"""The training loop of one worker: examples in, states and a best network out. No Ray here.

Each step takes `batch` windows, of which worker r of n takes every n-th; gradients are those of the whole batch,
however many workers share it (the losses are sums, divided by weights added up over all of them), but each worker's
BatchNorm sees its own part. AdamW; the rate rises over the `warmup` share of the training, then falls with a cosine
to zero. The order of windows follows from seed and epoch alone and a state holds all else, so a training that was
killed and resumed takes the same steps as an undisturbed one, on a CPU with the same threads to the last bit.

Errors: `InputError` when the loss is no longer finite, and for data with too few windows for a batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.finetuning import states
from pipeline.finetuning.examples import Batch, Examples, Windows
from pipeline.finetuning.network import freeze, set_new_biases, starting_network
from pipeline.finetuning.settings import FinetuneConfig
from pipeline.finetuning.states import State
from pipeline.finetuning.validation import Figures, in_words, validate
from pipeline.settings import Precision
from pipeline.storage import Store
from sptx_core.engine.machine import keep_freed_memory
from sptx_core.errors import InputError
from sptx_core.losses import Loss, splice_loss
from sptx_core.model import SpTransformerModel

SAID_EVERY = 15.0  # seconds between lines of progress
TOLD = ("loss", "acceptor_auprc", "donor_auprc", "usage", "specific_usage")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Place:
    """Which of how many workers this is, and what it computes on."""

    rank: int
    world: int
    device: torch.device


@dataclass(frozen=True, eq=False)
class TrainingOrder:
    """All that a worker needs; pickles."""

    config: FinetuneConfig
    given: tuple[str, ...]
    """Columns of the usage table."""
    train: Examples
    validation: Examples
    test: Examples | None
    root: str
    """Of the output."""


class Trainee(nn.Module):
    """The network with its loss: what gradients are synchronised through."""

    def __init__(self, network: SpTransformerModel, site_weight: float) -> None:
        super().__init__()
        self.network, self.site_weight = network, site_weight

    def forward(self, batch: Batch) -> Loss:
        """Sums and weights of the worker's part of a batch."""
        logits = self.network(batch.codes, flanked=True).logits
        return splice_loss(logits, *batch[1:], site_weight=self.site_weight)


class Training:
    """One worker's side of a training."""

    def __init__(self, order: TrainingOrder, place: Place, say: Say) -> None:
        config = order.config
        self.order, self.config, self.place = order, config, place
        if place.device.type == "cpu":
            keep_freed_memory()
        self.say: Say = say if place.rank == 0 else lambda _: None
        self.store = Store(order.root)
        begin = starting_network(config.checkpoint, config.network, order.given, config.seed)
        train, weight = order.train, config.site_weight
        set_new_biases(begin.model, train.sites, train.genes.bases, site_weight=weight, known=begin.known)
        self.network = begin.model.to(place.device)
        self.network.gradient_checkpointing_enable(config.gradient_checkpointing)
        self.frozen = freeze(self.network, config.freeze)
        self.optimizer = _optimizer(self.network, config)
        trainee: nn.Module = Trainee(self.network, config.site_weight)
        self.trainee = DistributedDataParallel(trainee) if place.world > 1 else trainee
        self.state = states.newest(self.store) or State(0, 0, 0, {}, {}, {}, [], 0)
        if self.state.step:
            self.network.load_state_dict(self.state.network)
            self.optimizer.load_state_dict(self.state.optimizer)
            self.say(f"goes on after step {self.state.step:,}")
        self.watched = order.validation.centred(config.validation_windows)

    def run(self) -> tuple[dict[str, Tensor], Figures | None]:
        """Train to the end; the best network's tensors and its figures on the test contigs."""
        ended = self._ended_early()
        while not ended and self.state.epoch < self.config.epochs:
            ended = self._epoch()
        self.network.load_state_dict(self.state.best)
        test = self.order.test
        found = None
        if test is not None:
            found = self._validate(test, test.centred())
            self.say(f"test: {in_words(found)}")
        return self.state.best, found

    def _epoch(self) -> bool:
        """The rest of the epoch that the state stands in; whether the training ended in it."""
        config, state = self.config, self.state
        windows = self.order.train.epoch(config.seed, state.epoch, config.empty_windows)
        batches = whole_batches(windows, config.batch)
        wanted = min(batches, math.ceil((config.epochs - state.epoch) * batches))
        began, before = time.monotonic(), state.step
        for batch in self._batches(windows, state.batch, wanted):
            share = (state.epoch + (state.batch + 1) / batches) / config.epochs
            loss = self._step(batch, share)
            state.step, state.batch = state.step + 1, state.batch + 1
            at_end = state.batch == wanted
            if time.monotonic() - began >= SAID_EVERY:
                rate = (state.step - before) * config.batch / (time.monotonic() - began)
                self.say(
                    f"epoch {state.epoch + state.batch / batches:.2f} of {config.epochs:g}, step {state.step:,}: "
                    f"loss {float(loss):.4f}, {rate:,.1f} windows/s"
                )
                began, before = time.monotonic(), state.step
            if at_end:
                state.epoch, state.batch = state.epoch + 1, 0
            due = config.validate_every and state.step % config.validate_every == 0
            if at_end or due:
                self._judge()
                self._save()
                if self._ended_early():
                    self.say(f"no better for {state.stale} validations: stops early")
                    return True
            elif state.step % config.checkpoint_every == 0:
                self._save()
        return False

    def _batches(self, windows: Windows, first: int, end: int) -> Iterator[Batch]:
        """The worker's parts of batches first .. end, the next one made while the last is worked on."""
        size, place = self.config.batch, self.place

        def make(number: int) -> Batch:
            rows = slice(number * size + place.rank, (number + 1) * size, place.world)
            return self.order.train.batch(windows.take(rows))

        with ThreadPoolExecutor(1, "examples") as maker:
            ahead = maker.submit(make, first)
            for number in range(first, end):
                batch = ahead.result()
                if number + 1 < end:
                    ahead = maker.submit(make, number + 1)
                yield batch.to(place.device)

    def _step(self, batch: Batch, share: float) -> Tensor:
        """One step of the optimizer, when this share of the training will be done; the loss of the whole batch."""
        config = self.config
        self.trainee.train()
        for part in self.frozen:
            part.eval()
        with self._autocast():
            loss: Loss = self.trainee(batch)
        total = Loss(*loss)
        if self.place.world > 1:
            sums = torch.stack([x.detach() for x in loss])
            dist.all_reduce(sums)
            total = Loss(*sums)
        site, usage = (x.clamp(min=1.0) for x in (total.site_weight, total.usage_weight))  # a batch may have no site
        whole = (total.site / site + config.usage_weight * total.usage / usage).detach()
        if not torch.isfinite(whole):
            raise InputError(
                f"the loss is no longer finite at step {self.state.step + 1:,}: lower --learning-rate "
                f"({config.learning_rate:g}) and begin anew in another --output"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * rate(share, config.warmup)
        self.optimizer.zero_grad(set_to_none=True)
        own = loss.site / site + config.usage_weight * loss.usage / usage
        (own * self.place.world).backward()  # type: ignore[no-untyped-call]  # gradients are averaged over the workers
        nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
        self.optimizer.step()
        return whole

    def _judge(self) -> None:
        """Validate, and keep the network if it is the best so far."""
        state = self.state
        if self.place.world > 1:  # each worker's norms have seen batches of their own
            for buffer in self.network.buffers():
                dist.broadcast(buffer, 0)
        found = self._validate(self.order.validation, self.watched)
        losses = [past["loss"] for past in state.history]
        better = found["loss"] is not None and all(loss is None or found["loss"] < loss for loss in losses)
        state.history.append({"step": state.step, "epoch": state.epoch, **found})
        state.stale = 0 if better else state.stale + 1
        if better or not state.best:
            state.best = {name: x.detach().cpu().clone() for name, x in self.network.state_dict().items()}
        self.say(f"step {state.step:,}: validation {in_words(found, TOLD)}{' (best)' if better else ''}")

    def _validate(self, examples: Examples, windows: Windows) -> Figures:
        return validate(
            self.network,
            examples,
            windows,
            batch=max(1, self.config.batch // self.place.world),
            site_weight=self.config.site_weight,
            usage_weight=self.config.usage_weight,
            autocast=self._autocast(),
            rank=self.place.rank,
            world=self.place.world,
        )

    def _ended_early(self) -> bool:
        return self.config.patience is not None and self.state.stale >= self.config.patience

    def _save(self) -> None:
        self.state.network = self.network.state_dict()
        self.state.optimizer = self.optimizer.state_dict()
        if self.place.rank == 0:
            states.save(self.store, self.state)

    def _autocast(self) -> torch.autocast:
        enabled = self.config.precision is Precision.BFLOAT16
        return torch.autocast(self.place.device.type, torch.bfloat16, enabled=enabled)


def whole_batches(windows: Windows, size: int) -> int:
    """Batches of an epoch, at least one; windows left over come in another epoch."""
    if windows.size < size:
        raise InputError(f"{windows.size} windows to train on are less than a batch ({size}): select more")
    return windows.size // size


def rate(share: float, warmup: float) -> float:
    """Factor of the learning rate when this share of the training is done: a rise from 0 to 1, then half a cosine."""
    if share < warmup:
        return share / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (share - warmup) / (1 - warmup))))


def _optimizer(network: SpTransformerModel, config: FinetuneConfig) -> torch.optim.AdamW:
    learning = [x for x in network.parameters() if x.requires_grad]
    tissues = network.usage_head.weight  # rows of tissues that are unknown everywhere stay as they are
    groups = [
        {"params": [x for x in learning if x.dim() > 1 and x is not tissues], "weight_decay": config.weight_decay},
        {"params": [x for x in learning if x.dim() <= 1 or x is tissues], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98))
