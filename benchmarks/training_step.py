"""A step of fine-tuning: its gradient beside that of the CPU, its time and its memory.

    python benchmarks/training_step.py CHECKPOINT --device cuda

One batch of random sequence with labels and usage. First the loss and the gradient of two windows in float32, on the
device and on the CPU in turn. Then some steps of AdamW on one batch, in float32 and in bfloat16 (mixed precision, as
`sptx finetune` has it). Exits with 1 where the gradients point elsewhere, or where the loss of the batch does not fall.

Needs PyTorch, NumPy, safetensors and lazy-loader.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sptx_core.engine.machine import exact_arithmetic
from sptx_core.losses import splice_loss
from sptx_core.model import SpTransformerModel

CORE = 1000
SITE_WEIGHT, LEARNING_RATE, CLIP = 10.0, 1e-4, 1.0  # defaults of `sptx finetune`
COMPARED = 2  # windows whose gradient is compared
MIN_COSINE, MAX_LOSS_DIFFERENCE = 0.999, 1e-4  # a bucket chosen otherwise by rounding changes the gradient a little


class Batch(NamedTuple):
    """Codes and labels, as `sptx_core.losses.splice_loss` takes them."""

    codes: Tensor
    classes: Tensor
    sites: Tensor
    usage: Tensor

    def on(self, device: str) -> Batch:
        """The batch on a device."""
        return Batch(*(x.to(device) for x in self))


def random_batch(model: SpTransformerModel, windows: int) -> Batch:
    """Windows of random bases with four sites in each."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 4, (windows, CORE + 2 * model.sizes.context), generator=generator).to(torch.uint8)
    classes = torch.zeros(windows, CORE, dtype=torch.int64)
    classes[:, 100::500], classes[:, 300::500] = 1, 2
    sites = classes.flatten().nonzero().flatten()
    return Batch(codes, classes, sites, torch.rand(len(sites), model.sizes.tissues, generator=generator))


def loss_of(model: SpTransformerModel, batch: Batch) -> Tensor:
    """The loss of a batch, as the training has it."""
    loss = splice_loss(model(batch.codes, flanked=True).logits, *batch[1:], site_weight=SITE_WEIGHT)
    return loss.site / loss.site_weight + loss.usage / loss.usage_weight


def gradient(model: SpTransformerModel, batch: Batch, device: str) -> tuple[float, Tensor]:
    """Loss, and the whole gradient as one vector on the CPU."""
    model.to(device).zero_grad()
    with exact_arithmetic(device):
        loss = loss_of(model, batch.on(device))
        loss.backward()  # type: ignore[no-untyped-call]
    parts = [x.grad.flatten().cpu() for x in model.parameters() if x.grad is not None]
    return float(loss.detach()), torch.cat(parts).double()


def timed_steps(model: SpTransformerModel, batch: Batch, device: str, precision: str, steps: int) -> tuple[str, bool]:
    """A line about some steps on one batch, and whether its loss fell."""
    model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    mixed = torch.autocast(device, torch.bfloat16) if precision == "bfloat16" else nullcontext()
    here, losses, times = batch.on(device), [], []
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for _ in range(steps + 1):  # the first is not timed
        began = time.perf_counter()
        optimizer.zero_grad()
        with mixed:
            loss = loss_of(model, here)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        losses.append(float(loss.detach()))  # waits for the device
        times.append(time.perf_counter() - began)
    seconds = sum(times[1:]) / steps
    peak = f", {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB" if device == "cuda" else ""
    windows = len(batch.codes)
    line = (
        f"{precision}: {seconds:.3f} s a step of {windows} windows, {windows / seconds:,.1f} windows/s{peak}; "
        f"loss {losses[0]:.4f} -> {losses[-1]:.4f} in {steps} steps"
    )
    return line, losses[-1] < losses[0]


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--batch", type=int, default=16, help="windows in a timed step")
    parser.add_argument("--steps", type=int, default=5, help="timed steps")
    settings = parser.parse_args(arguments)
    torch.manual_seed(0)
    model = SpTransformerModel.from_pretrained(settings.checkpoint).train()
    start = {name: x.clone() for name, x in model.state_dict().items()}
    few = random_batch(model, COMPARED)
    expected, expected_gradient = gradient(model, few, "cpu")
    model.load_state_dict(start)
    found, found_gradient = gradient(model, few, settings.device)
    cosine = float(nn.functional.cosine_similarity(expected_gradient, found_gradient, dim=0))
    difference = abs(found - expected) / abs(expected)
    holds = cosine > MIN_COSINE and difference < MAX_LOSS_DIFFERENCE
    print(
        f"float32, {COMPARED} windows: loss {found:.6f}, on the CPU {expected:.6f}; cosine of the gradients "
        f"{cosine:.6f}{'' if holds else '  BEYOND THE LIMITS'}",
        flush=True,
    )
    for precision in ("float32", "bfloat16"):
        model.load_state_dict(start)
        line, falls = timed_steps(
            model, random_batch(model, settings.batch), settings.device, precision, settings.steps
        )
        print(f"{line}{'' if falls else '  IT DOES NOT FALL'}", flush=True)
        holds &= falls
    raise SystemExit(not holds)


if __name__ == "__main__":
    main()
