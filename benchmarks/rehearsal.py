"""A dress rehearsal: the whole job at the size of the human genome, all of it but the network, on this machine.

    python benchmarks/rehearsal.py --folder FOLDER        # 18 minutes on two cores; 14 GB of disk
    python benchmarks/rehearsal.py --small                # a few megabases, to see that all of it works

It writes a genome of 3.1 Gb and an annotation of GENCODE's size (`rehearsal_inputs.py`), plans, computes every shard
through Ray with a look-up in the network's place (`rehearsal_job.py`), and asks for status, verification, rows and
aggregates. A region is written to an S3 server on this machine, too, which counts requests. Each stage is a process of
its own, whose time and memory are watched (`rehearsal_watch.py`). `FOLDER/rehearsal.json` and `rehearsal.md` tell what
each has used, and what a run would take on 1, 8 and 64 GPUs (`rehearsal_report.py`).

The same command goes on after an interruption: stages that are done are not done again, and `run` takes up its table.
At the end inputs and tables are removed unless `--keep` is given.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rehearsal_inputs import SMALL, WHOLE, Size, inputs_in, write_inputs
from rehearsal_report import markdown
from rehearsal_watch import spent_between, watched

ROOT = Path(__file__).parents[1]
SPTX = [sys.executable, "-c", "from pipeline.cli import main; main()"]
REGION_BASES = 1_000_000


class Place(NamedTuple):
    """Where a rehearsal is, how large, and of which contigs the shards are computed (all when there are none)."""

    folder: Path
    size: Size
    contigs: tuple[str, ...]

    @property
    def inputs(self) -> Path:
        """Folder of the inputs."""
        return self.folder / "inputs"

    @property
    def table(self) -> Path:
        """Root of the table."""
        return self.folder / "table"

    def settings(self, **more: Any) -> Any:
        """Settings of `sptx run`."""
        from pipeline.tracks.settings import RunConfig

        genome, annotation, checkpoint = map(str, inputs_in(self.inputs))
        given = {"fasta": genome, "gtf": annotation, "checkpoint": checkpoint, "output": str(self.table)}
        chosen = {"windows_per_shard": self.size.windows_per_shard, "workers": self.size.workers, "threads": 1}
        return RunConfig.load(None, {**given, **chosen, "contigs": self.contigs, **more})


def tell(sentence: str) -> None:
    """What a run says; goes to the stage's log."""
    print(sentence, flush=True)


def stage_inputs(place: Place) -> dict[str, Any]:
    """Write genome, annotation and network."""
    genome, annotation, _ = write_inputs(place.inputs, place.size)
    return {"bytes": genome.stat().st_size + annotation.stat().st_size, "bases": sum(place.size.contigs.values())}


def stage_digest(place: Place) -> dict[str, Any]:
    """Digest the genome, and again, as a second run does."""
    from pipeline.inputs.genome import Genome

    path = inputs_in(place.inputs).genome
    Path(f"{path}.digests.json").unlink(missing_ok=True)
    seconds = []
    for _ in range(2):
        began, genome = time.monotonic(), Genome(str(path))
        genome.digest(place.size.contigs)
        seconds.append(time.monotonic() - began)
    return {"first s": seconds[0], "again s": seconds[1], "bytes": path.stat().st_size}


