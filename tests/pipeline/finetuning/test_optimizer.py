"""The learning rate over a training, and which parameters have weight decay."""

from __future__ import annotations

import pytest
from material.networks import tiny_network

from pipeline.finetuning.network import freeze
from pipeline.finetuning.optimizer import learning_rate_factor, make_optimizer
from pipeline.finetuning.settings import FinetuneConfig, Freeze

CONFIG = FinetuneConfig(
    fasta="x.fa", gtf="x.gtf", checkpoint="x", validation=("chr1",), learning_rate=0.01, weight_decay=0.2
)


@pytest.mark.parametrize(
    ("progress", "warmup", "factor"),
    [
        (0.0, 0.1, 0.0),
        (0.05, 0.1, 0.5),
        (0.1, 0.1, 1.0),
        (0.55, 0.1, 0.5),
        (0.1 + 0.9 / 3, 0.1, 0.75),
        (1.0, 0.1, 0.0),
        (1.01, 0.1, 0.0),
        (0.0, 0.0, 1.0),
        (0.5, 0.0, 0.5),
    ],
)
def test_the_learning_rate_rises_then_falls_with_a_cosine(progress: float, warmup: float, factor: float) -> None:
    assert learning_rate_factor(progress, warmup) == pytest.approx(factor, abs=1e-12)


def test_weights_decay_but_not_biases_norms_and_the_usage_head() -> None:
    network = tiny_network()
    names = {id(x): name for name, x in network.named_parameters()}
    groups = make_optimizer(network, CONFIG).param_groups
    decay = {names[id(x)]: group["weight_decay"] for group in groups for x in group["params"]}
    assert set(decay) == set(names.values())
    assert {decay[name] for name in decay if name.endswith("bias")} == {0.0}
    assert (decay["usage_head.weight"], decay["splice_head.weight"]) == (0.0, 0.2)
    one_dimensional = {name for name, x in network.named_parameters() if x.dim() == 1}
    assert {name for name, value in decay.items() if value == 0.0} == one_dimensional | {"usage_head.weight"}
    assert {(group["lr"], group["betas"]) for group in groups} == {(0.01, (0.9, 0.98))}


def test_frozen_parameters_are_not_optimized() -> None:
    network = tiny_network()
    freeze(network, Freeze.BODY)
    optimized = {id(x) for group in make_optimizer(network, CONFIG).param_groups for x in group["params"]}
    heads = (*network.splice_head.parameters(), *network.usage_head.parameters())
    assert optimized == {id(x) for x in heads}
