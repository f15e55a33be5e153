"""Tracks from Python: what the commands `run` and `plan` do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.tracks.run import plan, run
from pipeline.tracks.settings import RunConfig
from sptx_core.errors import InputError


def settings(example: Any, **others: Any) -> RunConfig:
    inputs = {"fasta": str(example.genome), "gtf": str(example.annotation), "checkpoint": str(example.checkpoint)}
    return RunConfig(**inputs, genes=("EPSILON5",), **others)


def test_a_run_does_what_the_plan_says_and_tells_it(
    example: Any, tmp_path: Path, without_ray: None, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = settings(example, output=str(tmp_path / "table"))
    planned = plan(chosen)
    assert "contigs: " in capsys.readouterr().out
    said: list[str] = []
    outcome = run(chosen, said.append)
    assert (outcome.complete, outcome.size, outcome.units) == (True, planned.bases, planned.shards)
    assert any(line.startswith("3,990 bases in 1 loci") for line in said)
    assert "3,990 of 3,990 bases" in capsys.readouterr().err
    assert run(chosen, said.append, progress=False).computed == 0


def test_progress_can_be_left_out(
    example: Any, tmp_path: Path, without_ray: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(settings(example, output=str(tmp_path / "table")), lambda _: None, progress=False).complete
    assert capsys.readouterr() == ("", "")


def test_an_output_is_required(example: Any) -> None:
    with pytest.raises(InputError, match="--output"):
        run(settings(example))
