"""A finished training -> model/ and report.json below its output, and the report as text.

report.json holds `steps`, `best` (metrics of the best validation, with its `step` and `epoch`), `test` (metrics on the
test contigs, or null) and `model` (path or URI of the network). It is written last: where it exists, the training is
complete. Metrics: `pipeline.finetuning.validation`.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from pipeline.finetuning.loop import Trained, Training
from pipeline.finetuning.validation import format_metrics
from sptx_core.checkpoint import CONFIG_FILE, TENSOR_FILE
from sptx_core.model import SpTransformerModel
from sptx_core.words import counted

REPORT_FILE, MODEL_FOLDER = "report.json", "model"


def write_result(training: Training, trained: Trained) -> None:
    """Write the best network as a checkpoint, and then the report.

    Parameters
    ----------
    training : Training
        The training, run to its end.
    trained : Trained
        What its `run` returned.

    """
    store, state = training.store, training.state
    model = SpTransformerModel(training.network.config)
    model.load_state_dict(trained.best)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        for name in (TENSOR_FILE, CONFIG_FILE):  # config.json last: without it the folder is no checkpoint
            store.write_atomic(f"{MODEL_FOLDER}/{name}", (Path(folder) / name).read_bytes())
    validations = [metrics for metrics in state.history if metrics["loss"] is not None]
    report = {
        "steps": state.step,
        "best": min(validations, key=lambda metrics: metrics["loss"] or 0.0) if validations else None,
        "test": trained.test,
        "model": store.uri(MODEL_FOLDER),
    }
    store.write_atomic(REPORT_FILE, (json.dumps(report, indent=1) + "\n").encode())


def report_text(report: dict[str, Any]) -> str:
    """Write a report in a few lines for a person.

    Parameters
    ----------
    report : dict
        Content of report.json.

    Returns
    -------
    str
        A line each for the training, the best validation and the test, if there were any.

    """
    lines = [f"{counted(report['steps'], 'step')}; the network is in {report['model']}"]
    if report["best"]:
        metrics = {name: value for name, value in report["best"].items() if name not in ("step", "epoch")}
        lines.append(f"validation, step {report['best']['step']:,.0f}: {format_metrics(metrics)}")
    if report["test"]:
        lines.append(f"test: {format_metrics(report['test'])}")
    return "\n".join(lines)
