"""Order of the channels, and logits to scores."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from sptx_core.channels import CHANNELS, SPLICE, TISSUES, mean_logits, scores


def test_channels_are_three_splice_classes_then_fifteen_tissues() -> None:
    assert CHANNELS[:3] == SPLICE == ("no_splice", "acceptor", "donor")
    assert CHANNELS[3:] == TISSUES
    assert len(set(CHANNELS)) == 18
    assert (TISSUES[0], TISSUES[3], TISSUES[11], TISSUES[14]) == (
        "adipose_tissue",
        "brain",
        "small_intestine",
        "stomach",
    )


def test_scores_are_a_softmax_and_independent_sigmoids() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, 0.0, -3.0, 50.0]])
    exponentials = torch.tensor([0.0, 1.0, 2.0]).exp()
    result = scores(logits)
    assert torch.allclose(result[0, :3], exponentials / exponentials.sum())
    assert torch.allclose(result[0, 3:], torch.tensor([0.5, 0.04742587, 1.0]))


@pytest.mark.parametrize(
    ("given", "returned"),
    [(torch.bfloat16, torch.float32), (torch.float16, torch.float32), (torch.float64, torch.float64)],
)
def test_scores_are_computed_in_at_least_float32(given: torch.dtype, returned: torch.dtype) -> None:
    logits = torch.randn(2, 5, 18, generator=torch.Generator().manual_seed(0)).to(given)
    assert scores(logits).dtype == returned
    assert torch.equal(scores(logits), scores(logits.to(returned)))


@pytest.mark.parametrize("members", [1, 2, 5])
def test_logits_of_the_mean_give_the_mean_of_the_scores(members: int) -> None:
    logits = 8 * torch.randn(members, 50, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(scores(mean_logits(logits)), scores(logits).mean(0), rtol=1e-12, atol=1e-15)
    assert (scores(mean_logits(logits.float())) - scores(logits).mean(0)).abs().max() < 1e-6
    assert mean_logits(logits.bfloat16()).dtype == torch.bfloat16


def test_the_mean_is_sound_where_probabilities_are_0_or_1() -> None:
    sure = torch.tensor([[900.0, -900.0, -900.0, 300.0, -300.0, 300.0], [900.0, -900.0, -900.0, 300.0, -300.0, -300.0]])
    assert torch.allclose(scores(mean_logits(sure)), torch.tensor([1.0, 0, 0, 1.0, 0, 0.5]))
    assert mean_logits(sure).isfinite().all()


@pytest.mark.slow
def test_names_and_codes_need_no_torch() -> None:
    program = "import sys, sptx_core.channels, sptx_core.alphabet; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
