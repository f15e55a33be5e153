"""The loss against numbers worked out by hand: what counts, what is left out, and how parts add up to a whole."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from sptx_core.losses import UNLABELLED, Loss, splice_loss

ROWS, LENGTH, TISSUES = 3, 7, 2


def batch(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits, classes of every kind, places of the sites, and usage, some of it unknown."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (ROWS, LENGTH, 3 + TISSUES)).astype(np.float32)
    classes = random.choice([0, 0, 1, 2, UNLABELLED], (ROWS, LENGTH))
    sites = np.flatnonzero((classes == 1) | (classes == 2))
    usage = random.random((len(sites), TISSUES)).astype(np.float32)
    usage[random.random(usage.shape) < 0.3] = np.nan
    given = (logits, classes, sites, usage)
    return tuple(map(torch.from_numpy, given))  # type: ignore[return-value]


def by_hand(logits: Tensor, classes: Tensor, sites: Tensor, usage: Tensor, site_weight: float) -> list[float]:
    """The four sums, a base and a pair at a time."""
    flat, labels = logits.double().reshape(-1, logits.shape[-1]).numpy(), classes.flatten().tolist()
    site = weight = of_usage = pairs = 0.0
    for row, label in zip(flat, labels, strict=True):
        if label != UNLABELLED:
            w = site_weight if label else 1.0
            site += w * -math.log(math.exp(row[label]) / sum(math.exp(x) for x in row[:3]))
            weight += w if label else 0.0
    for place, values in zip(sites.tolist(), usage.tolist(), strict=True):
        for logit, u in zip(flat[place][3:], values, strict=True):
            if not math.isnan(u):
                q = 1 / (1 + math.exp(-logit))
                of_usage += -u * math.log(q) - (1 - u) * math.log(1 - q)
                pairs += 1
    return [site, weight, of_usage, pairs]


def numbers(loss: Loss) -> list[float]:
    return [float(x.detach()) for x in loss]


@pytest.mark.parametrize("site_weight", [1.0, 10.0, 0.25])
@pytest.mark.parametrize("seed", range(4))
def test_the_sums_are_those_of_the_formula(seed: int, site_weight: float) -> None:
    given = batch(seed)
    assert numbers(splice_loss(*given, site_weight=site_weight)) == pytest.approx(
        by_hand(*given, site_weight), rel=1e-5
    )


def test_even_logits_lose_the_logarithm_of_the_choices() -> None:
    classes = torch.tensor([[0, 1, 2, UNLABELLED]])
    found = splice_loss(
        torch.zeros(1, 4, 5), classes, torch.tensor([1, 2]), torch.tensor([[1.0, 0.0], [0.5, math.nan]]), site_weight=10
    )
    assert numbers(found) == pytest.approx([21 * math.log(3), 20, 3 * math.log(2), 3])


def test_logits_of_what_is_left_out_do_not_matter() -> None:
    logits, classes, sites, usage = batch()
    before = splice_loss(logits, classes, sites, usage, site_weight=10)
    changed = logits.clone()
    changed[..., :3][classes == UNLABELLED] = 50.0
    flat = changed.view(-1, 3 + TISSUES)
    of_sites = torch.isin(torch.arange(len(flat)), sites)
    flat[~of_sites, 3:] = -50.0
    flat[sites, 3:] = torch.where(usage.isnan(), 50.0, flat[sites, 3:])
    assert splice_loss(changed, classes, sites, usage, site_weight=10) == before


def test_parts_of_a_batch_add_up_to_the_whole() -> None:
    logits, classes, sites, usage = batch()
    whole = splice_loss(logits, classes, sites, usage, site_weight=10)
    parts = []
    for row in range(ROWS):
        own = sites // LENGTH == row
        parts.append(
            splice_loss(
                logits[row : row + 1], classes[row : row + 1], sites[own] - row * LENGTH, usage[own], site_weight=10
            )
        )
    assert [sum(values) for values in zip(*map(numbers, parts), strict=True)] == pytest.approx(numbers(whole), rel=1e-6)


def test_gradients_are_those_of_softmax_and_sigmoid() -> None:
    logits, classes, sites, usage = batch()
    logits.requires_grad_()
    loss = splice_loss(logits, classes, sites, usage, site_weight=10)
    (loss.site + loss.usage).backward()
    assert logits.grad is not None
    got = logits.grad.flatten(0, 1)
    labels, flat = classes.flatten(), logits.detach().flatten(0, 1)
    expected = torch.zeros_like(flat)
    for at, label in enumerate(labels.tolist()):
        if label != UNLABELLED:
            expected[at, :3] = flat[at, :3].softmax(-1)
            expected[at, label] -= 1
            expected[at, :3] *= 10.0 if label else 1.0
    expected[sites, 3:] = torch.where(usage.isnan(), 0.0, flat[sites, 3:].sigmoid() - usage)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_a_batch_without_a_site_has_a_site_loss_and_gradients_without_nan() -> None:
    logits = torch.randn(1, 4, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    none = torch.empty(0, dtype=torch.int64), torch.empty(0, TISSUES)
    loss = splice_loss(logits, torch.zeros(1, 4, dtype=torch.int64), *none, site_weight=10)
    assert numbers(loss)[1:] == [0, 0, 0]
    assert numbers(loss)[0] > 0
    (loss.site + loss.usage).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[..., :3].abs().sum() > 0
    assert (logits.grad[..., 3:] == 0).all()


def test_a_batch_without_any_label_weighs_nothing() -> None:
    none = torch.empty(0, dtype=torch.int64), torch.empty(0, TISSUES)
    loss = splice_loss(torch.ones(1, 4, 5), torch.full((1, 4), UNLABELLED), *none, site_weight=10)
    assert numbers(loss) == [0, 0, 0, 0]


def test_bfloat16_logits_are_widened_before_anything_is_summed() -> None:
    logits, classes, sites, usage = batch()
    narrow = logits.bfloat16()
    found = splice_loss(narrow, classes, sites, usage, site_weight=10)
    assert {x.dtype for x in found} == {torch.float32}
    assert found == splice_loss(narrow.float(), classes, sites, usage, site_weight=10)
