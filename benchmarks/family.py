"""Trained networks of SpliceAI's family on real sequence: how many sites each finds, and how fast.

    python benchmarks/family.py accuracy FOLDER GENOME.fa.gz GENES.gtf.gz NAME=CHECKPOINT ... --genes DOCK8,CBWD1
    python benchmarks/family.py speed GENOME.fa.gz chr9:270001-290000 CHECKPOINT MODELS --program FOLDER

`accuracy` computes the table of each checkpoint (`sptx convert` makes them) over one transcript of each gene, the CCDS
transcript with the most exonic bases, and holds it against the sites of these transcripts: of the k highest scores,
k the number of sites, how many are sites. The speed is that of the engine alone on one core, in bases a CPU second. A
second call goes on where the first one ended.

`speed` computes one stretch by turns with the engine and with OpenSpliceAI's own `predict` (its package lies in the
folder of --program), in float32, in one process and with the same number of threads, of MODELS, the .pt files that the
checkpoint was made of. Also prints the plain network and the largest difference of scores.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from pipeline.inputs.annotation import read_annotation
from pipeline.inputs.genome import Genome
from sptx_core.alphabet import N_CODE, Codes, decode
from sptx_core.engine import Predictor
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec

CORE = 5000  # predicted bases of a window, as in OpenSpliceAI's program
SAMPLE = 20_000  # bases by which the speed of a network is measured


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    accuracy = parts.add_parser("accuracy")
    accuracy.add_argument("folder", type=Path)
    accuracy.add_argument("fasta")
    accuracy.add_argument("gtf")
    accuracy.add_argument("checkpoints", nargs="+", metavar="NAME=CHECKPOINT")
    accuracy.add_argument("--genes", required=True)
    accuracy.add_argument("--threads", type=int, default=torch.get_num_threads())
    accuracy.set_defaults(run=measure_accuracy)
    speed = parts.add_parser("speed")
    speed.add_argument("fasta")
    speed.add_argument("region")
    speed.add_argument("checkpoint")
    speed.add_argument("models", help="A .pt file, or a folder of several.")
    speed.add_argument("--program", type=Path, required=True)
    speed.add_argument("--turns", type=int, default=3)
    speed.add_argument("--threads", type=int, default=torch.get_num_threads())
    speed.set_defaults(run=measure_speed)
    given = parser.parse_args()
    given.run(given)


# --- accuracy ---------------------------------------------------------------------------------------------------------


def measure_accuracy(given: argparse.Namespace) -> None:
    """Print a row for each checkpoint."""
    folder: Path = given.folder
    folder.mkdir(parents=True, exist_ok=True)
    transcripts = [longest_ccds(given.gtf, gene) for gene in given.genes.split(",")]
    genes = folder / "genes.gtf"
    write_transcripts(given.gtf, transcripts, genes)
    header = ("network", "members", "context", "sites", "acceptors", "donors", "AUPRC a", "AUPRC d", "bases/CPU s")
    print(" | ".join(header))
    for word in given.checkpoints:
        name, _, checkpoint = word.rpartition("=")
        print(" | ".join(map(str, row_of(name or checkpoint, checkpoint, folder, genes, given))), flush=True)


def row_of(name: str, checkpoint: str, folder: Path, genes: Path, given: argparse.Namespace) -> list[Any]:
    """What one network finds."""
    table = folder / name
    inputs = ["--fasta", given.fasta, "--gtf", genes, "--checkpoint", checkpoint, "--output", table]
    sptx("run", *inputs, "--threads", given.threads, "--workers", 1, "--quiet")
    sptx("evaluate", table, "--gtf", genes, "--to", folder / f"{name}.evaluation", "--no-plots")
    report = json.loads((folder / f"{name}.evaluation" / "evaluation.json").read_bytes())
    acceptor, donor = (row for row in report["sites"] if row["by"] == "all")
    model = SpTransformerModel.from_pretrained(checkpoint)
    sizes = model.sizes
    found = [f"{round(row['top_k']['1'] * row['sites'])} of {row['sites']}" for row in (acceptor, donor)]
    rate = f"{bases_a_second(model, given.fasta, genes):,.0f}"
    areas = [f"{row['auprc']:.3f}" for row in (acceptor, donor)]
    return [name, sizes.members, sizes.context, acceptor["sites"] + donor["sites"], *found, *areas, rate]


def longest_ccds(gtf: str, gene: str) -> str:
    """The CCDS transcript of a gene with the most exonic bases."""
    length = pl.col("exon_ends").list.sum() - pl.col("exon_starts").list.sum()
    rows = read_annotation(gtf).transcripts.filter(pl.col("gene_name") == gene, pl.col("tags").list.contains("CCDS"))
    return str(rows.sort(length, "transcript_id", descending=[True, False]).row(0, named=True)["transcript_id"])


def write_transcripts(gtf: str, transcripts: list[str], target: Path) -> None:
    """The lines of some transcripts of a GTF."""
    wanted = re.compile("|".join(rf'transcript_id "{re.escape(name)}"' for name in transcripts))
    with (gzip.open if gtf.endswith(".gz") else open)(gtf, "rt") as lines:
        target.write_text("".join(line for line in lines if wanted.search(line)))


def sptx(*words: object) -> None:
    """Run a command; what it prints is shown only if it fails."""
    program = [sys.executable, "-c", "from pipeline.cli import main; main()"]
    done = subprocess.run([*program, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)


def bases_a_second(model: SpTransformerModel, fasta: str, genes: Path) -> float:
    """Bases that the engine predicts in a second of one core, from the start of the first transcript on."""
    torch.set_num_threads(1)
    first = read_annotation(str(genes)).transcripts.row(0, named=True)
    start = min(first["exon_starts"])
    codes = Genome(fasta).fetch(first["contig"], start, start + SAMPLE)
    spec = WindowSpec(core=CORE, context=model.sizes.context)
    predictor = Predictor(model, spec, batch=1)
    of_engine(predictor, codes[:CORE], spec)  # once, for what is made at the first call
    used = time.process_time()
    of_engine(predictor, codes, spec)
    return SAMPLE / (time.process_time() - used)


# --- speed ------------------------------------------------------------------------------------------------------------


def measure_speed(given: argparse.Namespace) -> None:
    """Print seconds of engine, plain network and OpenSpliceAI's program, and how much their scores differ."""
    torch.set_num_threads(given.threads)
    sys.path.insert(0, str(given.program))
    from openspliceai.predict.predict import predict  # type: ignore[import-not-found]

    model = SpTransformerModel.from_pretrained(given.checkpoint)
    context = model.sizes.context
    contig, _, span = given.region.partition(":")
    first, last = (int(number) for number in span.replace(",", "").split("-"))
    codes = Genome(given.fasta).fetch(contig, first - 1, last)
    text = decode(codes)
    ways: dict[str, Callable[[], np.ndarray[Any, Any]]] = {
        "OpenSpliceAI": lambda: of_program(predict, text, given, context)
    }
    for path in ("reference", "auto"):
        spec = WindowSpec(core=CORE, context=context)
        predictor = Predictor(model, spec, batch=1, path=path)
        ways[f"{path} ({predictor.path})"] = lambda predictor=predictor, spec=spec: of_engine(predictor, codes, spec)
    scores: dict[str, np.ndarray[Any, Any]] = {}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(given.turns):
        for name, way in ways.items():
            wall, used = time.perf_counter(), time.process_time()
            scores[name] = way()
            seconds[name].append((time.perf_counter() - wall, time.process_time() - used))
    base = scores["OpenSpliceAI"]
    slowest = statistics.median(used for _, used in seconds["OpenSpliceAI"])
    print(
        f"{len(codes):,} bases, {model.sizes.members} members, {given.threads} threads, median of {given.turns} turns"
    )
    for name, spent in seconds.items():
        wall, used = (statistics.median(column) for column in zip(*spent, strict=True))
        apart = np.abs(scores[name] - base).max()
        print(f"{name:<22} {wall:8.2f} s, {used:8.2f} CPU s, {slowest / used:5.2f}x, scores within {apart:.1e}")


def of_program(predict: Callable[..., Any], text: str, given: argparse.Namespace, context: int) -> np.ndarray[Any, Any]:
    """Scores [bases, 3] of OpenSpliceAI's own function; N beyond the stretch."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        found: np.ndarray[Any, Any] = predict(text, given.models, 2 * context).numpy()
    return found


def of_engine(predictor: Predictor, codes: Codes, spec: WindowSpec) -> np.ndarray[Any, Any]:
    """Scores [bases, 3] of the engine; N beyond the stretch."""
    windows = -(-len(codes) // spec.core)
    filled = np.full(windows * spec.core + 2 * spec.context, N_CODE, np.uint8)
    filled[spec.context : spec.context + len(codes)] = codes
    (scores,) = predictor.predict([filled])
    return scores.reshape(-1, scores.shape[2])[: len(codes), :3]


if __name__ == "__main__":
    main()
