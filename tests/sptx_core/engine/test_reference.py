from __future__ import annotations

import pytest
import torch
from material.engine_networks import SMALL_SPEC, network_logits, random_stretches, small_network

from sptx_core.engine.reference import ReferencePath

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
