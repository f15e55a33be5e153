"""Metrics of a validation against scikit-learn and scipy on the same scores, and workers against one alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from material.groups import ROWS, judged, part
from material.networks import tiny_network
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score

from pipeline.finetuning.examples import Batch
from pipeline.finetuning.validation import MetricCounter, format_metrics, validate
from pipeline.tracks.schema import SPLICE_STEPS
from sptx_core.channels import scores
from sptx_core.errors import InputError
from sptx_core.losses import UNLABELLED


def specific(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Values less their mean over the known tissues, of sites with two or more of them, flat."""
    rows = [row[keep] - row[keep].mean() for row, keep in zip(values, known, strict=True) if keep.sum() > 1]
    return np.concatenate(rows).round(9)


def test_metrics_are_those_of_scikit_learn_and_scipy() -> None:
    logits, batch = judged()
    counter = MetricCounter()
    counter.add(logits, batch, 10.0)
    found = counter.metrics(2.0)

    given = scores(logits).flatten(0, 1).double().numpy()
    classes = batch.classes.flatten().numpy()
    labelled = classes != UNLABELLED
    steps = np.rint(scores(logits).flatten(0, 1).numpy().astype(np.float64) * SPLICE_STEPS)
    for label, kind in ((1, "acceptor"), (2, "donor")):
        true, rounded = classes[labelled] == label, steps[labelled, label]
        assert found[f"{kind}_auprc"] == pytest.approx(average_precision_score(true, rounded), abs=1e-9)
        k = int(true.sum())
        cut = np.sort(rounded)[-k]
        above, at = rounded > cut, rounded == cut
        hits = true[above].sum() + true[at].sum() * (k - above.sum()) / at.sum()
        assert found[f"{kind}_top_k"] == pytest.approx(hits / k, abs=1e-12)

    predicted, usage = given[batch.sites.numpy(), 3:], batch.usage.numpy().astype(np.float64)
    known = ~np.isnan(usage)
    assert found["usage"] == pytest.approx(spearmanr(predicted[known], usage[known]).statistic, abs=1e-9)
    parts = specific(predicted, known), specific(usage, known)
    assert found["specific_usage"] == pytest.approx(spearmanr(*parts).statistic, abs=1e-6)

    weights = np.where(classes[labelled] > 0, 10.0, 1.0)
    own = -np.log(given[labelled, classes[labelled]]) @ weights / weights[classes[labelled] > 0].sum()
    q, u = predicted[known], usage[known]
    of_usage = -(u * np.log(q) + (1 - u) * np.log(1 - q)).mean()
    assert found["site_loss"] == pytest.approx(own, rel=1e-5)
    assert found["usage_loss"] == pytest.approx(of_usage, rel=1e-5)
    assert found["loss"] == pytest.approx(own + 2 * of_usage, rel=1e-5)


def test_batch_by_batch_is_the_same_as_at_once() -> None:
    logits, batch = judged()
    whole, pieces = MetricCounter(), MetricCounter()
    whole.add(logits, batch, 10.0)
    for first, end in ((0, 1), (1, 4), (4, ROWS)):
        pieces.add(*part(logits, batch, first, end), 10.0)
    assert pieces.metrics(1.0) == pytest.approx(whole.metrics(1.0), rel=1e-6)


def test_metrics_that_are_not_defined_are_none() -> None:
    logits, batch = judged()
    none = Batch(batch.codes, torch.zeros_like(batch.classes), batch.sites[:0], batch.usage[:0])
    counter = MetricCounter()
    counter.add(logits, none, 10.0)
    found = counter.metrics(1.0)
    without = {name for name, value in found.items() if value is None}
    assert without == set(found) - {"loss", "site_loss"}
    assert found["loss"] == found["site_loss"]
    assert "usage_loss -" in format_metrics(found)


def test_logits_that_are_not_finite_are_refused_in_a_sentence() -> None:
    logits, batch = judged()
    logits[2, 7] = torch.nan
    with pytest.raises(InputError, match="not finite"):
        MetricCounter().add(logits, batch, 10.0)


@pytest.mark.slow
def test_workers_together_have_the_metrics_of_one(two_workers: list[Any]) -> None:
    (first, _), (second, _) = two_workers
    logits, batch = judged()
    alone = MetricCounter()
    alone.add(logits, batch, 10.0)
    assert first == second
    assert first == pytest.approx(alone.metrics(1.0), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("narrow", [False, True])
def test_batch_size_does_not_matter_and_bfloat16_is_close(order: Any, tmp_path: Path, narrow: bool) -> None:
    examples = order(tmp_path).validation
    network = tiny_network(context=20, max_seq_len=128, bucket_size=16, tissues=15)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=narrow)
    found = [
        validate(
            network,
            examples,
            examples.centred(20),
            batch_size=batch_size,
            site_weight=10.0,
            usage_weight=1.0,
            autocast=autocast,
            rank=0,
            world_size=1,
        )
        for batch_size in (3, 20)
    ]
    assert found[0] == pytest.approx(found[1], rel=0.1 if narrow else 1e-4)
    assert not network.training
