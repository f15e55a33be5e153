"""Which tissues a training has, what it takes over from a checkpoint, and what it leaves alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from material.networks import tiny_config, tiny_network

from pipeline.finetuning.labelled_sites import Sites
from pipeline.finetuning.network import Start, freeze, set_new_biases, starting_network
from pipeline.finetuning.settings import Freeze
from sptx_core.channels import TISSUES
from sptx_core.errors import InputError
from sptx_core.losses import UNLABELLED
from sptx_core.model import SpTransformerModel

SIZES = {name: held for name, held in tiny_config().to_dict().items() if name not in ("tissues", "tissue_names")}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    tiny_network(tissue_names=("brain", "heart")).save_pretrained(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def usage_rows(model: SpTransformerModel) -> dict[str, list[float]]:
    head = torch.cat((model.usage_head.weight[..., 0], model.usage_head.bias[:, None]), 1)
    return dict(zip(model.output_channels[3:], head.tolist(), strict=True))


def body(model: SpTransformerModel) -> dict[str, Any]:
    return {name: x for name, x in model.state_dict().items() if not name.startswith("usage_head")}


@pytest.mark.parametrize("usage_tissues", [(), ("heart",), ("heart", "brain")])
def test_the_tissues_of_the_checkpoint_stay_when_usage_has_no_other(
    checkpoint: Path, usage_tissues: tuple[str, ...]
) -> None:
    started = starting_network(str(checkpoint), None, usage_tissues, 1).model
    before = SpTransformerModel.from_pretrained(checkpoint)
    assert started.config == before.config
    for name, values in before.state_dict().items():
        assert torch.equal(started.state_dict()[name], values), name


def test_another_set_of_tissues_takes_over_rows_by_name(checkpoint: Path) -> None:
    before = usage_rows(SpTransformerModel.from_pretrained(checkpoint))
    model = starting_network(str(checkpoint), None, ("liver", "brain", "lung"), 1).model
    after = usage_rows(model)
    assert list(after) == ["liver", "brain", "lung"]
    assert after["brain"] == before["brain"]
    assert after["liver"] != after["lung"]
    assert not any(after[new] == old for new in ("liver", "lung") for old in before.values())
    kept = body(SpTransformerModel.from_pretrained(checkpoint))
    for name, values in body(model).items():
        assert torch.equal(values, kept[name]), name


def test_fifteen_nameless_tissues_are_the_official_ones(tmp_path: Path) -> None:
    tiny_network(tissues=15).save_pretrained(tmp_path)
    before = list(usage_rows(SpTransformerModel.from_pretrained(tmp_path)).values())
    assert usage_rows(starting_network(str(tmp_path), None, ("spleen",), 1).model) == dict(
        zip(TISSUES, before, strict=True)
    )
    changed = usage_rows(starting_network(str(tmp_path), None, ("spleen", "other"), 1).model)
    assert changed["spleen"] == before[TISSUES.index("spleen")]


def test_random_weights_follow_from_the_seed(checkpoint: Path) -> None:
    for source, sizes in ((None, SIZES), (str(checkpoint), None)):
        one, same, other = (starting_network(source, sizes, ("liver",), seed).model for seed in (1, 1, 2))
        assert usage_rows(one) == usage_rows(same)
        assert usage_rows(one) != usage_rows(other)


def test_a_new_network_has_the_tissues_of_the_usage_table() -> None:
    assert starting_network(None, SIZES, ("b", "a"), 1).model.output_channels[3:] == ("b", "a")


@pytest.mark.parametrize(
    ("sizes", "usage_tissues", "message"),
    [
        (SIZES, (), "give --usage, or start from --checkpoint"),
        ({**SIZES, "tissue_names": ["b", "a"]}, ("a", "b"), r"\(b, a\) are not those of the usage table \(a, b\)"),
        ({**SIZES, "tissues": 3}, ("a", "b"), "tissue"),
        ({**SIZES, "depth": 3}, ("a",), "no setting depth"),
        ({**SIZES, "heads": 3}, ("a",), "multiple of heads"),
        (SIZES, ("donor",), "donor"),
    ],
)
def test_sizes_that_are_not_sound(sizes: dict[str, Any], usage_tissues: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        starting_network(None, sizes, usage_tissues, 1)


@pytest.mark.parametrize(
    ("what", "still"),
    [
        (Freeze.NOTHING, set()),
        (Freeze.ENCODERS, {"encoders", "input_path"}),
        (Freeze.BODY, {"encoders", "input_path", "fusion", "position", "layers", "norm"}),
    ],
)
def test_what_is_frozen(what: Freeze, still: set[str]) -> None:
    model = tiny_network()
    parts = freeze(model, what)
    children = dict(model.named_children())
    assert {id(part) for part in parts} == {id(children[name]) for name in still}
    learning = {name.partition(".")[0] for name, x in model.named_parameters() if x.requires_grad}
    assert learning == set(children) - still


def test_the_encoders_alone_are_frozen_where_there_is_no_path_around_them() -> None:
    model = tiny_network(layers=0, input_path_channels=0, tissues=0)
    assert freeze(model, Freeze.ENCODERS) == (model.encoders,)
    learning = {name.partition(".")[0] for name, x in model.named_parameters() if x.requires_grad}
    assert learning == {"fusion", "splice_head"}


def test_a_network_without_usage_gets_the_tissues_of_the_usage_table(tmp_path: Path) -> None:
    tiny_network(layers=0, tissues=0).save_pretrained(tmp_path)
    without = starting_network(str(tmp_path), None, (), 1).model
    assert without.output_channels == ("no_splice", "acceptor", "donor")
    started = starting_network(str(tmp_path), None, ("liver", "brain"), 1)
    assert list(usage_rows(started.model)) == ["liver", "brain"]
    sites = Sites(np.arange(2), np.array([1, 2]), np.array([[0.5, 0.8], [0.5, 0.8]], dtype=np.float32))
    set_new_biases(started, sites, 100, site_weight=10)
    assert usage_rows(started.model)["brain"][-1] == pytest.approx(math.log(0.8 / 0.2), abs=1e-6)
    nothing = Sites(np.arange(2), np.array([1, 2]), np.empty((2, 0), dtype=np.float32))
    set_new_biases(Start(without, ()), nothing, 100, site_weight=10)


def test_several_members_are_not_trained(tmp_path: Path) -> None:
    tiny_network(members=2).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="holds 2 networks side by side, and a training changes one"):
        starting_network(str(tmp_path), None, (), 1)
    with pytest.raises(InputError, match="`network` holds 2 networks"):
        starting_network(None, {**SIZES, "members": 2}, ("a",), 1)


def test_what_is_new_starts_from_shares_and_means() -> None:
    usage = np.array([[0.5, np.nan], [0.7, np.nan], [1.0, np.nan], [0.2, np.nan]], dtype=np.float32)
    sites = Sites(np.arange(4), np.array([1, 2, 2, UNLABELLED]), usage)
    start = starting_network(None, SIZES, ("a", "b"), 1)
    set_new_biases(start, sites, 100, site_weight=10)
    assert start.model.splice_head.bias is not None
    assert start.model.splice_head.bias.exp().tolist() == pytest.approx([1, 0.1, 0.2])
    assert usage_rows(start.model)["a"][-1] == pytest.approx(math.log(0.6 / 0.4), abs=1e-6)
    assert usage_rows(start.model)["b"][-1] == pytest.approx(0)


def test_biases_of_known_tissues_stay(checkpoint: Path) -> None:
    start = starting_network(str(checkpoint), None, ("brain", "new"), 1)
    before, splice = usage_rows(start.model), start.model.splice_head.bias
    sites = Sites(np.arange(1), np.array([1]), np.array([[0.9, 0.9]], dtype=np.float32))
    set_new_biases(start, sites, 100, site_weight=10)
    assert usage_rows(start.model)["brain"] == before["brain"]
    assert usage_rows(start.model)["new"][-1] == pytest.approx(math.log(9), rel=1e-5)
    assert torch.equal(start.model.splice_head.bias, splice)


def encoders_of(model: SpTransformerModel) -> list[dict[str, torch.Tensor]]:
    return [encoder.state_dict() for member in model.networks for encoder in member.encoders]


@pytest.mark.parametrize(("members", "wanted"), [(1, None), (2, None), (2, 1)])
def test_a_new_network_starts_with_trained_encoders(tmp_path: Path, members: int, wanted: int | None) -> None:
    trained = tiny_network(layers=0, input_path_channels=0, input_channels=4, tissues=0, members=members)
    trained.save_pretrained(tmp_path)
    encoders = trained.config.to_dict()["encoders"]
    sizes = {**SIZES, "input_channels": 4, "encoders": list(encoders) * (wanted or members)}
    random = starting_network(None, sizes, ("a", "b"), 1).model
    start = starting_network(None, {"encoders": encoders} if wanted else None, ("a", "b"), 1, str(tmp_path))
    given = starting_network(None, sizes, ("a", "b"), 1, str(tmp_path))
    for made in (start.model, given.model):
        found, source = encoders_of(made), encoders_of(trained)
        assert len(found) == (wanted or members)
        for one, other in zip(found, source, strict=False):
            assert one.keys() == other.keys()
            assert all(torch.equal(one[name], other[name]) for name in one)
    rest = {name: x for name, x in given.model.state_dict().items() if not name.startswith("encoders.")}
    assert all(torch.equal(x, random.state_dict()[name]) for name, x in rest.items())
    assert (start.checkpoint, start.checkpoint_tissues) == (None, None)
    assert start.encoders is not None
    assert start.model.config.context == trained.config.context
    assert start.model.output_channels[3:] == ("a", "b")


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"encoders": [{"channels": 7, "stages": [{"blocks": 1, "kernel_size": 3, "dilation": 1}]}]}, "1 with 6 ch"),
        (
            {"encoders": [{"channels": 6, "stages": [{"blocks": 1, "kernel_size": 3, "dilation": 2}]}]},
            r"are not those of .*, which are 1 with 6 channels, leak 0 and stages 1x\(3, 1\): leave `encoders` out",
        ),
        (
            {"encoders": [{"channels": 6, "leak": 0.1, "stages": [{"blocks": 1, "kernel_size": 3, "dilation": 1}]}]},
            "leak 0 and",
        ),
        ({"encoders": SIZES["encoders"] * 2}, "1 with 6 channels"),
        ({"input_channels": 4}, "read 5 input channels, and those of `network` 4"),
        ({"members": 2}, "holds 2 networks"),
        ({"hidden_size": 63}, "multiple of heads"),
    ],
)
def test_encoders_of_other_sizes(checkpoint: Path, network: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        starting_network(None, network, ("a",), 1, str(checkpoint))


def test_a_new_network_of_splice_sites_alone(checkpoint: Path) -> None:
    for encoders in (None, str(checkpoint)):
        start = starting_network(None, {**SIZES, "tissues": 0}, (), 1, encoders)
        assert start.model.output_channels == ("no_splice", "acceptor", "donor")
    with pytest.raises(InputError, match="or say `tissues: 0` in `network`"):
        starting_network(None, None, (), 1, str(checkpoint))


def test_the_input_path_of_a_new_network_learns() -> None:
    model = tiny_network()
    assert freeze(model, Freeze.ENCODERS, new=True) == (model.encoders,)
    assert all(x.requires_grad for x in model.input_path.parameters())
