"""How long and how much memory a whole-genome annotation takes to plan: read, select, merge, cut, digest, tables.

    python benchmarks/plan_annotation.py [ANNOTATION.gtf.gz]

Without a file it plans a generated one of GENCODE's size (63,000 genes, 250,000 transcripts, 1.6 M exons), which
`sptx simulate FOLDER --annotation-only --seed 0` writes too. The contig lengths come with it; no sequence is read.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pipeline.batch.storage import Store
from pipeline.inputs.annotation import read_annotation
from pipeline.inputs.selection import Selection, select
from pipeline.simulation.annotation_only import CONTIGS, write_annotation
from pipeline.tracks.digests import loci_digest, transcripts_digest
from pipeline.tracks.plan import Plan, make_plan
from pipeline.tracks.settings import Flanks
from pipeline.tracks.side_tables import tables_of
from sptx_core.windows import WindowSpec

T = TypeVar("T")


def timed(name: str, work: Callable[[], T]) -> T:
    """`work()`, with its seconds printed."""
    began = time.monotonic()
    result = work()
    print(f"{name:<40}{time.monotonic() - began:8.1f} s")
    return result


def write_tables(plan: Plan, folder: str) -> None:
    """Digest the plan and write the tables that a run writes before its first shard."""
    transcripts_digest(plan.transcripts)
    loci_digest(plan.loci)
    for name, content in tables_of(plan).items():
        Store(folder).write_atomic(name, content)


def main() -> None:
    """Plan, and print seconds and peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        if len(sys.argv) > 1:
            path = Path(sys.argv[1])
        else:
            path = Path(folder) / "annotation.gtf.gz"
            timed("(generate the annotation)", lambda: write_annotation(path))
        began = time.monotonic()
        annotation = timed("read", lambda: read_annotation(str(path)))
        selected = timed("select", lambda: select(annotation, Selection()))
        plan = timed(
            "merge and cut",
            lambda: make_plan(
                selected, dict(CONTIGS), spec=WindowSpec(), flanks=Flanks.GENOMIC, windows_per_shard=2000
            ),
        )
        timed("digests, loci, transcripts, plan tables", lambda: write_tables(plan, folder))
        wall = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{len(selected):,} transcripts, {len(plan.loci):,} loci, {plan.bases:,} bases, {plan.windows:,} windows, "
        f"{plan.pieces['shard'].n_unique():,} shards"
    )
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"total {wall:.1f} s, peak {peak:.2f} GiB; {platform.machine()}, {os.cpu_count()} cores, load {load}")


if __name__ == "__main__":
    main()
