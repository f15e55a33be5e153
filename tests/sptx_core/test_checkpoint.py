"""Checkpoints: every layout that is read, every fault that is named, what is written."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from sptx_core import checkpoint as checkpoints
from sptx_core.channels import TISSUES
from sptx_core.checkpoint import Layout, checkpoint_digest, load_checkpoint, renamed
from sptx_core.config import ResidualStage, SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel

# A small network that a foreign layout can hold: what leaves no trace in tensors is as published.
PUBLISHED = SpTransformerConfig()
SMALL = SpTransformerConfig(
    input_channels=4,
    max_seq_len=32,
    encoders=(
        SpTransformerFeatureEncoderConfig(6, (ResidualStage(2, 3, 1), ResidualStage(2, 5, 4))),
        SpTransformerFeatureEncoderConfig(4, (ResidualStage(1, 7, 1),)),
    ),
    input_path_channels=5,
    hidden_size=16,
    layers=2,
    bucket_size=8,
    feed_forward_size=12,
    tissues=2,
)
# MultiMolecule's encoders differ in their channels only.
SMALL_MULTIMOLECULE = dataclasses.replace(
    SMALL,
    input_channels=5,
    context=10,
    heads=4,
    local_heads=1,
    encoders=(SpTransformerFeatureEncoderConfig(4), SpTransformerFeatureEncoderConfig(2)),
)
SMALL_MULTIMOLECULE_JSON = {
    "model_type": "sptransformer",
    "vocab_size": 5,
    "context": 10,
    "hidden_size": 5,
    "encoders": [{"hidden_size": 4}, {"hidden_size": 2}],
    "attention_hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_local_attention_heads": 1,
    "intermediate_size": 12,
    "bucket_size": 8,
    "max_seq_len": 32,
    "num_splice_labels": 3,
    "num_tissues": 2,
    "hidden_act": "relu",
    "intermediate_act": "gelu",
    "batch_norm_eps": 1e-05,
    "tissue_names": ["tissue_0", "tissue_1"],
    "transformers_version": "5.0.0",
}


def network(config: SpTransformerConfig = SMALL) -> SpTransformerModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SpTransformerModel(config).eval().requires_grad_(False)


@pytest.fixture
def model() -> SpTransformerModel:
    return network()


@pytest.fixture
def official(model: SpTransformerModel) -> dict[str, Tensor]:
    """Tensors of `model` under official names, the unused heads of the first encoder among them."""
    unused = {
        f"encoder.0.{head}.{kind}": torch.ones(3)
        for head in ("splice_output", "tissue_output")
        for kind in ("weight", "bias")
    }
    return renamed(model.state_dict(), Layout.OURS, Layout.OFFICIAL) | unused


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Any], Path]:
    def write(content: Any) -> Path:
        torch.save(content, tmp_path / "x.ckpt")
        return tmp_path / "x.ckpt"

    return write


def assert_same(loaded: SpTransformerModel, original: SpTransformerModel) -> None:
    assert loaded.config == original.config
    assert not loaded.training
    expected = original.state_dict()
    assert list(loaded.state_dict()) == list(expected)
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
        assert tensor.dtype == expected[name].dtype


def multimolecule_folder(folder: Path, tensors: dict[str, Tensor], **settings: Any) -> Path:
    folder.mkdir(exist_ok=True)
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(SMALL_MULTIMOLECULE_JSON | settings))
    return folder


# --- official --------------------------------------------------------------------------------------------------------


def test_golden_checkpoint_is_read_with_all_its_sizes(golden_checkpoint: Path, golden_state: dict[str, Tensor]) -> None:
    assert sum(x.numel() for name, x in golden_state.items() if "running" not in name and x.ndim) == 17_076_388
    checkpoint = load_checkpoint(golden_checkpoint)
    assert checkpoint.config == dataclasses.replace(PUBLISHED, input_channels=4, tissue_names=TISSUES)
    assert torch.equal(checkpoint.tensors["splice_head.weight"], golden_state["splice.weight"])
    assert torch.equal(
        checkpoint.tensors["encoders.1.blocks.9.conv2.weight"], golden_state["encoder.1.resblocks.9.conv2.weight"]
    )


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("unused", [True, False])
def test_official_layout(
    wrapped: bool, unused: bool, model: SpTransformerModel, official: dict[str, Tensor], save: Callable[[Any], Path]
) -> None:
    state = official if unused else {name: tensor for name, tensor in official.items() if "_output" not in name}
    path = save({"state_dict": state, "epoch": 3, "lr": [0.1]} if wrapped else state)
    assert_same(SpTransformerModel.from_pretrained(path), model)
    assert_same(SpTransformerModel.from_pretrained(str(path)), model)


def test_older_spelling_of_the_position_embedding(
    model: SpTransformerModel, official: dict[str, Tensor], save: Callable[[Any], Path]
) -> None:
    older = {name.replace("pos_emb.weights.", "pos_emb.weights_"): tensor for name, tensor in official.items()}
    assert "attn.pos_emb.weights_1" in older
    assert_same(SpTransformerModel.from_pretrained(save(older)), model)


def test_counters_of_training_steps_may_be_left_out(
    model: SpTransformerModel, official: dict[str, Tensor], save: Callable[[Any], Path]
) -> None:
    state = {name: tensor for name, tensor in official.items() if "num_batches" not in name}
    assert_same(SpTransformerModel.from_pretrained(save(state)), model)


def test_tensors_of_other_precision_become_float32(official: dict[str, Tensor], save: Callable[[Any], Path]) -> None:
    loaded = SpTransformerModel.from_pretrained(save({name: x.bfloat16() for name, x in official.items()}))
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


def test_views_of_one_storage_become_tensors_of_their_own(
    model: SpTransformerModel, official: dict[str, Tensor], save: Callable[[Any], Path], tmp_path: Path
) -> None:
    names = ("attn.norm.weight", "attn.norm.bias")
    shared = torch.stack([official[name] for name in names], 1)
    official |= {name: shared[:, i] for i, name in enumerate(names)}
    loaded = SpTransformerModel.from_pretrained(save(official))
    assert_same(loaded, model)
    assert loaded.norm.weight.untyped_storage().data_ptr() != loaded.norm.bias.untyped_storage().data_ptr()
    loaded.save_pretrained(tmp_path / "ours")
    assert_same(SpTransformerModel.from_pretrained(tmp_path / "ours"), model)


def test_older_torch_files_are_read(official: dict[str, Tensor], model: SpTransformerModel, tmp_path: Path) -> None:
    torch.save(official, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    assert_same(SpTransformerModel.from_pretrained(tmp_path / "old.ckpt"), model)


# --- MultiMolecule ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "model."])
def test_multimolecule_layout(prefix: str, tmp_path: Path) -> None:
    model = network(SMALL_MULTIMOLECULE)
    tensors = renamed(model.state_dict(), Layout.OURS, Layout.MULTIMOLECULE)
    assert "feature_encoders.1.resblocks.15.norm2.running_var" in tensors
    assert "encoder.layer.1.attention.self.key_value.weight" in tensors
    tensors = {prefix + name: tensor for name, tensor in tensors.items()}
    if prefix:
        tensors["token_head.decoder.weight"] = torch.zeros(2, 16)
    folder = multimolecule_folder(tmp_path, tensors)
    assert_same(SpTransformerModel.from_pretrained(folder), model)
    assert_same(SpTransformerModel.from_pretrained(folder / "model.safetensors"), model)


def test_multimolecule_file_alone_has_the_published_context_and_heads(tmp_path: Path) -> None:
    model = network(dataclasses.replace(SMALL_MULTIMOLECULE, context=4000, heads=8, local_heads=2))
    safetensors.torch.save_file(renamed(model.state_dict(), Layout.OURS, Layout.MULTIMOLECULE), tmp_path / "weights")
    assert_same(SpTransformerModel.from_pretrained(tmp_path / "weights"), model)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu', but this network can only have 'relu'"),
        ({"batch_norm_eps": 1e-3}, "batch_norm_eps is 0.001"),
        ({"num_splice_labels": 4}, "num_splice_labels is 4"),
        ({"vocab_size": 7}, "input_channels must be 4"),
        ({"num_attention_heads": 3}, "must be a multiple of heads"),
        ({"encoders": [4, 2]}, "encoders must be a list of hidden sizes"),
        ({"encoders": 4}, "encoders must be a list of hidden sizes"),
        ({"model_type": "bert"}, "describes no SpTransformer network: model_type is 'bert'"),
    ],
)
def test_settings_that_the_network_cannot_have_are_refused(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    tensors = renamed(network(SMALL_MULTIMOLECULE).state_dict(), Layout.OURS, Layout.MULTIMOLECULE)
    with pytest.raises(InputError, match=f"config.json.*{message}"):
        load_checkpoint(multimolecule_folder(tmp_path, tensors, **settings))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"model_type": "sptx"}', '{"model_type": "sptx", "config": []}'])
def test_a_malformed_configuration_is_refused(text: str, model: SpTransformerModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "config.json"))):
        load_checkpoint(tmp_path)


# --- our own ---------------------------------------------------------------------------------------------------------


def test_saved_and_loaded_network_is_the_same(model: SpTransformerModel, tmp_path: Path) -> None:
    config = dataclasses.replace(SMALL, context=7, local_heads=3, input_channels=5)
    for original in (model, network(config)):
        original.save_pretrained(tmp_path / "folder")
        assert_same(SpTransformerModel.from_pretrained(tmp_path / "folder"), original)
        assert_same(SpTransformerModel.from_pretrained(tmp_path / "folder" / "model.safetensors"), original)
        assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["config.json", "model.safetensors"]


def test_names_of_tissues_are_kept_and_are_no_part_of_the_digest(model: SpTransformerModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "without")
    assert "tissue_names" not in (tmp_path / "without" / "config.json").read_text()  # as folders of older versions
    model.config = dataclasses.replace(model.config, tissue_names=("brain", "liver"))
    model.save_pretrained(tmp_path / "with")
    assert load_checkpoint(tmp_path / "with").config.output_channels[3:] == ("brain", "liver")
    assert checkpoint_digest(tmp_path / "with") == checkpoint_digest(tmp_path / "without")


@pytest.mark.parametrize(
    ("names", "expected"),
    [(["brain", "liver"], ("brain", "liver")), (["tissue_0", "tissue_1"], None), (None, None)],
)
def test_names_of_tissues_come_with_multimolecule_files_unless_they_are_placeholders(
    names: list[str] | None, expected: tuple[str, ...] | None, tmp_path: Path
) -> None:
    tensors = renamed(network(SMALL_MULTIMOLECULE).state_dict(), Layout.OURS, Layout.MULTIMOLECULE)
    folder = multimolecule_folder(tmp_path, tensors, tissue_names=names)
    assert load_checkpoint(folder).config.tissue_names == expected


def test_loading_draws_no_random_numbers(model: SpTransformerModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    state = torch.random.get_rng_state()
    SpTransformerModel.from_pretrained(tmp_path)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_loaded_network_can_be_trained_on(model: SpTransformerModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    loaded = SpTransformerModel.from_pretrained(tmp_path)
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    loaded.train()(torch.zeros(2, 8, dtype=torch.long)).logits.sum().backward()


@pytest.mark.parametrize("fails_at", ["model.safetensors", "config.json"])
def test_interrupted_save_leaves_no_whole_folder(
    fails_at: str, model: SpTransformerModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.save_pretrained(tmp_path)
    replace = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if target.name == fails_at:
            raise OSError("disk full")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(InputError, match=r"cannot save a checkpoint to .*disk full"):
        model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"lacks config.json"):
        load_checkpoint(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]  # nothing half-written is left


def test_saving_where_a_file_stands_is_refused(model: SpTransformerModel, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match=r"cannot save a checkpoint to .*taken"):
        model.save_pretrained(tmp_path / "taken")


def test_our_tensors_need_their_configuration(model: SpTransformerModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(InputError, match=r"lacks config.json"):
        load_checkpoint(tmp_path)
    with pytest.raises(InputError, match=r"needs the config.json that was saved beside it"):
        load_checkpoint(tmp_path / "model.safetensors")


# --- digest ----------------------------------------------------------------------------------------------------------


def test_digest_is_of_the_network_and_not_of_its_container(
    model: SpTransformerModel, official: dict[str, Tensor], save: Callable[[Any], Path], tmp_path: Path
) -> None:
    digest = checkpoint_digest(save(official))
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert checkpoint_digest(save({"state_dict": dict(reversed(official.items()))})) == digest
    official["encoder.0.splice_output.weight"] += 1
    official["encoder.0.resblocks.0.bn1.num_batches_tracked"] += 1
    assert checkpoint_digest(save(official)) == digest
    model.save_pretrained(tmp_path / "ours")
    assert checkpoint_digest(tmp_path / "ours") == digest


def test_digest_counts_a_silent_fifth_channel_as_none(official: dict[str, Tensor], save: Callable[[Any], Path]) -> None:
    digest = checkpoint_digest(save(official))
    for name in ("encoder.0.conv1.weight", "encoder.1.conv1.weight", "conv1.0.weight"):
        official[name] = F.pad(official[name], (0, 0, 0, 1))
    assert load_checkpoint(save(official)).config.input_channels == 5
    assert checkpoint_digest(save(official)) == digest
    official["conv1.0.weight"][0, 4] = 1e-3
    assert checkpoint_digest(save(official)) != digest


def test_digest_changes_with_any_weight_and_any_size(model: SpTransformerModel, tmp_path: Path) -> None:
    digests = set()
    for name in (None, "norm.bias", "encoders.0.blocks.3.norm2.running_var", "position.place"):
        if name:
            model.state_dict()[name].flatten()[0] += 1e-3
        model.save_pretrained(tmp_path)
        digests.add(checkpoint_digest(tmp_path))
    model.config = dataclasses.replace(model.config, context=1)
    model.save_pretrained(tmp_path)
    digests.add(checkpoint_digest(tmp_path))
    assert len(digests) == 5


# --- faults ----------------------------------------------------------------------------------------------------------


def test_tensors_that_do_not_fit_are_listed_by_their_names(
    official: dict[str, Tensor], save: Callable[[Any], Path]
) -> None:
    official["attn.attn.layers.layers.0.1.fn.fn.w3.weight"] = official.pop(
        "attn.attn.layers.layers.0.1.fn.fn.w1.weight"
    )
    del official["encoder.1.resblocks.0.bn1.running_var"]
    official["usage.bias"] = torch.zeros(3)
    official["attn.norm.bias"][1] = torch.nan
    with pytest.raises(InputError) as error:
        load_checkpoint(save(official))
    message = str(error.value)
    assert "x.ckpt do not fit the network" in message
    assert "missing: encoder.1.resblocks.0.bn1.running_var, attn.attn.layers.layers.0.1.fn.fn.w1.weight;" in message
    assert "unexpected: attn.attn.layers.layers.0.1.fn.fn.w3.weight;" in message
    assert "misshapen: usage.bias [3] instead of [2];" in message
    assert "not finite: attn.norm.bias" in message


def test_missing_tensors_of_our_layout_are_listed(model: SpTransformerModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(safetensors.torch.save({"norm.bias": torch.zeros(16)}))
    with pytest.raises(InputError, match=r"missing: encoders.0.input.weight, .* and \d+ more\)"):
        load_checkpoint(tmp_path)


def test_lost_blocks_and_layers_are_missing(official: dict[str, Tensor], save: Callable[[Any], Path]) -> None:
    for module in ("encoder.0.resblocks.0.", "attn.attn.layers.layers.0."):
        state = {name: tensor for name, tensor in official.items() if not name.startswith(module)}
        with pytest.raises(InputError, match=rf"missing: {re.escape(module)}"):
            load_checkpoint(save(state))


def test_impossible_shapes_are_refused(official: dict[str, Tensor], save: Callable[[Any], Path]) -> None:
    official["conv1.0.weight"] = torch.zeros(5, 6, 1)
    with pytest.raises(InputError, match=r"impossible shapes: input_channels must be 4 .* not 6"):
        load_checkpoint(save(official))


def test_another_network_is_refused(save: Callable[[Any], Path]) -> None:
    with pytest.raises(InputError, match="no SpTransformer network: none of its 1 tensors is known"):
        load_checkpoint(save({"bert.weight": torch.zeros(3)}))


@pytest.mark.parametrize("content", [3, [torch.zeros(1)], {"epoch": 3}, {"state_dict": [1]}, {"state_dict": {"a": 1}}])
def test_a_file_without_a_state_dict_is_refused(content: Any, save: Callable[[Any], Path]) -> None:
    with pytest.raises(InputError, match="holds no state dict"):
        load_checkpoint(save(content))


class Malicious:
    """Runs a command when it is unpickled without care."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_would_run_code_is_refused_without_running_it(
    zipped: bool, official: dict[str, Tensor], tmp_path: Path
) -> None:
    evidence, path = tmp_path / "ran", tmp_path / "x.ckpt"
    content = {"state_dict": official, "callback": Malicious(f"touch {evidence}")}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"refused: besides tensors it holds \w+\.system"):
        load_checkpoint(path)
    assert not evidence.exists()
    torch.load(path, weights_only=False)
    assert evidence.exists()  # the file is what it claims to be


