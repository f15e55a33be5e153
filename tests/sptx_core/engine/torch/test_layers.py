from __future__ import annotations

import numpy as np
import pytest
import torch
from material.engine_networks import SMALL_SPEC, make_path, network_logits, path_logits, random_stretches, small_network
from torch import Tensor

from sptx_core.engine.geometry import CoreBuckets
from sptx_core.engine.torch.layers import TorchLayer, neighbourhoods, record_choice, smallest_gaps, through_windows
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("rows", [None, 8, 24])
@pytest.mark.parametrize("windows", [1, 3])
@torch.inference_mode()
def test_a_layer_equals_the_networks_in_float64(rows: int | None, windows: int) -> None:
    layer = small_network().double().layers[0]
    x = torch.randn(windows, 64, 32, generator=torch.Generator().manual_seed(windows), dtype=torch.float64)
    expected, choice, _ = layer(x)
    ready = TorchLayer(layer, torch.float64, torch.float64, rows)
    chosen: list[Tensor] = []

    core = CoreBuckets(20, 13, 8, 8)
    kept = ready.last(x.clone(), core, chosen)
    torch.testing.assert_close(kept, expected[:, 20:33], rtol=0, atol=1e-12)
    assert torch.equal(chosen[0][..., 1:6], choice.bucket[..., 1:6])
    assert (chosen[0][..., [0, 6, 7]] == -1).all()

    ready(x, chosen)
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-12)
    assert torch.equal(chosen[1], choice.bucket)


def test_the_smallest_gap_of_a_window_is_between_the_best_and_the_next() -> None:
    fit = torch.tensor([[[[1.0, 5.0, 3.0], [2.0, 2.0, 7.0]]], [[[1.0, 0.5, 1.0], [9.0, 4.0, 0.0]]]])
    assert smallest_gaps(fit).tolist() == [2, 0]
    assert smallest_gaps(fit[:, :0]).tolist() == smallest_gaps(fit[..., :1]).tolist() == [torch.inf, torch.inf]


@pytest.mark.parametrize("local_heads", [0, 4])
def test_heads_of_one_kind_only(local_heads: int) -> None:
    model = small_network(local_heads=local_heads).double()
    (stretch,) = random_stretches(SMALL_SPEC, [3])
    found = path_logits(make_path("shared", model, SMALL_SPEC, torch.float64), stretch)
    torch.testing.assert_close(found, network_logits(model, SMALL_SPEC, stretch), rtol=0, atol=1e-12)


def test_choices_are_recorded_only_where_they_are_wanted() -> None:
    bucket = torch.tensor([[[3, 0], [1, 2]]])  # one window, two buckets, two heads
    record_choice(None, bucket, 1, 4)
    choices: list[Tensor] = []
    record_choice(choices, bucket, 1, 4)
    assert choices[0].tolist() == [[[-1, 3, 1, -1], [-1, 0, 2, -1]]]


def test_buckets_are_numbered_through_all_windows() -> None:
    assert through_windows(torch.tensor([[[0], [2]], [[1], [0]]]), 3).tolist() == [[0], [2], [4], [3]]


@pytest.mark.parametrize("buckets", [1, 2, 3, 5])
@pytest.mark.parametrize("some", [slice(0, 15), slice(0, 4), slice(3, 8), slice(14, 15)])
def test_each_bucket_sees_its_neighbours_in_its_window(buckets: int, some: slice) -> None:
    total = 15 if buckets != 2 else 16
    seen = {}
    for where, low, high in neighbourhoods(some, buckets, total):
        assert all(some.start <= bucket < some.stop for bucket in where)
        assert all(0 <= bucket + low <= bucket + high <= total for bucket in where)  # nothing outside is read
        seen.update({bucket: (bucket + low, bucket + high) for bucket in where})
    window = {bucket: bucket // buckets * buckets for bucket in range(some.start, some.stop)}
    assert seen == {
        bucket: (max(bucket - 1, start), min(bucket + 2, start + buckets)) for bucket, start in window.items()
    }


@pytest.mark.slow
@torch.inference_mode()
def test_the_golden_logits(
    golden_outputs: list[tuple[np.ndarray, np.ndarray]], golden_model: SpTransformerModel
) -> None:
    for codes, expected in golden_outputs[1::2]:
        spec = WindowSpec(core=len(expected))
        logits = path_logits(make_path("shared", golden_model, spec, torch.float32), codes)[0].numpy()
        assert np.abs(logits - expected).max() < 2e-5
