"""Counting the floating-point operations of products; a multiplication and an addition are two.

PyTorch counts what its own operators perform. The compiled library and the Triton kernels report theirs by `performed`,
and operators that PyTorch's counter does not know are described here. Only the thread that counts is counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class FlopCount:
    """Operations counted so far."""

    total: int = 0


_count: ContextVar[FlopCount | None] = ContextVar("flops", default=None)  # None where nobody counts


def performed(flops: int) -> None:
    """Report operations that PyTorch's counter does not see."""
    if (count := _count.get()) is not None:
        count.total += flops


@contextmanager
def count_performed() -> Iterator[FlopCount]:
    """Count what `performed` reports within the context, in this thread."""
    token = _count.set(count := FlopCount())
    try:
        yield count
    finally:
        _count.reset(token)


@contextmanager
def count_flops() -> Iterator[FlopCount]:
    """Count all products within the context, in this thread; the total is complete when the context ends."""
    from torch.utils.flop_counter import FlopCounterMode  # late: it imports Triton, which no CPU path needs

    counter = FlopCounterMode(display=False, custom_mapping=_unknown_operators())
    with counter, count_performed() as count:
        yield count
    count.total += counter.get_total_flops()


def _unknown_operators() -> dict[Any, Callable[..., int]]:
    """Operators that PyTorch's counter does not know, with what they perform."""
    known: dict[Any, Callable[..., int]] = {
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops
    }
    packed = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    return known if packed is None else {**known, packed: _linear_flops}


def _linear_flops(rows: Sequence[int], weight: Sequence[int], *_: Any, **__: Any) -> int:
    """Product of [n, C in] with [C out, C in], given as shapes."""
    return 2 * math.prod(rows) * weight[0]


def _attention_flops(query: Sequence[int], key: Sequence[int], *_: Any, **__: Any) -> int:
    """Two products of [..., queries, D] with [..., keys, D], given as shapes."""
    return 4 * math.prod(query) * key[-2]
