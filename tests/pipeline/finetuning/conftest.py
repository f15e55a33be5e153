"""A simulated genome to learn from, and trainings so small that an epoch takes a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from pipeline.finetuning.finetune import prepare
from pipeline.finetuning.loop import TrainingOrder
from pipeline.finetuning.settings import FinetuneConfig
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


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small lose time to a second thread, and sums keep their order with one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """Three contigs of 40,000 bases: chr1 to train on, chr2 for validation, chr3 for the test."""
    return simulate(tmp_path_factory.mktemp("simulated") / "genome", seed=3, contigs=3, bases=40_000)


@pytest.fixture(scope="session")
def lesson(simulated: Simulated) -> dict[str, Any]:
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
def lesson_file(lesson: dict[str, Any], tmp_path: Path) -> Callable[..., Path]:
    """The settings as a file for --config, some of them changed, those that are None left out."""

    def write(**changed: Any) -> Path:
        path = tmp_path / "lesson.yaml"
        path.write_text(
            yaml.safe_dump({name: held for name, held in {**lesson, **changed}.items() if held is not None})
        )
        return path

    return write


@pytest.fixture(scope="session")
def order(lesson: dict[str, Any]) -> Callable[..., TrainingOrder]:
    """What a worker is given for this output, with some of the settings changed."""

    def make(output: Path, **changed: Any) -> TrainingOrder:
        settings = {**lesson, "output": str(output), **changed}
        return prepare(FinetuneConfig.load(None, settings), lambda _: None).order

    return make
