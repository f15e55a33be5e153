"""Where a checkpoint's files are, and that nothing but tensors is ever read from one."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from material.checkpoints import assert_equal
from material.hub_server import HubServer
from torch import Tensor

from sptx_core.checkpoint.sources import locate, locate_config, read_tensors
from sptx_core.errors import InputError

TENSORS = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([[3]])}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    safetensors.torch.save_file(TENSORS, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


# --- where they are --------------------------------------------------------------------------------------------------


def test_a_folder_has_both_files(folder: Path) -> None:
    for source in (folder, str(folder)):
        assert locate(source) == (folder / "model.safetensors", folder / "config.json")


def test_a_safetensors_file_has_the_configuration_beside_it_if_there_is_one(folder: Path) -> None:
    assert locate(folder / "model.safetensors") == (folder / "model.safetensors", folder / "config.json")
    (folder / "config.json").unlink()
    assert locate(folder / "model.safetensors") == (folder / "model.safetensors", None)


def test_what_a_file_is_shows_in_its_content_and_not_in_its_name(folder: Path) -> None:
    torch.save(TENSORS, folder / "pickle.safetensors")
    (folder / "model.safetensors").rename(folder / "weights.ckpt")
    assert locate(folder / "pickle.safetensors").config is None
    assert locate(folder / "weights.ckpt").config == folder / "config.json"
    for name in ("pickle.safetensors", "weights.ckpt"):
        assert_equal(read_tensors(folder / name), TENSORS)


def test_a_place_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        locate(tmp_path / "nothing.ckpt")
    with pytest.raises(InputError, match=r"lacks model.safetensors and config.json \(to load an official .ckpt, give"):
        locate(tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(InputError, match=r"lacks config.json"):
        locate(tmp_path)


@pytest.mark.slow
def test_a_hub_id_is_downloaded_unless_a_folder_has_that_name(
    hub: HubServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.put_folder("someone/network", folder)
    files = locate("someone/network")
    assert hub.downloaded() == ["config.json", "model.safetensors"]
    assert_equal(read_tensors(files.tensors), TENSORS)
    assert files.config is not None
    monkeypatch.chdir(tmp_path)
    Path("someone/network").mkdir(parents=True)
    with pytest.raises(InputError, match="someone/network is no checkpoint folder"):
        locate("someone/network")


def test_revision_and_token_go_to_the_hub(hub: HubServer, folder: Path) -> None:
    hub.put_folder("someone/network", folder, "v1")
    for find in (locate, locate_config):
        hub.tokens.clear()
        assert find("someone/network", revision="v1", token="t")
        assert hub.tokens == {"t"}
        with pytest.raises(InputError, match="Invalid rev id: main"):
            find("someone/network", token="t")


def test_what_is_on_this_machine_has_no_revisions(folder: Path) -> None:
    for find in (locate, locate_config):
        find(folder, revision="main", token="t")
        with pytest.raises(InputError, match=r"is on this machine and has no revision v1: leave the revision out$"):
            find(folder, revision="v1")


def test_a_configuration_is_found_without_its_tensors(hub: HubServer, folder: Path) -> None:
    hub.put_folder("someone/network", folder)
    (folder / "model.safetensors").unlink()
    assert locate_config(folder) == folder / "config.json"
    found = locate_config("someone/network")
    assert found is not None
    assert found.read_text() == "{}"
    assert hub.downloaded() == ["config.json"]


def test_the_configuration_of_a_file(folder: Path) -> None:
    torch.save(TENSORS, folder / "x.ckpt")
    assert locate_config(folder / "model.safetensors") == folder / "config.json"
    assert locate_config(folder / "x.ckpt") is None
    (folder / "config.json").unlink()
    assert locate_config(folder / "model.safetensors") is None
    with pytest.raises(InputError, match=r"it lacks config.json$"):
        locate_config(folder)
    with pytest.raises(InputError, match="no such file or folder"):
        locate_config(folder / "nothing")


@pytest.mark.parametrize("source", ["name", "a/b/c", "/a/b", "s3://a/b", "../a"])
def test_what_is_no_hub_id_is_not_looked_up(source: str, hub: HubServer) -> None:
    with pytest.raises(InputError, match=r"no such file or folder$"):
        locate(source)
    assert not hub.calls


# --- tensors in several files ----------------------------------------------------------------------------------------

INDEX = "model.safetensors.index.json"
SHARDS = {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}


@pytest.fixture
def sharded(folder: Path) -> Path:
    """The same checkpoint with each tensor in a file of its own."""
    (folder / "model.safetensors").unlink()
    for tensor, name in SHARDS.items():
        safetensors.torch.save_file({tensor: TENSORS[tensor]}, folder / name)
    write_index(folder, SHARDS)
    return folder


def write_index(folder: Path, files: Any) -> None:
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 16}, "weight_map": files}))


def test_tensors_in_several_files_are_read_by_their_index(sharded: Path) -> None:
    for source in (sharded, sharded / INDEX):
        assert locate(source) == (sharded / INDEX, sharded / "config.json")
    assert_equal(read_tensors(sharded / INDEX), TENSORS)


def test_one_file_is_read_before_several(sharded: Path) -> None:
    safetensors.torch.save_file(TENSORS, sharded / "model.safetensors")
    assert locate(sharded).tensors == sharded / "model.safetensors"


def test_several_files_are_downloaded_and_only_those_of_the_index(hub: HubServer, sharded: Path) -> None:
    (sharded / "other.safetensors").touch()
    hub.put_folder("someone/network", sharded)
    files = locate("someone/network")
    assert hub.downloaded() == ["config.json", *sorted(SHARDS.values()), INDEX]
    assert hub.calls.count("GET /api/models/someone/network/revision/main") == 1  # all of the commit found first
    assert_equal(read_tensors(files.tensors), TENSORS)
    hub.calls.clear()
    locate("someone/network")
    assert not hub.downloaded()  # they are in the cache


def test_several_files_are_not_downloaded_beside_one(hub: HubServer, sharded: Path) -> None:
    safetensors.torch.save_file(TENSORS, sharded / "model.safetensors")
    hub.put_folder("someone/network", sharded)
    assert locate("someone/network").tensors.name == "model.safetensors"
    assert not set(hub.downloaded()) & set(SHARDS.values())


def test_a_file_takes_from_each_file_what_the_index_says(sharded: Path) -> None:
    safetensors.torch.save_file({"a": torch.zeros(9), "b": TENSORS["b"]}, sharded / SHARDS["b"])
    assert_equal(read_tensors(sharded / INDEX), TENSORS)


def test_a_tensor_that_is_not_where_the_index_says_is_named(sharded: Path) -> None:
    write_index(sharded, SHARDS | {"b": SHARDS["a"]})
    with pytest.raises(InputError, match=r"model-1-of-2.safetensors lacks b, which model.safetensors.index.json says"):
        read_tensors(sharded / INDEX)


@pytest.mark.parametrize("files", [None, {}, [], {"a": 1}, {"a": "../x"}, {"a": "/x"}, {"a": ".."}, {"a": ""}])
def test_what_is_no_index_is_refused(files: Any, sharded: Path) -> None:
    write_index(sharded, files)
    with pytest.raises(InputError, match=rf"{INDEX} is no index of tensors: expected their files, in its folder"):
        read_tensors(sharded / INDEX)


def test_an_index_that_was_cut_off_or_has_no_end_is_refused(sharded: Path) -> None:
    for damaged in ((sharded / INDEX).read_text()[:50], '{"weight_map": ' + "[" * 100_000):
        (sharded / INDEX).write_text(damaged)
        with pytest.raises(InputError, match=rf"{INDEX} is damaged or incomplete: "):
            read_tensors(sharded / INDEX)


# --- what they hold --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [True, False])  # False is how PyTorch saved before 1.6
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_state_dict_is_read_bare_or_wrapped(wrapped: bool, zipped: bool, tmp_path: Path) -> None:
    content = {"state_dict": TENSORS, "epoch": 3, "lr": [0.1]} if wrapped else TENSORS
    torch.save(content, tmp_path / "x.ckpt", _use_new_zipfile_serialization=zipped)
    assert_equal(read_tensors(tmp_path / "x.ckpt"), TENSORS)


@pytest.mark.parametrize("content", [3, [torch.zeros(1)], {"epoch": 3}, {"state_dict": [1]}, {"state_dict": {"a": 1}}])
def test_a_file_without_a_state_dict_is_refused(content: Any, save: Callable[[Any], Path]) -> None:
    with pytest.raises(InputError, match="holds no state dict"):
        read_tensors(save(content))


class Malicious:
    """Runs a command when it is unpickled without care."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_would_run_code_is_refused_without_running_it(zipped: bool, tmp_path: Path) -> None:
    evidence, path = tmp_path / "ran", tmp_path / "x.ckpt"
    content = {"state_dict": TENSORS, "callback": Malicious(f"touch {evidence}")}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"refused: besides tensors it holds \w+\.system"):
        read_tensors(path)
    assert not evidence.exists()
    torch.load(path, weights_only=False)
    assert evidence.exists()  # the file is what it claims to be


