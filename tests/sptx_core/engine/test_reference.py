from __future__ import annotations

import pytest
import torch
from material.engine_networks import (
    NATIVE,
    SMALL,
    SMALL_SPEC,
    family_windows,
    make_path,
    native_network,
    network_logits,
    random_family,
    random_stretches,
    small_network,
)

from sptx_core.engine.native import library
from sptx_core.engine.reference import ReferencePath
from sptx_core.model import Attention, SpTransformerModel
from sptx_core.windows import WindowSpec

pytestmark = pytest.mark.usefixtures("one_thread")


@torch.inference_mode()
def test_micro_batches_hold_windows_of_several_stretches() -> None:
    model, given = small_network(), random_stretches(SMALL_SPEC, [1, 4, 2])
    logits = list(ReferencePath(model, SMALL_SPEC, 3).logits([given]))
    assert [len(some) for some in logits] == [3, 3, 1]
    expected = torch.cat([network_logits(model, SMALL_SPEC, stretch) for stretch in given])
    torch.testing.assert_close(torch.cat(logits), expected, rtol=0, atol=2e-6)


@torch.inference_mode()
def test_choices_are_recorded_window_by_window() -> None:
    model, (stretch,) = small_network(), random_stretches(SMALL_SPEC, [3])
    logits, buckets = ReferencePath(model, SMALL_SPEC, 1).recorded(stretch)
    torch.testing.assert_close(logits, network_logits(model, SMALL_SPEC, stretch), rtol=0, atol=2e-6)
    assert buckets.shape == (3, 3, 2, 8)  # windows, layers, Sinkhorn heads, buckets
    assert (buckets >= 0).all()


def smallest_gap(model: SpTransformerModel, window: torch.Tensor) -> float:
    """By queries and keys of every position, as the network computes them."""
    gaps: list[float] = []

    def note(attention: Attention, given: tuple[torch.Tensor]) -> None:
        x, heads = given[0], attention.local_heads
        q, k = (
            torch.unflatten(torch.unflatten(y, 2, (attention.heads, -1)), 1, (-1, attention.bucket_size)).mean(2)
            for y in (attention.query(x), attention.key_value(x).chunk(2, -1)[0])
        )  # [1, buckets, heads, D]
        fit = torch.einsum("bqhd,bkhd->bhqk", q, k)[:, heads:] * q.shape[-1] ** -0.5
        best = fit.sort(-1).values
        gaps.append((best[..., -1] - best[..., -2]).min().item())

    for part in model.modules():
        if isinstance(part, Attention):
            part.register_forward_pre_hook(note)
    model(window[None], flanked=True)
    return min(gaps)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["reference", "shared", "native"])
@torch.inference_mode()
def test_gaps_are_those_of_the_network(path: str) -> None:
    """Of windows in which the core needs every choice."""
    if path == "native" and not library.usable(torch.float32):
        pytest.skip("the compiled library is not there, or not for this processor")
    model, sizes = (native_network(), NATIVE) if path == "native" else (small_network(), SMALL)
    spec = WindowSpec(sizes.max_seq_len, sizes.context)
    family = random_family(spec)
    of_path = ReferencePath(model, spec, 3) if path == "reference" else make_path(path, model, spec, torch.float32)
    planned = of_path.plan(family)
    gaps = torch.cat([found.gaps for found in of_path.family_logits([planned]) if found is not None])
    assert not any(part._forward_pre_hooks for part in model.modules())
    exact, windows = model.double(), family_windows(family, spec)
    for number, row in list(enumerate([*planned.references, *planned.alternatives]))[::9]:
        assert gaps[row].item() == pytest.approx(smallest_gap(exact, windows[number]), abs=3e-6)
