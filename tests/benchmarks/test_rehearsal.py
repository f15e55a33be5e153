"""The dress rehearsal of a whole genome, on a few megabases: every stage as it is, but for the network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "rehearsal.py"


def rehearse(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "AWS_", "FSSPEC_"))}
    command = [sys.executable, SCRIPT, "--small", "--folder", folder, *flags]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=500, check=False)


def test_every_stage_of_a_small_rehearsal_ends_well(tmp_path: Path) -> None:
    done = rehearse(tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "rehearsal.json").read_text())
    stages = report["stages"]
    assert [*stages] == ["inputs", "digest", "run", "status", "verify", "gene", "queries", "requests"]
    run = stages["run"]
    assert run["computed"] == run["shards"] > 5
    assert 0 < stages["queries"]["rows"] < run["rows"]
    assert stages["requests"]["by kind"]["PUT tracks"] == stages["requests"]["by kind"]["PUT sites"] == 1
    assert min(run["peak"][part] for part in ("driver", "worker", "ray")) > 0
    assert "| all, first run |" in done.stdout
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".log", ".md"}  # inputs and tables are removed

    again = rehearse(tmp_path)
    assert again.stdout == done.stdout  # nothing was left to do
    other = rehearse(tmp_path, "--contigs", "chr2")
    assert other.returncode == 1
    assert "holds a rehearsal of another size; choose another --folder" in other.stderr