def test_a_training_checkpoint_with_objects_is_refused(
    official: dict[str, Tensor], save: Callable[[Any], Path]
) -> None:
    with pytest.raises(InputError, match=r"it holds argparse.Namespace.*save its state dict alone"):
        load_checkpoint(save({"state_dict": official, "hyper_parameters": argparse.Namespace(lr=0.1)}))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"\x80\x04N."])
def test_a_file_of_another_kind_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(InputError, match="neither a PyTorch checkpoint nor a safetensors file"):
        load_checkpoint(tmp_path / "x.ckpt")


@pytest.mark.parametrize("kept", [0.01, 0.5, 0.99])
def test_a_cut_file_is_refused(
    kept: float, model: SpTransformerModel, official: dict[str, Tensor], tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path)
    torch.save(official, tmp_path / "x.ckpt")
    for name, message in (("x.ckpt", "is damaged or incomplete"), ("model.safetensors", "cannot read the checkpoint")):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: int(kept * len(content))])
        with pytest.raises(InputError, match=message):
            load_checkpoint(tmp_path / name)


def test_a_place_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        load_checkpoint(tmp_path / "nothing.ckpt")
    with pytest.raises(InputError, match=r"lacks model.safetensors and config.json"):
        load_checkpoint(tmp_path)


# --- hub -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder that stands for the hub: a repository is a folder in it."""

    def snapshot_download(repository: str, *, allow_patterns: list[str]) -> str:
        assert allow_patterns == ["config.json", "model.safetensors"]
        if not (tmp_path / repository).is_dir():
            raise FileNotFoundError(f"Repository Not Found: {repository}\nmore words")
        return str(tmp_path / repository)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return tmp_path


def test_a_hub_id_is_downloaded(hub: Path, model: SpTransformerModel) -> None:
    model.save_pretrained(hub / "someone" / "sptransformer")
    assert_same(SpTransformerModel.from_pretrained("someone/sptransformer"), model)


def test_an_unknown_hub_id_says_what_the_hub_says(hub: Path) -> None:
    with pytest.raises(InputError, match=r"the Hugging Face hub says: Repository Not Found: someone/else$"):
        load_checkpoint("someone/else")


@pytest.mark.parametrize("source", ["name", "a/b/c", "/a/b", "s3://a/b", "../a"])
def test_what_is_no_hub_id_is_not_looked_up(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "download", lambda repository, _: pytest.fail(f"looked up {repository}"))
    with pytest.raises(InputError, match=r"no such file or folder$"):
        load_checkpoint(source)
