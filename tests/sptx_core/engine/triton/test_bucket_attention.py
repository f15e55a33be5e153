from __future__ import annotations

import numpy as np
import pytest
import torch
from material.operands import DEVICE, DTYPES, assert_close, random, values

pytest.importorskip("triton", reason="Triton is not installed")

from sptx_core.engine.triton.bucket_attention import attend_buckets


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize(("first", "count"), [(0, 4), (1, 2), (0, 1), (3, 1)])
def test_attention_sees_neighbours_in_the_window_and_the_chosen_bucket(
    dtype: torch.dtype, tolerance: float, first: int, count: int
) -> None:
    windows, buckets, size, heads, near, width = 2, 4, 16, 3, 1, 16
    hidden = heads * width
    qkv = random(windows * buckets * size, 3 * hidden).to(dtype)
    chosen = torch.from_numpy(np.random.default_rng(0).integers(0, windows * buckets, (windows * count, heads - near)))
    chosen = chosen.to(DEVICE)
    probability = random(windows * count, heads - near).abs()
    keys = qkv[:, hidden + near * width : 2 * hidden]
    found = attend_buckets(qkv, keys, chosen, probability, heads=heads, bucket_size=size, windows=windows, first=first)

    of_all = values(found, hidden)
    q, k, v = qkv.double().view(windows, buckets, size, 3, heads, width).unbind(3)
    of_bucket = k.flatten(0, 1)
    for window in range(windows):
        for i in range(count):
            b = first + i
            for head in range(heads):
                if head < near:
                    low, high = max(b - 1, 0), min(b + 2, buckets)
                    key, value = (x[window, low:high, :, head].flatten(0, 1) for x in (k, v))
                else:
                    row = window * count + i
                    moved = of_bucket[chosen[row, head - near], :, head] * probability[row, head - near].double()
                    key = torch.cat((moved, k[window, b, :, head]))
                    value = torch.cat((moved, v[window, b, :, head]))
                weights = (q[window, b, :, head] @ key.T * np.log(2)).softmax(-1)
                rows = slice((window * count + i) * size, (window * count + i + 1) * size)
                assert_close(of_all[rows, head * width : (head + 1) * width], weights @ value, tolerance)
