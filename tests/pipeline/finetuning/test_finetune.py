"""`sptx finetune` as a person runs it: real Ray, real kills, a real object store; resumed to the last bit.

Every training by Ray starts half a dozen processes. So each of them shows several things, most join one Ray, and what
needs no Ray starts none.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import polars as pl
import psutil
import pytest
import s3fs
import torch
import yaml
from material.local_run import compute_tracks
from material.processes import PATIENCE, started_by
from material.standing_ray import StandingRay
from material.threads import one_thread

from pipeline.batch import cluster
from pipeline.batch.storage import Store
from pipeline.cli import main
from pipeline.finetuning import states
from pipeline.finetuning.finetune import create_or_resume, train_worker
from pipeline.finetuning.settings import FinetuneConfig
from pipeline.finetuning.training_job import prepare
from pipeline.inputs.annotation import read_annotation
from pipeline.simulation.simulate import Simulated
from sptx_core.channels import TISSUES
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel

pytestmark = pytest.mark.slow

Sptx = Callable[..., str]
GOES_ON, STARTED_AGAIN = "goes on after step", "workers are started again"
LONG = {"epochs": 12, "checkpoint_every": 5}
"""Long enough to be killed on the way, three times."""


@pytest.fixture(scope="module")
def settings(tiny_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("settings") / "settings.yaml"
    path.write_text(yaml.safe_dump({**tiny_settings, **LONG}))
    return path


@pytest.fixture(scope="module")
def undisturbed(settings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training by one worker in this process."""
    output = tmp_path_factory.mktemp("undisturbed") / "training"
    with one_thread():
        work(settings, output)
    return output


def work(settings: Path, output: Path) -> list[str]:
    """Begin a training or go on with it, without Ray; what it says."""
    said: list[str] = []
    job = prepare(FinetuneConfig.load(str(settings), {"output": str(output)}), said.append)
    create_or_resume(Store(output), job.fields)
    train_worker(job.order, 0, 1, torch.device("cpu"), said.append)
    return said


