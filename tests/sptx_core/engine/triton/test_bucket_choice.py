from __future__ import annotations

import pytest
import torch
from material.operands import DEVICE, assert_close, random

pytest.importorskip("triton", reason="Triton is not installed")

from sptx_core.engine.torch.layers import smallest_gaps
from sptx_core.engine.triton.bucket_choice import choose_buckets


@pytest.mark.slow
@pytest.mark.parametrize(("buckets", "first", "count"), [(4, 0, 4), (10, 2, 5), (16, 15, 1)])
def test_each_bucket_chooses_the_one_that_fits_best(buckets: int, first: int, count: int) -> None:
    windows, heads, size, hidden = 3, 2, 16, 64
    means = random(windows, buckets, hidden)
    query, key = random(heads * size, hidden, seed=1), random(heads * size, hidden, seed=2)
    gaps: list[torch.Tensor] = []
    chosen, probability = choose_buckets(means, query, key, 0.01, size, first, count, gaps)
    q, k = (
        (means.double() @ weight.double().T).view(windows, buckets, heads, size).transpose(1, 2)
        for weight in (query, key)
    )
    fit = q @ k.transpose(2, 3) * 0.01
    assert_close(gaps[0], smallest_gaps(fit[:, :, first : first + count]), 1e-5)
    share, best = fit.softmax(-1).max(-1)  # [windows, heads, buckets]
    best = best + buckets * torch.arange(windows, device=DEVICE)[:, None, None]
    assert torch.equal(chosen, best[..., first : first + count].transpose(1, 2).flatten(0, 1))
    assert_close(probability, share[..., first : first + count].transpose(1, 2).flatten(0, 1), 1e-5)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy in the interpreter
def test_a_bucket_is_chosen_among_those_there_are_even_where_nothing_is_a_number() -> None:
    chosen, probability = choose_buckets(random(2, 6, 32) * torch.nan, random(16, 32), random(16, 32), 1.0, 16, 0, 6)
    assert ((chosen >= 0) & (chosen < 12)).all()
    assert probability.isnan().all()
