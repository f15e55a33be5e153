"""What `rehearsal.py` found, as Markdown, and what a run would take on 1, 8 and 64 GPUs.

Reckoned, not measured: the engine's time is that of the H100 in docs/performance.md, alone. Start-up is that of
simulated clusters on one machine of two cores (docs/measurements.md). Everything else was measured here: what the
driver does once, what it and the workers do for a shard, requests and bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

RATES = {"float32": 649.0, "bfloat16": 1_480.0}  # windows/s of an H100, docs/performance.md
START_SECONDS = {1: 9.0, 8: 15.0, 64: 84.0}  # docs/measurements.md, "Scaling, simulated"
HEADINGS = ("stage", "wall s", "CPU s", "driver MiB", "worker MiB", "all PSS MiB", "bytes", "rows")


def reckon(stages: Mapping[str, Mapping[str, Any]], gpus: int, rate: float) -> dict[str, float]:
    """What a run would take on so many GPUs of that rate (windows/s)."""
    plan, run, requests = stages["plan"], stages["run"], stages["requests"]
    share = max(1, run["computed"]) / run["shards"]  # of the shards that the watched process computed
    shard_seconds = plan["windows"] / plan["shards"] / rate
    engine = math.ceil(plan["shards"] / gpus) * shard_seconds  # the last round may leave GPUs idle
    a_second = gpus / shard_seconds  # shards
    spent = run["cpu"]
    return {
        "plan": plan["plan s"],
        "digest of the genome, first run": stages["digest"]["first s"],
        "start-up": START_SECONDS[gpus],
        "engine": engine,
        "listing and manifest": run["end s"],
        "all, first run": plan["plan s"] + stages["digest"]["first s"] + START_SECONDS[gpus] + engine + run["end s"],
        "cores beside each GPU": (spent["worker"] - run["steps"]["compute"]) / share / plan["windows"] * rate,
        "driver and Ray, cores": (spent["driver"] + spent.get("ray", 0.0)) / share / plan["shards"] * a_second,
        "requests a second": requests["requests a shard"] * a_second,
        "MB/s written": run["bytes"] / plan["shards"] * a_second / 1e6,
    }


def markdown(report: Mapping[str, Any]) -> str:
    """The report as text."""
    return "\n".join([*_measured(report), "", *_requests(report), "", *_reckoned(report)]) + "\n"


def _measured(report: Mapping[str, Any]) -> Iterator[str]:
    stages = report["stages"]
    plan, run = stages["plan"], stages["run"]
    yield (
        f"{report['bases']:,} bases, {plan['rows']:,} rows, {plan['loci']:,} loci, {plan['windows']:,} windows, "
        f"{plan['shards']:,} shards; {report['machine']}, {report['cores']} cores"
    )
    yield ""
    yield f"| {' | '.join(HEADINGS)} |"
    yield f"| --- |{' ---: |' * (len(HEADINGS) - 1)}"
    for name, found in stages.items():
        peak = found["peak"]
        cells = [f"{found['seconds']:,.1f}", f"{sum(found['cpu'].values()):,.1f}"]
        cells += [f"{peak.get(part, 0):,.0f}" if part in peak else "" for part in ("driver", "worker")]
        cells += [f"{found['pss']:,.0f}" if found["pss"] else ""]
        cells += [f"{found[key]:,}" if key in found else "" for key in ("bytes", "rows")]
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""
    times = ", ".join(f"{step} {run[f'{step} s']:,.1f} s" for step in ("plan", "digest", "start", "shards", "end"))
    yield f"- `run`: {times}; {run['computed']:,} of {run['shards']:,} shards computed by the process watched."
    spent = ", ".join(f"{part} {seconds:,.1f}" for part, seconds in run["cpu"].items())
    yield f"- Processor seconds of `run`: {spent}; of these the workers' {_steps(run['steps'])}."
    yield f"- Digest of the genome: {stages['digest']['first s']:.1f} s, again {stages['digest']['again s']:.2f} s."
    found = stages["aggregate"]
    by = f"Polars {found['polars s']:.2f} s, DuckDB {found['duckdb s']:.2f} s"
    yield f"- Aggregates over {found['rows']:,} rows: {by}."
    yield f"- {run['tracks bytes'] / run['rows']:.2f} bytes a base (tracks), {run['bytes'] / run['rows']:.2f} in all."


def _steps(steps: Mapping[str, float]) -> str:
    return ", ".join(f"{step} {seconds:,.1f}" for step, seconds in steps.items())


def _requests(report: Mapping[str, Any]) -> Iterator[str]:
    found = report["stages"]["requests"]
    yield (
        f"Requests to an object store, {found['shards']} shards: {found['requests a shard']:.1f} a shard "
        f"({', '.join(f'{kind} {count:g}' for kind, count in found['by kind'].items())}), {found['before']} before the "
        f"first, {found['after']} after the last."
    )


def _reckoned(report: Mapping[str, Any]) -> Iterator[str]:
    columns = {
        f"{gpus} x H100, {precision}": reckon(report["stages"], gpus, rate)
        for precision, rate in RATES.items()
        for gpus in START_SECONDS
    }
    yield "Reckoned, not measured, in seconds where nothing else is said:"
    yield ""
    yield f"| | {' | '.join(columns)} |"
    yield f"| --- |{' ---: |' * len(columns)}"
    for line in next(iter(columns.values())):
        cells = (f"{values[line]:,.{2 if values[line] < 10 else 0}f}" for values in columns.values())
        yield f"| {line} | {' | '.join(cells)} |"
