from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from material.engine_networks import SMALL_SPEC, small_network

from sptx_core.engine.folding import FoldedBlock, fold_encoders

pytestmark = pytest.mark.usefixtures("one_thread")


@torch.inference_mode()
def test_a_folded_block_is_the_networks() -> None:
    block = small_network().double().encoders[0].blocks[2]
    folded = FoldedBlock.of(block, 0, 0)
    assert folded.radius == 4  # five taps, two positions apart
    x = torch.randn(1, 16, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = (x * folded.scale[:, None] + folded.shift[:, None]).relu()
    y = F.conv1d(y, folded.weight1, folded.bias1, padding="same", dilation=folded.dilation).relu()
    y = F.conv1d(y, folded.weight2, folded.bias2, padding="same", dilation=folded.dilation)
    torch.testing.assert_close(x + y, block(x), rtol=0, atol=1e-12)


def test_stages_of_both_encoders_go_by_their_reach() -> None:
    folded = fold_encoders(small_network().double(), SMALL_SPEC)
    assert [(stage.encoder, stage.reach, len(stage.blocks)) for stage in folded.stages] == [
        *((0, 4, 2), (1, 4, 2)),
        *((0, 12, 1), (1, 12, 1)),
        *((0, 22, 1), (1, 22, 1)),
    ]
