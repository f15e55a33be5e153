"""Commands that compute: settings by flags and YAML, refusals, interruptions, plans."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from material.processes import PATIENCE, start, started_by, wait_for
from material.standing_ray import StandingRay

from pipeline.batch import actors
from sptx_core.engine.bench import BenchReport, BenchRow


def test_an_output_of_another_run_says_what_differs(example: Any, table: Path, sptx_here: Any) -> None:
    before = sorted(table.rglob("*"))
    run = sptx_here("run", *example.inputs, "--output", table, "--genes", "ALPHA1", "--windows-per-shard", 1, code=None)
    assert run.code == 2
    assert "holds another run" in run.err
    assert "transcripts" in run.err
    assert sorted(table.rglob("*")) == before


def test_an_output_that_cannot_be_written(example: Any, sptx_here: Any, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    run = sptx_here("run", *example.inputs, "--output", tmp_path / "a file" / "table", code=None)
    assert run.code == 2
    assert "a file" in run.err


@pytest.mark.parametrize(
    ("yaml", "told"),
    [
        ("windows_per_shard: many\n", "windows_per_shard"),
        ("shards: 3\n", "unknown setting `shards`"),
        ("overlap: 1000\n", "smaller than core"),
        ("- a list\n", "must hold"),
        ("flanks: [\n", "not valid YAML"),
    ],
)
def test_bad_settings_name_the_setting(example: Any, sptx_here: Any, tmp_path: Path, yaml: str, told: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(yaml)
    run = sptx_here("run", *example.inputs, "--output", tmp_path / "table", "--config", path, code=None)
    assert run.code == 2
    assert told in run.err


def test_plan_counts_and_writes_nothing(example: Any, sptx_here: Any, tmp_path: Path) -> None:
    plan = sptx_here("plan", *example.inputs, "--output", tmp_path / "table")
    for part in ("chr1", "chr2", "5 loci", "34,740 bases", "GFLOP"):
        assert part in plan.out
    assert not (tmp_path / "table").exists()


@pytest.mark.slow
def test_plan_tells_hours_from_a_measured_rate(example: Any, sptx_here: Any, tmp_path: Path) -> None:
    row = BenchRow("shared", "float32", 1, 2.0, 3.0, 1e12, 5e11, None, None, None, None, 1)
    report = tmp_path / "bench.json"
    BenchReport("a machine", 2, "2.13", 24, 3, (row,)).save(report)
    plan = sptx_here("plan", *example.inputs, "--rate", report, "--devices", "1,4").out
    found = re.search(r"2 windows/s measured on a machine \(shared, float32\): ([\d.]+) .*; 4 like it: ([\d.]+)", plan)
    windows = int(re.search(r"(\d+) windows", plan).group(1))
    assert [float(x) for x in found.groups()] == [round(windows / 120, 1), round(windows / 480, 1)]

    assert "--devices is not used: --rate says" in sptx_here("plan", *example.inputs, "--devices", "4").err
    for wrong, message in (
        (["--devices", "two"], "--devices two: give whole numbers"),
        (["--devices", "0"], "at least 1"),
        (["--precision", "bfloat16"], "no rate of engine path auto in bfloat16; it has shared in float32"),
    ):
        refused = sptx_here("plan", *example.inputs, "--rate", report, *wrong, code=None)
        assert refused.code == 2
        assert message in refused.err


def test_an_output_is_required(example: Any, sptx_here: Any) -> None:
    run = sptx_here("run", *example.inputs, code=None)
    assert run.code == 2
    assert "--output" in run.err


def committed(output: Path) -> list[Path]:
    return sorted(output.glob("tracks/**/[!.]*.parquet"))


def test_an_interrupted_run_says_how_to_go_on(
    example: Any, tmp_path: Path, without_ray: None, sptx_here: Any, monkeypatch: Any
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(actors, "execute", interrupt)
    assert "same command again" in sptx_here("run", *example.inputs, "--output", tmp_path / "table", code=130).err


@pytest.mark.slow
def test_an_interrupted_run_says_how_to_go_on_and_leaves_no_process(
    example: Any, tmp_path: Path, clean_environment: dict[str, str], standing: StandingRay
) -> None:
    """By a scheduler, then, gone on with on a Ray that stays, by a person. Settings are from a YAML file; flags win."""
    output, settings = tmp_path / "table", tmp_path / "settings.yaml"
    settings.write_text("windows_per_shard: 5\ngenes: [ALPHA1]\nsites_threshold: 0.5\n")
    flags = ["--config", settings, "--genes", "GAMMA3,BETA2", "--windows-per-shard", 1, "--output", output]
    for name, joining in (("SIGTERM", []), ("SIGINT", ["--address", standing.address, "--workers", 1])):
        log, before, others = tmp_path / name, len(committed(output)), set(started_by(None, "MapWorker"))
        run = start(["run", *example.inputs, *flags, *joining], clean_environment, log)
        wait_for(lambda enough=before + 2: len(committed(output)) >= enough, run, log)
        workers = set(started_by(None, "MapWorker")) - others
        assert workers
        children = {*workers, *psutil.Process(run.pid).children(recursive=True)}
        run.send_signal(signal.Signals[name])
        assert run.wait(PATIENCE) == 130
        assert "same command again" in log.read_text()
        assert "Traceback" not in log.read_text()
        _, alive = psutil.wait_procs(children, timeout=PATIENCE)
        assert not alive

    saved = (output / "settings.yaml").read_text()
    assert "GAMMA3" in saved
    assert "ALPHA1" not in saved
    assert "windows_per_shard: 1" in saved
    assert json.loads((output / "run.json").read_text())["sites_threshold"] == 0.5


@pytest.mark.slow
def test_an_incomplete_run_names_its_failed_shards_and_ends_with_3(
    example: Any, table: Path, tmp_path: Path, without_ray: None, sptx_here: Any
) -> None:
    output = tmp_path / "table"
    blocked = committed(table)[4].relative_to(table)
    (output / blocked).mkdir(parents=True)  # a folder where the part should be: it can never be written
    (output / blocked / "in the way").touch()
    run = sptx_here("run", *example.inputs, "--output", output, "--windows-per-shard", 1, code=3)
    shard = int(blocked.name.split("-")[0])
    assert f"shard {shard} failed" in run.err
    assert "incomplete: " in run.err
    assert "sptx report" not in run.err
    status = sptx_here("status", output, code=None)
    assert status.code == 3
    assert f"shard {shard} failed after 3 tries" in status.out
    assert "1 failed" in status.out
    assert blocked.name in status.out
    assert sptx_here("verify", output, code=None).code == 3


@pytest.mark.slow
def test_a_script_gets_json_and_silence(example: Any, sptx_here: Any, tmp_path: Path, without_ray: None) -> None:
    job = [*example.inputs, "--genes", "EPSILON5,BETA2", "--output", tmp_path / "table", "--json", "--quiet"]
    planned = sptx_here("plan", *job)
    assert planned.err == ""
    figures = json.loads(planned.out)
    assert (figures["loci"], figures["bases"]) == (2, 3_990 + 6_500)
    assert [row["chrom"] for row in figures["by_contig"]] == ["chr1", "chr2"]

    ran = sptx_here("run", *job)
    assert ran.err == ""
    outcome = json.loads(ran.out)
    assert (outcome["complete"], outcome["size"], outcome["failed"]) == (True, figures["bases"], {})
    assert outcome["output"] == str(tmp_path / "table")
