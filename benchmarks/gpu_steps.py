"""The steps of `benchmarks/gpu_check.py`, which calls this script once for each: gpu_steps.py STEP FOLDER.

In: FOLDER/settings.json, as `gpu_check.py` wrote it. Out: lines for the report on standard output, FOLDER/STEP.json
with figures where a step has any, and an exit code: 0 passed, 77 left out (the last line says why), else failed. Inputs
that are not given are made in FOLDER, once: a network from a seed, a random sequence with a few genes.
"""

from __future__ import annotations

import gzip
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

RANDOM_BASES = {False: 1_000_000, True: 40_000}  # whether small -> of the random sequence
GENE_BASES = 9_000
RELEASE = "benchmarks/results/0.1.0-h100.json"
LEAST_OF_RELEASE = 0.98  # of the release's ratio, on the same GPU
LEFT_OUT = 77


class Check(NamedTuple):
    """What a step has to know."""

    folder: Path
    device: str
    small: bool
    fasta: str | None
    gtf: str | None
    checkpoint: str | None

    @property
    def config(self) -> Any:
        """Sizes of the network that is made from a seed."""
        from sptx_core.config import ResidualStage, SpTransformerConfig, SpTransformerFeatureEncoderConfig

        if not self.small:
            return SpTransformerConfig()
        return SpTransformerConfig(
            context=16,
            max_seq_len=1024,
            encoders=(SpTransformerFeatureEncoderConfig(32, (ResidualStage(1, 5, 1),)),),
            input_path_channels=8,
            hidden_size=32,
            layers=1,
            heads=2,
            local_heads=1,
            bucket_size=64,
            feed_forward_size=64,
        )

    def network(self) -> Path:
        """The checkpoint, or a folder with the network of the seed."""
        if self.checkpoint is not None:
            return Path(self.checkpoint)
        folder = self.folder / "network"
        if not (folder / "config.json").exists():
            from sptx_core.engine.bench import seeded_model

            seeded_model(self.config, 0).save_pretrained(folder)
        return folder

    def genome(self) -> tuple[Path, Path]:
        """FASTA and annotation."""
        if self.fasta is not None and self.gtf is not None:
            return Path(self.fasta), Path(self.gtf)
        fasta, gtf = self.folder / "genome.fa", self.folder / "genes.gtf.gz"
        if not gtf.exists():
            write_genome(fasta, gtf, RANDOM_BASES[self.small])
        return fasta, gtf

    def save(self, name: str, findings: Any) -> None:
        """Keep figures for the report."""
        (self.folder / f"{name}.json").write_text(json.dumps(findings, indent=1) + "\n")


def write_genome(fasta: Path, gtf: Path, bases: int) -> None:
    """A random contig with a run of N, and genes of two exons on either strand in turn over most of it."""
    letters = np.frombuffer(b"ACGT", np.uint8)[np.random.default_rng(0).integers(0, 4, bases)]
    letters[bases // 2 : bases // 2 + bases // 50] = ord("N")
    text = letters.tobytes().decode()
    fasta.write_text(">chr1\n" + "".join(text[at : at + 60] + "\n" for at in range(0, bases, 60)))
    lines = []
    for number, start in enumerate(range(1_000, bases - GENE_BASES, GENE_BASES + 500)):
        end, strand = start + GENE_BASES, "+-"[number % 2]
        ids = f'gene_id "G{number}"; transcript_id "T{number}";'
        spans = [("transcript", start, end), ("exon", start, start + 300), ("exon", end - 300, end)]
        lines += [f"chr1\trandom\t{kind}\t{a}\t{b}\t.\t{strand}\t.\t{ids}\n" for kind, a, b in spans]
    gtf.write_bytes(gzip.compress("".join(lines).encode()))


def machine(check: Check) -> None:
    """What computes, and which paths cannot run on it."""
    import torch

    if check.device == "cuda" and not torch.cuda.is_available():
        build = f"it is built for CUDA {torch.version.cuda}" if torch.version.cuda else "it is built without CUDA"
        sys.exit(
            f"PyTorch {torch.__version__} finds no GPU here ({build}); `--device cpu --small` tries the steps on a CPU"
        )
    from sptx_core.engine.calibration import hardware
    from sptx_core.version import __version__

    against = _reasons_against(check)
    device = torch.cuda.get_device_name() if check.device == "cuda" else hardware("cpu")
    memory = f", {torch.cuda.get_device_properties(0).total_memory / 2**30:,.0f} GiB" if check.device == "cuda" else ""
    software = f"{os.cpu_count()} cores, PyTorch {torch.__version__}, Python {platform.python_version()}, sptx "
    findings = {"device": device + memory, "software": software + __version__, "reasons_against": against}
    check.save("machine", findings)
    print(findings["device"])


def tests(check: Check) -> None:
    """The engine's tests, but for those of the compiled CPU path."""
    import importlib.util

    import pytest

    where = ["tests/sptx_core/engine", "--ignore=tests/sptx_core/engine/native"]
    if check.small:
        where = ["tests/sptx_core/engine/test_machine.py"]
    if importlib.util.find_spec("xdist") and not check.small:
        where += ["-n", str(min(8, os.cpu_count() or 1)), "--dist", "loadfile"]
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *where]))


