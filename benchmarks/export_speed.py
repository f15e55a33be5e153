"""An export of a large table, in one process and on the workbench: time, processor time, memory and bytes.

    python benchmarks/export_speed.py TABLE [--workers 2] [--least 0.001]

Exports the table to two temporary folders and compares all bytes; ends with an error where they differ. Prints a table
in Markdown, with processor time and bytes scaled to the rows of a human genome's table (`benchmarks/rehearsal.py`).
"""

from __future__ import annotations

import argparse
import filecmp
import os
import sys
import tempfile
from pathlib import Path

from rehearsal_watch import watched

from pipeline import open_tracks

GENOME_ROWS = 1_728_546_581  # of the rehearsal's whole table
ONE_PROCESS = "import sys; from pipeline.exporting import export; export.WORKBENCH_BASES = sys.maxsize; "
SPTX = "from pipeline.cli import main; main()"


def main() -> None:
    """Export both ways, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--workers", default="2")
    parser.add_argument("--least", default="0.001")
    given = parser.parse_args()
    rows = sum(part["rows"] for part in open_tracks(given.table).plan.iter_rows(named=True))
    scale = GENOME_ROWS / rows
    print(f"{rows:,} rows, least value {given.least}; scaled by {scale:.1f}\n")
    print("| | wall s | CPU s | Ray's own CPU s | most of a process, MiB | files, bytes | genome: CPU min | GB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        ways = {
            "one process": (ONE_PROCESS + SPTX, []),
            f"{given.workers} workers": (SPTX, ["--workers", given.workers]),
        }
        roots = [Path(folder, way) for way in ways]
        for (way, (program, flags)), root in zip(ways.items(), roots, strict=True):
            command = [sys.executable, "-c", program, "export", given.table, "--to", str(root), "--least", given.least]
            used, _ = watched([*command, "--genome", "hg38", *flags], os.environ, Path(folder, "log"))
            ray, peak = used["cpu"].pop("ray", 0.0), max(used["peak"].values())
            cpu = sum(used["cpu"].values())  # which grows with the table; what Ray's own processes use hardly does
            size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
            shown = f"{used['seconds']:.0f} | {cpu:.0f} | {ray:.0f} | {peak:,.0f} | {size:,}"
            print(f"| {way} | {shown} | {(cpu * scale + ray) / 60:.1f} | {size * scale / 1e9:.2f} |", flush=True)
        names = sorted(path.relative_to(roots[0]) for path in roots[0].rglob("*") if path.is_file())
        if names != sorted(path.relative_to(roots[1]) for path in roots[1].rglob("*") if path.is_file()):
            raise SystemExit("the two exports have not the same files")
        _, differing, unread = filecmp.cmpfiles(*roots, list(map(str, names)), shallow=False)
        if differing or unread:
            raise SystemExit(f"these files differ: {', '.join([*differing, *unread])}")
        print(f"\n{len(names)} files are the same, byte for byte.")


if __name__ == "__main__":
    main()
