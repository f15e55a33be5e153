"""Keras' HDF5 files."""

from __future__ import annotations

import builtins
import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from material.family_networks import columns_of, random_sequence, random_weights
from material.keras_networks import keras_scores, write_keras
from material.mutations import INPUTS, mutated

from sptx_core.checkpoint.checkpoint import Checkpoint
from sptx_core.checkpoint.family.keras_file import MAGIC, read_keras
from sptx_core.checkpoint.family.network import ensemble
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel

TOLERANCE = 2e-5  # of float32 scores
h5py = pytest.importorskip("h5py")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keras") / "small.h5"
    write_keras(path, random_weights(3))
    return path


def rewritten(path: Path, target: Path, change: Callable[[Any], None]) -> io.BytesIO:
    """A copy of a file after a change."""
    target.write_bytes(path.read_bytes())
    with h5py.File(target, "r+") as file:
        change(file)
    return io.BytesIO(target.read_bytes())


@pytest.mark.parametrize("backwards", [False, True])
def test_a_file_gives_what_its_graph_says(tmp_path: Path, *, backwards: bool) -> None:
    path = tmp_path / "small.h5"
    write_keras(path, random_weights(3), backwards=backwards)
    assert path.read_bytes().startswith(MAGIC)
    with path.open("rb") as file:
        network = read_keras(file, "small.h5")
    assert network.context == 26
    model = SpTransformerModel.from_checkpoint(Checkpoint(*ensemble([[network]])))
    columns = columns_of(random_sequence(200) + "NN")
    with torch.inference_mode():
        ours = model.predict_columns(columns).scores()[0].T
    theirs = keras_scores(path, columns)[0]
    assert ours.shape == theirs.shape
    assert theirs.std(1).min() > 0.02  # scores that vary, or equality would say little
    assert (ours - theirs).abs().max() < TOLERANCE


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda file: file.attrs.__delitem__("model_config"), "found .*/model_weights"),
        (lambda file: file.__delitem__("model_weights"), "found .*attribute model_config"),
        (lambda file: file.attrs.__setitem__("model_config", "{"), "its model_config describes no network"),
        (lambda file: file.attrs.__setitem__("model_config", '{"config": {"layers": []}}'), "describes no network"),
        (lambda file: file.__delitem__("model_weights/conv1d_92"), r"the weight of conv1d_\d+ is missing|missing"),
        (lambda file: file.__delitem__("model_weights/conv1d_92/conv1d_92/bias:0"), "is damaged or incomplete"),
        (
            lambda file: file.attrs.__setitem__(
                "model_config", file.attrs["model_config"].replace('"activation": "relu"', '"activation": "elu"')
            ),
            "activation_1 is an activation 'elu'",
        ),
        (
            lambda file: file.attrs.__setitem__(
                "model_config", file.attrs["model_config"].replace('"strides": [1]', '"strides": [2]')
            ),
            r"strides of conv1d_91 is \[2\]",
        ),
    ],
)
def test_another_file_is_refused(path: Path, tmp_path: Path, change: Callable[[Any], None], sentence: str) -> None:
    with pytest.raises(InputError, match=f"small.h5.*({sentence})"):
        read_keras(rewritten(path, tmp_path / "changed.h5", change), "small.h5")


def test_of_a_file_of_another_kind_is_told_what_it_holds(tmp_path: Path) -> None:
    for held, told in (([], "found nothing$"), (list("abcdefgh"), "found attribute x, /a, /b, /c, /d, /e$")):
        with h5py.File(tmp_path / "other.h5", "w") as file:
            for name in held:
                file.create_group(name)
                file.attrs["x"] = 1
        with (tmp_path / "other.h5").open("rb") as stream, pytest.raises(InputError, match=told):
            read_keras(stream, "other.h5")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_one_sentence(path: Path, share: float) -> None:
    content = path.read_bytes()
    with pytest.raises(InputError, match=r"small\.h5 is damaged or incomplete"):
        read_keras(io.BytesIO(content[: int(share * len(content))]), "small.h5")


@settings(max_examples=INPUTS, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_fault_of_a_file_is_more_than_a_sentence(path: Path, data: Any) -> None:
    content = data.draw(mutated([path.read_bytes()], MAGIC))
    with suppress(InputError):
        read_keras(io.BytesIO(content), "small.h5")


def test_without_h5py_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name == "h5py":
            raise ModuleNotFoundError(name)
        return found(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"spliceai1.h5, a Keras file, install h5py: pip install 'sptx\[keras\]'"):
        read_keras(io.BytesIO(MAGIC), "spliceai1.h5")