def stage_run(place: Place) -> dict[str, Any]:
    """`sptx run` with another predictor; times of parts are those of their files."""
    from rehearsal_job import RehearsedJob

    from pipeline.batch.run import run_job
    from pipeline.tracks.prepare import prepare

    shutil.rmtree(place.folder / "notes", ignore_errors=True)  # of a process that was interrupted
    began = time.time()
    job = RehearsedJob.of(prepare(place.settings(), tell), place.folder / "notes")
    planned, peak = time.time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    planning = time.process_time()  # loading all libraries included
    units = sum(len(json.dumps(unit.to_row())) for unit in job.iter_units(list(range(job.units))))
    cut, _ = time.time(), job.fields
    digested = time.time()
    outcome = run_job(job, tell, progress=False)
    ended = time.time()
    if not outcome.complete:
        raise SystemExit(f"incomplete: {outcome}")
    files = [path.stat() for path in place.table.glob("*/**/*.parquet")]
    written = [file.st_mtime for file in files if file.st_mtime >= digested] or [digested]
    seconds = {
        "plan": planned - began,
        "units": cut - planned,
        "digest": digested - cut,
        "start": min(written) - digested,
    }
    listed = max(job.listed or ended, max(written))
    seconds |= {"shards": max(written) - min(written), "Ray's end": listed - max(written), "manifest": ended - listed}
    return {
        "rows": outcome.size,
        "windows": job.plan.windows,
        "loci": len(job.plan.loci),
        "shards": outcome.units,
        "computed": outcome.computed,
        "bytes": sum(file.st_size for file in files),
        "tracks bytes": outcome.bytes,
        "plan cpu": planning,
        "plan MiB": peak,
        "units MiB": units / 2**20,
        "parts s": seconds,
        "began": min(written),
        "steps": steps(place.folder / "notes"),
        "gene": job.plan.transcripts["gene_id"][job.plan.transcripts.height // 2],
    }


def steps(notes: Path) -> dict[str, float]:
    """Processor seconds of the workers' steps, all shards together."""
    spent: dict[str, float] = {}
    for path in notes.glob("*.jsonl"):
        for step, _, seconds in map(json.loads, path.read_text().splitlines()):
            spent[step] = spent.get(step, 0.0) + seconds
    return spent


def stage_queries(place: Place) -> dict[str, Any]:
    """A region, and means over its contig by Polars and by DuckDB."""
    import duckdb
    import polars as pl

    from pipeline import open_tracks

    began = time.monotonic()
    tracks = open_tracks(place.table)
    chrom, middle = tracks.loci.select("chrom", "start").row(len(tracks.loci) // 2)
    region = tracks.region(f"{chrom}:{middle}-{middle + REGION_BASES}")
    found = time.monotonic()
    frame = tracks.scan(["donor", "brain"], chrom=chrom)
    by_polars = frame.select(pl.len(), pl.col("donor").max(), pl.col("brain").mean()).collect().row(0)
    polars = time.monotonic()
    parts = f"{place.table}/tracks/chrom={chrom}/**/*.parquet"
    (by_duckdb,) = duckdb.sql(f"SELECT count(*), max(donor), avg(brain) FROM read_parquet('{parts}')").fetchall()
    ended = time.monotonic()
    if by_polars[:2] != by_duckdb[:2] or abs(by_polars[2] - by_duckdb[2]) > 1e-6:
        raise SystemExit(f"Polars finds {by_polars}, DuckDB {by_duckdb}")
    seconds = {"region": found - began, "Polars": polars - found, "DuckDB": ended - polars}
    return {"rows": by_polars[0], "region rows": len(region), "contig": chrom, "queries s": seconds}


def stage_requests(place: Place) -> dict[str, Any]:
    """Write a region to an object store on this machine, which counts requests."""
    from rehearsal_requests import requests_of_a_run

    settings = place.settings(regions=place.size.region, contigs=(), output="s3://rehearsal/table")
    return requests_of_a_run(settings, place.folder, tell)


OWN: dict[str, Callable[[Place], dict[str, Any]]] = {
    "inputs": stage_inputs,
    "digest": stage_digest,
    "run": stage_run,
    "queries": stage_queries,
    "requests": stage_requests,
}
COMMANDS = {  # of sptx; the last words are names below the folder
    "status": ["status", "{folder}/table"],
    "verify": ["verify", "{folder}/table"],
    "gene": ["query", "{folder}/table", "{gene}", "--to", "{folder}/gene.parquet"],
}
STAGES = ("inputs", "digest", "run", *COMMANDS, "queries", "requests")


def rehearse(place: Place, name: str, arguments: list[str], gene: str) -> dict[str, Any]:
    """Go through a stage in a process of its own; what it says and what it used."""
    facts = place.folder / f"{name}.json"
    facts.unlink(missing_ok=True)
    command = [sys.executable, __file__, *arguments, "--stage", name]
    if name in COMMANDS:
        command = [*SPTX, *(word.format(folder=place.folder, gene=gene) for word in COMMANDS[name])]
    found = [str(ROOT / "benchmarks"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(found)}
    used, looks = watched(command, env, place.folder / f"{name}.log")
    found = json.loads(facts.read_text()) if facts.exists() else {}
    if name == "run":  # what starting and ending cost is left out
        found["shards cpu"] = spent_between(looks, found["began"], found["began"] + found["parts s"]["shards"])
    return {**used, **found}


def main() -> None:
    """Go through all stages that are not done, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a few megabases, in a minute")
    parser.add_argument("--contigs", default="", help="compute the shards of these alone, separated by commas")
    parser.add_argument("--folder", type=Path, default=Path("build/rehearsal"), help="where to work (build/rehearsal)")
    parser.add_argument("--keep", action="store_true", help="keep inputs and tables")
    parser.add_argument("--stage", choices=OWN, help=argparse.SUPPRESS)
    given = parser.parse_args()
    folder, size = given.folder.absolute(), SMALL if given.small else WHOLE
    place = Place(folder, size, tuple(filter(None, given.contigs.split(","))))
    if given.stage:
        (folder / f"{given.stage}.json").write_text(json.dumps(OWN[given.stage](place)))
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "rehearsal.json"
    what = {"bases": sum(size.contigs.values()), "contigs": given.contigs}
    machine = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    report = json.loads(path.read_text()) if path.exists() else {**what, **machine, "stages": {}}
    if any(report[name] != value for name, value in what.items()):
        raise SystemExit(f"{folder} holds a rehearsal of another size; choose another --folder, or remove it")
    arguments = ["--folder", str(folder), "--contigs", given.contigs, *(["--small"] if given.small else [])]
    for name in STAGES:
        if name not in report["stages"]:
            report["stages"][name] = rehearse(place, name, arguments, report["stages"].get("run", {}).get("gene", ""))
            path.write_text(json.dumps(report, indent=1) + "\n")
            print(f"{name}: {report['stages'][name]['seconds']:.1f} s", file=sys.stderr, flush=True)
    (folder / "rehearsal.md").write_text(markdown(report))
    print(markdown(report))
    if not given.keep:
        for name in ("inputs", "table", "notes", "region"):
            shutil.rmtree(folder / name, ignore_errors=True)
        (folder / "gene.parquet").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
