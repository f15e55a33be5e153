"""What the engine asks of the machine: exact arithmetic, memory kept between layers, and whether a GPU still works."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # parameters of mallopt, from glibc's malloc.h
MMAP_THRESHOLD_BYTES = 2**30  # above any tensor of a layer
TRIM_THRESHOLD_BYTES = 2**31 - 1  # the largest int
DEVICE_LOST = ("CUDA error", "Triton Error [CUDA]")  # how PyTorch and Triton begin what the CUDA driver reports


def devices() -> tuple[str, ...]:
    """Kinds of devices of this machine that the engine computes on: "cpu", and "cuda" where there is a GPU."""
    return ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)


@contextmanager
def exact_arithmetic(device: str | torch.device) -> Iterator[None]:
    """Compute as scores are promised, whatever the rest of the process has asked PyTorch for.

    Within the context a GPU does not round float32 to TF32, its convolutions give the same result at each call, there
    is no autocast, and the device is the current one. On a CPU nothing changes.
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


def is_device_lost(error: Exception) -> bool:
    """Whether an error means that this process can no longer use its GPU.

    After such an error every later call fails too, so only a new process can go on. Running out of memory and a kernel
    that cannot be compiled are not such errors.
    """
    return isinstance(error, RuntimeError) and any(text in str(error) for text in DEVICE_LOST)


def require_device(error: Exception, device: str | torch.device) -> None:
    """After an error: return where the device can still be used, and raise where it is lost.

    A GPU reports the failure of a kernel at some later call, so this function also waits for the work begun so far. It
    gives back the memory that PyTorch keeps.

    Raises
    ------
    RuntimeError
        `error` itself, or what the GPU reports now.
    """
    if is_device_lost(error):
        raise error
    if torch.device(device).type == "cuda" and torch.cuda.is_available():
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """`x`, which lies on the CPU, on a device; other work of a GPU need not be done first, as it is for `x.to`."""
    return (x.pin_memory() if device.type == "cuda" else x).to(device, non_blocking=True)


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks of any size for the next layer; holds for the whole process.

    Each layer frees tens of megabytes that the next one needs at once. By default glibc returns such blocks to the
    kernel, which clears each page again when it is next touched: 0.19 s of the 1.4 s that the attention layers took for
    a window (measured on a Cascade Lake). Without glibc nothing happens.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)
