"""MultiMolecule's ports, made of settings and tensors by hand; and against that package, where it is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from material.family_networks import random_weights
from material.hub_server import HubServer
from torch import Tensor

from sptx_core.channels import SPLICE
from sptx_core.checkpoint.checkpoint import load_checkpoint, load_config
from sptx_core.checkpoint.family.convert import read_family
from sptx_core.checkpoint.family.ports import read_splice_port, read_usage_port, splice_config
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel

TOLERANCE = 2e-5  # of float32 scores
SETTINGS: dict[str, Any] = {
    "model_type": "openspliceai",
    "context": 52,
    "hidden_size": 6,
    "stages": [{"num_blocks": 1, "kernel_size": 3, "dilation": 1}, {"num_blocks": 2, "kernel_size": 5, "dilation": 3}],
}


def stages() -> list[dict[str, int]]:
    return [dict(stage) for stage in SETTINGS["stages"]]


def randomised(model: Any, seed: int = 0) -> Any:
    """The model with weights and running statistics that all do something."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            spread = 0.5 if tensor.ndim == 1 else 1 / tensor[0].numel() ** 0.5
            tensor.copy_(spread * torch.randn(tensor.shape, generator=generator))
            if "var" in name or ("norm" in name and name.endswith("weight")):
                tensor.abs_().add_(0.5)
    return model.eval().requires_grad_(False)


