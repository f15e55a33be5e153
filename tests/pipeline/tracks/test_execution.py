"""How a run computes: chosen once, and taken up again on the same hardware alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.batch.cluster import Cluster, Pool
from pipeline.batch.crews import choose_second
from pipeline.batch.record import Execution
from pipeline.inputs.network import load_network
from pipeline.settings import JobSettings, Precision
from pipeline.tracks.execution import choose_execution
from pipeline.tracks.prepare import prepare
from pipeline.tracks.settings import RunConfig
from sptx_core.engine import hardware
from sptx_core.windows import WindowSpec

POOL = Pool(1, 1, 0.0)


def chosen(example: Any, stored: Execution | None = None, **settings: Any) -> Execution:
    network = load_network(str(example.checkpoint))
    windows = WindowSpec(core=50, context=network.model.config.context)
    said: list[str] = []
    config = JobSettings(engine="reference", batch=3, **settings)
    found = choose_execution(network, windows, config, Precision.FLOAT32, POOL, stored, said.append)
    assert all(isinstance(line, str) for line in said)
    return found


def test_what_was_asked_for_is_chosen(example: Any) -> None:
    assert chosen(example) == Execution("cpu", hardware("cpu"), "reference", "float32", 3, 1)


def test_what_a_run_began_with_is_taken_up_on_the_same_hardware_alone(example: Any) -> None:
    begun = Execution("cpu", hardware("cpu"), "shared", "float32", 7, 4)
    assert chosen(example, begun) == begun
    for elsewhere in (replace(begun, hardware="another processor"), replace(begun, device="cuda")):
        assert chosen(example, elsewhere) == chosen(example)


def test_a_second_crew_on_cpus_chooses_for_itself(example: Any) -> None:
    paths = {"fasta": example.genome, "gtf": example.annotation, "checkpoint": example.checkpoint}
    given = {**{name: str(path) for name, path in paths.items()}, "core": 50}
    job = prepare(RunConfig.load(None, {**given, "cpu_workers": 2, "engine": "triton", "batch": 64}), print)
    mixed = Cluster(False, 2, 10.0, 8.0, 1.0, Path("log"), ((8.0, 1.0), (2.0, 0.0)))
    second = choose_second(job, mixed, Pool(1, 2, 1.0), print)
    assert second is not None
    assert (second.execution.device, second.execution.threads) == ("cpu", 2)
    assert second.execution.engine != "triton"
    assert job.settings.engine == "triton"
