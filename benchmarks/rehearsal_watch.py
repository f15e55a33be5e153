"""What a child process and those below it use: seconds, processor seconds and memory, by their part in a run.

Memory is the largest resident set of a process as the kernel has kept it (VmHWM, exact), and the largest sum of
proportional sets (PSS, in which a page that is shared counts once), looked at every `PSS_SECONDS`. Processor seconds of
a process that ends are those of the last look, at most `LOOK_SECONDS` old.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

LOOK_SECONDS = 0.25
PSS_SECONDS = 20.0  # a look costs the kernel up to half a second of a core
MIB = 2**20
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


class Failed(SystemExit):
    """A command ended with another exit code than 0."""


Look = tuple[float, dict[str, float]]
"""Seconds since the epoch, and processor seconds by part until then."""


def watched(command: Sequence[str], env: Mapping[str, str], log: Path) -> tuple[dict[str, Any], list[Look]]:
    """Run a command to its end; what it and those below it used, and all looks at it.

    Its output goes to `log`. Keys: `seconds`; `cpu` (processor seconds by part: driver, worker, ray); `peak` (largest
    resident set of one process of each part, MiB); `pss` (largest sum over all processes, MiB).
    """
    began = time.monotonic()
    with log.open("ab") as stream:
        child = subprocess.Popen(command, env=dict(env), stdout=stream, stderr=stream)
    root = psutil.Process(child.pid)
    parts: dict[int, str] = {}
    cpu: dict[int, float] = {}
    peak: dict[str, int] = defaultdict(int)
    pss, next_pss = 0, began + PSS_SECONDS / 10
    looks: list[Look] = []
    while child.poll() is None:
        members = [root, *descendants(root)]
        for member in members:
            look(member, root.pid, parts, cpu, peak)
        looks.append((time.time(), by_part(parts, cpu)))
        if time.monotonic() >= next_pss:
            pss, next_pss = max(pss, sum(map(proportional_set, members))), time.monotonic() + PSS_SECONDS
        time.sleep(LOOK_SECONDS)
    seconds = time.monotonic() - began
    if child.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise Failed(f"{' '.join(command)} ended with {child.returncode}:\n{tail}")
    peaks = {part: size / MIB for part, size in peak.items()}
    return {"seconds": seconds, "cpu": by_part(parts, cpu), "peak": peaks, "pss": pss / MIB}, looks


def by_part(parts: Mapping[int, str], cpu: Mapping[int, float]) -> dict[str, float]:
    """Processor seconds by part of those by process."""
    used: dict[str, float] = defaultdict(float)
    for pid, spent in cpu.items():
        used[parts[pid]] += spent
    return dict(used)


def spent_between(looks: Sequence[Look], first: float, last: float) -> dict[str, float]:
    """Processor seconds by part between two moments (seconds since the epoch), by the looks next to them."""
    before = next((used for moment, used in looks if moment >= first), {})
    after = next((used for moment, used in looks if moment >= last), looks[-1][1])
    return {part: spent - before.get(part, 0.0) for part, spent in after.items()}


def descendants(root: psutil.Process) -> list[psutil.Process]:
    """The processes below one."""
    try:
        return list(root.children(recursive=True))
    except psutil.Error:
        return []


def look(member: psutil.Process, root: int, parts: dict[int, str], cpu: dict[int, float], peak: dict[str, int]) -> None:
    """Note what a process has used so far."""
    try:
        times = member.cpu_times()
        found = _PEAK.search(Path(f"/proc/{member.pid}/status").read_text())
        if parts.get(member.pid) in (None, "ray"):  # a worker gets its name when it becomes an actor
            words = " ".join(member.cmdline())
            parts[member.pid] = "driver" if member.pid == root else "worker" if "MapWorker" in words else "ray"
    except (psutil.Error, OSError):
        return
    cpu[member.pid] = times.user + times.system
    if found:
        peak[parts[member.pid]] = max(peak[parts[member.pid]], int(found[1]) * 1024)


def proportional_set(member: psutil.Process) -> int:
    """PSS in bytes."""
    try:
        return int(member.memory_full_info().pss)
    except psutil.Error:
        return 0
