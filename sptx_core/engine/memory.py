"""Keeping freed memory for the next layer instead of handing it back to the kernel.

Each layer frees tens of megabytes that the next one needs at once. glibc by default returns such blocks to the kernel,
which clears each page again when it is next touched: measured at 0.19 s of 1.4 s of a window's attention layers.
"""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h
LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Let glibc reuse blocks of any size; holds for the whole process, and elsewhere than on glibc does nothing."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 2**30)
        libc.mallopt(M_TRIM_THRESHOLD, LARGEST)