@pytest.fixture
def sptx_here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Sptx:
    """Run `sptx ARGUMENTS` in this process; what it prints to both streams."""

    def call(*arguments: object, code: int = 0) -> str:
        monkeypatch.setattr("sys.argv", ["sptx", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = "".join(capsys.readouterr())
        assert ended.value.code == code, printed
        assert "Traceback" not in printed
        return printed

    return call


def report_of(output: Path) -> dict[str, Any]:
    """The report, its address left out."""
    report: dict[str, Any] = json.loads((output / "report.json").read_bytes())
    assert report.pop("model") == str(output / "model")
    return report


def files_of(output: Path) -> dict[Path, int]:
    """Files below a folder, and when they were written."""
    return {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}


def test_the_result_is_a_checkpoint_that_was_the_best(undisturbed: Path) -> None:
    model = SpTransformerModel.from_pretrained(undisturbed / "model")
    assert model.output_channels[3:] == TISSUES
    last = states.load_newest(Store(undisturbed))
    assert last is not None
    for name, x in model.state_dict().items():
        assert torch.equal(x, last.best[name]), name
    report = report_of(undisturbed)
    assert report["steps"] == last.step
    assert report["best"] == min(last.history, key=lambda found: found["loss"])  # type: ignore[arg-type, return-value]
    assert report["test"]["loss"] > 0


def test_a_finished_training_is_only_reported(
    undisturbed: Path, settings: Path, sptx_here: Sptx, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(cluster, "session")  # what starts Ray
    before = files_of(undisturbed)
    job = ["finetune", "--config", settings, "--output", undisturbed]
    printed = sptx_here(*job)
    assert "finished before" in printed
    steps = report_of(undisturbed)["steps"]
    assert f"{steps} steps; the network is in {undisturbed}/model\nvalidation, step " in printed
    # How it is executed may change.
    assert "finished before" in sptx_here(*job, "--workers", 2, "--threads", 2, "--gpus-per-worker", 0)
    assert files_of(undisturbed) == before


def test_other_settings_in_the_same_place_are_refused_by_name(
    undisturbed: Path, settings: Path, sptx_here: Sptx
) -> None:
    before = files_of(undisturbed)
    changed = ["--learning-rate", "0.02", "--biotypes", "protein_coding", "--flanks", "genomic"]
    said = sptx_here("finetune", "--config", settings, "--output", undisturbed, *changed, code=2)
    names = re.search(r"differs in (.*): give its settings to go on with it, or another --output", said)
    assert names is not None
    assert {"learning_rate", "biotypes", "flanks"} <= set(names.group(1).split(", "))
    assert not {"seed", "genome", "tissues", "batch"} & set(names.group(1).split(", "))
    assert files_of(undisturbed) == before


FIELDS = {"settings": {"seed": 1, "validation": ("chr2",)}, "genome": "12ab", "tissues": ["brain"]}


def test_a_place_belongs_to_the_training_that_began_there(tmp_path: Path) -> None:
    store = Store(tmp_path / "training")
    create_or_resume(store, FIELDS)
    before = files_of(tmp_path)
    assert [path.name for path in before] == ["training.json"]
    create_or_resume(store, FIELDS)
    for changed, name in (
        ({"genome": "34cd"}, "genome"),
        ({"tissues": ["brain", "liver"]}, "tissues"),
        ({"settings": {"seed": 2, "validation": ("chr2",)}}, "seed"),
    ):
        with pytest.raises(InputError, match=rf"holds another training, which differs in {name}: "):
            create_or_resume(store, {**FIELDS, **changed})
    assert files_of(tmp_path) == before


def test_what_is_noted_besides_may_differ_when_a_training_is_resumed(tmp_path: Path) -> None:
    store = Store(tmp_path / "training")
    create_or_resume(store, FIELDS, {"checkpoint_revision": "someone/network@12ab"})
    assert json.loads(store.read_bytes("training.json"))["checkpoint_revision"] == "someone/network@12ab"
    create_or_resume(store, FIELDS, {"checkpoint_revision": "someone/network@34cd"})
    create_or_resume(store, FIELDS)


def test_a_folder_with_other_files_is_left_alone(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "thesis.txt").write_text("mine")
    assert "holds other files (thesis.txt): choose an empty folder" in refused()
    assert [path.name for path in (tmp_path / "training").iterdir()] == ["thesis.txt"]


def test_an_output_that_cannot_be_written(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert "cannot be written" in refused(output=str(tmp_path / "file" / "training"))


@pytest.mark.parametrize(
    ("gpus", "flags", "room"),
    [
        (0, ["--workers", 4], 2),
        (1, ["--workers", 2], 1),
        (1, ["--workers", 16, "--batch", 16, "--gpus-per-worker", 0.1], 10),
    ],
)
def test_more_workers_than_fit_are_refused_not_waited_for(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, gpus: int, flags: list[Any], room: int
) -> None:
    small = cluster.Cluster(embedded=True, nodes=1, cpus=2, cpus_per_node=2, gpus=gpus, log=Path("log"))
    monkeypatch.setattr(cluster, "session", lambda *_, **__: nullcontext(small))
    said = refused(*flags)
    assert f"--workers {flags[1]} do not fit: there is room for {room}" in said


class Killed(NamedTuple):
    """Where a training was killed and interrupted, and what its second process said."""

    output: Path
    said: str


@pytest.fixture(scope="module")
def killed(
    settings: Path,
    clean_environment: dict[str, str],
    standing: StandingRay,
    tmp_path_factory: pytest.TempPathFactory,
) -> Killed:
    """A training whose driver is killed; started again with its own Ray, its worker is, and then it is interrupted."""
    folder = tmp_path_factory.mktemp("killed")
    output, logs = folder / "training", (folder / "first", folder / "second")
    with started(settings, output, clean_environment | {"RAY_ADDRESS": standing.address}, logs[0]) as run:
        wait_for_a_new_state(run, output, logs[0])
        orphans = started_by(None, "RayTrainWorker")
        assert orphans
        run.kill()
        run.wait(PATIENCE)
    _, alive = psutil.wait_procs(orphans, timeout=PATIENCE)  # until then a worker may still save a state
    assert not alive

    with started(settings, output, clean_environment, logs[1]) as run:
        wait_for_a_new_state(run, output, logs[1])
        (worker,) = started_by(run, "RayTrainWorker")
        worker.kill()
        worker.wait(PATIENCE)
        wait_for_a_new_state(run, output, logs[1])
        children = psutil.Process(run.pid).children(recursive=True)
        run.send_signal(signal.SIGINT)
        assert run.wait(PATIENCE) == 130, logs[1].read_text()
    _, alive = psutil.wait_procs(children, timeout=PATIENCE)
    assert not alive
    assert not (output / "report.json").exists(), "interrupted too late to test anything"
    return Killed(output, logs[1].read_text())


@contextmanager
def started(settings: Path, output: Path, env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A training in a process of its own, which does not outlive a test that fails."""
    program = ["-c", "from pipeline.cli import main; main()", "finetune", "--config", settings, "--output", output]
    with log.open("wb") as stream:
        run = subprocess.Popen([sys.executable, *program], env=env, stdout=stream, stderr=stream)
    try:
        yield run
    finally:
        run.kill()
        run.wait(PATIENCE)


def wait_for_a_new_state(run: subprocess.Popen[bytes], output: Path, log: Path) -> None:
    """Wait until the training saves a state that it has not saved before."""
    before, deadline = set(output.glob("states/step-*.pt")), time.monotonic() + PATIENCE
    while not set(output.glob("states/step-*.pt")) - before:
        assert run.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.01)


def test_a_killed_driver_is_run_again_and_goes_on(killed: Killed) -> None:
    assert GOES_ON in killed.said.partition(STARTED_AGAIN)[0]


def test_a_killed_worker_is_started_again_and_goes_on(killed: Killed) -> None:
    assert GOES_ON in killed.said.partition(STARTED_AGAIN)[2]


def test_an_interrupted_training_says_how_to_go_on(killed: Killed) -> None:
    assert "the same command again goes on after the last saved state" in killed.said
    assert "Traceback" not in killed.said


def test_killed_and_interrupted_it_learns_the_same_to_the_last_bit(
    killed: Killed, undisturbed: Path, settings: Path
) -> None:
    said = work(settings, killed.output)
    assert any(GOES_ON in line for line in said)
    assert report_of(killed.output) == report_of(undisturbed)
    for name in ("model/model.safetensors", "model/config.json", "history.json"):
        assert (killed.output / name).read_bytes() == (undisturbed / name).read_bytes(), name


@pytest.fixture
def bucket(standing: StandingRay, monkeypatch: pytest.MonkeyPatch) -> str:
    """URI of an empty bucket, which workers of the standing Ray reach too."""
    for name, value in standing.storage.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("training-bucket")
    return "s3://training-bucket"


@pytest.fixture
def ray(joined: cluster.Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands in this process use the session that is there."""
    monkeypatch.setattr(cluster, "session", lambda *_, **__: nullcontext(joined))


@pytest.fixture(scope="module")
def joined(standing: StandingRay) -> Iterator[cluster.Cluster]:
    """One session for several commands."""
    handler = signal.getsignal(signal.SIGTERM)
    with cluster.session(standing.address, object_store_mb=100, use_gpus=False) as found:
        yield found
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.filterwarnings("ignore")
def test_a_loss_that_is_not_finite_ends_with_a_sentence(
    ray: None, settings: Path, sptx_here: Sptx, tmp_path: Path
) -> None:
    flags = ["--output", tmp_path / "training", "--learning-rate", 1e30, "--workers", 2]
    said = sptx_here("finetune", "--config", settings, *flags, code=2)
    assert "finite" in said
    assert "lower --learning-rate" in said
    assert STARTED_AGAIN not in said


def test_the_network_predicts(undisturbed: Path, simulated: Simulated, tmp_path: Path) -> None:
    gene = read_annotation(str(simulated.annotation)).transcripts["gene_name"][0]
    inputs = SimpleNamespace(genome=simulated.genome, annotation=simulated.annotation, checkpoint=undisturbed / "model")
    tracks = compute_tracks(inputs, tmp_path / "table", genes=gene, core=100).scan().collect()
    assert set(TISSUES) <= set(tracks.columns)
    assert tracks["donor"].is_between(0, 1).all()


@pytest.mark.filterwarnings("ignore")
def test_two_workers_go_on_from_a_checkpoint_with_other_tissues_into_an_object_store(
    ray: None,
    undisturbed: Path,
    settings_file: Callable[..., Path],
    simulated: Simulated,
    bucket: str,
    tmp_path: Path,
    sptx_here: Sptx,
) -> None:
    usage = pl.read_parquet(simulated.usage).select(
        "contig", "position", "strand", "kind", pl.col("heart").alias("left_ventricle"), "brain"
    )
    usage.write_csv(tmp_path / "usage.tsv", separator="\t")
    changed = {"usage": str(tmp_path / "usage.tsv"), "network": None, "checkpoint": str(undisturbed / "model")}
    settings = settings_file(**changed, freeze="body")
    printed = sptx_here("finetune", "--config", settings, "--output", f"{bucket}/training", "--workers", 2)
    assert f"steps; the network is in {bucket}/training/model" in printed
    assert "test: loss" in printed
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
