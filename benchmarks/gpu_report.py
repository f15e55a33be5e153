"""The report of `benchmarks/gpu_check.py` as Markdown, in the form that docs/performance.md takes over.

In: the report as it stands in `report.json`. Out: a line about the machine, a table of the steps, the table of speeds
with the columns of docs/performance.md, and what the other steps printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SPEED = "bench"  # the step whose findings are a table
COLUMNS = (
    *("path, precision", "windows/s", "ratio", "published", "performed", "largest logit difference"),
    *("largest, median score difference", "other choices"),
)
TEXT = ("path, precision", "step", "result", "reason")  # columns that are no numbers
MAX_LINES = 40  # of what a step printed


def markdown(report: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """The whole report; `titles` are those of the steps by name, in their order."""
    steps = report["steps"]
    parts = ["# GPU check", _machine(report["machine"]), _inputs(report["settings"]), _summary(steps, titles)]
    for name, title in titles.items():
        found = steps.get(name)
        if not found or not (found.get("printed") or found.get("errors")):
            continue
        parts.append(f"## {title}")
        if name == SPEED and found.get("findings"):
            parts.append(_table(COLUMNS, [speed_cells(row) for row in found["findings"]["rows"]]))
        shown = found["printed"] if found["status"] == "passed" else [*found["printed"], *found["errors"]]
        if shown:
            parts.append("\n".join(["```", *shown[-MAX_LINES:], "```"]))
    return "\n\n".join(parts) + "\n"


def speed_cells(row: Mapping[str, Any]) -> list[str]:
    """A row of a report of `sptx bench` as cells of the table in docs/performance.md."""
    differences = ["", "", ""]
    if row["largest_logit_difference"] is not None:
        differences = [
            f"{row['largest_logit_difference']:.1e}",
            f"{row['largest_score_difference']:.1e}, {row['median_score_difference']:.1e}",
            str(row["other_choices"]),
        ]
    speeds = [_three_digits(row["windows_per_second"]), f"{row['ratio']:.2f}"]
    counts = [_flops(row["published_flops"]), _flops(row["performed_flops"])]
    return [f"`{row['path']}`, {row['precision']}", *speeds, *counts, *differences]


def _machine(machine: Mapping[str, Any]) -> str:
    lines = [f"{machine['device']}; {machine['software']}."]
    lines += [f"`{path}` in {precision} cannot run: {why}." for path, precision, why in machine["reasons_against"]]
    return "\n".join(lines)


def _inputs(settings: Mapping[str, Any]) -> str:
    network = settings["checkpoint"] or "made from a seed"
    sequence = settings["fasta"] or "random"
    size = "tiny, for a trial of the check itself" if settings["small"] else "whole"
    return f"Network: {network}. Sequence: {sequence}. Sizes: {size}."


def _summary(steps: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    rows = []
    for name, title in titles.items():
        found = steps.get(name, {"status": "not begun", "seconds": 0.0, "reason": ""})
        rows.append([title, found["status"], f"{found['seconds']:,.0f}", found["reason"].replace("|", "/")])
    return _table(("step", "result", "s", "reason"), rows)


def _table(head: tuple[str, ...], rows: list[list[str]]) -> str:
    rule = ["---" if name in TEXT else "---:" for name in head]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows))


def _three_digits(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def _flops(rate: float) -> str:
    return f"{rate / 1e12:,.0f} TF/s" if rate >= 1e13 else f"{rate / 1e9:,.3g} GF/s"
