"""What a finished training leaves: the best network as a checkpoint, and then a report that says how it ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from material.groups import CPU

from pipeline.finetuning.loop import Trained, Training, TrainingOrder, Worker
from pipeline.finetuning.training_report import report_text, write_result
from sptx_core.model import SpTransformerModel

VALIDATIONS: list[dict[str, Any]] = [
    {"step": 4, "epoch": 0, "loss": 0.5, "usage": 0.25},
    {"step": 1234, "epoch": 0, "loss": 0.375, "usage": None},
    {"step": 2000, "epoch": 1, "loss": 0.75, "usage": 0.5},
]


@pytest.fixture
def training(order: Callable[..., TrainingOrder], tmp_path: Path) -> Training:
    return Training(order(tmp_path), Worker(0, 1, CPU), lambda _: None)


def test_the_best_network_is_written_then_the_report(training: Training, tmp_path: Path) -> None:
    best = {name: x + 1 if x.is_floating_point() else x for name, x in training.network.state_dict().items()}
    training.state.step, training.state.history = 2000, VALIDATIONS
    write_result(training, Trained(best, {"loss": 0.625}))
    read = SpTransformerModel.from_pretrained(tmp_path / "model")
    assert read.config == training.network.config
    for name, x in read.state_dict().items():
        assert torch.equal(x, best[name]), name
    assert json.loads((tmp_path / "report.json").read_text()) == {
        "steps": 2000,
        "best": VALIDATIONS[1],
        "test": {"loss": 0.625},
        "model": str(tmp_path / "model"),
    }
    files = ("model/model.safetensors", "model/config.json", "report.json")
    written = [(tmp_path / name).stat().st_mtime_ns for name in files]
    assert written == sorted(written)


def test_a_report_without_a_validation_or_a_test(training: Training, tmp_path: Path) -> None:
    training.state.history = [{**VALIDATIONS[0], "loss": None}]
    write_result(training, Trained(training.network.state_dict(), None))
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["best"], report["test"]) == (None, None)
    assert report_text(report) == f"0 steps; the network is in {tmp_path}/model"


def test_the_report_as_text() -> None:
    report = {"steps": 2000, "best": VALIDATIONS[1], "test": {"loss": 0.625, "usage": 0.5}, "model": "s3://b/model"}
    assert report_text(report).splitlines() == [
        "2,000 steps; the network is in s3://b/model",
        "validation, step 1,234: loss 0.3750, usage -",
        "test: loss 0.6250, usage 0.5000",
    ]
