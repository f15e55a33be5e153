"""The arithmetic that scores are promised in, whatever the rest of the process has asked PyTorch for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def exact_arithmetic(device: str | torch.device) -> Iterator[None]:
    """On a GPU, the current one within: float32 not rounded to TF32, convolutions that do not vary, no autocast.

    On a CPU nothing changes.
    """
    device = torch.device(device)
    if device.type != "cuda":
        yield
        return
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    with ExitStack() as stack:
        stack.enter_context(torch.cuda.device(device))
        stack.enter_context(torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False))
        stack.enter_context(torch.autocast("cuda", enabled=False))
        matmul.allow_tf32 = False
        try:
            yield
        finally:
            matmul.allow_tf32 = before
