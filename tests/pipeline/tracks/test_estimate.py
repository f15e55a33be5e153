"""What a plan would cost: FLOPs as PyTorch counts them, size, and hours at a measured rate."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from material.networks import tiny_network

from pipeline.tracks.estimate import duration, estimate, window_flops
from pipeline.tracks.prepare import prepare
from pipeline.tracks.settings import RunConfig
from sptx_core.engine.bench import BenchReport, BenchRow
from sptx_core.errors import InputError
from sptx_core.windows import WindowSpec

ROW = BenchRow("shared", "float32", 1, 2.0, 3.0, 1e12, 5e11, None, None, None, None, 1)


def job(example: Any, **settings: Any) -> Any:
    inputs = {"fasta": str(example.genome), "gtf": str(example.annotation), "checkpoint": str(example.checkpoint)}
    return prepare(RunConfig.load(None, {**inputs, **settings}), lambda _: None)


def test_flops_grow_with_the_window() -> None:
    network = tiny_network()
    few, more = (window_flops(network, WindowSpec(core, network.config.context)) for core in (1, 16))
    assert 0 < few < more


@pytest.mark.slow
def test_the_estimate_counts_the_plan(example: Any) -> None:
    ready = job(example)
    found = estimate(ready)
    assert found.by_contig["bases"].sum() == ready.size == 34_740
    assert found.by_contig["shards"].sum() == ready.units
    assert "34,740 bases" in str(found)
    figures = json.loads(json.dumps(found.to_dict()))
    assert figures["bases"] == sum(row["bases"] for row in figures["by_contig"]) == 34_740
    assert figures["flops"] == figures["windows"] * figures["window_flops"]
    exact = estimate(job(example, exact=True))
    assert exact.by_contig["MB"].sum() > 5 * found.by_contig["MB"].sum()


def test_hours_are_those_of_the_fastest_row_that_fits(example: Any) -> None:
    ready = job(example)
    slower = replace(ROW, windows_per_second=1.0)
    report = BenchReport("a machine", 2, "2.13", 24, 3, (slower, ROW))
    found = duration(ready, report, [1, 4])
    told = str(found)
    assert found.to_dict()["hours"] == {1: ready.plan.windows / 7200, 4: ready.plan.windows / 28800}
    assert "2 windows/s measured on a machine (shared, float32)" in told
    assert f"{ready.plan.windows / 120:,.1f} minutes" in told
    assert f"4 like it: {ready.plan.windows / 480:,.1f} minutes" in told
    with pytest.raises(InputError, match="no rate of engine path auto in bfloat16"):
        duration(job(example, precision="bfloat16"), report, [])
    with pytest.raises(InputError, match="at least 1"):
        duration(ready, report, [0])
