"""`sptx finetune` as a person runs it: real Ray, real kills, a real object store; resumed to the last bit."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest
import torch
import yaml
from material import processes
from material.processes import PATIENCE, started_by, wait_for
from material.servers import object_store

from pipeline.batch.storage import Store
from pipeline.cli import main as cli
from pipeline.finetuning import states
from pipeline.inputs.annotation import read_annotation
from pipeline.simulation.simulate import Simulated
from pipeline.tracks.reader import open_tracks
from sptx_core.channels import TISSUES
from sptx_core.model import SpTransformerModel

Run = Callable[..., subprocess.CompletedProcess[str]]
LONG = {"epochs": 8, "checkpoint_every": 5}
"""Long enough to be killed on the way."""


@pytest.fixture(scope="module")
def settings(lesson: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("settings") / "lesson.yaml"
    path.write_text(yaml.safe_dump({**lesson, **LONG}))
    return path


@pytest.fixture(scope="module")
def undisturbed(settings: Path, sptx: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("undisturbed") / "training"
    done = sptx("finetune", "--config", settings, "--output", output)
    assert "steps; the network is in" in done.stdout
    assert "test: loss" in done.stdout
    assert "Traceback" not in done.stderr
    return output


def report_of(output: Path) -> dict[str, Any]:
    """The report, its address left out."""
    report: dict[str, Any] = json.loads((output / "report.json").read_bytes())
    assert report.pop("model") == str(output / "model")
    return report


def assert_same_training(one: Path, other: Path) -> None:
    assert report_of(one) == report_of(other)
    for name in ("model/model.safetensors", "model/config.json", "history.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def start(settings: Path, output: Path, env: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    return processes.start(["finetune", "--config", settings, "--output", output], env, log)


def wait_for_a_state(run: subprocess.Popen[bytes], output: Path, log: Path) -> None:
    wait_for(lambda: list(output.glob("states/step-*.pt")), run, log)


def test_the_result_is_a_checkpoint_that_was_the_best_and_predicts(
    undisturbed: Path, simulated: Simulated, sptx: Run, tmp_path: Path
) -> None:
    model = SpTransformerModel.from_pretrained(undisturbed / "model")
    assert model.output_channels[3:] == TISSUES
    last = states.newest(Store(undisturbed))
    assert last is not None
    for name, x in model.state_dict().items():
        assert torch.equal(x, last.best[name]), name
    report = report_of(undisturbed)
    assert report["steps"] == last.step
    assert report["best"] == min(last.history, key=lambda found: found["loss"])  # type: ignore[arg-type, return-value]
    assert report["test"]["loss"] > 0
    gene = read_annotation(str(simulated.annotation)).transcripts["gene_name"][0]
    flags = ["--fasta", simulated.genome, "--gtf", simulated.annotation, "--genes", gene, "--core", 100]
    sptx("run", *flags, "--checkpoint", undisturbed / "model", "--output", tmp_path / "table")
    tracks = open_tracks(str(tmp_path / "table")).scan().collect()
    assert set(TISSUES) <= set(tracks.columns)
    assert tracks["donor"].is_between(0, 1).all()


def test_a_finished_training_is_only_reported(undisturbed: Path, settings: Path, sptx: Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*") if path.is_file()}
    done = sptx("finetune", "--config", settings, "--output", undisturbed)
    assert "done before" in done.stderr
    assert "Ray" not in done.stderr
    steps = report_of(undisturbed)["steps"]
    assert done.stdout.startswith(f"{steps} steps; the network is in {undisturbed}/model\n")
    assert {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("flag", "value", "name"),
    [
        ("--learning-rate", "0.02", "learning_rate"),
        ("--biotypes", "protein_coding", "biotypes"),
        ("--flanks", "genomic", "flanks"),
    ],
)
def test_other_settings_in_the_same_place_are_refused_by_name(
    undisturbed: Path,
    settings: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    flag: str,
    value: str,
    name: str,
) -> None:
    job = ["sptx", "finetune", "--config", str(settings), "--output", str(undisturbed), flag, value]
    monkeypatch.setattr("sys.argv", job)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    said = capsys.readouterr().err.partition("sptx: ")[2]
    assert re.search(rf"differs in .*\b{name}\b.*: give its settings to go on with it, or another --output", said)


def test_how_it_is_executed_may_change(
    undisturbed: Path, settings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ["sptx", "finetune", "--config", str(settings), "--output", str(undisturbed)]
    monkeypatch.setattr("sys.argv", [*job, "--workers", "2", "--threads", "2", "--gpus-per-worker", "0"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert "done before" in capsys.readouterr().err


def test_a_driver_killed_mid_training_is_run_again_and_learns_the_same(
    undisturbed: Path, settings: Path, sptx: Run, clean_environment: dict[str, str], tmp_path: Path
) -> None:
    output, log = tmp_path / "training", tmp_path / "log"
    run = start(settings, output, clean_environment, log)
    wait_for_a_state(run, output, log)
    orphans = started_by(run, "RayTrainWorker")
    run.kill()
    run.wait(PATIENCE)
    _, alive = psutil.wait_procs(orphans, timeout=PATIENCE)  # until then a worker may still save a state
    assert not alive
    assert not (output / "report.json").exists(), "killed too late to test anything"
    assert "goes on after step" in sptx("finetune", "--config", settings, "--output", output).stderr
    assert_same_training(output, undisturbed)


def test_a_worker_killed_mid_training_is_started_again_and_learns_the_same(
    undisturbed: Path, settings: Path, clean_environment: dict[str, str], tmp_path: Path
) -> None:
    output, log = tmp_path / "training", tmp_path / "log"
    run = start(settings, output, clean_environment, log)
    wait_for_a_state(run, output, log)
    (worker,) = started_by(run, "RayTrainWorker")
    worker.kill()
    assert run.wait(PATIENCE) == 0, log.read_text()
    assert "workers are started again" in log.read_text()
    assert "goes on after step" in log.read_text()
    assert_same_training(output, undisturbed)


def test_an_interrupted_training_says_how_to_go_on_and_leaves_no_process(
    settings: Path, clean_environment: dict[str, str], tmp_path: Path
) -> None:
    output, log = tmp_path / "training", tmp_path / "log"
    run = start(settings, output, clean_environment, log)
    wait_for_a_state(run, output, log)
    children = psutil.Process(run.pid).children(recursive=True)
    run.send_signal(signal.SIGINT)
    assert run.wait(PATIENCE) == 130, log.read_text()
    assert "the same command again goes on after the last saved state" in log.read_text()
    assert "Traceback" not in log.read_text()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive


def test_a_loss_that_is_not_finite_ends_with_a_sentence(settings: Path, sptx: Run, tmp_path: Path) -> None:
    flags = ["--output", tmp_path / "training", "--learning-rate", 1e30, "--workers", 2]
    done = sptx("finetune", "--config", settings, *flags, code=2)
    assert "finite" in done.stderr
    assert "lower --learning-rate" in done.stderr
    assert "Traceback" not in done.stderr
    assert "started again" not in done.stderr


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with object_store("training-bucket") as uri:
        yield uri


def test_two_workers_go_on_from_a_checkpoint_with_other_tissues_into_an_object_store(
    undisturbed: Path, lesson: dict[str, Any], simulated: Simulated, bucket: str, tmp_path: Path, sptx: Run
) -> None:
    usage = pl.read_parquet(simulated.usage).select(
        "contig", "position", "strand", "kind", pl.col("heart").alias("left_ventricle"), "brain"
    )
    usage.write_csv(tmp_path / "usage.tsv", separator="\t")
    changed = {"usage": str(tmp_path / "usage.tsv"), "network": None, "checkpoint": str(undisturbed / "model")}
    (tmp_path / "lesson.yaml").write_text(
        yaml.safe_dump({k: v for k, v in {**lesson, **changed, "freeze": "body"}.items() if v is not None})
    )
    env = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    env["SPTX_CACHE"] = str(tmp_path / "cache")
    job = ["finetune", "--config", tmp_path / "lesson.yaml", "--output", f"{bucket}/training", "--workers", 2]
    done = sptx(*job, env=env)
    assert f"the network is in {bucket}/training/model" in done.stdout
    store = Store(f"{bucket}/training")
    assert {name.partition("/")[0] for name in store.list()} == {
        "training.json",
        "states",
        "history.json",
        "model",
        "report.json",
    }
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes(store.read_bytes(f"model/{name}"))
    before, after = (SpTransformerModel.from_pretrained(folder) for folder in (undisturbed / "model", tmp_path))
    assert after.output_channels[3:] == ("left_ventricle", "brain")
    own = after.state_dict()
    for name, x in before.state_dict().items():
        if not name.startswith(("splice_head", "usage_head")):
            assert torch.equal(own[name], x), name
    moved = (after.usage_head.weight[1] - before.usage_head.weight[TISSUES.index("brain")]).abs().max()
    assert 0 < moved < 0.5
