from __future__ import annotations

import dataclasses

import pytest
import torch
from material.engine_networks import TRITON
from material.operands import DEVICE, assert_close, random, values
from torch import Tensor

pytest.importorskip("triton", reason="Triton is not installed")

from sptx_core.engine.bench import seeded_model
from sptx_core.engine.flops import count_performed
from sptx_core.engine.geometry import CoreBuckets
from sptx_core.engine.triton.layers import TritonLayer

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]


@pytest.mark.parametrize("windows", [1, 2])
@torch.inference_mode()
def test_a_layer_equals_the_networks_and_records_its_choices(windows: int) -> None:
    config = dataclasses.replace(TRITON, max_seq_len=64, layers=1)
    layer = seeded_model(config, 1).layers[0].double().to(DEVICE)
    x = random(windows, 64, 32)
    expected, choice, _ = layer(x.double())
    chosen: list[Tensor] = []
    ready = TritonLayer(layer, torch.float32)
    kept = ready.last(x.clone(), ready.begin(x), CoreBuckets(20, 30, 16, 4), chosen)
    assert_close(kept, expected[:, 20:50], 1e-6)
    assert torch.equal(chosen[0][..., 1:4], choice.bucket[..., 1:4])
    assert (chosen[0][..., [0]] == -1).all()
    rows = ready.begin(x)
    with count_performed() as count:
        rows = ready(x, rows, ready.norm, chosen)
    assert_close(x, expected, 1e-6)
    again = ready.begin(x)
    assert_close(values(rows.normed, 32), values(again.normed, 32), 1e-6)
    assert_close(rows.means, again.means.double(), 1e-6)
    assert torch.equal(chosen[1], choice.bucket)
    linear = 64 * 32 * (3 * 32 + 32 + 2 * 64)
    choosing = 4 * 16 * (2 * 32 + 4)
    assert count.total == windows * (2 * linear + 2 * choosing + 4 * 4 * 16 * 16 * 16 * (3 + 2))
