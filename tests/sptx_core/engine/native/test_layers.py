from __future__ import annotations

import pytest
import torch
from material.networks import NATIVE

from sptx_core.config import SpTransformerConfig
from sptx_core.engine.bench import run_bench, seeded_model
from sptx_core.engine.geometry import CoreBuckets
from sptx_core.engine.native import library
from sptx_core.engine.native.layers import NativeLayer
from sptx_core.engine.native.library import BUCKET
from sptx_core.windows import WindowSpec

pytestmark = pytest.mark.usefixtures("one_thread")


def config_of(buckets: int, local_heads: int, feed_forward_size: int) -> SpTransformerConfig:
    return SpTransformerConfig(
        context=100,
        max_seq_len=BUCKET * buckets,
        hidden_size=96,
        heads=3,
        local_heads=local_heads,
        layers=1,
        bucket_size=BUCKET,
        feed_forward_size=feed_forward_size,
    )


@pytest.mark.slow
@pytest.mark.parametrize("local_heads", [0, 1, 3])
@pytest.mark.parametrize("buckets", [1, 2, 5, 40])
@torch.inference_mode()
def test_a_layer_equals_the_networks(
    dtype: torch.dtype, local_heads: int, buckets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = library.new_head_blocks  # memory as it comes, here the worst
    monkeypatch.setattr(library, "new_head_blocks", lambda *sizes: new(*sizes).fill_(torch.nan))
    # 608 channels are more columns than are expanded at once, and a rest.
    layer = seeded_model(config_of(buckets, local_heads, 608), 3).layers[0].double()
    layer.expand.weight.mul_(4)  # so that GELU sees what lies far from zero, too
    native = NativeLayer(layer, dtype)
    x = torch.randn(2, BUCKET * buckets, 96, generator=torch.Generator().manual_seed(buckets))
    expected, choice, _ = layer(x.double())
    tolerance = 1e-4 if dtype == torch.float32 else 0.5
    limit = 1e-5 if dtype == torch.float32 else 0.03  # of the median; values are about 8

    whole, chosen = x.clone(), []
    native(whole, chosen)
    assert torch.equal(chosen[0], choice.bucket)
    difference = (whole - expected).abs()
    assert difference.max() < tolerance
    assert difference.median() < limit

    first, length = BUCKET * buckets // 3, min(70, BUCKET * buckets // 2)
    core = CoreBuckets(first, length, BUCKET, buckets)
    kept = native.last(x.clone(), core, chosen)
    difference = (kept - expected[:, first : first + length]).abs()
    assert difference.max() < tolerance
    assert difference.median() < limit
    needed = chosen[1] >= 0
    assert torch.equal(chosen[1][needed], choice.bucket[needed])
    assert needed[..., core.begin : core.end].all()


@pytest.mark.slow
@pytest.mark.parametrize("local_heads", [0, 3])
@torch.inference_mode()
def test_shares_and_values_have_all_their_bits(dtype: torch.dtype, local_heads: int) -> None:
    """Attention alone, from shares near each other; in sums of other parts the last bits of these products are lost."""
    layer = seeded_model(config_of(3, local_heads, 64), 3).layers[0].double()
    layer.attention.query.weight.mul_(0.05)
    layer.attention.output.weight.copy_(2**20 * torch.eye(96))  # beside which what it is added to is small
    for rest in (layer.attention.output.bias, layer.contract.weight, layer.contract.bias):
        rest.zero_()
    x = torch.randn(4, 3 * BUCKET, 96, generator=torch.Generator().manual_seed(local_heads))
    expected = layer(x.double())[0]
    NativeLayer(layer, dtype)(x, [])
    error = (x - expected).square().mean() / expected.square().mean()
    assert error.sqrt() < (5e-7 if dtype == torch.float32 else 0.02)  # 1e-6 without any one product of parts


@pytest.mark.slow
def test_the_benchmark_counts_what_the_library_performs(dtype: torch.dtype) -> None:
    precision = str(dtype).removeprefix("torch.")
    runs = [("shared", precision), ("native", precision)]
    spec = WindowSpec(20, NATIVE.context, 5)
    reference, shared, native = run_bench(runs=runs, config=NATIVE, spec=spec, windows=4, repeats=1).rows
    performed = [row.performed_flops / row.windows_per_second for row in (reference, shared, native)]
    assert 0.4 * performed[1] < performed[2] < 1.2 * performed[1] < 1.2 * performed[0]
