from __future__ import annotations

import threading

import torch

from sptx_core.engine.flops import count_flops, count_performed, performed
from sptx_core.engine.torch.operators import Projection, softmax_attention


def test_what_is_performed_is_counted_within_the_context() -> None:
    performed(1)
    with count_performed() as count:
        performed(2)
        performed(30)
    performed(400)
    assert count.total == 32


def test_other_threads_are_not_counted() -> None:
    with count_performed() as count:
        thread = threading.Thread(target=performed, args=(5,))
        thread.start()
        thread.join()
    assert count.total == 0


def test_products_of_pytorch_and_reported_ones_add_up() -> None:
    with count_flops() as count:
        torch.ones(3, 4) @ torch.ones(4, 5)
        performed(1000)
    assert count.total == 1000 + 2 * 3 * 4 * 5


def test_packed_projections_and_attention_are_counted() -> None:
    weight, x = torch.ones(8, 4), torch.ones(3, 4)
    for packed in (None, False):
        with count_flops() as count:
            Projection(weight, None, torch.float32, packed=packed)(x)
        assert count.total == 2 * 3 * 4 * 8
    with count_flops() as count:
        softmax_attention(torch.ones(1, 2, 16, 8), torch.ones(1, 2, 48, 8), torch.ones(1, 2, 48, 8))
    assert count.total == 2 * 2 * 2 * 16 * 48 * 8
