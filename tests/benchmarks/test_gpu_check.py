"""The check of a GPU, tried on a CPU with a tiny network: steps, report, failures, and what a second call does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = [pytest.mark.slow, pytest.mark.operations]

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu_check.py"
SMALL = ("--device", "cpu", "--small")


def check(folder: Path, *flags: str, code: int = 0) -> tuple[str, dict[str, Any]]:
    """What it printed, and its report."""
    done = subprocess.run(
        [sys.executable, SCRIPT, "--output", folder, *flags],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    place = folder / "report.json"
    return done.stdout + done.stderr, json.loads(place.read_text()) if place.exists() else {}


def test_steps_are_done_once_reported_and_tried_again_where_they_failed(tmp_path: Path) -> None:
    folder = tmp_path / "check"
    folder.mkdir()
    broken = [folder / "genome.fa", folder / "genes.gtf.gz"]  # taken for those that a step has made
    for path in broken:
        path.write_text("no sequence\n")
    steps = ("--steps", "bench,float64,training")
    printed, report = check(folder, *SMALL, *steps, code=1)
    found = {name: step["status"] for name, step in report["steps"].items()}
    assert found == {"bench": "passed", "float64": "failed", "training": "passed"}
    assert "IndexError" in report["steps"]["float64"]["reason"]
    assert "IndexError" in printed
    rows = report["steps"]["bench"]["findings"]["rows"]
    assert {row["path"] for row in rows} >= {"reference", "shared"}
    text = (folder / "report.md").read_text()
    assert "| `shared`, float32 |" in text
    assert "cosine of the gradients 1.0" in text
    assert "against_float64.py" in text  # where it failed

    for path in broken:
        path.unlink()
    printed, again = check(folder, *SMALL, *steps)
    assert again["steps"]["float64"]["status"] == "passed"
    assert again["steps"]["bench"] == report["steps"]["bench"]  # not measured a second time
    assert "Speed of" not in printed

    printed, _ = check(folder, *SMALL, "--fasta", str(SCRIPT), "--gtf", str(SCRIPT), code=2)
    assert "holds a check with another fasta, gtf: choose another --output" in printed


def test_what_cannot_be_done_here_is_left_out_or_waits_for_the_next_call(tmp_path: Path) -> None:
    printed, report = check(tmp_path, *SMALL, "--steps", "tests,pipeline", "--minutes", "0", code=3)
    assert {step["status"] for step in report["steps"].values()} == {"unfinished"}
    assert "the time of this call is over" in printed
    assert "| Tests on the GPU | unfinished |" in (tmp_path / "report.md").read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    printed, _ = check(tmp_path, code=2)
    assert "finds no GPU here" in printed
    assert len(printed.splitlines()) == 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--fasta", "g.fa"), "--fasta and --gtf belong together"),
        (("--checkpoint", "missing.ckpt"), "--checkpoint missing.ckpt: there is no such file or folder"),
        (("--steps", "bench,speed"), "--steps speed: steps are tests, bench"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, flags: tuple[str, ...], words: str) -> None:
    printed, report = check(tmp_path, *SMALL, *flags, code=2)
    assert words in printed
    assert not report
