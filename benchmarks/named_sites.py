"""How long and how much memory `sptx sites` or `report` takes on a large table: a generated one, without a network.

    python benchmarks/named_sites.py [--bases 80000000] [--folder KEPT] [--command report]

One contig of that length with an annotation as dense as GENCODE's, and the table of all its bases: 9 in 10 annotated
sites score 0.9, the others 0.002, a third as many other bases 0.3, and the rest noise below the table of sites. All
sites are then read with names (TSV, to nowhere), or the report is made, in a process of its own, whose seconds and peak
memory are printed.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pipeline.batch.record import Execution, RunRecord
from pipeline.batch.storage import Store
from pipeline.inputs.annotation import read_annotation
from pipeline.inputs.selection import Selection, select
from pipeline.inputs.splice_sites import KINDS, splice_sites
from pipeline.simulation.annotation_only import CONTIGS, EXONS, GENES, TRANSCRIPTS, write_annotation
from pipeline.tracks.layout import TABLES
from pipeline.tracks.parts import ShardRows, encode_shard
from pipeline.tracks.plan import make_plan
from pipeline.tracks.schema import FORMAT_VERSION, TrackSchema
from pipeline.tracks.settings import Flanks, TableSpec
from pipeline.tracks.side_tables import tables_of
from sptx_core.channels import CHANNELS, SPLICE
from sptx_core.windows import WindowSpec

CONTIG, WINDOWS_PER_SHARD = "chr1", 256
COMMANDS: dict[str, list[str]] = {"sites": ["--format", "tsv"], "report": []}
HIT, MISSED, NOVEL, NOISE = 0.9, 0.002, 0.3, 0.005


def write_table(root: Path, bases: int) -> int:
    """Write the table and return its rows."""
    share = bases / sum(CONTIGS.values())
    path = root.parent / "genes.gtf.gz"
    counts = {"genes": GENES, "transcripts": TRANSCRIPTS, "exons": EXONS}
    write_annotation(path, contigs={CONTIG: bases}, **{name: int(count * share) for name, count in counts.items()})
    transcripts = select(read_annotation(str(path)), Selection())
    spec = TableSpec(CHANNELS, Flanks.GENOMIC, False, 0.01, WindowSpec())
    plan = make_plan(
        transcripts,
        {CONTIG: bases},
        spec=spec.windows,
        flanks=spec.flanks,
        windows_per_shard=WINDOWS_PER_SHARD,
    )
    fields = {**spec.about(), "channels": ",".join(CHANNELS), "core": 1000, "context": 4000, "overlap": 0}
    execution = Execution("cpu", "none", "none", "float32", 1, 1)
    record = RunRecord(FORMAT_VERSION, fields, execution, spec.about(), plan.shards.height, plan.bases)
    store = Store(root)
    for name, content in {**tables_of(plan), "run.json": record.to_json()}.items():
        store.write_atomic(name, content)
    named = transcripts.rename({"contig": "chrom", "transcript_type": "biotype"})
    sites = splice_sites(named).unique(["strand", "pos", "kind"])
    random = np.random.default_rng(0)
    noise = random.random((WINDOWS_PER_SHARD * 1000, len(CHANNELS)), np.float32).round(2)
    noise[:, : len(SPLICE)] *= NOISE
    for shard in plan.iter_shards():
        pos = np.concatenate([np.arange(piece.start, piece.end, dtype=np.int32) for piece in shard.pieces]) + 1
        scores = noise[: len(pos)].copy()
        novel = random.choice(len(pos), max(1, len(pos) // 12_000))
        scores[novel, random.integers(1, 3, len(novel))] = NOVEL
        for kind in KINDS:
            known = sites.filter(strand=shard.strand, kind=kind)["pos"].to_numpy()
            held = np.flatnonzero(np.isin(pos, known))
            scores[held, CHANNELS.index(kind)] = np.where(random.random(len(held)) < HIT, HIT, MISSED)
        rows = ShardRows(pos, (pos % 4).astype(np.uint8), scores)
        parts = encode_shard(shard.key, rows, TrackSchema(spec), fingerprint=record.fingerprint, provenance={})
        for table in reversed(TABLES):
            store.write_atomic(shard.key.part_name(table, record.fingerprint), parts[table])
    return plan.bases


def main() -> None:
    """Make the table unless it is there, then read it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--bases", type=int, default=80_000_000)
    options.add_argument("--folder", type=Path)
    options.add_argument("--command", choices=COMMANDS, default="sites")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as aside:
        folder = given.folder or Path(aside)
        root = folder / "table"
        if not root.exists():
            folder.mkdir(parents=True, exist_ok=True)
            print(f"table of {write_table(root, given.bases):,} rows")
        size = sum(file.stat().st_size for file in root.rglob("*.parquet"))
        program = [sys.executable, "-c", "from pipeline.cli import main; main()"]
        began = time.monotonic()
        subprocess.run([*program, given.command, root, "--to", os.devnull, *COMMANDS[given.command]], check=True)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, processor = time.monotonic() - began, used.ru_utime + used.ru_stime
    print(f"{size / 1e6:,.0f} MB: {seconds:.1f} s, {processor:.1f} processor s, peak {used.ru_maxrss / 2**20:.2f} GiB")
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {load}")


if __name__ == "__main__":
    main()
