"""A simulated genome to learn from, and trainings so small that an epoch takes a second."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from material import threads
from material.groups import count_and_learn, run_together
from material.networks import tiny_network
from material.shared import made_once

from pipeline.batch import cluster
from pipeline.cli import main
from pipeline.finetuning.loop import TrainingOrder
from pipeline.finetuning.settings import FinetuneConfig
from pipeline.finetuning.training_job import prepare
from pipeline.simulation.simulate import Simulated, simulate

NETWORK = {
    "input_channels": 4,
    "context": 20,
    "max_seq_len": 128,
    "encoders": [{"channels": 6, "stages": [{"blocks": 1, "kernel_size": 3, "dilation": 2}]}],
    "input_path_channels": 5,
    "hidden_size": 16,
    "layers": 1,
    "heads": 4,
    "bucket_size": 16,
    "feed_forward_size": 12,
}
HYPERPARAMETERS = {
    *("output", "workers", "learning_rate", "warmup", "weight_decay", "clip", "precision", "freeze"),
    *("epochs", "validate_every", "checkpoint_every", "patience"),
}
"""Settings that the examples do not depend on."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with threads.one_thread():
        yield


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """Three contigs of 40,000 bases: chr1 to train on, chr2 for validation, chr3 for the test."""
    return simulate(tmp_path_factory.mktemp("simulated") / "genome", seed=3, contigs=3, bases=40_000)


@pytest.fixture(scope="session")
def tiny_settings(simulated: Simulated) -> dict[str, Any]:
    """Settings of a training that is over in seconds, all but its output."""
    return {
        "fasta": str(simulated.genome),
        "gtf": str(simulated.annotation),
        "usage": str(simulated.usage),
        "network": NETWORK,
        "validation": ["chr2"],
        "test": ["chr3"],
        "core": 100,
        "batch": 8,
        "epochs": 1.5,
        "learning_rate": 0.01,
        "validation_windows": 60,
        "checkpoint_every": 4,
        "threads": 1,
    }


@pytest.fixture
def settings_file(tiny_settings: dict[str, Any], tmp_path: Path) -> Callable[..., Path]:
    """The settings as a file for --config, some of them changed, those that are None left out."""

    def write(**changed: Any) -> Path:
        path = tmp_path / "settings.yaml"
        kept = {name: value for name, value in {**tiny_settings, **changed}.items() if value is not None}
        path.write_text(yaml.safe_dump(kept))
        return path

    return write


@pytest.fixture(scope="session")
def order(tiny_settings: dict[str, Any]) -> Callable[..., TrainingOrder]:
    """What a worker is given for this output, with some of the settings changed.

    Inputs are read and checked once for all settings that lead to the same examples.
    """
    prepared: dict[str, TrainingOrder] = {}

    def make(output: Path, **changed: Any) -> TrainingOrder:
        settings = {**tiny_settings, **changed, "output": str(output)}
        config = FinetuneConfig.load(None, settings)
        data = json.dumps({name: value for name, value in settings.items() if name not in HYPERPARAMETERS})
        if data not in prepared:
            prepared[data] = prepare(config, lambda _: None).order
        return dataclasses.replace(prepared[data], config=config, root=str(output))

    return make


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint."""
    folder = tmp_path_factory.mktemp("start")
    tiny_network(context=20, max_seq_len=128, bucket_size=16, tissues=15).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def shared_orders(order: Callable[..., TrainingOrder], start: Path) -> Callable[..., list[TrainingOrder]]:
    """Trainings for so many workers: one of a single step, one of several, and one in which norms learn too.

    The norms of the first two see no batch, so that it does not matter which worker sees which part of it.
    """
    common = {"network": None, "checkpoint": str(start), "freeze": "encoders", "clip": 1e6, "test": ()}
    several = {"learning_rate": 1e-3, "epochs": 0.5, "validate_every": 4}
    settings: list[dict[str, Any]] = [{"epochs": 0.01}, several, {**several, "freeze": "nothing"}]

    def make(folder: Path, workers: int) -> list[TrainingOrder]:
        return [
            order(folder / f"{workers}-{at}", **common | changed, workers=workers)
            for at, changed in enumerate(settings)
        ]

    return make


@pytest.fixture(scope="session")
def two_workers(
    shared_orders: Callable[..., list[TrainingOrder]], tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[Any, list[Any]]]:
    """What each of two processes counts (`count_share`), and what it learns of `shared_orders`."""

    def make(folder: Path) -> list[tuple[Any, list[Any]]]:
        return run_together(count_and_learn, folder, shared_orders(folder, 2))

    return made_once("together", tmp_path_factory, make)


@pytest.fixture
def refused(
    settings_file: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., str]:
    """Call `sptx finetune` with some settings changed; the sentence that it is refused with before Ray is started."""

    def no_ray(*_: Any, **__: Any) -> None:
        raise AssertionError("Ray is started")

    monkeypatch.setattr(cluster, "session", no_ray)

    def call(*flags: object, **changed: Any) -> str:
        settings = settings_file(**{"output": str(tmp_path / "training"), **changed})
        monkeypatch.setattr("sys.argv", ["sptx", "finetune", "--config", str(settings), *map(str, flags)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        said = capsys.readouterr().err
        assert "Traceback" not in said
        return said.partition("sptx: ")[2]

    return call