def bench(check: Check) -> None:
    """All paths side by side; on the GPU of the release's report no ratio may fall below it."""
    from sptx_core.engine.bench import BenchReport, format_report, run_bench

    windows, batch, repeats = (4, 2, 1) if check.small else (384, 32, 2)
    report = run_bench(
        runs=_runs(check), device=check.device, config=check.config, windows=windows, batch=batch, repeats=repeats
    )
    report.save(check.folder / "bench.json")
    release = BenchReport.load(RELEASE) if check.device == "cuda" else None
    print(format_report(report, release))
    if release and release.machine == report.machine:
        before = {(row.path, row.precision): row.ratio for row in release.rows}
        slower = [row for row in report.rows if row.ratio < LEAST_OF_RELEASE * before.get((row.path, row.precision), 0)]
        if slower:
            sys.exit(f"slower than {RELEASE}: " + ", ".join(f"{row.path} {row.precision}" for row in slower))


def float64(check: Check) -> None:
    """Scores, logits and choices of each path beside those in float64."""
    import against_float64

    runs = ",".join(f"{path}:{precision}" for path, precision in _runs(check))
    size = ["--stretches", "1", "--windows", "1"] if check.small else ["--stretches", "24"]
    fasta, _ = check.genome()
    against_float64.main([str(fasta), str(check.network()), "--device", check.device, "--runs", runs, *size])


def kernels(check: Check) -> None:
    """Layers and encoding by `shared` and `triton`, and other tiles; without a GPU whether they compile for one."""
    import gpu_kernels
    import torch

    from sptx_core.engine.bench import seeded_model
    from sptx_core.engine.machine import exact_arithmetic
    from sptx_core.windows import WindowSpec

    spec = WindowSpec(context=check.config.context)
    if check.device == "cpu":
        for row in gpu_kernels.compile_all(check.config, spec, gpu_kernels.HOPPER, costs=False):
            print("  ".join(row))
        return
    if reasons := [why for path, _, why in _reasons_against(check) if path == "triton"]:
        _leave_out(f"triton cannot run: {reasons[0]}")
    windows, batch = (2, 2) if check.small else (gpu_kernels.GPU_RUN, gpu_kernels.BATCH)
    with torch.inference_mode(), exact_arithmetic("cuda"):
        model = seeded_model(check.config, 0).cuda()
        for line in gpu_kernels.measure(model, spec, windows, batch, gpu_kernels.on_gpu):
            print(line, flush=True)


def training(check: Check) -> None:
    """Gradients beside those of the CPU, and time and memory of a step."""
    import training_step

    size = ["--batch", "2", "--steps", "2"] if check.small else []
    training_step.main([str(check.network()), "--device", check.device, *size])


def pipeline(check: Check) -> None:
    """Ray's actor beside the engine alone, on the same shards."""
    fasta, gtf = check.genome()
    inputs = ["--fasta", str(fasta), "--gtf", str(gtf), "--checkpoint", str(check.network())]
    size = ["--windows-per-shard", "8", "--shards", "2", "--turns", "1"]
    if not check.small:
        # Transcript by transcript the megabase has 4,591 windows, some seconds of a GPU; locus by locus 847.
        size = ["--windows-per-shard", "64", "--shards", "1000", "--turns", "2", "--flanks", "transcript"]
    for precision in ("float32",) if check.small else ("float32", "bfloat16"):
        print(precision, flush=True)
        flags = [*inputs, *size, "--device", check.device, "--precision", precision, "--from-first-shard"]
        # As a script, whose classes travel to Ray's workers, which cannot import it.
        subprocess.run([sys.executable, "benchmarks/pipeline_against_engine.py", *flags], check=True)


def _runs(check: Check) -> list[tuple[str, str]]:
    """Paths and precisions that can run here."""
    from sptx_core.engine.bench import pairs
    from sptx_core.engine.paths import ENGINE_PATHS, PRECISIONS

    against = {(path, precision) for path, precision, _ in _reasons_against(check)}
    return [run for run in pairs(list(ENGINE_PATHS), list(PRECISIONS)) if run not in against]


def _reasons_against(check: Check) -> list[tuple[str, str, str]]:
    """Path, precision and why it cannot run, of those that cannot."""
    from sptx_core.engine.paths import ENGINE_PATHS, PRECISIONS, PathRequest
    from sptx_core.windows import WindowSpec

    config = check.config
    found = []
    for name, path in ENGINE_PATHS.items():
        for precision in PRECISIONS:
            request = PathRequest(config, WindowSpec(context=config.context), check.device, precision)
            if reasons := path.reasons_against(request):
                found.append((name, precision, "; ".join(reasons)))
    return found


def _leave_out(reason: str) -> None:
    print(reason)
    sys.exit(LEFT_OUT)


STEPS: dict[str, Callable[[Check], None]] = {
    step.__name__: step for step in (machine, tests, bench, float64, kernels, training, pipeline)
}

if __name__ == "__main__":
    name, where = sys.argv[1], Path(sys.argv[2])
    STEPS[name](Check(where, **json.loads((where / "settings.json").read_text())))
