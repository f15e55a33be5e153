"""Where a checkpoint's files are, and that nothing but tensors is ever read from one."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import safetensors.torch
import torch
from material.checkpoints import assert_equal
from torch import Tensor

from sptx_core.checkpoint.sources import locate, read_tensors
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


def test_a_hub_id_is_downloaded_unless_a_folder_has_that_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def snapshot_download(repository: str, *, allow_patterns: list[str]) -> str:
        assert (repository, allow_patterns) == ("someone/network", ["config.json", "model.safetensors"])
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.chdir(tmp_path)
    assert locate("someone/network") == (folder / "model.safetensors", folder / "config.json")
    Path("someone/network").mkdir(parents=True)
    with pytest.raises(InputError, match="someone/network is no checkpoint folder"):
        locate("someone/network")


@pytest.mark.parametrize("source", ["name", "a/b/c", "/a/b", "s3://a/b", "../a"])
def test_what_is_no_hub_id_is_not_looked_up(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("looked up"))
    with pytest.raises(InputError, match=r"no such file or folder$"):
        locate(source)


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


@pytest.mark.parametrize("kept", [0.01, 0.5, 0.99])
def test_a_file_that_was_cut_off_is_refused(kept: float, official: dict[str, Tensor], tmp_path: Path) -> None:
    safetensors.torch.save_file(official, tmp_path / "x.safetensors")
    torch.save(official, tmp_path / "x.ckpt")
    for name, message in (("x.ckpt", "is damaged or incomplete"), ("x.safetensors", "cannot read the checkpoint")):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: int(kept * len(content))])
        with pytest.raises(InputError, match=message):
            read_tensors(tmp_path / name)