def changed(**settings: Any) -> dict[str, Any]:
    return {**SETTINGS, **settings}


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"context": 80}, r"context is 80, but the convolutions reach 52 bases in all"),
        ({"stages": None}, "stages must be a list"),
        ({"stages": [{"num_blocks": 1}]}, "a stage lacks its setting kernel_size, dilation"),
        (
            {"stages": [{"num_blocks": 1, "kernel_size": 4, "dilation": 1}]},
            "kernel_size of a ResidualStage must be odd",
        ),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"hidden_act_kwargs": {"negative_slope": "x"}}, "must hold negative_slope"),
        ({"hidden_act_kwargs": {"negative_slope": 2.0}}, "leak of an encoder"),
        ({"vocab_size": 6}, "vocab_size must be 4"),
        ({"hidden_size": "32"}, "channels of a SpTransformerFeatureEncoderConfig must be an integer"),
        ({"head": {"num_labels": 2}}, "num_labels is 2, but splice sites have 3 classes"),
        ({"head": {"transform": "linear"}}, "transform of the head is 'linear'"),
        ({"model_type": "pangolin"}, "Pangolin tells no acceptor from a donor"),
    ],
)
def test_settings_of_no_such_network_are_refused_by_name(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(InputError, match=f"folder: .*{fault}"):
        read_splice_port({}, changed(**settings), "folder")


def test_activations_are_read() -> None:
    for settings, leak in (
        ({}, 0.1),
        ({"hidden_act": "relu"}, 0.0),
        ({"hidden_act_kwargs": {"negative_slope": 0.25}}, 0.25),
    ):
        assert splice_config(changed(**settings)).encoders[0].leak == leak


def test_tensors_that_are_missing_are_named() -> None:
    with pytest.raises(InputError, match=r"folder do not fit .*missing: model.encoder.projection.weight"):
        read_splice_port({}, changed(), "folder")
    with pytest.raises(InputError, match=r"unexpected: members.0.7.projection.weight"):
        read_usage_port({"members.0.7.projection.weight": torch.ones(1)}, changed(num_tissues=1), "folder")


@pytest.fixture(scope="module")
def port() -> Any:
    """MultiMolecule's package."""
    return pytest.importorskip("multimolecule")


def splice_port(port: Any, folder: Path, **settings: Any) -> Any:
    config = port.OpenSpliceAiConfig(context=52, hidden_size=6, stages=stages(), **settings)
    model = randomised(port.OpenSpliceAiForTokenPrediction(config))
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize(
    "settings",
    [{}, {"hidden_act": "relu"}, {"batch_norm_eps": 1e-3, "hidden_act_kwargs": {"negative_slope": 0.3}}],
)
@pytest.mark.slow
def test_a_folder_gives_what_the_package_gives(port: Any, tmp_path: Path, settings: dict[str, Any]) -> None:
    theirs = splice_port(port, tmp_path, **settings)
    ids = torch.randint(4, (1, 80), generator=torch.Generator().manual_seed(1))
    checkpoint = load_checkpoint(tmp_path)
    assert load_config(tmp_path) == checkpoint.config
    assert (checkpoint.config.context, checkpoint.config.layers, checkpoint.config.tissues) == (26, 0, 0)
    ours = SpTransformerModel.from_checkpoint(checkpoint)
    with torch.inference_mode():
        assert (ours(ids).logits - theirs(ids).logits).abs().max() < TOLERANCE
    assert theirs(ids).logits.std() > 0.1


@pytest.mark.slow
def test_pangolin_stands_beside_it(port: Any, tmp_path: Path) -> None:
    splice, usage = tmp_path / "splice", tmp_path / "usage"
    splice_port(port, splice)
    config = port.PangolinConfig(context=52, hidden_size=5, stages=stages(), num_ensemble=1, num_tissues=2)
    theirs = randomised(port.PangolinModel(config), seed=2)
    theirs.save_pretrained(usage)
    checkpoint, _ = read_family([splice], [usage])
    assert checkpoint.config.output_channels == (*SPLICE, "heart_splice", "liver_splice")
    ids = torch.randint(5, (1, 80), generator=torch.Generator().manual_seed(1))  # with N, which has a column of its own
    with torch.inference_mode():
        scores = SpTransformerModel.from_checkpoint(checkpoint)(ids).scores()
        assert (scores[..., 3:] - theirs(ids)["probabilities"][..., [1, 4]]).abs().max() < TOLERANCE


@pytest.mark.slow
def test_pangolin_alone_is_refused(port: Any, tmp_path: Path) -> None:
    config = port.PangolinConfig(context=52, hidden_size=5, stages=stages(), num_ensemble=1, num_tissues=1)
    port.PangolinModel(config).save_pretrained(tmp_path)
    for load in (load_checkpoint, load_config):
        with pytest.raises(InputError, match="tells no acceptor from a donor"):
            load(tmp_path)
    with pytest.raises(InputError, match="port of Pangolin, which tells no acceptor from a donor: give it as --usage"):
        read_family([tmp_path])


def test_several_members_of_a_port_are_told_apart() -> None:
    small = {**changed(hidden_size=3, context=2, stages=[{"num_blocks": 1, "kernel_size": 2 + 1, "dilation": 1}])}
    small |= {"context": 4, "num_ensemble": 2, "num_tissues": 1, "model_type": "pangolin", "vocab_size": 4}
    tensors = {}
    for member in range(2):
        tensors |= {f"members.0.{member}.{name}": x for name, x in pangolin_module(member).items()}
    found = read_usage_port(tensors, small, "folder")
    assert len(found) == 2
    assert torch.equal(found[1][0].tensors["input.bias"], tensors["members.0.1.projection.bias"])
    weight = tensors["members.0.1.prediction.score.0.weight"]
    assert torch.equal(found[1][0].weight, (weight[1:] - weight[:1]).flatten(1))


def pangolin_module(seed: int) -> dict[str, Tensor]:
    """Tensors of one network of a port of Pangolin, of one block and one tissue."""
    weights = random_weights(seed, ((1, 3, 1),), channels=3)
    arrays = {name: torch.from_numpy(array) for name, array in weights.arrays.items()}
    tensors = {}
    for ours, theirs in (("input", "projection"), ("skip0", "encoder.conv"), ("skip1", "encoder.stages.0.conv")):
        tensors |= {
            f"{theirs}.weight": arrays[f"{ours}.kernel"].permute(2, 1, 0),
            f"{theirs}.bias": arrays[f"{ours}.bias"],
        }
    for number in "12":
        block = "encoder.stages.0.blocks.0"
        tensors[f"{block}.conv{number}.weight"] = arrays[f"block0.kernel{number}"].permute(2, 1, 0)
        tensors[f"{block}.conv{number}.bias"] = arrays[f"block0.bias{number}"]
        for ours, theirs in (
            ("gamma", "weight"),
            ("beta", "bias"),
            ("mean", "running_mean"),
            ("variance", "running_var"),
        ):
            tensors[f"{block}.norm{number}.{theirs}"] = arrays[f"block0.{ours}{number}"]
    head = arrays["head.kernel"].permute(2, 1, 0)
    for name, rows in (("score", slice(2)), ("usage", slice(2, 3))):
        tensors[f"prediction.{name}.0.weight"] = head[rows]
        tensors[f"prediction.{name}.0.bias"] = arrays["head.bias"][rows]
    return tensors


def test_a_hub_id_is_loaded_as_any_checkpoint_and_as_a_member(hub: HubServer) -> None:
    settings = changed(hidden_size=3, context=4, stages=[{"num_blocks": 1, "kernel_size": 3, "dilation": 1}])
    tensors = {}
    for name, tensor in pangolin_module(0).items():
        if not name.startswith("prediction"):
            tensors[f"model.encoder.{name.removeprefix('encoder.')}".replace("encoder.conv.", "encoder.skip.")] = tensor
    tensors |= {"token_head.decoder.weight": torch.rand(3, 3), "token_head.decoder.bias": torch.rand(3)}
    content = safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()})
    hub.put("multimolecule/port", {"config.json": json.dumps(settings).encode(), "model.safetensors": content})
    checkpoint = load_checkpoint("multimolecule/port")
    assert checkpoint.revision is not None
    assert torch.equal(checkpoint.tensors["splice_head.weight"][..., 0], tensors["token_head.decoder.weight"])
    twice, notes = read_family(["multimolecule/port", "multimolecule/port"])
    assert twice.config.members == 2
    assert len(notes) == 1


def test_tissues_of_a_port_have_its_names() -> None:
    settings = {"context": 4, "hidden_size": 3, "num_ensemble": 1, "num_tissues": 1, "vocab_size": 4}
    settings |= {"stages": [{"num_blocks": 1, "kernel_size": 3, "dilation": 1}], "tissue_names": ["lung"]}
    tensors = {f"members.0.0.{name}": tensor for name, tensor in pangolin_module(0).items()}
    assert read_usage_port(tensors, settings, "folder")[0][0].channels == ("lung_splice",)
