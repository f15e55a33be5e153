"""Checkpoints: every layout that is read, what is written, the digest, every fault that is named."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from material.checkpoints import (
    MULTIMOLECULE,
    OFFICIAL,
    assert_equal,
    assert_holds,
    multimolecule_folder,
    multimolecule_tensors,
)
from material.hub_server import HubServer
from material.networks import network_of
from torch import Tensor

from sptx_core.channels import TISSUES
from sptx_core.checkpoint import Checkpoint, checkpoint_digest, load_checkpoint, load_config, save_checkpoint
from sptx_core.checkpoint.checkpoint import READS_INPUT
from sptx_core.config import HeadConfig, SpTransformerConfig
from sptx_core.demo import demo_checkpoint
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel

# Digests are part of every table's fingerprint: they must never change.
GOLDEN_DIGEST = "4d39840273b5110696f78323f35038a987a2557e6a9e91aa4577c79a9c0d8447"
DEMO_DIGEST = "3228eaadecdff9e6a054766946d1fde22ac833a3912cc0ea9003576ea96f66d8"


# --- official --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_golden_checkpoint_is_read_with_all_its_sizes(golden_checkpoint: Path, golden_state: dict[str, Tensor]) -> None:
    assert sum(x.numel() for name, x in golden_state.items() if "running" not in name and x.ndim) == 17_076_388
    checkpoint = load_checkpoint(golden_checkpoint)
    assert checkpoint.config == dataclasses.replace(SpTransformerConfig(), input_channels=4, tissue_names=TISSUES)
    assert torch.equal(checkpoint.tensors["splice_head.weight"], golden_state["splice.weight"])
    assert torch.equal(
        checkpoint.tensors["encoders.1.blocks.9.conv2.weight"], golden_state["encoder.1.resblocks.9.conv2.weight"]
    )
    assert checkpoint.digest() == GOLDEN_DIGEST


@pytest.mark.parametrize("unused", [True, False])
def test_official_layout(
    unused: bool, model: SpTransformerModel, official: dict[str, Tensor], save: Callable[[Any], Path]
) -> None:
    path = save(official if unused else {name: x for name, x in official.items() if "_output" not in name})
    for source in (path, str(path)):
        assert_holds(load_checkpoint(source), model)
    assert load_checkpoint(path).source == str(path)


def test_older_spelling_of_the_position_embedding(
    model: SpTransformerModel, official: dict[str, Tensor], save: Callable[[Any], Path]
) -> None:
    older = {name.replace("pos_emb.weights.", "pos_emb.weights_"): tensor for name, tensor in official.items()}
    assert "attn.pos_emb.weights_1" in older
    assert_holds(load_checkpoint(save(older)), model)


def test_counters_of_training_steps_may_be_left_out(
    model: SpTransformerModel, official: dict[str, Tensor], save: Callable[[Any], Path]
) -> None:
    state = {name: tensor for name, tensor in official.items() if "num_batches" not in name}
    assert_holds(load_checkpoint(save(state)), model)


def test_tensors_of_other_precision_become_float32(official: dict[str, Tensor], save: Callable[[Any], Path]) -> None:
    loaded = load_checkpoint(save({name: x.bfloat16() for name, x in official.items()}))
    assert {x.dtype for name, x in loaded.tensors.items() if "num_batches" not in name} == {torch.float32}


def test_views_of_one_storage_become_tensors_of_their_own(
    model: SpTransformerModel, official: dict[str, Tensor], save: Callable[[Any], Path], tmp_path: Path
) -> None:
    names = ("attn.norm.weight", "attn.norm.bias")
    shared = torch.stack([official[name] for name in names], 1)
    official |= {name: shared[:, i] for i, name in enumerate(names)}
    loaded = load_checkpoint(save(official))
    assert_holds(loaded, model)
    save_checkpoint(loaded, tmp_path / "ours")
    assert_holds(load_checkpoint(tmp_path / "ours"), model)


# --- MultiMolecule ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "model."])
def test_multimolecule_layout(prefix: str, tmp_path: Path) -> None:
    model = network_of(MULTIMOLECULE)
    tensors = {prefix + name: tensor for name, tensor in multimolecule_tensors(model).items()}
    head = {"decoder.weight": torch.ones(2, 16)} if prefix else {}
    tensors |= {f"token_head.{name}": tensor for name, tensor in head.items()}
    folder = multimolecule_folder(tmp_path, tensors)
    for source in (folder, folder / "model.safetensors"):
        loaded = load_checkpoint(source)
        assert_holds(loaded, model)
        assert_equal(loaded.head, head)


def test_multimolecule_file_alone_has_the_published_context_and_heads(tmp_path: Path) -> None:
    model = network_of(dataclasses.replace(MULTIMOLECULE, context=4000, heads=8, local_heads=2))
    safetensors.torch.save_file(multimolecule_tensors(model), tmp_path / "weights")
    assert_holds(load_checkpoint(tmp_path / "weights"), model)


def test_settings_that_the_network_cannot_have_are_refused_by_their_file(tmp_path: Path) -> None:
    folder = multimolecule_folder(tmp_path, multimolecule_tensors(network_of(MULTIMOLECULE)), hidden_act="gelu")
    with pytest.raises(InputError, match=re.escape(f"{folder / 'config.json'}: hidden_act is 'gelu'")):
        load_checkpoint(folder)


def test_settings_of_another_network_are_refused(tmp_path: Path) -> None:
    folder = multimolecule_folder(tmp_path, multimolecule_tensors(network_of(MULTIMOLECULE)), model_type="bert")
    with pytest.raises(InputError, match=r"config.json describes no SpTransformer network: model_type is 'bert'"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("names", "expected"), [(["brain", "liver"], ("brain", "liver")), (["tissue_0", "tissue_1"], None)]
)
def test_names_of_tissues_come_with_multimolecule_files(
    names: list[str], expected: tuple[str, ...] | None, tmp_path: Path
) -> None:
    tensors = multimolecule_tensors(network_of(MULTIMOLECULE))
    assert load_checkpoint(multimolecule_folder(tmp_path, tensors, tissue_names=names)).config.tissue_names == expected


# --- our own ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config", [OFFICIAL, dataclasses.replace(OFFICIAL, context=7, local_heads=3, input_channels=5)]
)
def test_what_is_saved_is_loaded_again(config: SpTransformerConfig, tmp_path: Path) -> None:
    model = network_of(config)
    save_checkpoint(Checkpoint(config, model.state_dict()), tmp_path / "folder")
    for source in (tmp_path / "folder", tmp_path / "folder" / "model.safetensors"):
        loaded = load_checkpoint(source)
        assert_holds(loaded, model)
        assert loaded.head == {}
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["config.json", "model.safetensors"]


def test_members_are_saved_loaded_and_taken_out(tmp_path: Path) -> None:
    config = dataclasses.replace(OFFICIAL, layers=0, input_path_channels=0, tissues=0, members=2)
    model = network_of(config)
    model.save_pretrained(tmp_path)
    loaded = load_checkpoint(tmp_path)
    assert_holds(loaded, model)
    assert len({loaded.digest(), *(loaded.of_member(number).digest() for number in (0, 1))}) == 3
    member = loaded.of_member(1)
    assert member.of_member(0) is member
    assert_holds(member, model.networks[1])
    with pytest.raises(InputError, match="has members 0 to 1, none is 2"):
        loaded.of_member(2)


def test_missing_and_unexpected_tensors_of_members_are_named(tmp_path: Path) -> None:
    config = dataclasses.replace(OFFICIAL, layers=0, members=2)
    tensors = network_of(config).state_dict()
    del tensors["member.1.fusion.bias"]
    tensors |= {"norm.weight": torch.zeros(16), "member.2.fusion.bias": torch.zeros(16)}
    save_checkpoint(Checkpoint(config, tensors), tmp_path)
    with pytest.raises(
        InputError, match=r"missing: member\.1\.fusion\.bias; unexpected: member\.2\.fusion\.bias, norm"
    ):
        load_checkpoint(tmp_path)


def test_settings_of_attention_that_there_is_not_are_no_part_of_the_digest() -> None:
    config = dataclasses.replace(OFFICIAL, layers=0)
    tensors = network_of(config).state_dict()
    others = dataclasses.replace(config, max_seq_len=999, heads=5, local_heads=1, bucket_size=7, feed_forward_size=1)
    assert Checkpoint(others, tensors).digest() == Checkpoint(config, tensors).digest()


def test_digest_counts_a_silent_fifth_channel_of_members_as_none() -> None:
    config = dataclasses.replace(OFFICIAL, layers=0, members=2)
    tensors = network_of(config).state_dict()
    wide = {n: F.pad(x, (0, 0, 0, 1)) if READS_INPUT.fullmatch(n) else x for n, x in tensors.items()}
    assert sum(wide[name].shape != tensors[name].shape for name in tensors) == 2 * (len(config.encoders) + 1)
    assert (
        Checkpoint(dataclasses.replace(config, input_channels=5), wide).digest() == Checkpoint(config, tensors).digest()
    )


def test_a_head_is_saved_and_loaded_beside_the_network(model: SpTransformerModel, tmp_path: Path) -> None:
    config = dataclasses.replace(OFFICIAL, head=HeadConfig(3))
    head = {"decoder.weight": torch.rand(3, 16).bfloat16().float(), "decoder.bias": torch.ones(3)}
    save_checkpoint(Checkpoint(config, model.state_dict(), head), tmp_path)
    loaded = load_checkpoint(tmp_path)
    assert loaded.config == config
    assert_equal(loaded.tensors, model.state_dict())
    assert_equal(loaded.head, head)
    assert loaded.digest() == Checkpoint(OFFICIAL, model.state_dict()).digest()


@pytest.mark.slow
def test_settings_beside_the_sizes_are_read_saved_and_loaded(tmp_path: Path) -> None:
    tensors = multimolecule_tensors(network_of(MULTIMOLECULE))
    loaded = load_checkpoint(multimolecule_folder(tmp_path / "theirs", tensors, output_attentions=True))
    assert loaded.beside == {"output_attentions": True}
    save_checkpoint(loaded, tmp_path / "ours")
    assert load_checkpoint(tmp_path / "ours").beside == loaded.beside
    plain = network_of(MULTIMOLECULE).to_checkpoint()
    assert plain.digest() == loaded.digest()
    save_checkpoint(plain, tmp_path / "plain")
    assert set(json.loads((tmp_path / "plain" / "config.json").read_text())) == {"model_type", "config"}


def test_a_new_head_shares_the_network(model: SpTransformerModel) -> None:
    config = dataclasses.replace(OFFICIAL, head=HeadConfig(3))
    checkpoint = Checkpoint(config, model.state_dict(), {"decoder.weight": torch.zeros(3, 16)})
    changed = checkpoint.with_new_head(HeadConfig(5, "binary"))
    assert changed.config == dataclasses.replace(OFFICIAL, head=HeadConfig(5, "binary"))
    assert changed.head == {}
    assert changed.tensors is checkpoint.tensors


MALFORMED = [
    *("", "[]", "{", "[" * 100_000),
    *('{"model_type": "sptx"}', '{"model_type": "sptx", "config": []}'),
    '{"model_type": "sptransformer", "architectures": 5}',
]


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_configuration_is_refused(text: str, model: SpTransformerModel, tmp_path: Path) -> None:
    save_checkpoint(model.to_checkpoint(), tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "config.json"))):
        load_checkpoint(tmp_path)


def test_malformed_settings_beside_the_sizes_are_refused(model: SpTransformerModel, tmp_path: Path) -> None:
    save_checkpoint(dataclasses.replace(model.to_checkpoint(), beside={"output_contexts": True}), tmp_path)
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(re.sub(r'"multimolecule": \{[^}]*\}', '"multimolecule": [3]', text))
    with pytest.raises(InputError, match=re.escape("multimolecule must hold settings by name, not [3]")):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text(text.replace('"output_contexts": true', '"architectures": 5'))
    with pytest.raises(InputError, match=r"config\.json: architectures must be a list of names, not 5$"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("fails_at", ["model.safetensors", "config.json"])
def test_interrupted_save_leaves_no_whole_folder(
    fails_at: str, model: SpTransformerModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(model.to_checkpoint(), tmp_path)
    replace = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if target.name == fails_at:
            raise OSError("disk full")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(InputError, match=r"cannot save a checkpoint to .*disk full"):
        save_checkpoint(model.to_checkpoint(), tmp_path)
    with pytest.raises(InputError, match=r"lacks config.json"):
        load_checkpoint(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]  # nothing half-written is left


def test_saving_where_a_file_stands_is_refused(model: SpTransformerModel, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match=r"cannot save a checkpoint to .*taken"):
        save_checkpoint(model.to_checkpoint(), tmp_path / "taken")


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["ours", "multimolecule"])
def test_tensors_in_several_files_are_the_same_network(layout: str, tmp_path: Path) -> None:
    model = network_of(MULTIMOLECULE).requires_grad_(False)
    if layout == "ours":
        save_checkpoint(model.to_checkpoint(), tmp_path)
    else:
        multimolecule_folder(tmp_path, multimolecule_tensors(model))
    whole = load_checkpoint(tmp_path)
    tensors = safetensors.torch.load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    huggingface_hub.save_torch_state_dict(tensors, tmp_path, max_shard_size="10KB")
    assert len(list(tmp_path.glob("model-*-of-*.safetensors"))) > 2
    for source in (tmp_path, tmp_path / "model.safetensors.index.json"):
        assert_holds(load_checkpoint(source), model)
        assert checkpoint_digest(source) == whole.digest()
    next(tmp_path.glob("model-00002*")).unlink()
    with pytest.raises(InputError, match=r"cannot read the checkpoint .*model-00002-of-\d+.safetensors"):
        load_checkpoint(tmp_path)


# --- configuration alone ---------------------------------------------------------------------------------------------


def test_a_configuration_is_read_without_tensors(model: SpTransformerModel, hub: HubServer, tmp_path: Path) -> None:
    save_checkpoint(model.to_checkpoint(), tmp_path / "ours")
    multimolecule_folder(tmp_path / "theirs", {})
    hub.put_folder("someone/ours", tmp_path / "ours", "v1")
    for folder in ("ours", "theirs"):
        (tmp_path / folder / "model.safetensors").write_bytes(b"no tensors")
    assert load_config(tmp_path / "ours") == OFFICIAL
    assert load_config(tmp_path / "theirs") == MULTIMOLECULE
    assert load_config("someone/ours", revision="v1", token="t") == OFFICIAL
    assert hub.downloaded() == ["config.json"]
    assert hub.tokens == {"t"}


def test_a_file_without_a_configuration_beside_it_has_that_of_its_tensors(
    official: dict[str, Tensor], save: Callable[[Any], Path]
) -> None:
    assert load_config(save(official)) == OFFICIAL


def test_a_configuration_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        load_config(tmp_path / "nothing")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="describes no SpTransformer network: model_type is 'bert'"):
        load_config(tmp_path)


def test_our_tensors_need_their_configuration(model: SpTransformerModel, tmp_path: Path) -> None:
    save_checkpoint(model.to_checkpoint(), tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(InputError, match=r"lacks config.json"):
        load_checkpoint(tmp_path)
    with pytest.raises(InputError, match=r"needs the config.json that was saved beside it"):
        load_checkpoint(tmp_path / "model.safetensors")


# --- digest ----------------------------------------------------------------------------------------------------------


def test_digest_of_the_shipped_checkpoint_stays() -> None:
    assert checkpoint_digest(demo_checkpoint()) == DEMO_DIGEST


def test_digest_is_of_the_network_and_not_of_its_container(
    model: SpTransformerModel, official: dict[str, Tensor], save: Callable[[Any], Path], tmp_path: Path
) -> None:
    digest = checkpoint_digest(save(official))
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert checkpoint_digest(save({"state_dict": dict(reversed(official.items()))})) == digest
    official["encoder.0.splice_output.weight"] += 1
    official["encoder.0.resblocks.0.bn1.num_batches_tracked"] += 1
    assert checkpoint_digest(save(official)) == digest
    save_checkpoint(model.to_checkpoint(), tmp_path / "ours")
    assert checkpoint_digest(tmp_path / "ours") == digest


def test_names_of_tissues_are_kept_and_are_no_part_of_the_digest(model: SpTransformerModel, tmp_path: Path) -> None:
    without = model.to_checkpoint()
    save_checkpoint(without, tmp_path / "without")
    assert "tissue_names" not in (tmp_path / "without" / "config.json").read_text()  # as folders of older versions
    config = dataclasses.replace(OFFICIAL, tissue_names=("brain", "liver"))
    save_checkpoint(dataclasses.replace(without, config=config), tmp_path / "with")
    assert load_checkpoint(tmp_path / "with").config.output_channels[3:] == ("brain", "liver")
    assert checkpoint_digest(tmp_path / "with") == checkpoint_digest(tmp_path / "without") == without.digest()


def test_digest_counts_a_silent_fifth_channel_as_none(official: dict[str, Tensor], save: Callable[[Any], Path]) -> None:
    digest = checkpoint_digest(save(official))
    for name in ("encoder.0.conv1.weight", "encoder.1.conv1.weight", "conv1.0.weight"):
        official[name] = F.pad(official[name], (0, 0, 0, 1))
    assert load_checkpoint(save(official)).config.input_channels == 5
    assert checkpoint_digest(save(official)) == digest
    official["conv1.0.weight"][0, 4] = 1e-3
    assert checkpoint_digest(save(official)) != digest


def test_digest_changes_with_any_weight_and_any_size(model: SpTransformerModel) -> None:
    checkpoint = model.to_checkpoint()
    digests = [checkpoint.digest()]
    for name, tensor in checkpoint.tensors.items():
        if "num_batches" not in name:
            tensor.flatten()[0] += 1e-3
            digests.append(checkpoint.digest())
    config = dataclasses.replace(checkpoint.config, context=1)
    digests.append(dataclasses.replace(checkpoint, config=config).digest())
    assert len(set(digests)) == len(digests)


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
    save_checkpoint(model.to_checkpoint(), tmp_path)
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
    with pytest.raises(InputError, match=r"x.ckpt have impossible shapes: input_channels must be 4 .* not 6"):
        load_checkpoint(save(official))


def test_another_network_is_refused(save: Callable[[Any], Path]) -> None:
    with pytest.raises(InputError, match="no SpTransformer network: of its 1 tensor none is known"):
        load_checkpoint(save({"bert.weight": torch.zeros(3)}))


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.ckpt").touch()

    def refused(self: Path, *_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(InputError, match=r"cannot read the checkpoint .*x.ckpt: .*Permission denied"):
        load_checkpoint(tmp_path / "x.ckpt")
