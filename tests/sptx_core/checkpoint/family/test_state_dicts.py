"""State dicts with OpenSpliceAI's and Pangolin's names."""

from __future__ import annotations

import pytest
import torch
from material.family_networks import (
    PUBLISHED,
    columns_of,
    openspliceai_scores,
    openspliceai_state,
    pangolin_scores,
    pangolin_state,
    random_sequence,
    random_weights,
)
from torch import Tensor

from sptx_core.checkpoint.checkpoint import Checkpoint
from sptx_core.checkpoint.family.network import ensemble
from sptx_core.checkpoint.family.state_dicts import (
    is_openspliceai,
    is_pangolin,
    pangolin_name,
    read_openspliceai,
    read_pangolin,
)
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel

TOLERANCE = 2e-5  # of float32 scores


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return openspliceai_state(random_weights(0, PUBLISHED[:2], channels=4))


@pytest.fixture(scope="module")
def pangolin() -> dict[str, Tensor]:
    return pangolin_state(random_weights(0, PUBLISHED, channels=3), random_weights(1, channels=3, outputs=12))


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_openspliceai_gives_what_its_layout_says(stages: int) -> None:
    state = openspliceai_state(random_weights(stages, PUBLISHED[:stages], channels=4))
    network = read_openspliceai(state, "x.pt")
    assert network.context == (40, 200, 1000)[stages - 1]
    columns = columns_of(random_sequence(2 * network.context + 50, stages))
    model = SpTransformerModel.from_checkpoint(Checkpoint(*ensemble([[network]])))
    with torch.inference_mode():
        ours = model.predict_columns(columns).scores()[0].T
    theirs = openspliceai_scores(state, columns)[0]
    assert theirs.std(1).min() > 0.01
    assert (ours - theirs).abs().max() < TOLERANCE


@pytest.mark.slow
def test_pangolin_gives_what_its_layout_says_of_each_output(pangolin: dict[str, Tensor]) -> None:
    splice = read_openspliceai(openspliceai_state(random_weights(5, PUBLISHED[:1], channels=2)), "x.pt")
    outputs = [read_pangolin(pangolin, output, f"channel {output}", f"final.1.{output}.3.v2") for output in range(8)]
    columns = columns_of(random_sequence(10_030))
    model = SpTransformerModel.from_checkpoint(Checkpoint(*ensemble([[splice, *outputs]])))
    with torch.inference_mode():
        ours = model.predict_columns(columns).scores()[0].T[3:]
    theirs = pangolin_scores(pangolin, columns)[0, [1, 2, 4, 5, 7, 8, 10, 11]]
    assert theirs.std(1).min() > 0.01
    assert (ours - theirs).abs().max() < TOLERANCE


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("final.2.5.3.v2", (5, 2, True)),
        ("final.5.0.3", (0, 5, False)),
        ("final.1.8.3.v2", None),
        ("final.1.1.3.v3", None),
        ("model.pt", None),
    ],
)
def test_names_of_pangolins_files_say_what_they_hold(name: str, said: tuple[int, int, bool] | None) -> None:
    assert pangolin_name(name) == said


def test_channels_are_called_after_tissues() -> None:
    names = [pangolin_name(f"final.1.{output}.3.v2") for output in (1, 3, 5, 7, 6)]
    assert [name.channel for name in names if name] == ["heart", "liver", "brain", "testis", "testis_splice"]


def test_programs_are_told_by_names(state: dict[str, Tensor], pangolin: dict[str, Tensor]) -> None:
    assert is_openspliceai(state)
    assert not is_openspliceai(pangolin)
    assert is_pangolin(pangolin)
    assert not is_pangolin(state)


@pytest.mark.parametrize(
    ("name", "tensor", "fault"),
    [
        ("residual_units.0.conv1.weight", None, "missing: residual_units.0.conv1.weight"),
        ("residual_units.9.conv.bias", None, "missing: residual_units.9.conv.bias"),
        ("attention.weight", torch.ones(1), "unexpected: attention.weight"),
        ("final_conv.weight", torch.ones(2, 4, 1), r"misshapen: final_conv.weight \[2, 4, 1\] instead of \[3, 4, 1\]"),
        ("residual_units.5.conv1.weight", torch.ones(4, 4, 13), r"residual_units.5.conv1.weight \[4, 4, 13\] instead"),
        ("initial_conv.bias", torch.full((4,), torch.nan), "not finite: initial_conv.bias"),
        ("initial_conv.weight", torch.ones(()), "misshapen"),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    state: dict[str, Tensor], name: str, tensor: Tensor | None, fault: str
) -> None:
    changed = {key: value for key, value in ({**state, name: tensor}).items() if value is not None}
    with pytest.raises(InputError, match=f"the tensors of x.pt do not fit the network .*{fault}"):
        read_openspliceai(changed, "x.pt")


def test_counters_of_training_steps_may_be_missing(state: dict[str, Tensor]) -> None:
    few = {name: tensor for name, tensor in state.items() if "num_batches" not in name}
    assert len(few) < len(state)
    read_openspliceai(few, "x.pt")


def test_a_head_of_pangolin_that_is_missing_is_named(pangolin: dict[str, Tensor]) -> None:
    few = {name: tensor for name, tensor in pangolin.items() if name != "conv_last8.bias"}
    with pytest.raises(InputError, match=r"missing: conv_last8\.bias"):
        read_pangolin(few, 1, "heart", "final.1.1.3.v2")
