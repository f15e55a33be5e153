"""`sptx run` under observation: wall time, bases a second, peak memory of all its processes, bytes per base.

    python benchmarks/whole_run.py --fasta G.fa.gz --gtf A.gtf.gz --checkpoint C.ckpt --output OUT [flags of sptx run]

Memory is the sum of the proportional set sizes of the driver, Ray's processes and the actors, sampled every 15
seconds (shared pages are counted once; a sample costs the kernel half a second of a core).
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import psutil

from pipeline.batch.layout import committed
from pipeline.batch.record import read_record
from pipeline.batch.storage import Store
from pipeline.tracks.layout import TRACKS
from pipeline.tracks.schema import FORMAT_VERSION

SAMPLE_SECONDS = 15.0


def memory_of(process: psutil.Process) -> int:
    """Proportional set size in bytes of a process and its descendants."""
    total = 0
    for member in [process, *process.children(recursive=True)]:
        try:
            total += member.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def main() -> None:
    """Run, watch, report."""
    flags = sys.argv[1:]
    output = Path(flags[flags.index("--output") + 1])
    began = time.monotonic()
    run = subprocess.Popen([sys.executable, "-c", "from pipeline.cli import main; main()", "run", *flags])
    watched, peak = psutil.Process(run.pid), 0
    while run.poll() is None:
        try:
            peak = max(peak, memory_of(watched))
        except psutil.Error:
            break
        time.sleep(SAMPLE_SECONDS)
    wall = time.monotonic() - began
    store = Store(str(output.absolute()))
    record = read_record(store, FORMAT_VERSION)
    if run.wait() or record is None:
        raise SystemExit(run.returncode)
    size = sum(part.bytes for part in committed(store, TRACKS, record.fingerprint).values())
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores, load averages {load}")
    print(f"execution: {record.execution}")
    print(
        f"{record.size:,} bases in {wall:,.1f} s: {record.size / wall:,.0f} bases/s, "
        f"peak {peak / 2**30:.2f} GiB, {size / record.size:.2f} bytes per base"
    )


if __name__ == "__main__":
    main()
