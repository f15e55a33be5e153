"""What `rehearsal.py` found, as Markdown, and what a run would take on 1, 8 and 64 GPUs.

Reckoned, not measured: the engine's time is that of the H100 in docs/performance.md, alone. Start-up is that of
simulated clusters on one machine of two cores (docs/measurements.md). Everything else was measured here: what the
driver does once, what the workers do for a shard, requests and bytes. What the driver does for a shard cannot be told
apart here from what it does while it waits; docs/measurements.md says how many shards a second it has handed out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

RATES = {"float32": 649.0, "bfloat16": 1_480.0}  # windows/s of an H100, docs/performance.md
START_SECONDS = {1: 9.0, 8: 15.0, 64: 84.0}  # docs/measurements.md, "Scaling, simulated"
GENOME_WINDOWS, WINDOWS_PER_SHARD = 1_773_734, 2_000  # of the whole plan
HEADINGS = ("stage", "wall s", "CPU s", "driver MiB", "worker MiB", "all PSS MiB", "bytes", "rows")


def reckon(stages: Mapping[str, Mapping[str, Any]], gpus: int, rate: float) -> dict[str, float]:
    """What a run of a whole genome would take on so many GPUs of that rate (windows/s)."""
    run, requests = stages["run"], stages["requests"]
    shards = math.ceil(GENOME_WINDOWS / WINDOWS_PER_SHARD)
    shard_seconds = WINDOWS_PER_SHARD / rate
    a_second = gpus / shard_seconds  # shards
    watched = run["windows"] * max(1, run["computed"]) / run["shards"]  # windows that the process watched computed
    spent, took = run["shards cpu"], run["parts s"]
    once = {
        "plan": took["plan"],
        "digest of the genome, first run": stages["digest"]["first s"],
        "start-up": START_SECONDS[gpus],
        "engine": math.ceil(shards / gpus) * shard_seconds,  # the last round may leave GPUs idle
        "end of Ray": took["Ray's end"],
        "manifest": took["manifest"] * GENOME_WINDOWS / run["windows"],
    }
    return {
        **once,
        "all, first run": sum(once.values()),
        "cores beside each GPU": (spent["worker"] - run["steps"]["compute"]) / watched * rate,
        "shards a second": a_second,
        "requests a second": requests["requests a shard"] * a_second,
        "MB/s written": run["bytes"] / run["windows"] * rate * gpus / 1e6,
    }


def markdown(report: Mapping[str, Any]) -> str:
    """The report as text."""
    return "\n".join([*_measured(report), "", *_requests(report), "", *_reckoned(report)]) + "\n"


def _measured(report: Mapping[str, Any]) -> Iterator[str]:
    stages = report["stages"]
    run, queries = stages["run"], stages["queries"]
    yield (
        f"{report['bases']:,} bases; shards of {report['contigs'] or 'all contigs'}: {run['rows']:,} rows, "
        f"{run['loci']:,} loci, {run['windows']:,} windows, {run['shards']:,} shards; {report['machine']}, "
        f"{report['cores']} cores"
    )
    yield ""
    yield f"| {' | '.join(HEADINGS)} |"
    yield f"| --- |{' ---: |' * (len(HEADINGS) - 1)}"
    for name, found in stages.items():
        peak = found["peak"]
        cells = [f"{found['seconds']:,.1f}", f"{sum(found['cpu'].values()):,.1f}"]
        cells += [f"{peak[part]:,.0f}" if part in peak else "" for part in ("driver", "worker")]
        cells += [f"{found['pss']:,.0f}" if "worker" in peak else ""]
        cells += [f"{found[key]:,}" if key in found else "" for key in ("bytes", "rows")]
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""
    yield f"- `run`, wall seconds: {_listed(run['parts s'])}; {run['computed']:,} shards by the process watched."
    yield f"- `run`, processor seconds: {_listed(run['cpu'])}; of the workers' {_listed(run['steps'])}."
    yield f"- The same from the first part to the last: {_listed(run['shards cpu'])}."
    yield (
        f"- The driver when it has planned: {run['plan cpu']:,.1f} processor seconds, peak {run['plan MiB']:,.0f} MiB; "
        f"its rows for Ray {run['units MiB']:.2f} MiB."
    )
    yield f"- Digest of the genome: {stages['digest']['first s']:.2f} s, again {stages['digest']['again s']:.2f} s."
    yield (
        f"- Queries, wall seconds: {_listed(queries['queries s'])}; {queries['region rows']:,} rows of a region, "
        f"aggregates over the {queries['rows']:,} of {queries['contig']}."
    )
    yield f"- {run['tracks bytes'] / run['rows']:.2f} bytes a base (tracks), {run['bytes'] / run['rows']:.2f} in all."


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:,.1f}" for name, value in values.items())


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