def test_a_training_checkpoint_with_objects_is_refused(save: Callable[[Any], Path]) -> None:
    with pytest.raises(InputError, match=r"it holds argparse.Namespace.*save its state dict alone"):
        read_tensors(save({"state_dict": TENSORS, "hyper_parameters": argparse.Namespace(lr=0.1)}))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"\x80\x04N."])
def test_a_file_of_another_kind_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(InputError, match="neither a PyTorch checkpoint nor a safetensors file"):
        read_tensors(tmp_path / "x.ckpt")
    found = re.escape(f"begins with {content!r}") if content else "is empty"
    for name in ("x.h5", "X.HDF5"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=rf"{name} is no HDF5 file, as which Keras saves .*: it {found}$"):
            read_tensors(tmp_path / name)


@pytest.mark.parametrize("kept", [0.01, 0.5, 0.99])
def test_a_file_that_was_cut_off_is_refused(kept: float, official: dict[str, Tensor], tmp_path: Path) -> None:
    safetensors.torch.save_file(official, tmp_path / "x.safetensors")
    torch.save(official, tmp_path / "x.ckpt")
    for name, message in (("x.ckpt", "is damaged or incomplete"), ("x.safetensors", "cannot read the checkpoint")):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: int(kept * len(content))])
        with pytest.raises(InputError, match=message):
            read_tensors(tmp_path / name)
